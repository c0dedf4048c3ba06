import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createLogger, createMetrics, readConfig, siblingUrl } from '@millrace/core';
import { expect, test } from 'vitest';
import { StorageConfig } from './config.ts';
import { openStore } from './store.ts';
import { MESSAGE_READINGS, RANGE_MESSAGES, rangeBatch } from './testing/ranges.ts';
import { rowsOf } from './testing/rows.ts';

const CHILD = fileURLToPath(siblingUrl(import.meta.url, './testing/writer-child'));
const KILLS = 5;

/** Writes from a range on in a process of its own, and kills it in the middle of something.
 *  @returns the range that was not told done: the one to redo */
function writeUntilKilled(directory: string, from: number, ranges: number, extraMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...process.execArgv, CHILD, directory, String(from)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let done = from - 1;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      done = Number(text.trim().split('\n').at(-1));
      if (done >= from + ranges) setTimeout(() => child.kill('SIGKILL'), extraMs);
    });
    child.once('error', reject);
    child.once('exit', (_, signal) =>
      signal === 'SIGKILL' ? resolve(done + 1) : reject(new Error('the writer ended by itself')),
    );
  });
}

test('keeps every row once, rollups and latest included, when it is killed in the middle of inserts', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-killed-'));
  let next = 0;
  for (let kill = 0; kill < KILLS; kill++) next = await writeUntilKilled(directory, next, 2, Math.random() * 60);

  const logger = createLogger({ level: 'silent' });
  const open = () => openStore(readConfig(StorageConfig, {}), { directory, metrics: createMetrics(), logger }).start();
  const started = await open();
  await started.value.write('messages', rangeBatch(next), { verify: false });
  // Long ago or just now: told again, by token and by looking.
  for (const range of [0, Math.floor(next / 2), next]) {
    await started.value.write('messages', rangeBatch(range), { verify: false });
    await started.value.write('messages', rangeBatch(range), { verify: true });
  }
  const messages = (next + 1) * RANGE_MESSAGES;
  const rows = rowsOf(directory, 'millrace');
  const count = async (expression: string, table: string): Promise<number> =>
    Number((await rows<{ n: string }>(`SELECT toString(${expression}) AS n FROM ${table}`))[0]?.n);
  expect(await count('count()', 'readings')).toBe(messages * MESSAGE_READINGS);
  expect(await count('uniqExact(log_partition, log_offset, index)', 'readings')).toBe(messages * MESSAGE_READINGS);
  for (const table of ['messages', 'message_log']) {
    expect(await count('count()', table)).toBe(messages);
    expect(await count('uniqExact(id)', table)).toBe(messages);
  }
  for (const table of ['readings_1m', 'readings_1h']) {
    expect(await count('sum(count)', table)).toBe(messages);
    expect(await count('toUInt64(sum(sum))', table)).toBe((messages * (messages - 1)) / 2);
  }
  expect(await rows('SELECT name, value, string_value FROM latest ORDER BY name')).toEqual([
    { name: 'number', value: messages - 1, string_value: '' },
    { name: 'text', value: null, string_value: String(messages - 1) },
  ]);
  await started.stop();
  await rm(directory, { recursive: true });
}, 60_000);
