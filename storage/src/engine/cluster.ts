import type { ClickHouseSettings } from '@clickhouse/client';
import { type LogShards, StoreError, type TableName } from '@millrace/core';
import { clustered, localTable } from '../schema/clustered.ts';
import { Connection } from './connection.ts';
import { Endpoints } from './endpoints.ts';
import type { Engine, EngineAnswerOptions, Look, QueryParameters, Shard, WholeAnswerOptions } from './engine.ts';
import { isElsewhere } from './errors.ts';
import { createDatabase, guestsAt, type ServerOptions } from './server.ts';
import { Topology } from './topology.ts';

export interface ClusterOptions extends ServerOptions {
  /** As the servers' configuration names it. */
  readonly cluster: string;
  readonly shards: LogShards;
  /** Replicas that must have an insert before it is answered; null: one, the others follow. */
  readonly quorum: number | 'auto' | null;
  /** An insert that takes longer is told again, to another replica. */
  readonly insertMsMax: number;
}

/** A replica that is down must not hold up a change of the schema: it finds it in Keeper when it comes back. */
const DDL = {
  distributed_ddl_task_timeout: '30',
  distributed_ddl_output_mode: 'null_status_on_timeout_only_active',
  // The client does not know this mode yet.
} as unknown as ClickHouseSettings;
/** A question may be answered by a replica that is so far behind, if none is nearer. @units s */
const REPLICA_DELAY_S_MAX = 30;
/** How long to wait for a replica to have what the others have. @units s */
const SETTLE_S_MAX = 10;

/** ClickHouse on many servers: each shard's tables replicated, asked through Distributed tables.
 *
 *  Questions and definitions go to any entry point. An insert goes straight to a replica of the shard that its partition
 *  of the log is pinned to, or, when that one does not take it, to another under the same token: the replicas of a shard
 *  share their memory of tokens in Keeper.
 *  @source docs/adr/0024 */
