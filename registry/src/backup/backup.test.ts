import { createMetrics } from '@millrace/core';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MIGRATIONS } from '../database/migrate.ts';
import { logger, startRegistry, temporaryPostgres } from '../testing/fixture.ts';
import { BACKUP_FORMAT, type BackupManifest } from './manifest.ts';
import { atBeginning } from './new-log.ts';
import { openRegistryRestore } from './restore.ts';
import { takeRegistrySnapshot } from './snapshot.ts';

let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
beforeAll(async () => {
  postgres = await temporaryPostgres();
  await (await startRegistry(postgres.url)).stop();
}, 120_000);
afterAll(() => postgres?.dispose(), 60_000);

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
const textOf = async (rows: AsyncIterable<Uint8Array>): Promise<string> => {
  const parts: Uint8Array[] = [];
  for await (const part of rows) parts.push(part);
  return Buffer.concat(parts).toString();
};

test('a snapshot tells each table after those that it refers to, and sees nothing that comes later', async () => {
  const snapshot = await takeRegistrySnapshot(postgres.url, logger);
  try {
    const names = snapshot.tables.map(({ name }) => name);
    for (const [before, after] of [
      ['orgs', 'things'],
      ['groups', 'things'],
      ['things', 'connections'],
      ['channels', 'connections'],
      ['roles', 'memberships'],
      ['memberships', 'group_roles'],
      ['jobs', 'job_chunks'],
    ] as const) {
      expect(names).toContain(before);
      expect(names.indexOf(after), `${after} after ${before}`).toBeGreaterThan(names.indexOf(before));
    }
    const logged = await query(
      postgres.url,
      `SELECT relname AS name FROM pg_class
       WHERE relkind = 'r' AND relpersistence = 'p' AND relnamespace = 'registry'::regnamespace`,
    );
    const out = logged.map(({ name }) => String(name)).filter((name) => !names.includes(name));
    expect(out.sort(), 'whatever is left out is of the nodes').toEqual([
      'import_parts',
      'log_shards',
      'migrations',
      'mqtt_clients',
      'mqtt_share_cursors',
      'mqtt_share_members',
      'nodes',
      'session_nodes',
      'store_upkeep',
      'webhook_states',
    ]);
    await query(postgres.url, `UPDATE registry.things SET name = 'changed meanwhile'`);
    const things = snapshot.tables.find(({ name }) => name === 'things');
    if (things === undefined) throw new Error('no things');
    const text = await textOf(snapshot.rows(things));
    expect(text).toContain('Getting started');
    expect(text).not.toContain('changed meanwhile');
  } finally {
    await snapshot.close();
  }
});

test('only one is taken at a time, also when the one before was left in the midst of a table', async () => {
  const first = await takeRegistrySnapshot(postgres.url, logger);
  await expect(takeRegistrySnapshot(postgres.url, logger)).rejects.toMatchObject({ code: 'REGISTRY_FULL' });
  const [table] = first.tables;
  if (table === undefined) throw new Error('no tables');
  for await (const _ of first.rows(table)) break;
  await first.close();
  const next = await takeRegistrySnapshot(postgres.url, logger);
  await next.close();
});

test('a backup of an older schema is loaded as it was and migrated; of a newer one it is refused', async () => {
  await query(postgres.url, 'CREATE DATABASE older');
  const url = postgres.url.replace(/\/millrace(?=$|\?)/, '/older');
  expect(url).not.toBe(postgres.url);
  const org = '01234567-89ab-7def-8123-456789abcdef';
  const manifest: BackupManifest = {
    format: BACKUP_FORMAT,
    id: org,
    program: '0.0.1',
    taken: new Date().toISOString(),
    finished: new Date().toISOString(),
    secret: '',
    schema: { registry: 2, readings: 1 },
    log: { positions: [{ partition: 0, offset: 7, renumbered: 32_768 }], behind: 0 },
    sequences: [{ name: 'session_generations', value: '41', called: true }],
    tables: [{ store: 'registry', table: 'orgs', part: '', columns: ['id', 'name'], clears: false, rows: 1 }],
    files: [],
  };
  const restore = openRegistryRestore({ url, logger, metrics: createMetrics() });
  try {
    expect(await restore.contents()).toEqual({});
    const newer = { ...manifest, schema: { registry: MIGRATIONS.length + 1, readings: 1 } };
    await expect(restore.begin(newer)).rejects.toMatchObject({ code: 'REGISTRY_SCHEMA_NEWER' });
    await restore.begin(manifest);
    // Cut short here, it is known, and no node starts.
    expect(await restore.contents()).toBeNull();
    await expect(startRegistry(url)).rejects.toMatchObject({ code: 'REGISTRY_RESTORE_UNFINISHED' });
    await restore.begin(manifest);
    await restore.load(manifest, 2, async function* () {
      yield Buffer.from(`${org}\told\\tname\n`);
    });
    expect(await restore.contents()).toEqual({ orgs: 1 });
  } finally {
    await restore.close();
  }
  expect(await query(url, 'SELECT name, frozen FROM registry.orgs')).toEqual([{ name: 'old\tname', frozen: false }]);
  expect(await query(url, 'SELECT max(version) AS version FROM registry.migrations')).toEqual([
    { version: MIGRATIONS.length },
  ]);
  expect(await query(url, `SELECT nextval('registry.session_generations') AS next`)).toEqual([{ next: '42' }]);
});

test('a schema of the same name that another program made is told of, and not taken for an empty one', async () => {
  await query(postgres.url, 'CREATE DATABASE elsewhere');
  const url = postgres.url.replace(/\/millrace(?=$|\?)/, '/elsewhere');
  await query(url, 'CREATE SCHEMA registry');
  await query(url, 'CREATE TABLE registry.prices (id integer)');
  const restore = openRegistryRestore({ url, logger, metrics: createMetrics() });
  try {
    expect(await restore.contents()).toEqual({ 'table prices of another program': 1 });
  } finally {
    await restore.close();
  }
});

test('a session begins anew in the log that begins anew, and keeps what it has', () => {
  const state = {
    subscriptions: [{ topic: 'a/#', qos: 1, from: [{ partition: 1, offset: 9 }], held: true }],
    positions: [{ partition: 1, offset: 99 }],
    inFlight: [{ partition: 1, offset: 98, packetId: 4, qos: 1, topic: 'a', released: false }],
    received: [7],
    inbound: { generation: 3, count: 12, uses: ['3-12'], whole: false },
    nextPacketId: 5,
  } as const;
  const beginning = [0, 1, 2].map((partition) => ({ partition, offset: 0 }));
  expect(atBeginning(state, 3)).toEqual({
    subscriptions: [{ topic: 'a/#', qos: 1, from: beginning, held: true }],
    positions: beginning,
    inFlight: [],
    received: [7],
    inbound: { generation: 3, count: 12, uses: ['3-12'], whole: true },
    nextPacketId: 5,
  });
});
