import {
  createMetrics,
  type LoraDevice,
  type NetworkServer,
  type Started,
  type ThingRecord,
  uuidV7,
} from '@millrace/core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../database/database.ts';
import type { Registry } from '../registry.ts';
import { logger, startRegistry, temporaryPostgres } from '../testing/fixture.ts';
import type { NewServerBody } from './server-schemas.ts';
import { newSettings } from './server-settings.ts';

const DEV_EUI = '70b3d57ed0001a2b';
const SPELLINGS = [
  DEV_EUI,
  DEV_EUI.toUpperCase(),
  '70-B3-D5-7E-D0-00-1A-2B',
  '70:b3:d5:7e:d0:00:1a:2b',
  '70b3D57E-d0001a2b',
];
const DAY_MS = 86_400_000;

let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
let database: Database;
let nowMs = Date.UTC(2026, 0, 15, 12);
const nodes: Started<Registry>[] = [];
let here: Registry;
let there: Registry;
let org: string;
let otherOrg: string;

async function node(): Promise<Registry> {
  const started = await startRegistry(postgres.url, { now: () => nowMs });
  nodes.push(started);
  return started.value;
}
async function newOrg(): Promise<string> {
  const id = uuidV7();
  await database.query('INSERT INTO registry.orgs (id, name) VALUES ($1, $2)', [id, 'Fields']);
  return id;
}
const thing = async (more: Parameters<Registry['things']['create']>[1][number] = {}, of = org): Promise<string> =>
  (await here.things.create(of, [more]))[0]?.thing.id ?? '';
const channel = async (lora: unknown, of = org): Promise<string> =>
  (await here.channels.create(of, [{ name: 'fields', metadata: { lora } }]))[0]?.id ?? '';
const codec = async (name: string, deviceProfiles: readonly string[] = []): Promise<string> =>
  (await here.codecs.create(org, { name, kind: 'javascript', script: 'x', deviceProfiles })).id;
async function server(body: Partial<NewServerBody> = {}, of = org): Promise<NetworkServer> {
  const whole: NewServerBody = { name: uuidV7(), kind: 'chirpstack-v4', ...body };
  const { id } = await here.networkServers.servers.create(of, { ...whole, ...newSettings(whole) });
  const found = (await here.lora.servers()).find((each) => each.id === id);
  if (found === undefined) throw new Error('it is not there');
  return found;
}
const deviceOf = (devEui = DEV_EUI): LoraDevice => ({
  devEui,
  name: 'Soil 12',
  applicationId: 'app-1',
  applicationName: 'Fields',
  deviceProfile: 'lht65',
});
const record = async (id: string) => {
  const found = await here.directory.channel(id, null);
  if (found === null) throw new Error('there is no such channel');
  return found;
};

beforeAll(async () => {
  postgres = await temporaryPostgres();
  here = await node();
  there = await node();
  database = openDatabase({ url: postgres.url, connectionsMax: 4, logger, metrics: createMetrics() });
}, 120_000);
beforeEach(async () => {
  org = await newOrg();
  otherOrg = await newOrg();
});
afterAll(async () => {
  for (const each of nodes.splice(0)) await each.stop();
  await database?.close();
  await postgres?.dispose();
});

