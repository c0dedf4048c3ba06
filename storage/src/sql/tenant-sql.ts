import {
  isUuid,
  type SqlAnswer,
  SqlFailed,
  type SqlFormat,
  type SqlLimits,
  type SqlRefusalReason,
  type SqlRefused,
  type SqlStatement,
  type SqlStream,
  type SqlTable,
  StoreError,
  type TenantSql,
} from '@millrace/core';
import { engineCode } from '../engine/errors.ts';
import type { QueryLimits } from '../engine/limits.ts';
import type { Asker } from '../read/asker.ts';
import { meaningOf } from './meaning.ts';
import { namesOf } from './names.ts';
import type { Narrowing } from './narrowing.ts';
import { readStatement, type Statement } from './statement.ts';
import { emptyTables, isInventory, orgTables, readAs, schema } from './views.ts';

const FORMATS: Readonly<Record<SqlFormat, string>> = {
  ndjson: 'JSONEachRow',
  csv: 'CSVWithNames',
  arrow: 'ArrowStream',
  parquet: 'Parquet',
};
const ROWS_FORMAT = 'JSONCompactEachRowWithNamesAndTypes';
/** What a statement may take while it is looked at, over tables without rows: what it makes of constants is made here. */
const lookLimits = ({ seconds, memoryBytes }: SqlLimits): Partial<QueryLimits> => ({
  secondsMax: Math.min(20, seconds),
  bytesMax: Math.min(512 * 1024 * 1024, memoryBytes),
});
const INVENTORY_BYTES_MAX = 64 * 1024 * 1024;

/** Statements whose checks are remembered: dashboards ask the same ones again. What a clock said then only ever bounds rows
 *  from below, so that it may be old. */
const KNOWN_MAX = 1_000;
const KNOWN_MS = 5 * 60 * 1_000;
const KNOWN_SIZE_MAX = 4 * 1024;

/** A statement that passed every check. */
interface Checked {
  readonly statement: Statement;
  readonly tables: readonly SqlTable[];
  readonly narrowing: Narrowing;
}

/** Runs tenants' statements. One is looked at three times before it meets a row: by our own reading of its words, by what
 *  the engine's parser makes of it, and by what its names mean over tables that are empty, in a database that is empty.
 *  Then the very same text runs where the names of the tables stand for the org's rows.
 *  @param guests asks from the empty database, once it is there  @source docs/adr/0031 */
