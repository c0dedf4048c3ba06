import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { addMember, addMemberWith, idOf, made, orgOf, rows } from './access-world.ts';
import { leaves, secretsInAudit } from './audited.ts';
import { makeClientCertificate } from './client-certificate.ts';
import { type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';
import { eventually } from './waiting.ts';

const SERVERS_MAX = 4;
const PASSWORD = 'the password of the broker';
const TOKEN = 'NNSXS.THE-TOKEN-OF-THE-API';

describe('network servers', () => {
  let plane: ControlPlane;
  let here: Node;
  let there: Node;
  let owner: Asker;
  let org: string;

  beforeAll(async () => {
    plane = await startControlPlane();
    const settings = { MILLRACE_NETWORK_SERVERS_PER_ORG_MAX: SERVERS_MAX };
    here = await plane.node(settings);
    there = await plane.node(settings);
  }, 120_000);
  beforeEach(async () => {
    owner = await here.stranger.newUser(`${randomUUID()}@example.org`);
    org = await orgOf(owner);
  });
  afterAll(() => plane?.dispose(), 60_000);

  const body = (more: object = {}) => ({
    name: `server ${randomUUID()}`,
    kind: 'chirpstack-v4',
    mqtt: { url: 'mqtts://broker.example.org:8883', username: 'millrace', password: PASSWORD },
    ...more,
  });
  const server = (more: object = {}) => made(owner, '/networkservers', body(more));
  const member = async (role: string): Promise<Asker> => {
    const one = await here.stranger.newUser(`${randomUUID()}@example.org`);
    await addMember(plane, org, await idOf(one), role);
    return one.with({});
  };
  const known = async (node: Node, id: string) => (await node.registry.lora.servers()).find((each) => each.id === id);

  test('are made with what is usual, and reach every node that connects with them', async () => {
    const { status, headers, body: made } = await owner.call('POST', '/networkservers', body({ name: 'Harbour' }));
    expect(status).toBe(201);
    expect([headers.get('location'), headers.get('etag')]).toEqual([`/networkservers/${made.id}`, '"1"']);
    expect(made).toMatchObject({
      org,
      name: 'Harbour',
      kind: 'chirpstack-v4',
      enabled: true,
      http: null,
      provisioning: null,
      version: 1,
    });
    expect(made.mqtt).toEqual({
      url: 'mqtts://broker.example.org:8883',
      username: 'millrace',
      password_set: true,
      client_id: '',
      topic: '',
      share: 'millrace',
      qos: 1,
      format: 'json',
      ca: '',
      certificate: '',
      key_set: false,
    });
    for (const node of [here, there])
      expect((await known(node, made.id))?.mqtt).toMatchObject({ password: PASSWORD, share: 'millrace', key: '' });
    const tts = await server({ kind: 'tts-v3' });
    expect(tts.mqtt.share, 'its broker knows no groups').toBe('');
    const listed = (await owner.call('GET', '/networkservers?order=name&dir=asc')).body;
    expect(listed).toMatchObject({ total: 2, networkservers: [{ name: 'Harbour' }, { id: tts.id }] });
    expect((await owner.call('GET', '/networkservers?status=disabled')).body.total).toBe(0);
  });

  test('tell nobody their secrets: not who may change them, not the database, not the audit', async () => {
    const { certificate, key } = await makeClientCertificate();
    const secrets = [PASSWORD, TOKEN, key, key.split('\n')[1] ?? ''];
    const more = {
      mqtt: { url: 'mqtts://broker.example.org', password: PASSWORD, certificate, key },
      http: { url: 'https://api.example.org', token: TOKEN },
    };
    const { id } = await server(more);
    const answers = [
      await owner.call('GET', `/networkservers/${id}`),
      await owner.call('GET', '/networkservers'),
      await owner.call('PATCH', `/networkservers/${id}`, { name: 'renamed' }),
      await owner.call('GET', `/networkservers/${id}/status`),
    ];
    for (const { status, body: told } of answers) {
      expect(status).toBe(200);
      for (const secret of secrets) expect(JSON.stringify(told)).not.toContain(JSON.stringify(secret).slice(1, -1));
    }
    expect(answers[0]?.body).toMatchObject({ mqtt: { password_set: true, key_set: true }, http: { token_set: true } });
    const kept = await rows(plane, 'SELECT network_servers::text AS text FROM registry.network_servers WHERE id = $1', [
      id,
    ]);
    for (const secret of secrets) expect(kept[0]?.text).not.toContain(secret);
    const left = await leaves(plane, here, () =>
      owner.call('PATCH', `/networkservers/${id}`, {
        mqtt: { password: 'another one', qos: 0 },
        http: { token: null },
      }),
    );
    expect(left).toMatchObject([{ action: 'networkservers.update', entity: 'networkservers', entity_id: id }]);
    expect(left[0]?.detail).toMatchObject({ changed: { replaced: { from: [], to: ['password', 'token'] } } });
    expect(await secretsInAudit(plane, [...secrets, 'another one'])).toEqual([]);
    expect(await known(there, id)).toMatchObject({ mqtt: { password: 'another one', key }, http: { token: '' } });
  });

  test('keep what a change does not name, and lose what it takes away', async () => {
    const { id } = await server({ http: { url: 'https://api.example.org', token: TOKEN } });
    const change = async (patch: object) => (await owner.call('PATCH', `/networkservers/${id}`, patch)).body;
    expect((await change({ mqtt: { topic: 'eu868/application/+/device/+/event/+' } })).mqtt).toMatchObject({
      url: 'mqtts://broker.example.org:8883',
      password_set: true,
      topic: 'eu868/application/+/device/+/event/+',
    });
    expect((await change({ mqtt: { password: null } })).mqtt).toMatchObject({ password_set: false });
    expect(await change({ mqtt: null })).toMatchObject({ mqtt: null, http: { token_set: true } });
    expect(await change({ mqtt: { url: 'mqtt://other.example.org' } })).toMatchObject({
      mqtt: { password_set: false },
    });
    expect(await change({ provisioning: { things_per_day_max: 9 } })).toMatchObject({
      provisioning: { group_id: null, subscribe: true, things_per_day_max: 9 },
    });
    expect(await change({ provisioning: null })).toMatchObject({ provisioning: null });
  });

  test('do not take their secrets elsewhere, unless these are given again', async () => {
    const { id } = await server({ http: { url: 'https://api.example.org/v1', token: TOKEN } });
    const change = (patch: object) => owner.call('PATCH', `/networkservers/${id}`, patch);
    for (const url of [
      'mqtts://evil.example.org:8883',
      'mqtts://broker.example.org:1',
      'mqtt://broker.example.org:8883',
    ]) {
      const { status, body: told } = await change({ mqtt: { url } });
      expect([status, told.detail], url).toEqual([422, expect.stringContaining('mqtt.password')]);
    }
    expect((await change({ http: { url: 'http://api.example.org/v1' } })).status).toBe(422);
    expect((await change({ http: { url: 'https://api.example.org/v2' } })).status, 'the same host').toBe(200);
    expect((await change({ mqtt: { url: 'mqtts://new.example.org', password: 'its own' } })).status).toBe(200);
    expect((await known(here, id))?.mqtt).toMatchObject({ url: 'mqtts://new.example.org', password: 'its own' });
  });

  test.each([
    [{ url: 'http://broker.example.org' }, 'mqtt.url'],
    [{ url: 'mqtt://' }, 'mqtt.url'],
    [{ url: 'mqtt://user:pass@broker.example.org' }, 'mqtt.url'],
    [{ url: 'mqtt://broker.example.org:99999' }, 'mqtt.url'],
    [{ url: 'mqtt://broker.example.org:0' }, 'mqtt.url'],
    [{ url: 'mqtt://broker.example.org#x' }, 'mqtt.url'],
    [{ url: 'mqtt://b\0' }, 'mqtt.url'],
    [{ username: 'x' }, 'mqtt.url'],
    [{ url: 'mqtt://b', topic: 'a/#/b' }, 'mqtt.topic'],
    [{ url: 'mqtt://b', topic: '$share/x/#' }, 'mqtt.topic'],
    [{ url: 'mqtt://b', share: 'a/b' }, 'mqtt.share'],
    [{ url: 'mqtt://b', qos: 3 }, 'mqtt.qos'],
    [{ url: 'mqtt://b', format: 'xml' }, 'mqtt.format'],
    [{ url: 'mqtt://b', ca: 'no PEM' }, 'mqtt.ca'],
    [{ url: 'mqtt://b', ca: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' }, 'mqtt.ca'],
    [
      { url: 'mqtt://b', certificate: '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----' },
      'mqtt.certificate',
    ],
    [{ url: 'mqtt://b', key: 'a key without a certificate' }, 'mqtt.certificate'],
    [{ url: 'mqtt://b', passwort: 'x' }, 'mqtt.passwort'],
  ])('are refused with settings that can not work: %j', async (mqtt, path) => {
    const { status, body: told } = await owner.call('POST', '/networkservers', body({ mqtt }));
    expect([status, told.detail]).toEqual([422, expect.stringContaining(path)]);
  });

  test.each(['ftp://a', 'https://u:p@a', 'https://a?x=1', 'https://a#x', 'a'])('have no API at %s', async (url) => {
    const { status, body: told } = await owner.call('POST', '/networkservers', body({ http: { url } }));
    expect([status, told.detail]).toEqual([422, expect.stringContaining('http.url')]);
  });

  test('take a client certificate only with its own key', async () => {
    const [one, other] = [await makeClientCertificate(), await makeClientCertificate()];
    const url = 'mqtts://broker.example.org';
    const tried = async (mqtt: object) =>
      (await owner.call('POST', '/networkservers', body({ mqtt: { url, ...mqtt } }))).status;
    expect(await tried({ certificate: one.certificate })).toBe(422);
    expect(await tried({ certificate: one.certificate, key: other.key })).toBe(422);
    expect(await tried({ certificate: one.certificate, key: 'nonsense' })).toBe(422);
    expect(await tried({ ca: one.certificate, certificate: one.certificate, key: one.key })).toBe(201);
    const tts = { kind: 'tts-v3', mqtt: { url, format: 'protobuf' } };
    expect((await owner.call('POST', '/networkservers', body(tts))).status).toBe(422);
  });

  test('are changed by the version that one knows, and have names of their own', async () => {
    const { id, name } = await server();
    const other = await server();
    const ifMatch = (version: number) => ({ 'if-match': `"${version}"` });
    expect((await owner.call('PATCH', `/networkservers/${id}`, { name: 'new' }, ifMatch(7))).status).toBe(412);
    const { headers } = await owner.call('PATCH', `/networkservers/${id}`, { name: 'new' }, ifMatch(1));
    expect(headers.get('etag')).toBe('"2"');
    expect((await owner.call('PATCH', `/networkservers/${id}`, { name: other.name })).status).toBe(409);
    expect((await owner.call('POST', `/networkservers/${id}/disable`, undefined, ifMatch(1))).status).toBe(412);
    expect((await owner.call('DELETE', `/networkservers/${id}`, undefined, ifMatch(1))).status).toBe(412);
    expect((await owner.call('POST', '/networkservers', body({ name, kind: 'chirpstack-v2' }))).status).toBe(422);
  });

  test('are switched off and on, and deleted, on every node at once', async () => {
    const { id } = await server();
    const heard: string[] = [];
    const end = there.registry.lora.onChange((change) => heard.push(`${change.kind} ${change.id}`));
    expect((await owner.call('POST', `/networkservers/${id}/disable`)).body.enabled).toBe(false);
    await eventually(() => heard.includes(`servers ${id}`));
    expect((await known(there, id))?.enabled).toBe(false);
    expect((await owner.call('POST', `/networkservers/${id}/enable`)).body.enabled).toBe(true);
    heard.length = 0;
    expect((await owner.call('DELETE', `/networkservers/${id}`)).status).toBe(204);
    await eventually(() => heard.includes(`servers ${id}`));
    end();
    expect(await known(there, id)).toBeUndefined();
    expect((await owner.call('GET', `/networkservers/${id}`)).status).toBe(404);
    expect((await owner.call('DELETE', `/networkservers/${id}`)).status).toBe(404);
  });

  test('are as many as an organisation may have, also when they are made at once', async () => {
    const all = await Promise.all(
      Array.from({ length: SERVERS_MAX * 3 }, () => owner.call('POST', '/networkservers', body())),
    );
    expect(all.filter(({ status }) => status === 201)).toHaveLength(SERVERS_MAX);
    expect(all.filter(({ status }) => status === 409)).toHaveLength(SERVERS_MAX * 2);
  });

  test('are for admins to make, for editors to look at, and unknown to others', async () => {
    const { id } = await server();
    const [admin, editor, viewer] = [await member('admin'), await member('editor'), await member('viewer')];
    const stranger = await here.stranger.newUser(`${randomUUID()}@example.org`);
    const asked = async (who: Asker): Promise<number[]> => [
      (await who.call('GET', `/networkservers?org=${org}`)).status,
      (await who.call('GET', `/networkservers/${id}`)).status,
      (await who.call('GET', `/networkservers/${id}/status`)).status,
      (await who.call('PATCH', `/networkservers/${id}`, { mqtt: { qos: 0 } })).status,
      (await who.call('POST', `/networkservers/${id}/disable`)).status,
      (await who.call('POST', `/networkservers?org=${org}`, body())).status,
    ];
    expect(await asked(admin)).toEqual([200, 200, 200, 200, 200, 201]);
    expect(await asked(editor)).toEqual([200, 200, 200, 403, 403, 403]);
    expect(await asked(viewer)).toEqual([200, 200, 200, 403, 403, 403]);
    expect(await asked(stranger)).toEqual([404, 404, 404, 404, 404, 404]);
    expect(await asked(here.stranger)).toEqual([401, 401, 401, 401, 401, 401]);
    expect((await viewer.call('DELETE', `/networkservers/${id}`)).status).toBe(403);
    expect((await stranger.call('DELETE', `/networkservers/${id}`)).status).toBe(404);
    expect((await owner.call('GET', '/networkservers/nonsense')).status).toBe(404);
  });

  test('make things only for who might make and connect them, and in groups of the organisation', async () => {
    const { id: group } = await made(owner, '/groups', { name: 'fields' });
    const provisioning = { group_id: group };
    const clerk = await here.stranger.newUser(`${randomUUID()}@example.org`);
    await addMemberWith(plane, org, await idOf(clerk), ['networkservers.*']);
    const made201 = await clerk.call('POST', `/networkservers?org=${org}`, body());
    expect(made201.status).toBe(201);
    expect((await clerk.call('POST', `/networkservers?org=${org}`, body({ provisioning }))).status).toBe(403);
    expect((await clerk.call('PATCH', `/networkservers/${made201.body.id}`, { provisioning })).status).toBe(403);
    expect((await clerk.call('PATCH', `/networkservers/${made201.body.id}`, { provisioning: null })).status).toBe(200);
    const { id } = await server({ provisioning });
    expect((await owner.call('GET', `/networkservers/${id}`)).body.provisioning.group_id).toBe(group);
    for (const patch of [{ mqtt: { topic: 'mine/#' } }, { enabled: true }, { provisioning: { subscribe: false } }])
      expect((await clerk.call('PATCH', `/networkservers/${id}`, patch)).status, JSON.stringify(patch)).toBe(403);
    expect((await clerk.call('POST', `/networkservers/${id}/enable`)).status).toBe(403);
    expect((await clerk.call('POST', `/networkservers/${id}/disable`)).status).toBe(200);
    expect((await clerk.call('PATCH', `/networkservers/${id}`, { name: 'renamed' })).status).toBe(200);
    const stranger = await here.stranger.newUser(`${randomUUID()}@example.org`);
    const { id: foreign } = await made(stranger, '/groups', { name: 'theirs' });
    for (const elsewhere of [foreign, randomUUID()]) {
      const tried = await owner.call('POST', '/networkservers', body({ provisioning: { group_id: elsewhere } }));
      expect([tried.status, tried.body.detail]).toEqual([404, 'There is no such group.']);
    }
  });

  test('stand still while their organisation is frozen', async () => {
    const { id } = await server();
    expect((await owner.call('POST', `/orgs/${org}/freeze`)).status).toBe(200);
    expect((await owner.call('PATCH', `/networkservers/${id}`, { name: 'x' })).status).toBe(409);
    expect((await owner.call('GET', `/networkservers/${id}`)).status).toBe(200);
    expect((await known(here, id))?.enabled).toBe(false);
  });

  test('are as their nodes say, with what they made today', async () => {
    const { id } = await server({ provisioning: { things_per_day_max: 5 } });
    const { id: channel } = await made(owner, '/channels', { name: 'fields', metadata: { lora: { app_id: 'a1' } } });
    const lastEventMs = Date.now() - 1_000;
    here.registry.lora.report(id, { state: 'connected', detail: '', lastEventMs });
    there.registry.lora.report(id, { state: 'refused', detail: 'Not authorised.', lastEventMs: null });
    await there.registry.networkServers.states.flush();
    const [found, record] = [await known(here, id), await here.registry.directory.channel(channel, org)];
    if (found === undefined || record === null) throw new Error('it is not there');
    const device = {
      devEui: '70b3d57ed0001a2b',
      name: 'Soil',
      applicationId: 'a1',
      applicationName: 'a',
      deviceProfile: '',
    };
    const thing = await here.registry.lora.provision(found, device, record);
    const { body: status } = await owner.call('GET', `/networkservers/${id}/status`);
    expect(status).toMatchObject({ server: id, provisioned_today: 1 });
    expect(status.nodes.map(({ state }: { state: string }) => state).toSorted()).toEqual(['connected', 'refused']);
    const connected = status.nodes.find(({ state }: { state: string }) => state === 'connected');
    expect(Date.parse(connected.last_event_at)).toBe(lastEventMs);
    const shown = (await owner.call('GET', `/things/${thing?.id}`)).body;
    expect(shown).toMatchObject({ external_id: '70b3d57ed0001a2b', name: 'Soil' });
    const { body: audit } = await owner.call('GET', `/audit?id=${thing?.id}`);
    expect(audit.entries[0]).toMatchObject({ action: expect.any(String), actor: { kind: 'system', id } });
  });
});