describe('a device', () => {
  test.each(SPELLINGS)('is found by a DevEUI that its external id spells %s', async (spelling) => {
    const id = await thing({ externalId: spelling });
    expect((await here.lora.device(org, DEV_EUI))?.id).toBe(id);
    expect(await here.lora.device(otherOrg, DEV_EUI), 'in another organisation').toBeNull();
  });

  test.each(SPELLINGS)('is found by a DevEUI that its metadata spell %s', async (spelling) => {
    const id = await thing({ metadata: { lora: { dev_eui: spelling } } });
    expect(await here.lora.device(org, DEV_EUI)).toMatchObject({ kind: 'thing', id, org, enabled: true });
  });

  test('has the DevEUI of its metadata, whatever its external id looks like', async () => {
    const id = await thing({ externalId: '1111111111111111', metadata: { lora: { dev_eui: DEV_EUI } } });
    expect((await here.lora.device(org, DEV_EUI))?.id).toBe(id);
    expect(await here.lora.device(org, '1111111111111111')).toBeNull();
    expect((await here.lora.reach(id))?.devEui).toBe(DEV_EUI);
  });

  test('that two things claim to be is the older one', async () => {
    const older = await thing({ externalId: DEV_EUI });
    await thing({ metadata: { lora: { dev_eui: DEV_EUI } } });
    expect((await here.lora.device(org, DEV_EUI))?.id).toBe(older);
  });

  test.each(['', DEV_EUI.toUpperCase(), `${DEV_EUI}0`, "' OR true --", 'zzzzzzzzzzzzzzzz'])(
    'is not looked for by %j, which is no DevEUI as they come here',
    async (devEui) => {
      await thing({ externalId: DEV_EUI });
      expect(await here.lora.device(org, devEui)).toBeNull();
    },
  );

  test('is looked up by an index, in an organisation of any size', async () => {
    await database.query(
      `INSERT INTO registry.things (id, org, name, type, key_digest, key_sealed, external_id)
       SELECT gen_random_uuid(), $1, 'many', 'device', gen_random_uuid()::text, '', lpad(to_hex(number), 16, '0')
       FROM generate_series(1, 20000) AS number`,
      [org],
    );
    await database.query('ANALYZE registry.things');
    const plan = await database.query<Record<string, string>>(
      `EXPLAIN SELECT id FROM registry.things WHERE org = $1
         AND registry.lora_dev_eui(things.metadata, things.external_id) = $2`,
      [org, '0000000000001000'],
    );
    expect(JSON.stringify(plan)).toContain('things_dev_eui');
    expect(await here.lora.device(org, '0000000000001000')).not.toBeNull();
  });
});

describe('an application', () => {
  test.each([
    ['a text', 'Farm-7', 'farm-7'],
    ['a number', 7, '7'],
  ])('is a channel whose metadata name it, as %s', async (_, appId, asked) => {
    const id = await channel({ app_id: appId });
    expect(await here.lora.application(org, asked)).toMatchObject({ id, org, enabled: true });
    expect(await here.lora.applicationOf(id)).toEqual({ org, channel: id, applicationId: String(appId), server: null });
    expect(await here.lora.application(otherOrg, asked)).toBeNull();
  });

  test('of two servers with the same id is the channel that names the server', async () => {
    const first = await channel({ app_id: 1, server: 'north' });
    const second = await channel({ app_id: 1, server: 'south' });
    const of = async (name: string) => (await here.lora.application(org, '1', { id: uuidV7(), name }))?.id;
    expect([await of('north'), await of('south'), await of('east')]).toEqual([first, second, undefined]);
    const any = await channel({ app_id: 1 });
    expect([await of('north'), await of('east')]).toEqual([first, any]);
  });

  test('is none where nothing is said, or nonsense asked', async () => {
    const id = await channel({ app_id: '' });
    expect(await here.lora.applicationOf(id)).toBeNull();
    for (const asked of ['', 'a\0b', '{}']) expect(await here.lora.application(org, asked)).toBeNull();
  });

  test('has as its devices the things that are connected and have a DevEUI', async () => {
    const id = await channel({ app_id: 'app-1' });
    const [first, second, plain] = [
      await thing({ externalId: DEV_EUI.toUpperCase() }),
      await thing({ metadata: { lora: { dev_eui: '0102030405060708' } } }),
      await thing({ externalId: 'pump 3' }),
    ];
    await thing({ externalId: 'ffffffffffffffff' });
    await here.connections.connect(org, [first, plain], [id], ['publish', 'subscribe']);
    await here.connections.connect(org, [second], [id], ['publish']);
    const told = (await here.lora.devicesOf(id, 10)).map((each) => [each.thing.id, each.devEui, each.subscribe]);
    expect(told).toEqual([
      [first, DEV_EUI, true],
      [second, '0102030405060708', false],
    ]);
    expect(await here.lora.devicesOf(id, 1)).toHaveLength(1);
  });

  test('by which a device is reached is first the one that its metadata name', async () => {
    const channels = [await channel({ app_id: 'old' }), await channel({ app_id: 'own', server: 'north' })];
    const id = await thing({ metadata: { lora: { dev_eui: DEV_EUI, app_id: 'own', device_id: 'soil-12' } } });
    await here.connections.connect(org, [id], [channels[0] ?? ''], ['publish']);
    await here.connections.connect(org, [id], [channels[1] ?? '', await channel({})], ['publish']);
    expect(await here.lora.reach(id)).toMatchObject({
      thing: { id },
      devEui: DEV_EUI,
      deviceId: 'soil-12',
      applications: [
        { channel: channels[1], applicationId: 'own', server: 'north' },
        { channel: channels[0], applicationId: 'old', server: null },
      ],
    });
    expect(await here.lora.reach(await thing({ externalId: 'pump' }))).toBeNull();
  });
});

