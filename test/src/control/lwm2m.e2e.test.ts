import { type CommandKind, type CommandOutcome, type Lwm2mRegistration, uuidV7 } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { idOf, made, orgOf, rows } from './access-world.ts';
import { leaves, secretsInAudit } from './audited.ts';
import { ADMIN, type Answered, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';
import { eventually } from './waiting.ts';

const KINDS: readonly CommandKind[] = ['lwm2m.read', 'lwm2m.write', 'lwm2m.execute', 'lwm2m.discover'];
const TEMPERATURE = '/3303/0/5700';
let plane: ControlPlane;
let node: Node;
let other: Node;
let admin: Asker;
let org: string;
let endpoints = 0;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
  other = await plane.node();
  admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
  org = await orgOf(admin);
}, 60_000);
afterAll(() => plane?.dispose(), 60_000);

const newThing = async (body: object = {}): Promise<string> => (await made(admin, '/things', body)).id;
const newEndpoint = (): string => `device-${++endpoints}`;
const account = (thing: string, body: object = {}, headers: Record<string, string> = {}): Promise<Answered> =>
  admin.call('PUT', `/things/${thing}/lwm2m`, { endpoint: newEndpoint(), ...body }, headers);
/** A thing that has an account, and the name that it says. */
async function newDevice(body: object = {}): Promise<{ thing: string; endpoint: string }> {
  const thing = await newThing();
  const answered = await account(thing, body);
  expect(answered.status).toBe(200);
  return { thing, endpoint: answered.body.endpoint };
}
const registered = (thing: string, more: Partial<Lwm2mRegistration> = {}): Lwm2mRegistration => ({
  location: uuidV7(),
  thing,
  org,
  endpoint: thing,
  version: '1.1',
  binding: 'UQ',
  queueMode: true,
  lifetimeSeconds: 300,
  objects: ['/1/0', '/3/0', '/3303/0'],
  formats: [110, 11_542],
  address: '192.0.2.7:40000',
  node: 'a',
  secure: true,
  registeredMs: Date.now(),
  updatedMs: Date.now(),
  expiresMs: Date.now() + 300_000,
  ...more,
});
/** A device that answers as soon as it is asked, by the node that it speaks to. */
function answering(at: Node, thing: string, outcome: CommandOutcome): { stop(): void; readonly asked: object[] } {
  const asked: object[] = [];
  const stop = at.registry.commands.onQueued((queued) => {
    if (queued !== thing) return;
    void at.registry.commands.take(thing, KINDS, 60_000).then(async (commands) => {
      for (const { id, kind, arguments: given } of commands) {
        asked.push({ kind, ...given });
        await at.registry.commands.settle(id, outcome);
      }
    });
  });
  return { stop, asked };
}

