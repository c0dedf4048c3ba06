/** Tables that a tenant's statement may name, each with its own rows alone. The last two are of the registry. */
export const sqlTables = [
  'readings',
  'readings_1m',
  'readings_1h',
  'latest',
  'messages',
  'message_log',
  'dead_letters',
  'things',
  'channels',
] as const;
export type SqlTable = (typeof sqlTables)[number];
export type SqlInventory = 'things' | 'channels';

/** What one statement may take. */
export interface SqlLimits {
  readonly seconds: number;
  readonly memoryBytes: number;
  /** Read from disk, whole granules. */
  readonly rowsRead: number;
  readonly resultRows: number;
  readonly resultBytes: number;
}

export type SqlParameter = string | number | boolean | null | readonly (string | number)[];

export interface SqlStatement {
  readonly org: string;
  /** One SELECT of ClickHouse's SQL, or EXPLAIN of one. */
  readonly query: string;
  /** Values of `{name:Type}`. */
  readonly parameters: Readonly<Record<string, SqlParameter>>;
  readonly limits: SqlLimits;
  /** Rows of the registry, one JSON object a line with the columns of the table. Asked only of what the statement names;
   *  what it throws is passed on. */
  inventory(table: SqlInventory): Promise<string>;
  readonly signal?: AbortSignal;
}

/** Why a statement is not answered.
 *  `syntax`: it is no SQL. `invalid`: it names what is not there, or types do not fit. `forbidden`: it asks for what no
 *  tenant may. `failed`: a value could not be computed while it ran. `too_expensive`: it ran into a limit. */
export type SqlRefusalReason = 'syntax' | 'invalid' | 'forbidden' | 'failed' | 'too_expensive';
export interface SqlRefused {
  readonly kind: 'refused';
  readonly reason: SqlRefusalReason;
  /** For who wrote the statement. Tells nothing of anybody's rows. */
  readonly detail: string;
}

export interface SqlColumn {
  readonly name: string;
  readonly type: string;
}
/** How much the engine read for it is not told: it reads others' rows of the same granules. */
export interface SqlAnswer {
  readonly kind: 'answer';
  readonly columns: readonly SqlColumn[];
  /** Objects by column. 64-bit integers, decimals, NaN and infinities are text. */
  readonly data: readonly Readonly<Record<string, unknown>>[];
  readonly elapsedSeconds: number;
  readonly resultBytes: number;
}
export interface SqlStream {
  readonly kind: 'stream';
  /** @throws SqlFailed, StoreError while it is iterated */
  readonly bytes: AsyncIterable<Uint8Array>;
}
/** What a stream throws when the statement fails after all. */
export class SqlFailed extends Error {
  readonly refused: SqlRefused;
  constructor(refused: SqlRefused) {
    super(refused.detail);
    this.name = 'SqlFailed';
    this.refused = refused;
  }
}

export const sqlFormats = ['ndjson', 'csv', 'arrow', 'parquet'] as const;
export type SqlFormat = (typeof sqlFormats)[number];

export interface SqlSchema {
  readonly tables: readonly {
    readonly name: SqlTable;
    readonly comment: string;
    readonly columns: readonly { readonly name: string; readonly type: string; readonly comment: string }[];
  }[];
  /** @shape by group, as `dates: [toStartOfHour, …]` */
  readonly functions: Readonly<Record<string, readonly string[]>>;
}

/** Runs what a tenant writes, on the tenant's rows alone.
 *  @throws StoreError STORE_UNREACHABLE, STORE_CLOSED: never for what the statement says  @source docs/adr/0031 */
export interface TenantSql {
  ask(statement: SqlStatement): Promise<SqlAnswer | SqlRefused>;
  stream(statement: SqlStatement, format: SqlFormat): Promise<SqlStream | SqlRefused>;
  /** Whether it would be run, and if not why: for who saves one. Parameters may have no value yet. */
  check(statement: SqlStatement): Promise<SqlRefused | null>;
  schema(): SqlSchema;
}
