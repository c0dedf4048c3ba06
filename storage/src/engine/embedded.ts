import { mkdir, rm, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { StoreError, type TableName } from '@millrace/core';
import { Session } from 'chdb';
import {
  alone,
  type Engine,
  type EngineAnswerOptions,
  GUEST_STATEMENT_BYTES_MAX,
  insertSettings,
  type QueryParameters,
  type Shard,
  type WholeAnswerOptions,
} from './engine.ts';
import { yieldEngineThreads } from './priority.ts';
import { Sessions } from './sessions.ts';

export interface EmbeddedOptions {
  /** The engine's own directory; one process at a time. */
  readonly directory: string;
  readonly database: string;
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

/** What is bound travels in the statement's text: a question may name 50,000 series. */
const STATEMENT_BYTES_MAX = 16 * 1024 * 1024;

/** ClickHouse in this process. A session runs one statement at a time, so each has one of its own: what is bound is who asks,
 *  not the engine. Blocks travel through a file: a session takes statements as text only.
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
  const sessions = new Sessions(directory, spool, session);
  const { database } = options;

  const insert = (target: string, format: string, bytes: Uint8Array, token: string): Promise<void> =>
    sessions.with(async (lane) => {
      // Written over and over: a new file for each block costs more than the block on some file systems.
      const file = resolve(spool, `${lane.number}.native`);
      await writeFile(file, bytes, { mode: 0o600 });
      await lane.session.queryAsync(
        `INSERT INTO ${target} FROM INFILE '${quoted(file)}' SETTINGS ${insertSettings(token)} FORMAT ${format}`,
      );
    });

  const rows = <Row>(statement: string, parameters?: QueryParameters, signal?: AbortSignal): Promise<Row[]> =>
    rowsOf<Row>(sessions, statement, parameters, signal);
  // A page of 1,000 asks for one row more, and its offset counts too. And where less than 2 GiB are free, the engine would
  // give a question one thread; what it may take in memory is bounded for each already. No table has projections: to look
  // for one takes 0.5 ms.
  const querySettings =
    ', query_plan_max_limit_for_top_k_optimization=10000, max_threads_min_free_memory_per_thread=0, optimize_use_projections=0';
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
    querySettings,
    async createDatabase(): Promise<void> {
      await sessions.query(`CREATE DATABASE IF NOT EXISTS ${database}`);
      await sessions.use(database, `max_query_size=${STATEMENT_BYTES_MAX}`);
    },
    rows,
    everywhere: async <Row>(statement: string) => [await rows<Row>(statement)],
    eachShard: async (statement: string) => {
      await sessions.query(statement);
    },
    shardOf: async () => shard,
    async command(statement: string): Promise<void> {
      await sessions.query(statement);
    },
    bytes: (statement: string, asked: WholeAnswerOptions) => bytesOf(sessions, statement, asked),
    stream: (statement: string, streamed: EngineAnswerOptions) => sessions.stream(statement, streamed),
    async guests(from: string) {
      await sessions.query(`CREATE DATABASE IF NOT EXISTS ${from}`);
      const own = new Sessions(directory, spool, new Session(directory));
      await own.use(from, `max_query_size=${GUEST_STATEMENT_BYTES_MAX}`);
      return {
        name: 'embedded' as const,
        querySettings,
        rows: <Row>(statement: string, parameters?: QueryParameters, signal?: AbortSignal) =>
          rowsOf<Row>(own, statement, parameters, signal),
        bytes: (statement: string, asked: WholeAnswerOptions) => bytesOf(own, statement, asked),
        stream: (statement: string, streamed: EngineAnswerOptions) => own.stream(statement, streamed),
        close: () => own.close(),
      };
    },
    insertText: (target: string, bytes: Uint8Array, token: string) => insert(target, 'TabSeparated', bytes, token),
    async close(): Promise<void> {
      endYielding();
      await sessions.close();
      await rm(spool, { recursive: true, force: true });
    },
  };
}

async function bytesOf(sessions: Sessions, statement: string, options: EngineAnswerOptions): Promise<Buffer> {
  const bytes = (await sessions.query(statement, options)).bytes();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

async function rowsOf<Row>(
  sessions: Sessions,
  statement: string,
  parameters?: QueryParameters,
  signal?: AbortSignal,
): Promise<Row[]> {
  const options = { ...(parameters === undefined ? {} : { parameters }), ...(signal === undefined ? {} : { signal }) };
  const text = (await bytesOf(sessions, statement, { format: 'JSONEachRow', ...options })).toString('utf8');
  return JSON.parse(`[${text.trimEnd().replaceAll('\n', ',')}]`) as Row[];
}

const quoted = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll("'", "\\'");