describe('an account', () => {
  test('is made, read, changed and deleted, each with a line in the audit', async () => {
    const thing = await newThing();
    const channel = (await made(admin, '/channels', {})).id;
    const endpoint = newEndpoint();
    const observe = [{ path: TEMPERATURE, attributes: 'pmin=10&pmax=60' }, { path: '/3/0' }];
    const left = await leaves(plane, node, async () => {
      const put = await account(thing, { endpoint, channel_id: channel, observe });
      expect([put.status, put.headers.get('etag')]).toEqual([200, '"1"']);
      expect(put.body).toMatchObject({
        thing_id: thing,
        endpoint,
        security: 'dtls',
        channel_id: channel,
        observe: [observe[0], { path: '/3/0', attributes: '' }],
        bootstrap: null,
        version: 1,
      });
      expect((await admin.call('GET', `/things/${thing}/lwm2m`)).body).toEqual(put.body);
      expect((await account(thing, { endpoint, security: 'none' }, { 'if-match': '"7"' })).status).toBe(412);
      expect((await account(thing, { endpoint, security: 'none' }, { 'if-match': '"1"' })).body).toMatchObject({
        security: 'none',
        channel_id: null,
        version: 2,
      });
      expect((await admin.call('DELETE', `/things/${thing}/lwm2m`)).status).toBe(204);
      expect((await admin.call('GET', `/things/${thing}/lwm2m`)).status).toBe(404);
      expect((await admin.call('DELETE', `/things/${thing}/lwm2m`)).status).toBe(404);
    });
    expect(left.map(({ action, entity_id }) => [action, entity_id])).toEqual([
      ['things.account_replace', thing],
      ['things.account_replace', thing],
      ['things.account_delete', thing],
    ]);
    expect(left[1]?.detail).toMatchObject({ changed: { security: { from: 'dtls', to: 'none' } } });
  });

  test('has a name that nobody else has, without a word of whose it is', async () => {
    const { endpoint } = await newDevice();
    const stranger = await node.stranger.newUser('name@example.org');
    const theirs = (await made(stranger, '/things', {})).id;
    const taken = await stranger.call('PUT', `/things/${theirs}/lwm2m`, { endpoint });
    expect([taken.status, taken.body.detail]).toEqual([409, 'Another device of LwM2M has this endpoint name.']);
    const thing = await newThing();
    expect((await stranger.call('PUT', `/things/${theirs}/lwm2m`, { endpoint: thing })).status).toBe(422);
    expect((await account(thing, { endpoint: thing })).status).toBe(200);
  });

  test('keeps the keys of its bootstrap sealed, and never shows them', async () => {
    const key = 'never-to-be-seen-0815';
    const servers = [
      { short_id: 1, uri: 'coaps://iot.example.org:5684', lifetime: 300, binding: 'UQ', identity: 'lamp', key },
      { short_id: 2, uri: 'coaps://[2001:db8::7]' },
    ];
    const { thing, endpoint } = await newDevice({ bootstrap: { servers } });
    await account(thing, { endpoint, bootstrap: { servers } });
    const shown = (await admin.call('GET', `/things/${thing}/lwm2m`)).body;
    expect(shown.bootstrap.servers).toEqual([
      { short_id: 1, uri: servers[0]?.uri, lifetime: 300, binding: 'UQ', identity: 'lamp', key_set: true },
      { short_id: 2, uri: servers[1]?.uri, lifetime: 86_400, binding: 'U', identity: null, key_set: false },
    ]);
    expect((await node.registry.lwm2m.account(endpoint))?.bootstrap?.servers[0]).toEqual({
      shortId: 1,
      uri: servers[0]?.uri,
      lifetimeSeconds: 300,
      binding: 'UQ',
      identity: 'lamp',
      key,
    });
    const kept = await rows(plane, `SELECT a::text AS text FROM registry.lwm2m_accounts AS a WHERE thing = '${thing}'`);
    expect(kept[0]?.text).not.toContain(key);
    expect(JSON.stringify(shown)).not.toContain(key);
    expect(await secretsInAudit(plane, [key])).toEqual([]);
  });

  test.each<[object, string]>([
    [{ endpoint: '' }, 'endpoint'],
    [{ endpoint: 'a b' }, 'endpoint'],
    [{ endpoint: 'ü'.repeat(200) }, 'endpoint'],
    [{ security: 'tls' }, 'security'],
    [{ observe: [{ path: '/3303/' }] }, 'observe.0.path'],
    [{ observe: [{ path: '/3/0' }, { path: '/3/0' }] }, 'observe'],
    [{ observe: [{ path: '/3/0', attributes: 'pmin' }] }, 'observe.0.attributes'],
    [{ bootstrap: { servers: [] } }, 'bootstrap.servers'],
    [{ bootstrap: { servers: [{ short_id: 1, uri: 'https://example.org' }] } }, 'bootstrap.servers.0.uri'],
    [{ bootstrap: { servers: [{ short_id: 1, uri: 'coap://user@example.org' }] } }, 'bootstrap.servers.0.uri'],
    [
      { bootstrap: { servers: [{ short_id: 1, uri: 'coap://a', key: 'k', identity: 'i' }] } },
      'bootstrap.servers.0.key',
    ],
    [{ bootstrap: { servers: [{ short_id: 1, uri: 'coaps://a', key: 'k' }] } }, 'bootstrap.servers.0.identity'],
    [{ security: 'none', bootstrap: { servers: [{ short_id: 1, uri: 'coaps://a' }] } }, 'bootstrap.servers.0.uri'],
    [{ name: 'x' }, 'name: unknown field'],
  ])('%j is refused', async (body, told) => {
    const answered = await account(await newThing(), body);
    expect([answered.status, answered.body.detail]).toEqual([422, expect.stringContaining(told)]);
  });

  test("names no other organisation's channel", async () => {
    const stranger = await node.stranger.newUser('channel@example.org');
    const channel = (await made(stranger, '/channels', {})).id;
    expect((await account(await newThing(), { channel_id: channel })).status).toBe(404);
    expect((await account(await newThing(), { channel_id: uuidV7() })).status).toBe(404);
  });

  test('is for who may update the thing', async () => {
    const { thing } = await newDevice();
    const viewer = await node.stranger.newUser('viewer@example.org');
    await admin.call('PUT', `/orgs/${org}/members/${await idOf(viewer)}`, { role: 'viewer' });
    const stranger = await node.stranger.newUser('stranger@example.org');
    const body = { endpoint: newEndpoint() };
    for (const [asker, read, write] of [
      [viewer, 200, 403],
      [stranger, 404, 404],
    ] as const) {
      expect((await asker.call('GET', `/things/${thing}/lwm2m`)).status).toBe(read);
      expect((await asker.call('PUT', `/things/${thing}/lwm2m`, body)).status).toBe(write);
      expect((await asker.call('DELETE', `/things/${thing}/lwm2m`)).status).toBe(write);
    }
  });

  test('goes with its thing, and its name is free again', async () => {
    const { thing, endpoint } = await newDevice();
    await node.registry.lwm2m.register(registered(thing, { endpoint }));
    expect((await admin.call('DELETE', `/things/${thing}`)).status).toBe(204);
    expect(await node.registry.lwm2m.account(endpoint)).toBeNull();
    expect(await node.registry.lwm2m.registrationOf(thing)).toBeNull();
    expect((await account(await newThing(), { endpoint })).status).toBe(200);
  });
});