export function createTenantSql(guests: () => Promise<Asker>, database: string): TenantSql {
  const known = new Map<string, { readonly checked: Checked; readonly untilMs: number }>();
  const check = async (asked: SqlStatement): Promise<Checked | SqlRefused> => {
    // By org: how fast the answer comes would tell what others ask.
    const key = JSON.stringify([asked.org, asked.query, asked.parameters]);
    const before = known.get(key);
    if (before !== undefined && before.untilMs > performance.now()) return before.checked;
    const checked = await look(asked);
    if ('kind' in checked || key.length > KNOWN_SIZE_MAX) return checked;
    known.delete(key);
    known.set(key, { checked, untilMs: performance.now() + KNOWN_MS });
    const [oldest] = known.keys();
    if (known.size > KNOWN_MAX && oldest !== undefined) known.delete(oldest);
    return checked;
  };
  const look = async (asked: SqlStatement): Promise<Checked | SqlRefused> => {
    const read = readStatement(asked.query, asked.parameters, database);
    if (read.kind === 'refused') return read;
    if (read.missing !== null) return refused('invalid', `the parameter {${read.missing}} has no value`);
    const { org, parameters, signal } = asked;
    const asker = await guests();
    const options = { org, limits: lookLimits(asked.limits), ...(signal === undefined ? {} : { signal }) };
    try {
      const lines = async (statement: string): Promise<string[]> =>
        (await asker.ask<{ explain: string }>('sql', statement, parameters, options)).map(({ explain }) => explain);
      const names = namesOf(
        await lines(`SELECT explain FROM (EXPLAIN QUERY TREE run_passes = 0 ${read.text})`),
        read.ownTables,
      );
      if (names.forbidden !== null) return refusedFor(names.forbidden);
      const empty = `${emptyTables(read.tables)}SELECT * FROM (${read.text})`;
      const meaning = meaningOf(await lines(`SELECT explain FROM (EXPLAIN QUERY TREE ${empty})`));
      if (meaning.forbidden !== null) return refusedFor(meaning.forbidden);
      // What is asked within an expression is answered over empty tables, and is not seen there any more.
      const narrowing = names.hasScalar ? new Map() : meaning.narrowing;
      return { statement: read, tables: read.tables, narrowing };
    } catch (error) {
      return lookedAt(error, read);
    }
  };

  /** The text that runs. */
  const textOf = async (
    asked: SqlStatement,
    { statement, tables, narrowing }: Checked,
  ): Promise<string | SqlRefused> => {
    const { org } = asked;
    if (!isUuid(org)) throw new TypeError('an org is a UUID');
    const inventory = new Map<SqlTable, string>();
    for (const table of tables) {
      if (!isInventory(table) || statement.isExplain) continue;
      const rows = await asked.inventory(table);
      if (Buffer.byteLength(rows) > INVENTORY_BYTES_MAX)
        return refused(
          'too_expensive',
          `${table} is larger than ${INVENTORY_BYTES_MAX} bytes: it can not be asked by SQL`,
        );
      inventory.set(table, rows);
    }
    // The plan over the org's rows would tell how many of others' lie beside them.
    return statement.isExplain
      ? `SELECT explain FROM (EXPLAIN ${emptyTables(tables)}SELECT * FROM (${statement.text})) UNION ALL SELECT arrayJoin(${readAs(tables, narrowing)}) AS explain`
      : `${orgTables(tables, { database, org, narrowing, inventory })}SELECT * FROM (${statement.text})`;
  };
  const optionsOf = ({ org, limits, signal }: SqlStatement, { tables }: Checked, format: string) => ({
    format,
    org,
    limits: limitsOf(limits, tables),
    ...(signal === undefined ? {} : { signal }),
  });

  return {
    schema,
    async check(asked) {
      const read = readStatement(asked.query, asked.parameters, database);
      // Who runs it gives the others.
      if (read.kind === 'statement' && read.missing !== null) return null;
      const checked = await check(asked);
      return 'kind' in checked ? checked : null;
    },
    async ask(asked) {
      const checked = await check(asked);
      if ('kind' in checked) return checked;
      try {
        const begunMs = performance.now();
        const text = await textOf(asked, checked);
        if (typeof text !== 'string') return text;
        const asker = await guests();
        const bytes = await asker.bytes('sql', text, asked.parameters, {
          ...optionsOf(asked, checked, ROWS_FORMAT),
          bytesMax: asked.limits.resultBytes,
        });
        return answerOf(Buffer.from(bytes).toString('utf8'), (performance.now() - begunMs) / 1_000);
      } catch (error) {
        return ranInto(error);
      }
    },
    async stream(asked, format): Promise<SqlStream | SqlRefused> {
      const checked = await check(asked);
      if ('kind' in checked) return checked;
      const text = await textOf(asked, checked);
      if (typeof text !== 'string') return text;
      const asker = await guests();
      const bytes = asker.stream('sql', text, asked.parameters, optionsOf(asked, checked, FORMATS[format]));
      // What fails at once is an answer; later, it breaks the stream.
      const parts = bytes[Symbol.asyncIterator]();
      try {
        const first = await parts.next();
        return { kind: 'stream', bytes: rest(first, parts) };
      } catch (error) {
        return ranInto(error);
      }
    },
  };
}

async function* rest(first: IteratorResult<Uint8Array>, parts: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  let ended = false;
  try {
    for (let part = first; !part.done; part = await parts.next()) yield part.value;
    ended = true;
  } catch (error) {
    ended = true;
    throw new SqlFailed(ranInto(error));
  } finally {
    if (!ended) await parts.return?.();
  }
}

