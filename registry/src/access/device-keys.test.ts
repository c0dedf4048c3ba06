import { createMetrics, type DeviceKeys, type DirectoryChange, type Started, uuidV7 } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../database/database.ts';
import type { Registry } from '../registry.ts';
import { logger, startRegistry, temporaryPostgres } from '../testing/fixture.ts';
import { until } from '../testing/until.ts';
import { createDeviceKeys } from './device-keys.ts';

let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
let database: Database;
let nowMs = Date.UTC(2026, 0, 15, 12);
const nodes: Started<Registry>[] = [];
let here: Registry;
let there: Registry;
let keys: DeviceKeys;
let org: string;

const newOrg = async (): Promise<string> => {
  const id = uuidV7();
  await database.query('INSERT INTO registry.orgs (id, name) VALUES ($1, $2)', [id, 'Fields']);
  return id;
};
const thing = async (more: Parameters<Registry['things']['create']>[1][number] = {}, of = org) => {
  const [made] = await here.things.create(of, [more]);
  if (made === undefined) throw new Error('it was not made');
  return { id: made.thing.id, key: made.key, externalKey: here.things.externalKey(made.thing) };
};

beforeAll(async () => {
  postgres = await temporaryPostgres();
  for (let n = 0; n < 2; n++) nodes.push(await startRegistry(postgres.url, { now: () => nowMs }));
  [here, there] = nodes.map(({ value }) => value) as [Registry, Registry];
  keys = here.deviceKeys;
  database = openDatabase({ url: postgres.url, connectionsMax: 4, logger, metrics: createMetrics() });
  org = await newOrg();
}, 120_000);
afterAll(async () => {
  for (const each of nodes.splice(0)) await each.stop();
  await database?.close();
  await postgres?.dispose();
});

describe('the keys of a thing', () => {
  test('are its key, and after a rotation with an overlap the one before beside it until that ends', async () => {
    const { id, key } = await thing();
    expect(await keys.keysOf(id)).toEqual([key]);
    const rotated = await here.thingKeys.rotate(id, { overlapSeconds: 60 });
    expect(await keys.keysOf(id)).toEqual([rotated?.key, key]);
    nowMs += 61_000;
    expect(await keys.keysOf(id)).toEqual([rotated?.key]);
  });
  test('are only the new one after a rotation without an overlap, or the end of one', async () => {
    const { id } = await thing();
    const second = await here.thingKeys.rotate(id, {});
    expect(await keys.keysOf(id)).toEqual([second?.key]);
    const third = await here.thingKeys.rotate(id, { overlapSeconds: 60 });
    expect(await keys.keysOf(id)).toEqual([third?.key, second?.key]);
    await here.thingKeys.endOverlap(id);
    expect(await keys.keysOf(id)).toEqual([third?.key]);
  });
  test('are none of what is disabled, deleted, or never was; and are there once it is', async () => {
    const { id, key } = await thing();
    await here.things.update(id, { enabled: false });
    expect(await keys.keysOf(id)).toEqual([]);
    await here.things.update(id, { enabled: true });
    expect(await keys.keysOf(id)).toEqual([key]);
    await here.things.remove(id);
    expect(await keys.keysOf(id)).toEqual([]);
    const wanted = uuidV7();
    expect(await keys.keysOf(wanted)).toEqual([]);
    const made = await thing({ id: wanted });
    expect(await keys.keysOf(wanted)).toEqual([made.key]);
  });
  test('are void on another node too, within a second or so', async () => {
    const { id, key } = await thing();
    expect(await there.deviceKeys.keysOf(id)).toEqual([key]);
    const rotated = await here.thingKeys.rotate(id, {});
    await until(async () => (await there.deviceKeys.keysOf(id))[0] === rotated?.key);
  });
  test('are remembered whatever waits for devices meanwhile, and not if something about things changed', async () => {
    const listeners: ((change: DirectoryChange) => void)[] = [];
    let asked = 0;
    let meanwhile: DirectoryChange['entity'] = 'thing';
    const id = uuidV7();
    const alone = createDeviceKeys({
      session: {
        async query<T>() {
          asked++;
          for (const tell of listeners) tell({ entity: meanwhile, id: uuidV7(), org: null, voids: [], version: asked });
          return [{ id, sealed: 'sealed', previous: null, untilMs: null }] as T[];
        },
      },
      feed: { onChange: (listener: (change: DirectoryChange) => void) => listeners.push(listener) } as never,
      credentials: { decrypt: () => 'key' } as never,
      now: () => nowMs,
    });
    expect(await alone.keysOf(id)).toEqual(['key']);
    meanwhile = 'command';
    expect(await alone.keysOf(id)).toEqual(['key']);
    expect(asked, 'the first answer may be from before the change').toBe(2);
    expect(await alone.keysOf(id)).toEqual(['key']);
    expect(asked).toBe(2);
  });
  test.each(['', 'thing', "' OR true --", '\0', '0'.repeat(10_000)])(
    'of %j are none, and nothing is asked',
    async (identity) => {
      expect(await keys.keysOf(identity)).toEqual([]);
      expect(await keys.bootstrapKeys(identity)).toEqual([]);
    },
  );
  test('of hundreds that ask at once are each its own', async () => {
    const made = await here.things.create(
      org,
      Array.from({ length: 700 }, (_, n) => ({ name: `${n}` })),
    );
    const found = await Promise.all(made.map(({ thing: { id } }) => keys.keysOf(id)));
    expect(found).toEqual(made.map(({ key }) => [key]));
  });
});

describe('the keys of a bootstrap', () => {
  test('are the external keys of all that have the external id, each in its organisation', async () => {
    const other = await newOrg();
    const one = await thing({ externalId: 'urn:imei:1' });
    const another = await thing({ externalId: 'urn:imei:1' }, other);
    await thing({ externalId: 'urn:imei:2' });
    expect(await keys.bootstrapKeys('urn:imei:1')).toEqual([
      { thing: one.id, key: one.externalKey },
      { thing: another.id, key: another.externalKey },
    ]);
    await here.things.update(one.id, { enabled: false });
    expect(await keys.bootstrapKeys('urn:imei:1')).toEqual([{ thing: another.id, key: another.externalKey }]);
    expect(await keys.bootstrapKeys('urn:imei:3')).toEqual([]);
  });
});