describe('a codec', () => {
  const asked = async (metadata: object | null, profiles: readonly string[] = [], of: string | null = null) => {
    const found =
      metadata === null ? null : await here.directory.subject(await thing({ metadata: { lora: metadata } }));
    return (await here.lora.codec(org, found as ThingRecord | null, profiles, of))?.id;
  };

  test('is the one that the thing names, by id or by name, before that of its profile and its channel', async () => {
    const [own, ofProfile] = [await codec('own'), await codec('of the profile', ['lht65', 'lht65n'])];
    const ofChannel = await codec('of the channel');
    const at = await channel({ app_id: 1, codec: 'of the channel' });
    expect(await asked({ codec: own }, ['lht65'], at)).toBe(own);
    expect(await asked({ codec: own.toUpperCase() }, ['lht65'], at)).toBe(own);
    expect(await asked({ codec: 'own' }, ['lht65'], at)).toBe(own);
    expect(await asked({}, ['unknown', 'lht65'], at)).toBe(ofProfile);
    expect(await asked(null, ['lht65n'])).toBe(ofProfile);
    expect(await asked({}, ['unknown'], at)).toBe(ofChannel);
    expect(await asked({}, ['unknown'])).toBeUndefined();
  });

  test('that is named but gone is none: another one would decode nonsense', async () => {
    await codec('of the profile', ['lht65']);
    expect(await asked({ codec: 'gone' }, ['lht65'])).toBeUndefined();
  });

  test('that two list for one profile is the older one; one of another organisation is none', async () => {
    const older = await codec('older', ['lht65']);
    await codec('newer', ['lht65']);
    expect(await asked({}, ['lht65'])).toBe(older);
    org = otherOrg;
    expect(await asked({ codec: older }, ['lht65'])).toBeUndefined();
  });

  test('is not disturbed by what a network server may send', async () => {
    for (const codecOf of [7, null, ['x'], { a: 1 }, ''])
      expect(await asked({ codec: codecOf }, ['a\0', ''])).toBeUndefined();
  });
});

