import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@clickhouse/client';
import { readConfig } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { StorageConfig } from '../config.ts';
import type { Engine } from '../engine/engine.ts';
import { openEngine } from '../store.ts';
import { startClickHouseShell } from '../testing/clickhouse-shell.ts';
import { startShellCluster } from '../testing/shell-cluster.ts';
import { LEASES, SchemaLease } from './lease.ts';
import { MIGRATIONS, type Migration, migrate, setDurability } from './migrate.ts';

const NODES = 4;
/** Long enough for a machine that is slow for a while. */
const LEASE_S = 8;
/** Steps that show how often and in which order they ran. */
const TRAIL: readonly Migration[] = [
  {
    version: 101,
    name: 'trail',
    statements: [
      'CREATE TABLE IF NOT EXISTS schema_trail (step UInt32, at DateTime64(6) DEFAULT now64(6)) ENGINE = MergeTree() ORDER BY step',
      'INSERT INTO schema_trail (step) VALUES (1)',
    ],
  },
  { version: 102, name: 'more', statements: ['INSERT INTO schema_trail (step) VALUES (2)'] },
];

interface Opened {
  open(): Promise<Engine>;
  close(): Promise<void>;
}
const engineOf = (environment: Record<string, string>): Promise<Engine> =>
  openEngine(readConfig(StorageConfig, environment), '/nowhere');

async function server(): Promise<Opened> {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-starters-'));
  const shell = await startClickHouseShell(directory);
  return {
    open: () => engineOf({ MILLRACE_CLICKHOUSE_URL: shell.url }),
    async close() {
      await shell.stop();
      await rm(directory, { recursive: true });
    },
  };
}
async function cluster(): Promise<Opened> {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-starters-'));
  const shells = await startShellCluster(directory, 2, 2);
  return {
    open: () => engineOf({ MILLRACE_CLICKHOUSE_URL: shells.urls.join(','), MILLRACE_CLICKHOUSE_CLUSTER: shells.name }),
    async close() {
      await shells.stop();
      await rm(directory, { recursive: true });
    },
  };
}

describe.each([
  ['a server', server],
  ['a cluster of two shards with two replicas', cluster],
])('the schema of %s', (_, start) => {
  let opened: Opened;
  const engines: Engine[] = [];
  const open = async (): Promise<Engine> => {
    const engine = await opened.open();
    engines.push(engine);
    return engine;
  };
  beforeAll(async () => {
    opened = await start();
  }, 60_000);
  afterAll(async () => {
    for (const engine of engines) await engine.close();
    await opened?.close();
  });

  test(`is made once by ${NODES} nodes that start at once`, { timeout: 120_000 }, async () => {
    const nodes = await Promise.all(Array.from({ length: NODES }, open));
    await Promise.all(
      nodes.map(async (engine) => {
        await engine.createDatabase();
        await migrate(engine, [...MIGRATIONS, ...TRAIL]);
        await setDurability(engine, 'fsync');
      }),
    );
    const [engine] = nodes as [Engine];
    expect(await engine.rows('SELECT step FROM schema_trail ORDER BY at')).toEqual([{ step: 1 }, { step: 2 }]);
    expect(await engine.rows('SELECT version FROM schema_migrations ORDER BY version')).toEqual(
      [...MIGRATIONS, ...TRAIL].map(({ version }) => ({ version })),
    );
    for (const node of nodes) expect(await node.rows('SELECT 1 AS one FROM readings')).toEqual([]);
    await expect(migrate(engine)).rejects.toMatchObject({ retry: 'never', facts: { schema: 102 } });
    // What only expands keeps no older program from starting.
    const known = [...MIGRATIONS, ...TRAIL];
    const grown = {
      version: 103,
      name: 'grown',
      statements: ['INSERT INTO schema_trail (step) VALUES (3)'],
      expands: true,
    };
    await migrate(engine, [...known, grown]);
    await migrate(engine, [...known, grown]);
    await migrate(engine, known);
    expect(await engine.rows('SELECT count() AS steps FROM schema_trail')).toEqual([{ steps: 3 }]);
    await expect(migrate(engine)).rejects.toMatchObject({ retry: 'never', facts: { schema: 103 } });
    await migrate(engine, [...known, grown, { version: 104, name: 'changed', statements: [] }]);
    await expect(migrate(engine, [...known, grown])).rejects.toMatchObject({ facts: { schema: 104, program: 103 } });
  });
});

test('waits for who holds the right to change it, and no longer than its lease lasts', {
  timeout: 120_000,
}, async () => {
  const opened = await server();
  const engines = await Promise.all([opened.open(), opened.open(), opened.open()]);
  const [first, second, third] = engines;
  await first.createDatabase();
  await first.command(LEASES);
  const held = await SchemaLease.take(first, LEASE_S);
  let killed = false;
  const alive = async (): Promise<void> => {
    if (killed) throw new Error('killed');
  };
  const mortal: Engine = {
    ...second,
    rows: (...asked) => alive().then(() => second.rows(...asked)),
    command: (statement) => alive().then(() => second.command(statement)),
  };
  let taken = false;
  const next = SchemaLease.take(mortal, LEASE_S).then((lease) => {
    taken = true;
    return lease;
  });
  // Longer than the lease lasts: it is renewed.
  await new Promise((resolve) => setTimeout(resolve, (LEASE_S + 2) * 1_000));
  held.check();
  expect(taken).toBe(false);
  await held.give();
  const dead = await next;
  killed = true;
  const heir = await SchemaLease.take(third, LEASE_S);
  heir.check();
  expect(() => dead.check()).toThrow(/the lease of the schema was lost/);
  await heir.give();
  for (const engine of engines) await engine.close();
  await opened.close();
});

test('makes the tables of a server that was added as another has them, though it is the one that is asked', {
  timeout: 120_000,
}, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-added-'));
  const shells = await startShellCluster(directory, 2, 1);
  const added = await engineOf({
    MILLRACE_CLICKHOUSE_URL: shells.urls[1] ?? '',
    MILLRACE_CLICKHOUSE_CLUSTER: shells.name,
  });
  await added.createDatabase();
  await migrate(added);
  const names = (): Promise<{ name: string }[]> =>
    added.rows(
      "SELECT name FROM system.tables WHERE database = currentDatabase() AND name NOT LIKE 'schema_%' ORDER BY name",
    );
  const whole = await names();
  expect(whole.length).toBeGreaterThan(15);
  const server = createClient({ url: shells.shardUrls[1] ?? '', database: 'millrace' });
  for (const { name } of whole) await server.command({ query: `DROP TABLE ${name} SYNC` });
  expect(await names()).toEqual([]);
  await migrate(added);
  expect(await names()).toEqual(whole);
  await server.close();
  await added.close();
  await shells.stop();
  await rm(directory, { recursive: true });
});
