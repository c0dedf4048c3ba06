import { StoreError } from '@millrace/core';
import type { QueryLimits } from './limits.ts';

/** Codes of ClickHouse that are the block's own fault: the very same block fails again.
 *  @source ClickHouse `ErrorCodes.cpp` */
const DATA_ERRORS: ReadonlySet<number> = new Set([
  6, // CANNOT_PARSE_TEXT
  7, // NUMBER_OF_COLUMNS_DOESNT_MATCH
  9, // SIZES_OF_COLUMNS_DOESNT_MATCH
  26, // CANNOT_PARSE_QUOTED_STRING
  27, // CANNOT_PARSE_INPUT_ASSERTION_FAILED
  32, // ATTEMPT_TO_READ_AFTER_EOF
  33, // CANNOT_READ_ALL_DATA
  38, // CANNOT_PARSE_DATE
  41, // CANNOT_PARSE_DATETIME
  43, // ILLEGAL_TYPE_OF_ARGUMENT
  44, // ILLEGAL_COLUMN
  49, // LOGICAL_ERROR: what a malformed block trips over
  50, // UNKNOWN_TYPE
  53, // TYPE_MISMATCH
  69, // ARGUMENT_OUT_OF_BOUND
  70, // CANNOT_CONVERT_TYPE
  72, // CANNOT_PARSE_NUMBER
  117, // INCORRECT_DATA
  128, // TOO_LARGE_ARRAY_SIZE
  131, // TOO_LARGE_STRING_SIZE
  321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
  349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
  407, // DECIMAL_OVERFLOW
]);

/** TOO_MANY_PARTS: too many to merge (try later), or too many months in one block (never). */
const TOO_MANY_PARTS = 252;

/** Codes of ClickHouse that mean: within its limits the engine will not answer this question; and which limit that was. */
const LIMIT_ERRORS: ReadonlyMap<number, QueryLimit> = new Map([
  [158, 'rows'], // TOO_MANY_ROWS
  [159, 'time'], // TIMEOUT_EXCEEDED
  [160, 'time'], // TOO_SLOW
  [191, 'memory'], // SET_SIZE_LIMIT_EXCEEDED
  [241, 'memory'], // MEMORY_LIMIT_EXCEEDED
  [307, 'rows'], // TOO_MANY_BYTES
  [396, 'result'], // TOO_MANY_ROWS_OR_BYTES
]);

/** What somebody can do whose question met a limit. */
const ADVICE: Readonly<Record<QueryLimit, string>> = {
  time: 'ask for less time or fewer series, or for an export',
  memory: 'ask for less time or fewer series, or in wider intervals',
  rows: 'ask for less time or fewer series',
  result: 'ask for fewer rows or points (limit, wider intervals, thin), or for an export',
  reader: 'read the answer as it comes',
};
export type QueryLimit = 'time' | 'memory' | 'rows' | 'result' | 'reader';

/** @param limitMax in s (time, reader), bytes (memory, result) or rows */
export function tooExpensive(
  question: string,
  limit: QueryLimit,
  limitMax: number | undefined,
  cause?: unknown,
): StoreError {
  const facts = { question, limit, ...(limitMax === undefined ? {} : { limitMax }), advice: ADVICE[limit] };
  return new StoreError('STORE_QUERY_TOO_EXPENSIVE', 'never', facts, { cause });
}

/** Codes of ClickHouse that say: not here, not now. Another server may do it, and the same one later. Of an insert it is
 *  not known then whether it was done: it is told again under its token. */
