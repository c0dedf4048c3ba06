import type { TableName } from '@millrace/core';

/** Values of `{name:Type}` in a statement: they never become part of its text. */
export type QueryParameters = Readonly<Record<string, string | number | boolean | readonly (string | number)[] | null>>;

export interface EngineAnswerOptions {
  /** ClickHouse's own name: JSONEachRow, CSVWithNames, ArrowStream, Parquet, TabSeparated… */
  readonly format: string;
  readonly parameters?: QueryParameters;
  /** Ends the query in the engine, whatever it is at. */
  readonly signal?: AbortSignal;
}

export interface WholeAnswerOptions extends EngineAnswerOptions {
  readonly bytesMax: number;
}

/** One ClickHouse, in this process, on a server or on many. Fault domain of its own: throws what the engine says,
 *  mapped by `insertError` and `queryError` where the caller knows what it asked. */
export interface Engine {
  readonly name: 'embedded' | 'server' | 'cluster';
  /** Settings that questions may use here, each with a comma before it: a server may be too old to know them. */
  readonly querySettings: string;
  /** Makes the database that all else happens in, if it does not exist. */
  createDatabase(): Promise<void>;
  /** All rows of a SELECT, one object a row. The caller bounds them with LIMIT.
   *  @param signal ends the query in the engine */
  rows<Row>(statement: string, parameters?: QueryParameters, signal?: AbortSignal): Promise<Row[]>;
  /** The whole answer of a SELECT in the bytes of a format. What is longer than `bytesMax` is not taken to its end; the
   *  embedded engine holds it within the memory of the statement.
   *  @param statement without a FORMAT of its own */
  bytes(statement: string, options: WholeAnswerOptions): Promise<Uint8Array>;
  /** A statement without an answer. What defines something is written as for a single server: a cluster makes of it what
   *  it needs. */
  command(statement: string): Promise<void>;
  /** The answer of a SELECT in the bytes of a format, as it comes: what nobody takes is not read. Who ends the iteration
   *  ends the query.
   *  @param statement without a FORMAT of its own
   *  @throws what the engine says, also after the first bytes; the signal's reason */
  stream(statement: string, options: EngineAnswerOptions): AsyncIterable<Uint8Array>;
  /** Who asks from here finds no table by its name alone: the database is empty. For statements that others wrote.
   *  @holds called once the database is there */
  guests(database: string): Promise<Guests>;
  /** Inserts rows of TabSeparated as `insertBlock` does a block.  @param target a table, with its columns in parentheses */
  insertText(target: string, bytes: Uint8Array, token: string): Promise<void>;
  /** The table that has the rows of this one, on the server that is asked. */
  localTable(name: string): string;
  /** The same question to every server, of what each has for itself: an answer a server.
   *  @throws while one of them is away */
  everywhere<Row>(statement: string): Promise<readonly Row[][]>;
  /** A statement that is told once in each shard, of its own tables (`localTable`), to a server that has all that any of
   *  them took of these. */
  eachShard(statement: string, tables: readonly string[]): Promise<void>;
  /** Where the rows of a partition of the log are kept, always the same. */
  shardOf(topic: string, partition: number): Promise<Shard>;
  /** Lets who asks next see what was written before, as far as it can be had. */
  settle(table: string): Promise<void>;
  /** Defines what is missing on servers that were added.
   *  @throws StoreError STORE_UNREACHABLE (never) when the servers' own configuration cannot be right */
  complete(): Promise<void>;
  /** What is wrong with a part of it, though the rest answers; or null. */
  health(): Promise<string | null>;
  /** Waits for what runs; nothing may be asked afterwards. */
  close(): Promise<void>;
}

/** Bytes of a statement with rows of the registry in it. */
export const GUEST_STATEMENT_BYTES_MAX = 128 * 1024 * 1024;
export interface Guests extends Pick<Engine, 'name' | 'querySettings' | 'rows' | 'bytes' | 'stream'> {
  close(): Promise<void>;
}

/** Where an insert is remembered by its token: the engine itself, or the replicas of one shard. */
export interface Shard {
  /** Of what blocks are numbered: the whole table, or each part of it by month. */
  readonly blockNumbers: 'table' | 'month';
  /** Inserts one Native block as one block, so that it is there as a whole or not at all, and once a token.
   *  @param fence awaited before each try; what it throws ends the insert
   *  @holds `bytes` is not changed until the promise settles */
  insertBlock(table: TableName, bytes: Uint8Array, token: string, fence?: () => Promise<void>): Promise<void>;
  /** Asks one server of the shard that has all that any of them took of these tables.
   *  @throws when none has it */
  look(tables: readonly TableName[]): Promise<Look>;
}
export type Look = <Row>(statement: string) => Promise<Row[]>;

/** What makes one insert one block, and a repeated one nothing, the views included. */
export const insertSettings = (token: string): string =>
  `insert_deduplication_token='${token}', insert_deduplicate=1, deduplicate_blocks_in_dependent_materialized_views=1, ` +
  'async_insert=0, input_format_parallel_parsing=0, materialized_views_ignore_errors=0';

/** What a single engine, whose tables are its own, says to the questions of many. */
export const alone = {
  localTable: (name: string): string => name,
  settle: async (): Promise<void> => {},
  complete: async (): Promise<void> => {},
  health: async (): Promise<null> => null,
};
