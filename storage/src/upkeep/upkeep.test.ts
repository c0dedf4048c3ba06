import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, createMetrics, type Deletion, type RetentionRules, readConfig } from '@millrace/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StorageConfig } from '../config.ts';
import { openStore, type Store } from '../store.ts';
import { batchOf, type GivenMessage } from '../testing/batches.ts';
import { rowsOf } from '../testing/rows.ts';

const T0 = Date.UTC(2026, 10, 21, 12) * 1_000;
const DAY_US = 86_400_000_000;
const signal = AbortSignal.timeout(300_000);
let directory = '';
let store: Store;
let stop: () => Promise<void>;
let next = 0;
let mark = 0;
let rows: <Row>(statement: string) => Promise<Row[]>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-upkeep-'));
  const started = await openStore(readConfig(StorageConfig, {}), {
    directory,
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
  }).start();
  store = started.value;
  stop = () => started.stop();
  rows = rowsOf(directory, 'millrace');
});
afterAll(async () => {
  await stop?.();
  await rm(directory, { recursive: true, force: true });
});

async function write(messages: readonly GivenMessage[]): Promise<void> {
  const first = next;
  next += messages.length;
  await store.write('messages', batchOf(first, messages), { verify: false });
}
const options = () => ({ mark: `test-${mark++}`, signal });
const all = (org: string, more: Partial<Deletion> = {}): Deletion => ({
  org,
  what: ['readings', 'payloads', 'dead_letters', 'message_log'],
  before: null,
  ...more,
});
async function destroy(deletion: Deletion): Promise<void> {
  await store.upkeep.erase(deletion, options());
  let span = null;
  for (let round = 0; round < 20; round++) {
    const told = await store.upkeep.correct(deletion, span, options());
    if (told.differing === 0) return;
    span = told.span;
  }
  throw new Error('rollups never became what the readings are');
}

/** Buckets by what they are made of; `latest` has the newest value of all kinds. */
const BUCKETS = (
  org: string,
): string => `SELECT width, channel, name, publisher, subtopic, unit, toString(bucket) AS start, sum(count) AS n,
  min(minimum) AS low, max(maximum) AS high, round(sum(sum), 6) AS total
  FROM rollups WHERE org = '${org}' AND width > 0 GROUP BY ALL ORDER BY ALL`;
const EXPECTED = (org: string): string => `SELECT width, channel, name, publisher, subtopic, unit,
  toString(toDateTime64(if(width = 60, toStartOfMinute(time), toStartOfHour(time)), 0, 'UTC')) AS start, count() AS n, min(assumeNotNull(value)) AS low,
  max(assumeNotNull(value)) AS high, round(sum(assumeNotNull(value)), 6) AS total
  FROM readings ARRAY JOIN [60, 3600]::Array(UInt32) AS width WHERE org = '${org}' AND isNotNull(value) GROUP BY ALL ORDER BY ALL`;

async function expectRollupsOfReadings(org: string): Promise<void> {
  expect(await rows(BUCKETS(org))).toEqual(await rows(EXPECTED(org)));
  const newest = `SELECT channel, name, publisher, subtopic, toString(max(time)) AS at FROM`;
  const by = `WHERE org = '${org}' GROUP BY ALL ORDER BY ALL`;
  expect(await rows(`${newest} latest ${by}`)).toEqual(await rows(`${newest} readings ${by}`));
}

const reading = (org: string, minute: number, value: number, more: Partial<GivenMessage> = {}): GivenMessage => ({
  org,
  receivedUs: T0 + minute * 60_000_000,
  readings: [{ name: 't', timeUs: T0 + minute * 60_000_000, value, unit: 'Cel' }],
  payload: new Uint8Array([1]),
  ...more,
});

