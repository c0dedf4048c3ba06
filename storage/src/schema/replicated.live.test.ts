import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TABLES } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEFINED, ifNotExists } from '../engine/cluster.ts';
import { ConfiguredEngine } from '../testing/configured-engine.ts';
import { type RunningZooKeeper, startZooKeeper, zooKeeperAvailable } from '../testing/zookeeper.ts';
import { clustered } from './clustered.ts';
import { LEASES } from './lease.ts';
import { INSERT_TARGETS, MADE, MIGRATIONS } from './migrate.ts';

const unavailable = zooKeeperAvailable();
if (unavailable !== null && process.env.MILLRACE_TEST_NO_SKIP === '1') throw new Error(unavailable);

const place = { cluster: 'fleet', database: 'millrace' };
/** What ON CLUSTER brings to each server is told to each here: there is no server that carries it. What changes a table
 *  is left out: without a server's background threads a replica stays read-only. ClickHouse's parser has read it. */
const SCHEMA = [MADE, LEASES, ...MIGRATIONS.flatMap(({ statements }) => statements)]
  .flatMap((statement) => clustered(statement, place))
  .filter((statement) => !statement.startsWith('ALTER TABLE'))
  .map((statement) => statement.replace(" ON CLUSTER 'fleet'", ''));

describe.skipIf(unavailable !== null)('the schema of a cluster, with a Keeper', () => {
  let directory = '';
  let keeper: RunningZooKeeper;
  const replicas: ConfiguredEngine[] = [];

  const start = async (shard: string, name: string): Promise<ConfiguredEngine> => {
    const home = join(directory, `${shard}-${name}`);
    const config = `${home}.xml`;
    await writeFile(
      config,
      `<clickhouse><remote_servers><fleet><shard><internal_replication>true</internal_replication>
<replica><host>127.0.0.1</host><port>9000</port></replica></shard></fleet></remote_servers><tcp_port>9000</tcp_port>
<zookeeper><node><host>127.0.0.1</host><port>${keeper.port}</port></node></zookeeper>
<macros><shard>${shard}</shard><replica>${name}</replica></macros></clickhouse>`,
    );
    const replica = new ConfiguredEngine(home, config);
    replicas.push(replica);
    await replica.ask('CREATE DATABASE IF NOT EXISTS millrace');
    await replica.ask('USE millrace');
    return replica;
  };
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'millrace-keeper-'));
    keeper = await startZooKeeper();
  }, 180_000);
  afterAll(async () => {
    for (const replica of replicas) await replica.stop();
    await keeper?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  test('is made by ClickHouse itself, replicas of a shard meet and shards stay apart', {
    timeout: 120_000,
  }, async () => {
    const [a, b, other] = [await start('1', 'a'), await start('1', 'b'), await start('2', 'a')];
    for (const replica of [a, b, other]) for (const statement of SCHEMA) await replica.ask(statement);
    // Told again it changes nothing.
    for (const statement of SCHEMA) await b.ask(statement);

    const paths = async (replica: ConfiguredEngine) =>
      replica.ask<[string, string, number]>(
        "SELECT table, zookeeper_path, total_replicas FROM system.replicas WHERE database = 'millrace' ORDER BY table",
      );
    const of = (shard: string, total: number) =>
      INSERT_TARGETS.map((table) => [`${table}_local`, `/clickhouse/tables/fleet/millrace/${shard}/${table}`, total]);
    const everywhere = ['schema_leases', 'schema_migrations'].map((table) => [
      table,
      `/clickhouse/tables/fleet/millrace/every-server/${table}`,
      3,
    ]);
    const sorted = (rows: unknown[][]) => rows.toSorted((x, y) => (String(x[0]) < String(y[0]) ? -1 : 1));
    expect(await paths(a)).toEqual(sorted([...of('1', 2), ...everywhere]));
    expect(await paths(b)).toEqual(await paths(a));
    expect(await paths(other)).toEqual(sorted([...of('2', 1), ...everywhere]));
    for (const name of [...INSERT_TARGETS, 'readings_1m', 'readings_1h', 'latest'])
      expect(await a.ask(`SELECT count() FROM ${name}`)).toEqual([[0]]);
    for (const table of TABLES)
      expect(await a.ask(`SELECT _block_number, _partition_id FROM ${table}_local LIMIT 1`)).toEqual([]);
    // The settings that exactly-once rests on are in force.
    const [[definition] = ['']] = await a.ask<[string]>(
      "SELECT create_table_query FROM system.tables WHERE database = 'millrace' AND name = 'readings_local'",
    );
    for (const setting of [
      'replicated_deduplication_window = 10000',
      'replicated_deduplication_window_seconds = 604800',
      'enable_block_number_column = 1',
    ])
      expect(definition).toContain(setting);
  });

  test('is copied to a replica that was added later, from what another one has', { timeout: 60_000 }, async () => {
    const [a] = replicas as [ConfiguredEngine];
    const model = await a.ask<[string, string]>(DEFINED.replace('{database:String}', "'millrace'"));
    const added = await start('2', 'b');
    for (const [, definition] of model) await added.ask(ifNotExists(definition));
    expect(await added.ask(DEFINED.replace('{database:String}', "'millrace'"))).toEqual(model);
    expect(
      await added.ask("SELECT zookeeper_path, total_replicas FROM system.replicas WHERE table = 'readings_local'"),
    ).toEqual([['/clickhouse/tables/fleet/millrace/2/readings', 2]]);
  });

  test('refuses columns that differ from those in Keeper', { timeout: 60_000 }, async () => {
    const broken = await start('1', 'c');
    const statement = SCHEMA.find((each) => each.includes('millrace.readings_local (')) ?? '';
    await expect(broken.ask(statement.replace('unit LowCardinality(String)', 'unit String'))).rejects.toThrow(
      /INCOMPATIBLE_COLUMNS/,
    );
  });

  test('changes a column of both tables', { timeout: 60_000 }, async () => {
    const [a] = replicas as [ConfiguredEngine];
    const [, distributed = ''] = clustered('ALTER TABLE readings ADD COLUMN note String CODEC(ZSTD(1))', place);
    await a.ask(distributed.replace(" ON CLUSTER 'fleet'", ''));
    expect(await a.ask("SELECT type FROM system.columns WHERE table = 'readings' AND name = 'note'")).toEqual([
      ['String'],
    ]);
  });
});