/** Names, types, then the rows, each an array in a line. */
function answerOf(text: string, elapsedSeconds: number): SqlAnswer {
  const [names = [], types = [], ...rows] = JSON.parse(`[${text.trimEnd().replaceAll('\n', ',')}]`) as unknown[][];
  const columns = names.map((name, index) => ({ name: String(name), type: String(types[index]) }));
  const data = rows.map((row) => Object.fromEntries(columns.map(({ name }, index) => [name, row[index]])));
  return { kind: 'answer', columns, data, elapsedSeconds, resultBytes: Buffer.byteLength(text) };
}

const limitsOf = (limits: SqlLimits, tables: readonly SqlTable[]): Partial<QueryLimits> => ({
  secondsMax: limits.seconds,
  bytesMax: limits.memoryBytes,
  // Of message_log, which is not sorted by org, all orgs' rows are counted: whether they are too many would tell how many.
  ...(tables.includes('message_log') ? {} : { rowsReadMax: limits.rowsRead }),
  resultRowsMax: limits.resultRows,
  resultBytesMax: limits.resultBytes,
});

const refused = (reason: SqlRefusalReason, detail: string): SqlRefused => ({ kind: 'refused', reason, detail });
const refusedFor = (what: string): SqlRefused => refused('forbidden', `${what} can not be used here`);

/** SYNTAX_ERROR and what else the parser says. */
const SYNTAX = new Set([62, 6, 25, 26, 72]);

/** What the engine said of a statement that met no row: all its words are about the statement.
 *  @throws StoreError that is not the statement's fault */
function lookedAt(error: unknown, { shown }: Statement): SqlRefused {
  const { code, message } = causeOf(error);
  if (code === null) throw error;
  if (isTooMuch(error)) return refused('too_expensive', 'the statement is too large to be looked at: make it smaller');
  return refused(SYNTAX.has(code) ? 'syntax' : 'invalid', shown(wordsOf(message)));
}

/** The same of one that met rows: what the engine says may quote them.
 *  @throws StoreError that is not the statement's fault */
function ranInto(error: unknown): SqlRefused {
  if (isTooMuch(error)) return refused('too_expensive', limitWords(error));
  const { code, type } = causeOf(error);
  if (code === null || isElsewhereCode(code)) throw error;
  if (code === SAME_NAMES) return refused('invalid', 'two columns have the same name: name one of them with AS');
  return refused(
    'failed',
    `a value could not be computed while the statement ran (${type}): use functions that end with OrNull, or leave such rows out`,
  );
}

const isTooMuch = (error: unknown): error is StoreError =>
  error instanceof StoreError && error.code === 'STORE_QUERY_TOO_EXPENSIVE';
const limitWords = ({ facts }: StoreError): string => {
  const { limit, limitMax, advice } = facts;
  return `the statement ran into a limit: ${limit}${limitMax === undefined ? '' : ` ${limitMax}`}${advice === undefined ? '' : `. ${advice}`}`;
};

/** The engine's own error, below ours. */
function causeOf(error: unknown): { code: number | null; message: string; type: string } {
  const cause = error instanceof StoreError && error.cause !== undefined ? error.cause : error;
  const message = cause instanceof Error ? cause.message : '';
  const code = engineCode(cause);
  const type = /\(([A-Z][A-Z0-9_]+)\)\s*\.?\s*(?:\(version [^)]*\))?\s*$/.exec(message)?.[1] ?? `code ${code}`;
  return { code, message, type };
}

/** ILLEGAL_COLUMN: what is written to a file has columns by name. */
const SAME_NAMES = 44;

/** Not here, not now: the server's own trouble. */
const ELSEWHERE = new Set([198, 202, 203, 209, 210, 225, 236, 242, 243, 254, 265, 279, 285, 286, 394, 999, 1000]);
const isElsewhereCode = (code: number): boolean => ELSEWHERE.has(code);

/** Without what the engine says of itself. */
const wordsOf = (message: string): string =>
  message
    .replace(/^[\s\S]*?DB::Exception: /, '')
    .replace(/ \(version [^)]*\)/, '')
    .replace(/\s*\([A-Z][A-Z0-9_]+\)\s*$/, '')
    .replace(/:? ?In scope [\s\S]*$/, '')
    .replace(/ in scope [\s\S]*$/, '')
    .slice(0, 500)
    .trim();
