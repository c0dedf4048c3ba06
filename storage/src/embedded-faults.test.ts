import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  blockOf,
  createLogger,
  createMetrics,
  deadLettersColumns,
  messageLogColumns,
  messagesColumns,
  readConfig,
  readingsColumns,
  type StoreError,
  TABLES,
} from '@millrace/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StorageConfig } from './config.ts';
import { openEmbedded } from './engine/embedded.ts';
import { migrate } from './schema/migrate.ts';
import { openStore } from './store.ts';
import { batchOf, RECEIVED_US } from './testing/batches.ts';
import { rowsOf } from './testing/rows.ts';

const logger = createLogger({ level: 'silent' });
let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-faults-'));
});
afterAll(() => rm(directory, { recursive: true }));
const open = (environment: Record<string, string> = {}) =>
  openStore(readConfig(StorageConfig, environment), { directory, metrics: createMetrics(), logger }).start();
const ENGINE = { database: 'millrace', memoryBytesMax: 2 ** 31, cacheBytesMax: 2 ** 26 };
const query = {
  org: 'acme',
  channel: 'room',
  offset: 0,
  limit: 10,
  order: 'time',
  direction: 'desc',
  total: 'estimate',
} as const;

test('has the columns that blocks bring, with their types', async () => {
  const started = await open();
  const rows = rowsOf(directory, 'millrace');
  const given = [readingsColumns(), messagesColumns(), messageLogColumns(), deadLettersColumns()];
  for (const [index, table] of TABLES.entries()) {
    const found = await rows<{ name: string; type: string }>(
      `SELECT name, type FROM system.columns WHERE database = 'millrace' AND table = '${table}' ${table === 'message_log' ? "AND name != 'expires'" : ''}`,
    );
    const wanted = blockOf(given[index] ?? {}).columns.map(({ name, type }) => ({ name, type }));
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
    expect(found.toSorted(byName)).toEqual(wanted.toSorted(byName));
  }
  await started.stop();
});

test('tells a second process what is wrong', async () => {
  const started = await open();
  const script = `import { Session } from 'chdb'; try { new Session(${JSON.stringify(directory)}); } catch { process.exit(7); }`;
  const second = spawnSync(process.execPath, ['--input-type=module', '-e', script], { cwd: import.meta.dirname });
  expect(second.status).toBe(7);
  await started.stop();
});

test('opens again and again, refuses calls once closed, and finds its rows', async () => {
  for (let round = 0; round < 3; round++) {
    const started = await open();
    const batch = batchOf(round, [{ readings: [{ name: 'n', timeUs: RECEIVED_US + round, value: round }] }]);
    await started.value.write('messages', batch, { verify: false });
    expect((await started.value.readings(query)).readings.map((each) => each.value)).toEqual(
      Array.from({ length: round + 1 }, (_, index) => round - index),
    );
    await started.drain(100);
    await started.stop();
    await started.stop();
    await expect(started.value.readings(query)).rejects.toMatchObject({ code: 'STORE_CLOSED' });
    expect(await started.value.health()).toBe('the store is closed');
  }
});

test('ends a question that is too expensive, and answers the next', async () => {
  const started = await open({ MILLRACE_STORE_QUERY_BYTES_MAX: '16777216' });
  const count = 60_000;
  const readings = Array.from({ length: count }, (_, index) => ({
    name: `n${index}`,
    timeUs: RECEIVED_US + index,
    stringValue: 'x'.repeat(2_000),
  }));
  await started.value.write('messages', batchOf(10, [{ channel: 'large', readings }]), { verify: false });
  const greedy = {
    ...query,
    channel: 'large',
    stringValue: { comparator: 'gt' as const, operand: 'a' },
    offset: 50_000,
  };
  const error = await started.value.readings({ ...greedy, limit: 1_000 }).then(
    () => null,
    (thrown: StoreError) => thrown,
  );
  expect(error?.code).toBe('STORE_QUERY_TOO_EXPENSIVE');
  expect((await started.value.readings(query)).readings.length).toBeGreaterThan(0);
  await started.stop();
});

test('inserts while a question takes its time', async () => {
  const engine = await openEmbedded({ ...ENGINE, directory });
  await engine.createDatabase();
  const ended: string[] = [];
  const slow = engine.rows('SELECT sleepEachRow(1) FROM numbers(2)').then(() => ended.push('question'));
  const { bytes } = batchOf(90_000, [{ readings: [{ name: 'n', timeUs: RECEIVED_US, value: 1 }] }]).blocks.readings;
  const shard = await engine.shardOf('messages', 0);
  await shard.insertBlock('readings', bytes, 'beside').then(() => ended.push('insert'));
  await slow;
  expect(ended).toEqual(['insert', 'question']);
  await engine.close();
});

test('migrates twice without harm, and refuses a newer schema', async () => {
  const engine = await openEmbedded({ ...ENGINE, directory });
  await engine.createDatabase();
  await migrate(engine);
  await engine.command("INSERT INTO schema_migrations (version, name) VALUES (9999, 'from the future')");
  await engine.close();
  await expect(open()).rejects.toMatchObject({ code: 'STORE_UNREACHABLE', retry: 'never', facts: { schema: 9999 } });
});
