import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, createMetrics, type Deletion, readConfig } from '@millrace/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StorageConfig } from '../config.ts';
import { openStore, type Store } from '../store.ts';
import { batchOf, type GivenMessage, type GivenReading } from '../testing/batches.ts';
import { rowsOf } from '../testing/rows.ts';

const T0 = Date.UTC(2026, 10, 21, 12) * 1_000;
const ORG = 'acme';
const MINUTE_US = 60_000_000;
const signal = AbortSignal.timeout(300_000);
let directory = '';
let store: Store;
let stop: () => Promise<void>;
let rows: <Row>(statement: string) => Promise<Row[]>;
let next = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-last-'));
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

/** One message a reading, at minutes after noon.  @param more of a message: in which month it was received */
async function write(
  publisher: string,
  name: string,
  minutes: readonly number[],
  more: Partial<GivenMessage> = {},
): Promise<void> {
  const value = (minute: number): Pick<GivenReading, 'value' | 'stringValue'> =>
    name === 'state' ? { stringValue: `at ${minute}` } : { value: minute + 0.25 };
  const messages = minutes.map((minute) => ({
    org: ORG,
    publisher,
    receivedUs: T0,
    ...more,
    readings: [{ name, timeUs: T0 + minute * MINUTE_US, ...value(minute) }],
  }));
  await store.write('messages', batchOf(next, messages), { verify: false });
  next += messages.length;
}
const merge = async (): Promise<void> => {
  for (const table of ['rollups', 'latest_others']) await rows(`OPTIMIZE TABLE ${table} FINAL`);
};

interface Last {
  readonly minute: number;
  readonly value: string;
}
async function lastOnes(): Promise<Record<string, Last>> {
  const found = await rows<Last & { series: string }>(
    `SELECT concat(publisher, ' ', name) AS series, (toUnixTimestamp64Micro(time) - ${T0}) / ${MINUTE_US} AS minute,
       if(kind = 'number', toString(assumeNotNull(value)), string_value) AS value
     FROM latest WHERE org = '${ORG}'`,
  );
  return Object.fromEntries(found.map(({ series, ...last }) => [series, last]));
}
const number = (minute: number): Last => ({ minute, value: String(minute + 0.25) });
const state = (minute: number): Last => ({ minute, value: `at ${minute}` });

async function destroy(deletion: Deletion, mark: string): Promise<void> {
  await store.upkeep.erase(deletion, { mark, signal });
  let span = null;
  for (let round = 0; round < 20; round++) {
    const told = await store.upkeep.correct(deletion, span, { mark: `${mark}-${round}`, signal });
    if (told.differing === 0) return;
    span = told.span;
  }
  throw new Error('rollups never became what the readings are');
}
const middle: Deletion = {
  org: ORG,
  what: ['readings'],
  before: null,
  fromUs: BigInt(T0 + 30 * MINUTE_US),
  toUs: BigInt(T0 + 60 * MINUTE_US),
};
const BEFORE_1970 = -T0 / MINUTE_US - 3;
const left: Record<string, Last> = { 'months n': number(11), 'early n': number(BEFORE_1970 + 1) };
for (const how of ['merged', 'inserted'])
  for (const [name, last] of Object.entries({ n: number, state }))
    Object.assign(left, {
      [`${how}-goes-on ${name}`]: last(70),
      [`${how}-went-on ${name}`]: last(70),
      [`${how}-ended-before ${name}`]: last(20),
      [`${how}-long-gone ${name}`]: last(15),
      [`${how}-ended-within ${name}`]: last(25),
    });

test('a series keeps a last value that is not deleted, though its readings expired; else it has the newest that is left', {
  timeout: 120_000,
}, async () => {
  for (const how of ['merged', 'inserted']) {
    for (const name of ['n', 'state']) {
      await write(`${how}-goes-on`, name, [10, 40, 70]);
      await write(`${how}-went-on`, name, [10, 40, 70]);
      await write(`${how}-ended-before`, name, [10, 20]);
      await write(`${how}-long-gone`, name, [15]);
      await write(`${how}-ended-within`, name, [5, 25, 45]);
      await write(`${how}-was-within`, name, [35, 45]);
    }
    if (how === 'merged') await merge();
  }
  for (const [index, month] of [8, 9].entries())
    await write('months', 'n', [10 + index, 40 + index], { receivedUs: Date.UTC(2026, month, 3) * 1_000 });
  await write('months', 'n', [5]);
  await write('early', 'n', [BEFORE_1970, BEFORE_1970 + 1, 40]);
  // As retention does to readings whose rollups and last values are kept for longer.
  await rows("ALTER TABLE readings DELETE WHERE match(publisher, 'went-on|long-gone') SETTINGS mutations_sync = 2");
  expect(await lastOnes()).toMatchObject({ 'months n': number(41), 'merged-was-within state': state(45) });
  await destroy(middle, 'middle');
  expect(await lastOnes()).toEqual(left);
  await merge();
  expect(await lastOnes()).toEqual(left);
});

test('what is done again changes no last value', { timeout: 120_000 }, async () => {
  await destroy(middle, 'middle');
  expect(await lastOnes()).toEqual(left);
});

test('with all of a series its last value goes, wherever that came from', { timeout: 120_000 }, async () => {
  await destroy({ org: ORG, what: ['readings'], before: null, publishers: ['months', 'merged-long-gone'] }, 'some');
  const { 'months n': _, 'merged-long-gone n': __, 'merged-long-gone state': ___, ...rest } = left;
  expect(await lastOnes()).toEqual(rest);
  expect(await rows("SELECT 1 AS one FROM rollups WHERE publisher IN ('months', 'merged-long-gone')")).toEqual([]);
});