test('deletes a range of one publisher, and what was made of it, and nothing else', async () => {
  const minutes = Array.from({ length: 180 }, (_, minute) => minute);
  await write([
    ...minutes.map((minute) => reading('range', minute, minute)),
    ...minutes.map((minute) => reading('range', minute + 0.5, -minute)),
    ...minutes.map((minute) => reading('range', minute, minute, { publisher: 'other' })),
    ...minutes.map((minute) => reading('beside', minute, minute)),
    {
      org: 'range',
      readings: [
        { name: 'state', timeUs: T0, stringValue: 'on' },
        { name: 'state', timeUs: T0 + 90 * 60_000_000, stringValue: 'off' },
      ],
    },
  ]);
  await expectRollupsOfReadings('range');
  // From half a minute to the end: the buckets at its beginning are cut in two.
  const deletion = all('range', { publishers: ['thing'], fromUs: BigInt(T0 + 30_000_000 + 45 * 60_000_000) });
  const before = await store.upkeep.count(deletion);
  expect(before).toMatchObject({ readings: 134 + 135 + 1, payloads: 134 + 135, dead_letters: 0 });
  await destroy(deletion);
  expect(await store.upkeep.count(deletion)).toMatchObject({ readings: 0, payloads: 0, message_log: 0 });
  const left = await rows<{ publisher: string; n: number }>(
    "SELECT publisher, toInt32(count()) AS n FROM readings WHERE org = 'range' GROUP BY publisher ORDER BY publisher",
  );
  expect(left).toEqual([
    { publisher: 'other', n: 180 },
    { publisher: 'thing', n: 46 + 45 + 1 },
  ]);
  await expectRollupsOfReadings('range');
  await expectRollupsOfReadings('beside');
  const parts = await rows("SELECT 1 FROM system.parts WHERE active AND table = 'readings' AND rows = 0");
  expect(parts).toEqual([]);
}, 60_000);

test('reaches nothing that was accepted after it was asked for', async () => {
  await write([reading('position', 0, 1)]);
  const position = next;
  await write([reading('position', 0.1, 2)]);
  const deletion = all('position', { before: new Map([[0, position]]) });
  await destroy(deletion);
  expect(await store.upkeep.count(deletion)).toMatchObject({ readings: 0 });
  expect(await rows("SELECT value FROM readings WHERE org = 'position'")).toEqual([{ value: 2 }]);
  await expectRollupsOfReadings('position');
}, 60_000);

test('a step that is done again finds what it had begun', async () => {
  await write([reading('again', 0, 1)]);
  const same = options();
  await store.upkeep.erase(all('again'), same);
  await write([reading('again', 1, 2)]);
  // The mutation is known by its mark: it is not told again, so it does not reach what came since.
  await store.upkeep.erase(all('again'), same);
  expect(await store.upkeep.count(all('again'))).toMatchObject({ readings: 1 });
}, 60_000);

test('names are taken as they are', async () => {
  const hostile = `a'); DROP TABLE readings; --\\`;
  await write([
    {
      org: 'hostile',
      readings: [
        { name: hostile, timeUs: T0, value: 1 },
        { name: 'b', timeUs: T0, value: 1 },
      ],
    },
  ]);
  await destroy(all('hostile', { what: ['readings'], names: [hostile] }));
  expect(await rows("SELECT name FROM readings WHERE org = 'hostile'")).toEqual([{ name: 'b' }]);
}, 60_000);

test('rollups become what the readings are while readings keep coming', async () => {
  await write(Array.from({ length: 300 }, (_, index) => reading('live', index / 10, index)));
  let count = 0;
  let writing = true;
  const live = (async () => {
    // Into the very buckets that are corrected, until it has been at it for long enough.
    while (writing && count < 400) {
      await write([
        reading('live', count / 20, 1_000 + count, { publisher: 'late' }),
        reading('live', count / 20, count),
      ]);
      count++;
    }
  })();
  const deletion = all('live', {
    publishers: ['thing'],
    before: new Map([[0, 1_000_000]]),
    toUs: BigInt(T0 + 5 * 60_000_000),
  });
  await store.upkeep.erase(deletion, options());
  let span = null;
  for (let round = 0; round < 3; round++) ({ span } = await store.upkeep.correct(deletion, span, options()));
  writing = false;
  await live;
  expect(count).toBeGreaterThan(0);
  let { differing, span: rest } = await store.upkeep.correct(deletion, null, options());
  for (let round = 0; differing > 0 && round < 10; round++)
    ({ differing, span: rest } = await store.upkeep.correct(deletion, rest, options()));
  expect(differing).toBe(0);
  await expectRollupsOfReadings('live');
}, 120_000);

