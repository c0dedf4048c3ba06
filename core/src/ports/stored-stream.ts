import type { StoredPlace, StoredReading } from './live-questions.ts';
import type { DeadLetter } from './readings-store.ts';

/** What is asked of one partition of the log: all organisations, in the order in which they published.
 *  @shape before: offset that is not asked for any more. All before it must be stored: what is stored later is missed */
export interface StreamQuery {
  readonly partition: number;
  readonly from: StoredPlace;
  readonly before: number;
  /** 1 to 10,000 rows; fewer come where they are large. */
  readonly limit: number;
}
/** @shape next: where to go on; `{offset: before, index: 0}` when there is no more */
export interface StreamPage<Row> {
  readonly rows: readonly Row[];
  readonly next: StoredPlace;
}

export interface StreamedReading extends StoredReading {
  readonly org: string;
  /** µs since 1970, decimal text. */
  readonly receivedUs: string;
}
/** @shape payload: its beginning */
export type StreamedDeadLetter = Omit<DeadLetter, 'cursor'>;

/** Gives all that is stored in the order of the log: what is handed on to third parties.
 *  @throws all of it StoreError STORE_QUERY_INVALID, STORE_QUERY_TOO_EXPENSIVE, STORE_UNREACHABLE, STORE_CLOSED */
export interface StoredStream {
  readings(query: StreamQuery): Promise<StreamPage<StreamedReading>>;
  deadLetters(query: StreamQuery & { readonly payloadBytesMax: number }): Promise<StreamPage<StreamedDeadLetter>>;
}
