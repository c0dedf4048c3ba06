import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Session } from 'chdb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { insertSettings } from '../engine/engine.ts';
import { clustered, localTable } from './clustered.ts';
import { LEASES } from './lease.ts';
import { INSERT_TARGETS, MADE, MIGRATIONS } from './migrate.ts';

const place = { cluster: 'fleet-1', database: 'millrace' };
const PLAIN = [MADE, LEASES, ...MIGRATIONS.flatMap(({ statements }) => statements)];
const DURABILITY = INSERT_TARGETS.map((table) => `ALTER TABLE ${table} MODIFY SETTING fsync_after_insert = 1`);
const CLUSTER = [...PLAIN, ...DURABILITY].flatMap((statement) => clustered(statement, place));

let directory = '';
let session: Session;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-ddl-'));
  session = new Session(directory);
});
afterAll(async () => {
  session?.close();
  await rm(directory, { recursive: true, force: true });
});
const textOf = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

describe('ClickHouse’s own parser', () => {
  test.each([
    ...PLAIN,
    ...CLUSTER,
    ...DURABILITY,
    "CREATE DATABASE IF NOT EXISTS millrace ON CLUSTER 'fleet-1'",
    `SYSTEM SYNC REPLICA millrace.${localTable('readings')} LIGHTWEIGHT`,
    `INSERT INTO ${localTable('readings')} SETTINGS ${insertSettings('t')}, insert_quorum='auto', insert_quorum_timeout=30000 FORMAT Native`,
    "INSERT INTO schema_leases (number, holder, until) SETTINGS insert_deduplication_token='turn-1', insert_deduplicate=1, async_insert=0 VALUES",
  ])('takes %s', async (statement) => {
    const tree = await session.queryAsync(`EXPLAIN AST ${statement}`, { format: 'TabSeparated' });
    expect(tree.text()).not.toBe('');
    // What it writes itself, it reads as the same.
    const written = await session.queryAsync(
      `SELECT formatQuery(${textOf(statement)}) AS once, formatQuery(once) = once AS same`,
      { format: 'JSONEachRow' },
    );
    expect(JSON.parse(written.text())).toMatchObject({ same: 1 });
  });

  test('refuses what is none', async () => {
    await expect(session.queryAsync('EXPLAIN AST CREATE TABLE x ON CLUSTER (a UInt8) ENGINE = Log')).rejects.toThrow(
      /Syntax error/,
    );
  });
});

test('leaves the released schema of a single server as it is', () => {
  const digest = createHash('sha256')
    .update(MIGRATIONS[0]?.statements.join('\n') ?? '')
    .digest('hex');
  expect(digest).toBe('5bb50589b18f281689e15393db84dd2812dc10b6ac61b501aa474d94289eefbf');
});

test('replicates each shard’s tables, remembers as many inserts as a single server, and asks all by the old names', () => {
  for (const name of INSERT_TARGETS) {
    const local = CLUSTER.find((each) =>
      each.startsWith(`CREATE TABLE IF NOT EXISTS millrace.${name}_local ON CLUSTER`),
    );
    expect(local).toMatch(
      new RegExp(
        `ENGINE = Replicated\\w*MergeTree\\('/clickhouse/tables/fleet-1/millrace/\\{shard\\}/${name}', '\\{replica\\}'`,
      ),
    );
    expect(local).toMatch(/ replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800/);
    expect(local).not.toContain('non_replicated');
    expect(CLUSTER).toContain(
      `CREATE TABLE IF NOT EXISTS millrace.${name} ON CLUSTER 'fleet-1' AS millrace.${name}_local ENGINE = Distributed('fleet-1', 'millrace', '${name}_local')`,
    );
  }
  expect(CLUSTER.find((each) => each.includes('latest_others_local'))).toContain(
    "/latest_others', '{replica}', time) ORDER BY",
  );
});

test('fills a shard’s rollups from the shard’s own readings, and asks for those of all', () => {
  const view = CLUSTER.find((each) => each.includes('rollups_view'));
  expect(view).toContain("ON CLUSTER 'fleet-1' TO millrace.rollups_local AS");
  expect(view).toContain('FROM millrace.readings_local WHERE');
  const latest = CLUSTER.find((each) => each.includes('VIEW IF NOT EXISTS millrace.latest '));
  expect(latest).toContain('FROM millrace.rollups WHERE');
  expect(latest).not.toContain('_local');
});

test('changes a shard’s view in its place, and views over all shards as a whole', () => {
  expect(clustered('ALTER TABLE rollups_view MODIFY QUERY\nSELECT 1 FROM (SELECT 1 FROM readings)', place)).toEqual([
    "ALTER TABLE millrace.rollups_view ON CLUSTER 'fleet-1' MODIFY QUERY\nSELECT 1 FROM (SELECT 1 FROM millrace.readings_local)",
  ]);
  expect(clustered('RENAME TABLE IF EXISTS a_view TO b_view, b_view TO a_view', place)).toEqual([
    "RENAME TABLE IF EXISTS millrace.a_view TO millrace.b_view, millrace.b_view TO millrace.a_view ON CLUSTER 'fleet-1'",
  ]);
  expect(clustered('CREATE OR REPLACE VIEW readings_1m AS SELECT 1 FROM rollups', place)).toEqual([
    "CREATE OR REPLACE VIEW millrace.readings_1m ON CLUSTER 'fleet-1' AS SELECT 1 FROM millrace.rollups",
  ]);
});

test('tells all servers the same of the schema, shards or not', () => {
  for (const name of ['schema_migrations', 'schema_leases']) {
    const statement = CLUSTER.find((each) => each.includes(`millrace.${name} `));
    expect(statement).toContain(`('/clickhouse/tables/fleet-1/millrace/every-server/${name}', '{shard}-{replica}')`);
    expect(CLUSTER.some((each) => each.includes(`${name}_local`))).toBe(false);
  }
});

test('changes columns of both tables, and what only the rows have of the local one', () => {
  expect(clustered('ALTER TABLE readings ADD COLUMN IF NOT EXISTS note String', place)).toEqual([
    "ALTER TABLE millrace.readings_local ON CLUSTER 'fleet-1' ADD COLUMN IF NOT EXISTS note String",
    "ALTER TABLE millrace.readings ON CLUSTER 'fleet-1' ADD COLUMN IF NOT EXISTS note String",
  ]);
  expect(clustered('ALTER TABLE readings MODIFY SETTING x = 1', place)).toEqual([
    "ALTER TABLE millrace.readings_local ON CLUSTER 'fleet-1' MODIFY SETTING x = 1",
  ]);
  expect(clustered('TRUNCATE TABLE rollups', place)).toEqual([
    "TRUNCATE TABLE millrace.rollups_local ON CLUSTER 'fleet-1'",
  ]);
  expect(clustered('INSERT INTO schema_migrations (version) VALUES (1)', place)).toHaveLength(1);
});

test('knows no form of what it was not made for, and says so', () => {
  for (const statement of [
    'DROP TABLE readings',
    'RENAME TABLE a TO b',
    'CREATE TABLE readings (a UInt8) ENGINE = Log',
  ])
    expect(() => clustered(statement, place)).toThrow(RangeError);
});
