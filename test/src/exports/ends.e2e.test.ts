import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../millrace.ts';
import { mountSmallDisk, unmountSmallDisk, whyNoSmallDisk } from '../small-disk.ts';
import { type ExportWorld, startExportWorld } from './world.ts';

const SLOW = { timeout: 120_000 };
const noDisk = whyNoSmallDisk();
let directory: string;
let world: ExportWorld;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-exports-disk-'));
  if (noDisk === null) mountSmallDisk(directory, 256);
  world = await startExportWorld({ MILLRACE_EXPORTS_FREE_BYTES_MIN: 0, MILLRACE_EXPORTS_DIRECTORY: directory });
  await world.fill(8_000);
}, 120_000);
afterAll(async () => {
  await world?.stop();
  if (noDisk === null) unmountSmallDisk(directory);
  rmSync(directory, { recursive: true, force: true });
}, 60_000);

async function make(limit: number) {
  const body = { query: { channels: [world.channel], limit }, format: 'csv' };
  const { body: accepted } = await world.owner.call('POST', '/exports', body);
  return (await world.over(world.owner, accepted.id, 60_000)) as unknown as {
    id: string;
    status: string;
    reason: string | null;
    files: { url: string }[];
  };
}

describe.skipIf(noDisk !== null)(`on a full disk${noDisk === null ? '' : ` (${noDisk})`}`, () => {
  test('an export fails and says why, leaves nothing, and what fits is made', SLOW, async () => {
    const full = await make(8_000);
    expect(full).toMatchObject({
      status: 'failed',
      reason: 'The disk of the node is full. Ask who runs it.',
      files: [],
    });
    await eventually('nothing is left of it', 30_000, async () => !readdirSync(directory).includes(full.id));
    expect(await make(100)).toMatchObject({ status: 'done', reason: null });
  });
});

test('files go when they have expired, and nobody is given one from then on', SLOW, async () => {
  const made = await make(10);
  const url = made.files[0]?.url ?? '';
  expect((await world.owner.call('GET', url)).status).toBe(200);
  expect((await world.owner.call('HEAD', url)).status).toBe(200);
  const parts = await world.owner.raw('GET', url, undefined, { range: 'bytes=5-9' });
  expect([parts.status, (await parts.arrayBuffer()).byteLength]).toEqual([206, 5]);

  const database = new pg.Client(world.plane.url);
  await database.connect();
  const audited = await database.query(`SELECT 1 FROM registry.audit WHERE action = 'exports.download'`);
  await database.query('UPDATE registry.exports SET kept_seconds = 0 WHERE id = $1', [made.id]);
  await database.end();
  // Of parts, too, it is written down who took them; of HEAD nothing.
  expect(audited.rowCount).toBe(2);
  expect((await world.owner.call('GET', `/exports/${made.id}`)).body).toMatchObject({ status: 'expired', files: [] });
  expect((await world.owner.call('GET', url)).status).toBe(404);
  expect(readdirSync(directory)).toContain(made.id);
  // A node looks for what has expired as it starts.
  await world.another({});
  await eventually('its files are gone', 30_000, async () => !readdirSync(directory).includes(made.id));
});
