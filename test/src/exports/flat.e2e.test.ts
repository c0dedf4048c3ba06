import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LONG } from '../crash.ts';
import { type ExportWorld, startExportWorld } from './world.ts';

const ROWS = LONG ? 10_000_000 : 300_000;
/** What an export may take beside what was there: blocks of the engine, and what a part's sort holds. */
const GROWTH_MIB_MAX = 700;
const MIB = 1024 * 1024;
let world: ExportWorld;

beforeAll(async () => {
  world = await startExportWorld({
    MILLRACE_EXPORTS_FILE_ROWS: LONG ? 1_000_000 : 50_000,
    MILLRACE_EXPORTS_FREE_BYTES_MIN: 0,
  });
  await world.fill(ROWS);
}, 300_000);
afterAll(() => world?.stop(), 60_000);

test('memory stays flat however many rows an export has', { timeout: 1_200_000 }, async () => {
  const asked = { query: { channels: [world.channel] }, format: 'ndjson', compression: 'gzip' };
  // What the first one loads stays.
  const first = await world.owner.call('POST', '/exports', { ...asked, query: { ...asked.query, limit: 1_000 } });
  await world.over(world.owner, first.body.id);
  const before = process.memoryUsage().rss;
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss);
  }, 20);
  try {
    const { body } = await world.owner.call('POST', '/exports', asked);
    const made = await world.over(world.owner, body.id, 1_000_000);
    expect(made).toMatchObject({ status: 'done', rows: ROWS });
    expect((await readdir(join(world.plane.directory, 'exports', body.id))).length).toBeGreaterThanOrEqual(6);
  } finally {
    clearInterval(watch);
  }
  const growthMib = (most - before) / MIB;
  if (LONG) process.stdout.write(`${ROWS} rows: memory grew by ${growthMib.toFixed(0)} MiB\n`);
  expect(growthMib).toBeLessThan(GROWTH_MIB_MAX);
});