const rules = (nowMs: number, orgs: RetentionRules['orgs']): RetentionRules => ({ nowMs, days: null, orgs });
const org = (days: number | null, more: Partial<NonNullable<ReturnType<RetentionRules['orgs']['get']>>> = {}) => ({
  days,
  rollupDays: null,
  channels: new Map(),
  holds: [],
  ...more,
});

test('a shorter retention reaches what was stored before, a longer one keeps it, and what is held stays', async () => {
  const nowUs = Date.now() * 1_000;
  const aged = (name: string, days: number, more: Partial<GivenMessage> = {}): GivenMessage => {
    const us = Math.floor(nowUs - days * DAY_US);
    return { org: 'kept', channel: name, receivedUs: us, readings: [{ name: 't', timeUs: us, value: days }], ...more };
  };
  const inAnHourS = Math.floor(Date.now() / 1_000) + 3_600;
  for (const name of ['short', 'long', 'held', 'ever'])
    await write([aged(name, 20, { expiresS: inAnHourS }), aged(name, 5), aged(name, 1)]);
  const swept = await store.upkeep.sweep(
    rules(
      Date.now(),
      new Map([
        [
          'kept',
          org(10, {
            channels: new Map([
              ['long', { days: 30, rollupDays: null }],
              ['ever', { days: null, rollupDays: null }],
              ['short', { days: 3, rollupDays: 7 }],
            ]),
            holds: [{ channels: ['held'], fromUs: BigInt(Math.floor(nowUs - 25 * DAY_US)) }],
          }),
        ],
      ]),
    ),
    options(),
  );
  expect(swept.deleted).toBeGreaterThan(0);
  const left = await rows<{ channel: string; ages: number[] }>(
    "SELECT channel, arraySort(groupArray(toInt32(value))) AS ages FROM readings WHERE org = 'kept' GROUP BY channel ORDER BY channel",
  );
  expect(left).toEqual([
    { channel: 'ever', ages: [1, 5, 20] },
    { channel: 'held', ages: [1, 5, 20] },
    { channel: 'long', ages: [1, 5, 20] },
    { channel: 'short', ages: [1] },
  ]);
  // Rollups of a channel may be kept for longer than its readings.
  const buckets = await rows(
    "SELECT toInt32(sum(count)) AS n FROM readings_1h WHERE org = 'kept' AND channel = 'short'",
  );
  expect(buckets).toEqual([{ n: 2 }]);
  const log = await rows(
    "SELECT channel, toInt32(count()) AS n FROM message_log WHERE org = 'kept' GROUP BY channel ORDER BY channel",
  );
  expect(log).toEqual([
    { channel: 'ever', n: 3 },
    { channel: 'held', n: 3 },
    { channel: 'long', n: 3 },
    { channel: 'short', n: 1 },
  ]);
  // Nothing of what must stay has an end that the engine would heed.
  const ends = await rows<{ channel: string; soonest: number }>(
    `SELECT channel, toInt32(min(toYear(expires))) AS soonest FROM readings WHERE org = 'kept' GROUP BY channel ORDER BY channel`,
  );
  expect(ends.filter(({ channel }) => channel === 'held' || channel === 'ever').map(({ soonest }) => soonest)).toEqual([
    2106, 2106,
  ]);
  const again = await store.upkeep.sweep(
    rules(
      Date.now(),
      new Map([
        [
          'kept',
          org(10, {
            channels: new Map(['ever', 'long'].map((c) => [c, { days: null, rollupDays: null }])),
            holds: [{ channels: ['held'] }, { channels: ['short'] }],
          }),
        ],
      ]),
    ),
    options(),
  );
  expect(again.deleted).toBe(0);
}, 120_000);