describe('an unknown device', () => {
  const provisioning = { subscribe: false, things_per_day_max: 3 };

  test('gets a thing in the group, connected with the channel, and the audit says by whom', async () => {
    const { id: group } = await here.groups.create(org, { name: 'fields' });
    const by = await server({ provisioning: { ...provisioning, group_id: group } });
    const to = await record(await channel({ app_id: 'app-1' }));
    const made = await here.lora.provision(by, deviceOf(), to);
    expect(made).toMatchObject({ kind: 'thing', org, enabled: true, type: 'device' });
    const kept = await here.things.get(made?.id ?? '');
    expect(kept).toMatchObject({
      name: 'Soil 12',
      externalId: DEV_EUI,
      groupId: group,
      metadata: { lora: { dev_eui: DEV_EUI, app_id: 'app-1', device_profile: 'lht65' } },
    });
    expect(await here.lora.devicesOf(to.id, 10)).toMatchObject([{ devEui: DEV_EUI, subscribe: false }]);
    const audit = await database.query<Record<string, string>>(
      `SELECT action, actor_kind, actor, actor_name, protocol FROM registry.audit WHERE org = $1 AND actor = $2 ORDER BY action`,
      [org, by.id],
    );
    expect(audit.map(({ action }) => action)).toEqual(['connections.create', 'things.create']);
    expect(audit[0]).toMatchObject({ actor_kind: 'system', actor_name: `network server ${by.name}`, protocol: 'lora' });
  });

  test('that many nodes hear of at once gets one thing', async () => {
    const by = await server({ provisioning });
    const to = await record(await channel({ app_id: 'app-1' }));
    const all = await Promise.all(
      Array.from({ length: 12 }, (_, index) => (index % 2 === 0 ? here : there).lora.provision(by, deviceOf(), to)),
    );
    expect(new Set(all.map((each) => each?.id)).size).toBe(1);
    expect(all[0]).not.toBeNull();
    expect(await here.networkServers.provisioner.madeToday(by.id)).toBe(1);
  });

  test('gets none when the day has had its number, and one on the next day', async () => {
    const by = await server({ provisioning });
    const to = await record(await channel({ app_id: 'app-1' }));
    const devices = Array.from({ length: 8 }, (_, index) => deviceOf(index.toString(16).padStart(16, '0')));
    const made = await Promise.all(
      devices.map((device, index) => (index % 2 === 0 ? here : there).lora.provision(by, device, to)),
    );
    expect(made.filter((each) => each !== null)).toHaveLength(3);
    nowMs += DAY_MS;
    expect(await here.lora.provision(by, deviceOf(), to)).not.toBeNull();
    expect(await here.networkServers.provisioner.madeToday(by.id)).toBe(1);
  });

  test('gets none from a server that is disabled, gone, frozen or provisions no more, or for a foreign channel', async () => {
    const to = await record(await channel({ app_id: 'app-1' }));
    const by = await server({ provisioning });
    const foreign = await record(await channel({ app_id: 'app-1' }, otherOrg));
    expect(await here.lora.provision(by, deviceOf(), foreign)).toBeNull();
    const { servers } = here.networkServers;
    await servers.update(by.id, { enabled: false }, null);
    expect(await here.lora.provision(by, deviceOf(), to)).toBeNull();
    await servers.update(by.id, { enabled: true }, null);
    await database.query('UPDATE registry.orgs SET frozen = true WHERE id = $1', [org]);
    expect(await here.lora.provision(by, deviceOf(), to)).toBeNull();
    expect((await here.lora.servers()).find(({ id }) => id === by.id)?.enabled).toBe(false);
    await database.query('UPDATE registry.orgs SET frozen = false WHERE id = $1', [org]);
    await servers.remove(by.id, null);
    expect(await here.lora.provision(by, deviceOf(), to)).toBeNull();
    expect(await here.lora.provision(await server(), deviceOf(), to)).toBeNull();
  });

  test('gets none when its group or the channel is gone, and costs nothing of the day', async () => {
    const group = uuidV7();
    const by = await server({ provisioning: { ...provisioning, group_id: group } });
    const to = await record(await channel({ app_id: 'app-1' }));
    expect(await here.lora.provision(by, deviceOf(), to)).toBeNull();
    const without = await server({ provisioning });
    expect(await here.lora.provision(without, deviceOf(), { ...to, id: uuidV7() })).toBeNull();
    expect(await here.networkServers.provisioner.madeToday(without.id)).toBe(0);
    expect(await here.lora.device(org, DEV_EUI)).toBeNull();
  });

  test('gets one although a thing has its DevEUI as external id and another one in its metadata', async () => {
    const by = await server({ provisioning });
    const to = await record(await channel({ app_id: 'app-1' }));
    const taken = await thing({ externalId: DEV_EUI, metadata: { lora: { dev_eui: '0102030405060708' } } });
    const made = await here.lora.provision(by, deviceOf(), to);
    expect(made?.id).not.toBe(taken);
    expect((await here.lora.device(org, DEV_EUI))?.id).toBe(made?.id);
  });

  test('may have any name, also one that can not be kept', async () => {
    const by = await server({ provisioning });
    const to = await record(await channel({ app_id: 'app-1' }));
    const made = await here.lora.provision(by, { ...deviceOf(), name: `a\0b\ud800${'x'.repeat(5_000)}` }, to);
    expect((await here.things.get(made?.id ?? ''))?.name).toBe(`ab${'x'.repeat(1_020)}`);
    const nameless = await here.lora.provision(by, { ...deviceOf('0000000000000001'), name: '\0' }, to);
    expect((await here.things.get(nameless?.id ?? ''))?.name).toBe('0000000000000001');
  });
});