describe('a device is known', () => {
  test('by the name of its account, else by the id or external id of its thing, then by DTLS alone', async () => {
    const { lwm2m } = node.registry;
    const { thing, endpoint } = await newDevice({ security: 'none' });
    await admin.call('PATCH', `/things/${thing}`, { external_id: 'imei-1' });
    expect(await lwm2m.account(endpoint)).toMatchObject({ thing, endpoint, security: 'none' });
    for (const name of [thing, 'imei-1'])
      expect(await lwm2m.account(name)).toMatchObject({ thing, endpoint: name, security: 'dtls' });
    expect(await lwm2m.accountOf(thing)).toMatchObject({ endpoint, security: 'none' });
    const plain = await newThing({ external_id: 'imei-2' });
    expect(await lwm2m.accountOf(plain)).toMatchObject({ endpoint: 'imei-2', security: 'dtls', observe: [] });
    for (const name of ['nobody', '', 'a\0b', uuidV7()]) expect(await lwm2m.account(name)).toBeNull();
    expect(await lwm2m.accountOf('nobody')).toBeNull();
  });

  test('as who it has proved to be, whatever others call themselves', async () => {
    const { lwm2m } = node.registry;
    const mine = await newThing({ external_id: 'shared-imei' });
    const stranger = await node.stranger.newUser('imei@example.org');
    const theirs = (await made(stranger, '/things', { external_id: 'shared-imei' })).id;
    expect(await lwm2m.account('shared-imei')).toBeNull();
    expect(await lwm2m.account('shared-imei', mine)).toMatchObject({ thing: mine, org });
    expect(await lwm2m.account('shared-imei', theirs)).toMatchObject({ thing: theirs });
    // Somebody takes the name for an account of theirs: it does not keep the other out.
    await stranger.call('PUT', `/things/${theirs}/lwm2m`, { endpoint: 'shared-imei', security: 'none' });
    expect(await lwm2m.account('shared-imei', mine)).toMatchObject({ thing: mine, security: 'dtls' });
    const { endpoint } = await newDevice();
    expect(await lwm2m.account(endpoint, mine)).toBeNull();
  });

  test('with the channel of its account, else the only one that it may publish to', async () => {
    const thing = await newThing();
    const [one, two, three] = await Promise.all([1, 2, 3].map(async () => (await made(admin, '/channels', {})).id));
    const connect = (channel: string, types: string[]) =>
      admin.call('POST', '/connect', { thing_ids: [thing], channel_ids: [channel], types });
    const channel = async () => (await node.registry.lwm2m.accountOf(thing))?.channel;
    expect(await channel()).toBeNull();
    await connect(two, ['subscribe']);
    expect(await channel()).toBeNull();
    await connect(one, ['publish', 'subscribe']);
    expect(await channel()).toBe(one);
    await connect(three, ['publish']);
    expect(await channel()).toBeNull();
    await account(thing, { channel_id: three });
    expect(await channel()).toBe(three);
    await admin.call('DELETE', `/channels/${three}?cascade=true`);
    expect(await channel()).toBe(one);
  });

  test('not at all while it is kept out', async () => {
    const { thing, endpoint } = await newDevice();
    await admin.call('POST', `/things/${thing}/disable`);
    expect(await node.registry.lwm2m.account(endpoint)).toBeNull();
    expect(await node.registry.lwm2m.accountOf(thing)).toBeNull();
    await admin.call('POST', `/things/${thing}/enable`);
    expect(await node.registry.lwm2m.account(endpoint)).not.toBeNull();
  });
});