test('what is held does not expire though it was to, by the engine’s own clock', async () => {
  const message = (channel: string): GivenMessage => ({
    org: 'clock',
    channel,
    receivedUs: Date.now() * 1_000,
    readings: [{ name: 't', timeUs: T0, value: 1 }],
    expiresS: Math.floor(Date.now() / 1_000) + 86_400,
  });
  await write([message('held'), message('free')]);
  const orgs = new Map([['clock', org(1, { holds: [{ channels: ['held'] }] })]]);
  expect(await store.upkeep.sweep(rules(Date.now(), orgs), options())).toMatchObject({ deleted: 0 });
  // As if the day had gone by: what has an end reaches it.
  await rows(
    "ALTER TABLE readings UPDATE expires = now() - 1 WHERE org = 'clock' AND toYear(expires) < 2106 SETTINGS mutations_sync = 1",
  );
  await rows('OPTIMIZE TABLE readings FINAL');
  expect(await rows("SELECT channel FROM readings WHERE org = 'clock'")).toEqual([{ channel: 'held' }]);
}, 60_000);

test('drops whole months that nobody keeps, but not those that somebody does', async () => {
  const old = Date.UTC(2020, 4, 10) * 1_000;
  const older = Date.UTC(2020, 1, 10) * 1_000;
  const at = (us: number, name: string): GivenMessage => ({
    org: name,
    receivedUs: us,
    readings: [{ name: 't', timeUs: us, value: 1 }],
  });
  await write([at(old, 'months'), at(old, 'keeper')]);
  await write([at(older, 'months')]);
  const swept = await store.upkeep.sweep(rules(Date.now(), new Map([['months', org(30)]])), options());
  // Of readings, of messages' fates and of rollups.
  expect(swept.partitions).toBe(3);
  expect(await rows("SELECT org FROM readings WHERE received < '2021-01-01' ORDER BY org")).toEqual([
    { org: 'keeper' },
  ]);
  expect(await rows("SELECT DISTINCT org FROM rollups WHERE month < '2021-01-01'")).toEqual([{ org: 'keeper' }]);
}, 60_000);

test('leaves alone what an organisation has that the registry does not know', async () => {
  const old = Date.UTC(2019, 4, 10) * 1_000;
  const inAnHourS = Math.floor(Date.now() / 1_000) + 3_600;
  const at = (name: string, us: number): GivenMessage => ({
    org: name,
    receivedUs: us,
    readings: [
      { name: 't', timeUs: us, value: 1 },
      { name: 'state', timeUs: us, stringValue: 'on' },
    ],
  });
  await write([at('lost', old), at('', old), at('beside-lost', old)]);
  await write([{ ...at('lost', Date.now() * 1_000), expiresS: inAnHourS }]);
  // The installation itself keeps little; whether that one wanted more nobody can tell.
  await store.upkeep.sweep({ nowMs: Date.now(), days: 30, orgs: new Map([['beside-lost', org(30)]]) }, options());
  const left = (table: string, time: string) =>
    rows(`SELECT DISTINCT org FROM ${table} WHERE org IN ('lost', '', 'beside-lost') AND ${time} < '2021-01-01'`);
  expect(await left('readings', 'received')).toEqual([{ org: 'lost' }]);
  expect(await left('rollups', 'month')).toEqual([{ org: 'lost' }]);
  expect(await rows("SELECT 1 FROM latest_others WHERE org = 'lost'")).not.toEqual([]);
  const soon = await rows(
    `SELECT DISTINCT toUnixTimestamp(expires) AS s FROM readings WHERE org = 'lost' AND toYear(expires) < 2106`,
  );
  expect(soon).toEqual([{ s: inAnHourS }]);
}, 60_000);
