import type { TableName } from '@millrace/core';

/** Values of `{name:Type}` in a statement: they never become part of its text. */
export type QueryParameters = Readonly<Record<string, string | number | boolean | readonly string[] | null>>;

/** One ClickHouse, in this process or on a server. Fault domain of its own: throws what the engine says,
 *  mapped by `insertError` and `queryError` where the caller knows what it asked. */
export interface Engine {
  readonly name: 'embedded' | 'server';
  /** Settings that questions may use here, each with a comma before it: a server may be too old to know them. */
  readonly querySettings: string;
  /** Makes the database that all else happens in, if it does not exist. */
  createDatabase(): Promise<void>;
  /** All rows of a SELECT, one object a row. The caller bounds them with LIMIT. */
  rows<Row>(statement: string, parameters?: QueryParameters): Promise<Row[]>;
  /** A statement without an answer. */
  command(statement: string): Promise<void>;
  /** Inserts one Native block as one block, so that it is there as a whole or not at all, and once a token.
   *  @holds `bytes` is not changed until the promise settles */
  insertBlock(table: TableName, bytes: Uint8Array, token: string): Promise<void>;
  /** The answer of a SELECT as TabSeparated, as it comes: what nobody takes is not read. One at a time. */
  text(statement: string): AsyncIterable<Uint8Array>;
  /** Inserts rows of TabSeparated as `insertBlock` does a block.  @param target a table, with its columns in parentheses */
  insertText(target: string, bytes: Uint8Array, token: string): Promise<void>;
  /** Waits for what runs; nothing may be asked afterwards. */
  close(): Promise<void>;
}

/** What makes one insert one block, and a repeated one nothing, the views included. */
export const insertSettings = (token: string): string =>
  `insert_deduplication_token='${token}', insert_deduplicate=1, deduplicate_blocks_in_dependent_materialized_views=1, ` +
  'async_insert=0, input_format_parallel_parsing=0, materialized_views_ignore_errors=0';
