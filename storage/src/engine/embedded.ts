import { mkdir, rm, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type ClickHouseClient, ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { StoreError, type TableName } from '@millrace/core';
import { drainPending, Session } from 'chdb';
import { createChdbConnection } from 'chdb/connection';
import { alone, type Engine, insertSettings, type QueryParameters, type Shard } from './engine.ts';
import { yieldEngineThreads } from './priority.ts';

type ClientConnection = NonNullable<NonNullable<Parameters<typeof createClient>[0]>['connection']>;

export interface EmbeddedOptions {
  /** The engine's own directory; one process at a time. */
  readonly directory: string;
  readonly database: string;
  readonly insertsMax: number;
  readonly memoryBytesMax: number;
  readonly cacheBytesMax: number;
}

/** Caches that an IoT store has no use for get the least that the engine takes. */
const CACHES_OFF = [
  'uncompressed_cache_size',
  'index_uncompressed_cache_size',
  'mmap_cache_size',
  'vector_similarity_index_cache_size',
  'text_index_tokens_cache_size',
  'text_index_header_cache_size',
  'text_index_postings_cache_size',
  'parquet_metadata_cache_size',
  'iceberg_metadata_files_cache_size',
];

/** ClickHouse in this process. Each connection runs one statement at a time, so inserts have their own and no query
 *  stands in their way. Blocks travel through a file: the connection takes statements as text only.
 *  @throws StoreError STORE_UNREACHABLE (never) when another process has the directory */
export async function openEmbedded(options: EmbeddedOptions): Promise<Engine> {
  const directory = resolve(options.directory);
  const spool = resolve(directory, 'spool');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  let session: Session;
  try {
    session = new Session(directory, {
      connectionArgs: [
        `--max_server_memory_usage=${options.memoryBytesMax}`,
        `--mark_cache_size=${options.cacheBytesMax}`,
        `--primary_index_cache_size=${options.cacheBytesMax}`,
        `--index_mark_cache_size=${options.cacheBytesMax}`,
        `--query_condition_cache_size=${Math.floor(options.cacheBytesMax / 4)}`,
        ...CACHES_OFF.map((name) => `--${name}=0`),
      ],
    });
  } catch (cause) {
    throw new StoreError(
      'STORE_UNREACHABLE',
      'never',
      { directory, problem: 'the directory cannot be opened, or another process uses it: stop that one first' },
      { cause },
    );
  }
  // What a killed process left behind: its ranges are redone from the log.
  await rm(spool, { recursive: true, force: true });
  await mkdir(spool, { mode: 0o700 });

  const endYielding = yieldEngineThreads();
  const clients: ClickHouseClient[] = [];
  const connect = (): ClickHouseClient => {
    // The very same contract, but declared in two packages (`client` and `client-common`).
    const connection = createChdbConnection({ path: directory }) as unknown as ClientConnection;
    const client = createClient({ connection, log: { level: ClickHouseLogLevel.OFF } });
    clients.push(client);
    return client;
  };
  const { database } = options;
  let reader: ClickHouseClient;
  const free: { client: ClickHouseClient; file: string }[] = [];
  try {
    reader = connect();
    for (let index = 0; index < options.insertsMax; index++)
      free.push({ client: connect(), file: resolve(spool, `${index}.native`) });
  } catch (cause) {
    endYielding();
    for (const client of clients) await client.close();
    session.close();
    throw cause;
  }

  const insert = async (target: string, format: string, bytes: Uint8Array, token: string): Promise<void> => {
    const connection = free.pop();
    if (connection === undefined) throw new StoreError('STORE_UNREACHABLE', 'later', { queue: 'inserts' });
    const { client, file } = connection;
    try {
      // Written over and over: a new file for each block costs more than the block on some file systems.
      await writeFile(file, bytes, { mode: 0o600 });
      await client.command({
        query: `INSERT INTO ${target} FROM INFILE '${quoted(file)}' SETTINGS ${insertSettings(token)} FORMAT ${format}`,
      });
    } finally {
      free.push(connection);
    }
  };

  const rows = async <Row>(statement: string, parameters?: QueryParameters): Promise<Row[]> => {
    const answer = await reader.query({
      query: statement,
      format: 'JSONEachRow',
      ...(parameters === undefined ? {} : { query_params: { ...parameters } }),
    });
    return answer.json<Row>();
  };
  const shard: Shard = {
    blockNumbers: 'table',
    async insertBlock(table: TableName, bytes: Uint8Array, token: string, fence?: () => Promise<void>): Promise<void> {
      await fence?.();
      await insert(table, 'Native', bytes, token);
    },
    look: async () => rows,
  };

  return {
    name: 'embedded',
    ...alone,
    // A page of 1,000 asks for one row more, and its offset counts too.
    querySettings: ', query_plan_max_limit_for_top_k_optimization=10000',
    async createDatabase(): Promise<void> {
      await reader.command({ query: `CREATE DATABASE IF NOT EXISTS ${database}` });
      for (const client of clients) await client.command({ query: `USE ${database}` });
    },
    rows,
    shardOf: async () => shard,
    async command(statement: string): Promise<void> {
      await reader.command({ query: statement });
    },
    async *text(statement: string): AsyncGenerator<Uint8Array> {
      session.query(`USE ${database}`);
      for await (const chunk of session.queryStream(statement, { format: 'TabSeparated' })) yield chunk.raw();
    },
    insertText: (target: string, bytes: Uint8Array, token: string) => insert(target, 'TabSeparated', bytes, token),
    async close(): Promise<void> {
      endYielding();
      await drainPending();
      for (const client of clients) await client.close();
      session.close();
      await rm(spool, { recursive: true, force: true });
    },
  };
}

const quoted = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll("'", "\\'");