describe('a registration', () => {
  test('is one of a thing, and known to every node', async () => {
    const thing = await newThing();
    const first = registered(thing);
    await node.registry.lwm2m.register(first);
    expect(await other.registry.lwm2m.registration(first.location)).toEqual(first);
    const second = registered(thing, { objects: ['/3/0\0'], lifetimeSeconds: 4_294_967_295, expiresMs: 9e15 });
    await other.registry.lwm2m.register(second);
    expect(await node.registry.lwm2m.registration(first.location)).toBeNull();
    expect(await node.registry.lwm2m.registrationOf(thing)).toMatchObject({
      location: second.location,
      objects: ['/3/0\ufffd'],
      lifetimeSeconds: 4_294_967_295,
    });
    await node.registry.lwm2m.remove(second.location);
    expect(await other.registry.lwm2m.registrationOf(thing)).toBeNull();
    await expect(node.registry.lwm2m.register(registered(uuidV7()))).rejects.toMatchObject({
      code: 'REGISTRY_NOT_FOUND',
    });
  });

  test('is shown without its location, until its lifetime is over', async () => {
    const thing = await newThing({ name: 'pump of the yard' });
    const registration = registered(thing);
    await node.registry.lwm2m.register(registration);
    const { body } = await admin.call('GET', `/things/${thing}/lwm2m/registration`);
    expect(body).toMatchObject({
      name: 'pump of the yard',
      queue_mode: true,
      lifetime: 300,
      objects: ['/1/0', '/3/0', '/3303/0'],
    });
    const list = await admin.call('GET', '/lwm2m/registrations?name=pump');
    expect(list.body).toMatchObject({ total: 1, registrations: [body] });
    expect(JSON.stringify(list.body)).not.toContain(registration.location);
    const stranger = await node.stranger.newUser('list@example.org');
    expect((await stranger.call('GET', '/lwm2m/registrations')).body.total).toBe(0);
    expect((await stranger.call('GET', `/lwm2m/registrations?org=${org}`)).status).toBe(404);
    expect((await stranger.call('GET', `/things/${thing}/lwm2m/registration`)).status).toBe(404);
    await node.registry.lwm2m.register(registered(thing, { expiresMs: Date.now() - 1_000 }));
    expect((await admin.call('GET', `/things/${thing}/lwm2m/registration`)).status).toBe(404);
    expect((await admin.call('GET', '/lwm2m/registrations?name=pump')).body.total).toBe(0);
  });

  test('ends when its name is no longer that of the thing, or is to be proved now', async () => {
    const { lwm2m } = node.registry;
    const { thing, endpoint } = await newDevice({ security: 'none' });
    await lwm2m.register(registered(thing, { endpoint, secure: false }));
    await account(thing, { endpoint, security: 'none', observe: [{ path: '/3/0' }] });
    expect(await lwm2m.registrationOf(thing)).not.toBeNull();
    await account(thing, { endpoint });
    expect(await lwm2m.registrationOf(thing)).toBeNull();
    await lwm2m.register(registered(thing, { endpoint }));
    const renamed = (await account(thing)).body.endpoint;
    expect(await lwm2m.registrationOf(thing)).toBeNull();
    await lwm2m.register(registered(thing, { endpoint: renamed }));
    const told: string[] = [];
    const stop = other.registry.commands.onQueued((id) => told.push(id));
    const gone = await admin.call('DELETE', `/things/${thing}/lwm2m`);
    expect(gone.headers.get('deleted')).toBe('registrations=1');
    expect(await lwm2m.registrationOf(thing)).toBeNull();
    // Its node looks after it, wherever that is.
    await eventually(() => told.includes(thing));
    stop();
  });
});