describe('a change', () => {
  test('is told on the node that made it before it answers, and on the other soon', { timeout: 120_000 }, async () => {
    const told: { node: string; kind: string; org: string | null; id: string | null }[] = [];
    const ends = [
      here.lora.onChange((change) => told.push({ node: 'here', ...change })),
      there.lora.onChange((change) => told.push({ node: 'there', ...change })),
    ];
    const heard = (node: string, kind: string, id: string): boolean =>
      told.some((each) => each.node === node && each.kind === kind && each.id === id && each.org === org);
    const both = async (kind: string, id: string): Promise<void> => {
      expect(heard('here', kind, id)).toBe(true);
      await expect.poll(() => heard('there', kind, id), { timeout: 20_000 }).toBe(true);
    };
    await both('devices', await thing({ externalId: DEV_EUI }));
    await both('devices', await channel({ app_id: 1 }));
    const made = await codec('one');
    await both('devices', made);
    const { id } = await server();
    await both('servers', id);
    told.length = 0;
    await here.codecs.update(made, { script: 'y' }, null);
    await both('devices', made);
    await here.networkServers.servers.update(id, { enabled: false }, null);
    await both('servers', id);
    told.length = 0;
    await here.networkServers.servers.remove(id, null);
    await both('servers', id);
    for (const end of ends) end();
    told.length = 0;
    await thing();
    expect(told).toEqual([]);
  });
});

describe('how a connection is', () => {
  test('is told by each node, without waiting, and forgotten when it stops', async () => {
    const { id } = await server();
    const third = await startRegistry(postgres.url, { now: () => nowMs });
    here.lora.report(id, { state: 'connecting', detail: '', lastEventMs: null });
    here.lora.report(id, { state: 'connected', detail: '', lastEventMs: nowMs });
    third.value.lora.report(id, { state: 'refused', detail: 'bad\0 password', lastEventMs: null });
    third.value.lora.report(uuidV7(), { state: 'connected', detail: 'of a server that is gone', lastEventMs: null });
    await here.networkServers.states.flush();
    await third.value.networkServers.states.flush();
    const states = await there.networkServers.states.of(id);
    expect(
      states.map(({ state, detail, lastEventAt }) => [state, detail, lastEventAt?.getTime() ?? null]).toSorted(),
    ).toEqual([
      ['connected', '', nowMs],
      ['refused', 'bad password', null],
    ]);
    await here.networkServers.servers.update(id, { enabled: false }, null);
    expect(await there.networkServers.states.of(id), 'its connections are closed').toEqual([]);
    await here.networkServers.servers.update(id, { enabled: true }, null);
    await third.stop();
    expect((await there.networkServers.states.of(id)).map(({ state }) => state)).toEqual(['connected']);
  });

  test('is still told by a node that was silent for long', async () => {
    const { id } = await server();
    const told = async () => (await there.networkServers.states.of(id)).map(({ state }) => state);
    here.lora.report(id, { state: 'connecting', detail: '', lastEventMs: null });
    await here.networkServers.states.flush();
    await database.query(`UPDATE registry.network_server_states SET seen_at = now() - interval '1 day'`);
    expect(await told()).toEqual([]);
    here.lora.report(id, { state: 'connected', detail: '', lastEventMs: null });
    await here.networkServers.states.flush();
    expect(await told()).toEqual(['connected']);
  });
});