export function openCluster(options: ClusterOptions): Engine {
  const { cluster, database, requestMsMax } = options;
  const entries = new Endpoints(
    options.urls.map((url) => new Connection(url, options)),
    requestMsMax,
  );
  const topology = new Topology(cluster, entries, { ...options, requestMsMax: options.insertMsMax });
  const place = { cluster, database };
  // Each node has its own favourite.
  const favourite = Math.floor(Math.random() * options.urls.length);
  const quorum =
    options.quorum === null
      ? ''
      : `, insert_quorum=${options.quorum === 'auto' ? "'auto'" : options.quorum}, insert_quorum_timeout=${Math.floor(options.insertMsMax / 2)}`;

  const rows = <Row>(statement: string, parameters?: QueryParameters, signal?: AbortSignal): Promise<Row[]> =>
    entries.ask((connection) => connection.rows<Row>(statement, parameters, signal), favourite);
  const command = async (statement: string): Promise<void> => {
    for (const each of clustered(statement, place))
      await entries.ask((connection) => connection.command(each, DDL), favourite);
  };
  const settled = (connection: Connection, table: string): Promise<void> =>
    connection.command(`SYSTEM SYNC REPLICA ${database}.${localTable(table)} LIGHTWEIGHT`, {
      receive_timeout: SETTLE_S_MAX,
    });

  const replicasOf = async (topic: string, partition: number): Promise<Endpoints> => {
    const shards = await topology.shards();
    const number = await options.shards.shardOf(topic, partition, [...shards.keys()]);
    const replicas = shards.get(number);
    if (replicas !== undefined) return replicas;
    const problem = 'the partition is pinned to a shard that the cluster does not have (any more)';
    throw new StoreError('STORE_UNREACHABLE', 'later', { topic, partition, shard: number, problem });
  };

  return {
    name: 'cluster',
    // A shard that is away is an error, not an answer with less in it.
    querySettings:
      ", skip_unavailable_shards=0, distributed_product_mode='global', fallback_to_stale_replicas_for_distributed_queries=1" +
      `, max_replica_delay_for_distributed_queries=${REPLICA_DELAY_S_MAX}`,
    createDatabase: () =>
      createDatabase(options, `CREATE DATABASE IF NOT EXISTS ${database} ON CLUSTER '${cluster}'`, DDL),
    rows,
    command,
    async guests(from: string) {
      await createDatabase(options, `CREATE DATABASE IF NOT EXISTS ${from} ON CLUSTER '${cluster}'`, DDL);
      return guestsAt({ ...options, database: from });
    },
    bytes: (statement: string, options: WholeAnswerOptions) =>
      entries.ask((connection) => connection.bytes(statement, options), favourite),
    async *stream(statement: string, options: EngineAnswerOptions): AsyncGenerator<Uint8Array> {
      const connection = await entries.ask(async (each) => each, favourite);
      yield* connection.stream(statement, options);
    },
    async insertText(target: string, bytes: Uint8Array, token: string): Promise<void> {
      const shards = [...(await topology.shards()).values()];
      const at = [...token].reduce((sum, character) => (sum * 31 + character.charCodeAt(0)) >>> 0, 0) % shards.length;
      const [name = '', columns = ''] = target.split(/(?=\()/, 2);
      await shards[at]?.ask((connection) =>
        connection.insert(`${localTable(name)}${columns}`, 'TabSeparated', bytes, token, quorum),
      );
    },
    localTable,
    async everywhere<Row>(statement: string): Promise<readonly Row[][]> {
      const servers = [...(await topology.shards()).values()].flatMap(({ connections }) => connections);
      return Promise.all(servers.map((connection) => connection.rows<Row>(statement)));
    },
    async eachShard(statement: string, tables: readonly string[]): Promise<void> {
      for (const replicas of (await topology.shards()).values())
        await replicas.ask(async (connection) => {
          for (const table of tables) await settled(connection, table);
          await connection.command(statement);
        });
    },
    settle: (table) => entries.ask((connection) => settled(connection, table), favourite).catch(() => {}),
    async complete(): Promise<void> {
      const servers: Server[] = [];
      for (const [shard, { connections }] of await topology.shards())
        for (const { url } of connections)
          servers.push({ shard, connection: new Connection(url, { ...options, database: 'default' }) });
      try {
        const defined = await Promise.all(servers.map(({ connection }) => definedOn(connection, database)));
        // The one that has most: an entry point may be the very one that was added.
        const model = defined.reduce((most, each) => (each.length > most.length ? each : most), []);
        const paths = new Map<string, number>();
        for (const [index, { shard, connection }] of servers.entries()) {
          const path = await completed(connection, database, model, defined[index] ?? []);
          if (path === null) continue;
          if ((paths.get(path) ?? shard) !== shard)
            throw new StoreError('STORE_UNREACHABLE', 'never', {
              path,
              problem: 'servers of two shards have the same macro {shard}: they would copy each other',
            });
          paths.set(path, shard);
        }
      } finally {
        for (const { connection } of servers) await connection.close();
      }
    },
    async shardOf(topic: string, partition: number): Promise<Shard> {
      const replicas = await replicasOf(topic, partition);
      return {
        blockNumbers: 'month',
        insertBlock: (table: TableName, bytes: Uint8Array, token: string, fence?: () => Promise<void>) =>
          replicas.ask(
            (connection) => connection.insert(localTable(table), 'Native', bytes, token, quorum),
            partition,
            fence,
          ),
        look: (tables: readonly TableName[]): Promise<Look> =>
          replicas.ask(async (connection) => {
            for (const table of tables) await settled(connection, table);
            return <Row>(statement: string) => connection.rows<Row>(statement);
          }, partition),
      };
    },
    async health(): Promise<string | null> {
      const away: number[] = [];
      for (const [shard, replicas] of topology.known) if (!(await replicas.answers())) away.push(shard);
      return away.length === 0 ? null : `no replica of shard ${away.join(', ')} answers`;
    },
    async close(): Promise<void> {
      await topology.close();
      for (const connection of entries.connections) await connection.close();
    },
  };
}

interface Defined {
  readonly name: string;
  readonly definition: string;
}
/** What others are made of comes first. */
export const DEFINED = `SELECT name, create_table_query AS definition FROM system.tables WHERE database = {database:String}
ORDER BY multiIf(engine LIKE '%MergeTree', 0, engine = 'Distributed', 1, engine = 'MaterializedView', 2, 3), name`;

export const ifNotExists = (definition: string): string =>
  definition.replace(/^(CREATE (?:MATERIALIZED )?(?:TABLE|VIEW)) /, '$1 IF NOT EXISTS ');

interface Server {
  readonly shard: number;
  readonly connection: Connection;
}

/** @returns empty where it is away, or has nothing */
async function definedOn(connection: Connection, database: string): Promise<Defined[]> {
  if (!(await connection.answers())) return [];
  return connection.rows<Defined>(DEFINED, { database }).catch((error: unknown) => {
    if (isElsewhere(error)) return [];
    throw error;
  });
}

/** Defines what a server does not have as another has it: one that was added has nothing, while one that was away finds in
 *  Keeper what it missed. One that is away is passed by.
 *  @returns where in Keeper its readings are; null: it is away */
async function completed(
  connection: Connection,
  database: string,
  model: readonly Defined[],
  defined: readonly Defined[],
): Promise<string | null> {
  try {
    if (!(await connection.answers())) return null;
    const there = new Set(defined.map(({ name }) => name));
    const missing = model.filter(({ name }) => !there.has(name));
    if (missing.length > 0) await connection.command(`CREATE DATABASE IF NOT EXISTS ${database}`);
    for (const { definition } of missing) await connection.command(ifNotExists(definition));
    const [found] = await connection.rows<{ path: string }>(
      `SELECT zookeeper_path AS path FROM system.replicas WHERE database = {database:String} AND table = '${localTable('readings')}'`,
      { database },
    );
    return found?.path ?? null;
  } catch (error) {
    if (isElsewhere(error)) return null;
    throw error;
  }
}