describe('a request to a device', () => {
  const read = (thing: string, query = '', asker = admin): Promise<Answered> =>
    asker.call('POST', `/things/${thing}/lwm2m/read${query}`, { path: TEMPERATURE });
  /** A device that has registered. */
  async function newRegistered(): Promise<{ thing: string }> {
    const { thing, endpoint } = await newDevice();
    await node.registry.lwm2m.register(registered(thing, { endpoint }));
    return { thing };
  }
  const values = [{ path: TEMPERATURE, value: 21.5, unit: 'Cel', name: 'Sensor Value' }];
  const done: CommandOutcome = { state: 'done', result: { code: '2.05', values } };

  test('is answered by the device that is there, whichever node has it', async () => {
    for (const at of [node, other]) {
      const { thing } = await newRegistered();
      const device = answering(at, thing, done);
      const answered = await read(thing, '?wait=30');
      device.stop();
      expect(answered.status).toBe(200);
      expect(answered.body).toEqual({ command_id: expect.any(String), code: '2.05', values });
      expect(device.asked).toEqual([{ kind: 'lwm2m.read', path: TEMPERATURE }]);
      const { body } = await admin.call('GET', `/commands/${answered.body.command_id}`);
      expect(body).toMatchObject({ state: 'done', kind: 'lwm2m.read', result: { code: '2.05', values } });
    }
  });

  test('holds no connection to the database while it waits', async () => {
    const { thing } = await newRegistered();
    // More than there are connections.
    const asked = Array.from({ length: 20 }, () => read(thing, '?wait=60'));
    await eventually(async () => (await admin.call('GET', `/things/${thing}/commands?state=open`)).body.total === 20);
    expect((await admin.call('GET', '/things')).status).toBe(200);
    for (const { id } of await other.registry.commands.take(thing, KINDS, 60_000))
      await other.registry.commands.settle(id, done);
    for (const { status } of await Promise.all(asked)) expect(status).toBe(200);
  });

  test('goes on as a command when the device sleeps', async () => {
    const { thing } = await newRegistered();
    for (const query of ['?wait=0', '?wait=1']) {
      const answered = await read(thing, query);
      expect([answered.status, answered.body.state]).toEqual([202, 'queued']);
      expect(answered.headers.get('location')).toBe(`/commands/${answered.body.id}`);
    }
    const woken = await other.registry.commands.take(thing, KINDS, 60_000);
    expect(woken).toHaveLength(2);
    await other.registry.commands.settle(woken[0]?.id ?? '', done);
    const { body } = await admin.call('GET', `/commands/${woken[0]?.id}`);
    expect(body).toMatchObject({ state: 'done', result: { values } });
  });

  test('tells of a refusal with the code of the device', async () => {
    const { thing } = await newRegistered();
    const device = answering(node, thing, { state: 'failed', result: { code: '4.05' }, detail: 'It can not be read.' });
    const refused = await read(thing, '?wait=30');
    device.stop();
    expect([refused.status, refused.body.detail]).toEqual([
      502,
      'The device did not do it. It answered 4.05. It can not be read.',
    ]);
    expect(refused.headers.get('location')).toMatch(/^\/commands\//);
  });

  test('is answered at once by a node that goes down', async () => {
    const { thing } = await newRegistered();
    const dying = await plane.node();
    const asker = dying.stranger.with(admin.headers);
    const asked = read(thing, '?wait=60', asker);
    await eventually(async () => (await admin.call('GET', `/things/${thing}/commands`)).body.total === 1);
    const begun = performance.now();
    dying.registry.commands.answerNow();
    for (const answered of [await asked, await read(thing, '?wait=60', asker)]) expect(answered.status).toBe(202);
    expect(performance.now() - begun).toBeLessThan(30_000);
    await dying.stop();
  });

  test('ends with the thing', async () => {
    const { thing } = await newRegistered();
    const asked = read(thing, '?wait=60');
    await eventually(async () => (await admin.call('GET', `/things/${thing}/commands`)).body.total === 1);
    await admin.call('DELETE', `/things/${thing}`);
    expect((await asked).status).toBe(404);
  });

  test('needs a device: one that has registered, or has an account', async () => {
    const thing = await newThing();
    const refused = await read(thing, '?wait=0');
    expect([refused.status, refused.body.detail]).toEqual([404, expect.stringContaining('has no account')]);
    expect((await admin.call('GET', `/things/${thing}/commands`)).body.total).toBe(0);
    await node.registry.lwm2m.register(registered(thing));
    expect((await read(thing, '?wait=0')).status).toBe(202);
  });

  test('does not wait for one that has not registered', async () => {
    const { thing } = await newDevice();
    const begun = performance.now();
    expect((await read(thing, '?wait=60')).status).toBe(202);
    expect(performance.now() - begun).toBeLessThan(30_000);
  });

  test('writes what the audit must not tell', async () => {
    const { thing } = await newDevice();
    const secret = 'wifi-passphrase-4711';
    const left = await leaves(plane, node, async () => {
      const body = { path: '/26241/0/1', value: secret };
      expect((await admin.call('POST', `/things/${thing}/lwm2m/write?wait=0`, body)).status).toBe(202);
    });
    expect(left[0]).toMatchObject({ action: 'commands.create', detail: { kind: 'lwm2m.write', path: '/26241/0/1' } });
    expect(await secretsInAudit(plane, [secret])).toEqual([]);
  });

  test.each<[string, object]>([
    ['read', { path: '/3303' }],
    ['read', { path: '/3303/0/5700/65534', format: 'senml-cbor' }],
    ['write', { path: TEMPERATURE, value: -1.5e-7 }],
    ['write', { path: '/5/0/0', value: { base64: 'AAECAw==' } }],
    ['write', { path: '/3/0/15/0', value: 'Europe/Berlin' }],
    ['write', { path: '/1/0', values: { '1': 60, '7': 'U', '3': { '0': 1, '1': true } }, mode: 'update' }],
    ['execute', { path: '/3/0/4' }],
    ['execute', { path: '/5/0/2', arguments: "0='a=1',5" }],
    ['observe', { path: TEMPERATURE, attributes: 'pmin=10&pmax=60&gt=-5.5' }],
    ['cancel', {}],
    ['create', { path: '/3340', values: { '5521': 60 } }],
    ['delete', { path: '/3340/0' }],
    ['discover', { path: '/3303', expires_in: 60 }],
  ])('%s %j is a command', async (operation, body) => {
    const { thing } = await newDevice();
    const { status, body: command } = await admin.call('POST', `/things/${thing}/lwm2m/${operation}?wait=0`, body);
    const { expires_in: _, ...given } = body as { expires_in?: number };
    expect([status, command.kind, command.arguments]).toEqual([202, `lwm2m.${operation}`, given]);
    // The same by the general way.
    const general = { kind: `lwm2m.${operation}`, arguments: given };
    expect((await admin.call('POST', `/things/${thing}/commands`, general)).status).toBe(202);
  });

  test.each<[string, unknown, string]>([
    ['read', {}, 'path'],
    ['read', { path: '3303/0/5700' }, 'path'],
    ['read', { path: '/' }, 'path'],
    ['read', { path: '/03303/0' }, 'path'],
    ['read', { path: '/65535/0' }, 'path'],
    ['read', { path: '/1/2/3/4/5' }, 'path'],
    ['read', { path: '/3303/0/../1' }, 'path'],
    ['read', { path: '/3/0', format: 'xml' }, 'format'],
    ['write', { path: TEMPERATURE }, 'value'],
    ['write', { path: TEMPERATURE, value: 1, values: { '5700': 1 } }, 'value'],
    ['write', { path: '/3303/0', value: 1 }, 'value'],
    ['write', { path: '/3303', values: { '0': 1 } }, 'path'],
    ['write', { path: '/3303/0', values: {} }, 'values'],
    ['write', { path: '/3303/0', values: { name: 1 } }, 'values'],
    ['write', { path: '/5/0/0', value: { base64: '*' } }, 'value'],
    ['write', { path: TEMPERATURE, value: 'x'.repeat(40_000) }, 'value'],
    ['write', { path: TEMPERATURE, value: null }, 'value'],
    ['execute', { path: '/3/0' }, 'path'],
    ['execute', { path: '/3/0/4', arguments: 'reboot now' }, 'arguments'],
    ['observe', { path: '/3/0', attributes: 'pmin=10&x=1' }, 'attributes'],
    ['create', { path: '/3340/0/1' }, 'path'],
    ['delete', { path: '/3340' }, 'path'],
    ['read', { path: '/3/0', expires_in: 0 }, 'expires_in'],
    ['read', { path: '/3/0', wait: 1 }, 'wait: unknown field'],
  ])('%s %j is refused, and made no command', async (operation, body, told) => {
    const { thing } = await newDevice();
    const answered = await admin.call('POST', `/things/${thing}/lwm2m/${operation}?wait=0`, body);
    expect([answered.status, answered.body.detail]).toEqual([422, expect.stringContaining(told)]);
    expect((await admin.call('GET', `/things/${thing}/commands`)).body.total).toBe(0);
  });

  test('waits no longer than a minute, and not for somebody who may not', async () => {
    const { thing } = await newDevice();
    expect((await read(thing, '?wait=61')).status).toBe(400);
    expect((await read(thing, '?wait=-1')).status).toBe(400);
    const viewer = await node.stranger.newUser('onlooker@example.org');
    await admin.call('PUT', `/orgs/${org}/members/${await idOf(viewer)}`, { role: 'viewer' });
    expect((await read(thing, '?wait=60', viewer)).status).toBe(403);
  });
});