const ELSEWHERE: ReadonlySet<number> = new Set([
  60, // UNKNOWN_TABLE: a replica that has not come so far
  81, // UNKNOWN_DATABASE
  198, // DNS_ERROR
  202, // TOO_MANY_SIMULTANEOUS_QUERIES
  203, // NO_FREE_CONNECTION
  209, // SOCKET_TIMEOUT
  210, // NETWORK_ERROR
  225, // NO_ZOOKEEPER
  236, // ABORTED
  242, // TABLE_IS_READ_ONLY: its replica has lost Keeper
  243, // NOT_ENOUGH_SPACE
  254, // NO_ACTIVE_REPLICAS
  265, // NO_AVAILABLE_REPLICA
  279, // ALL_CONNECTION_TRIES_FAILED
  285, // TOO_FEW_LIVE_REPLICAS
  286, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
  289, // REPLICA_IS_NOT_IN_QUORUM
  319, // UNKNOWN_STATUS_OF_INSERT
  369, // ALL_REPLICAS_ARE_STALE
  394, // QUERY_WAS_CANCELLED: the server goes down
  999, // KEEPER_EXCEPTION
  1000, // POCO_EXCEPTION
]);

const BAD_PARAMETER: ReadonlySet<number> = new Set([26, 27, 38, 41, 72, 321, 457]);

/** The code of an engine's error, or null if it never came so far. */
export function engineCode(error: unknown): number | null {
  if (!(error instanceof Error)) return null;
  const code = (error as Error & { code?: unknown }).code;
  const digits = typeof code === 'string' && /^\d+$/.test(code) ? code : /\bCode: (\d+)\b/.exec(error.message)?.[1];
  return digits === undefined ? null : Number(digits);
}

/** At the end of what the engine says. */
const TYPE = /\(([A-Z][A-Z0-9_]+)\)\s*$/;

/** The engine's words without what they may quote of rows and addresses: its code and type. */
function told(error: unknown): { engineCode: number | null; cause: string } {
  const type =
    (error as { type?: unknown } | null)?.type ?? (error instanceof Error ? TYPE.exec(error.message)?.[1] : undefined);
  const code = (error as { code?: unknown } | null)?.code;
  const cause = typeof type === 'string' ? type : typeof code === 'string' ? code : 'NO_ANSWER';
  return { engineCode: engineCode(error), cause };
}

/** Whether another server may succeed with what this one failed with. */
export function isElsewhere(error: unknown): boolean {
  if (error instanceof StoreError) return false;
  // Who asked does not want to know any more: that says nothing of the server.
  if (error instanceof Error && error.name === 'AbortError') return false;
  const code = engineCode(error);
  return code === null || ELSEWHERE.has(code);
}

export function insertError(error: unknown, facts: Readonly<Record<string, string | number>>): StoreError {
  if (error instanceof StoreError) return error;
  const code = engineCode(error);
  const refused =
    code !== null &&
    (DATA_ERRORS.has(code) ||
      (code === TOO_MANY_PARTS && error instanceof Error && error.message.includes('partitions')));
  return refused
    ? new StoreError('STORE_REFUSED', 'never', { ...facts, ...told(error) }, { cause: error })
    : new StoreError('STORE_UNREACHABLE', 'later', { ...facts, ...told(error) }, { cause: error });
}

/** @param limits what the question was held to, where it was */
export function queryError(error: unknown, question: string, limits?: QueryLimits): StoreError {
  if (error instanceof StoreError) return error;
  const code = engineCode(error);
  const limit = code === null ? undefined : LIMIT_ERRORS.get(code);
  if (limit !== undefined) return tooExpensive(question, limit, limits && limitOf(limits, limit), error);
  const facts = { question, ...told(error) };
  if (code !== null && BAD_PARAMETER.has(code))
    return new StoreError('STORE_QUERY_INVALID', 'never', facts, { cause: error });
  return new StoreError('STORE_UNREACHABLE', 'later', facts, { cause: error });
}

const limitOf = (limits: QueryLimits, limit: QueryLimit): number | undefined =>
  limit === 'time'
    ? limits.secondsMax
    : limit === 'memory'
      ? limits.bytesMax
      : limit === 'rows'
        ? limits.rowsReadMax
        : (limits.resultRowsMax ?? limits.resultBytesMax);
