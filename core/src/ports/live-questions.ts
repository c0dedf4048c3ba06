import type { Reading } from './readings-store.ts';

/** A place among what is stored of one partition of the log, between two readings: the one at `index` of the message at
 *  `offset` comes next. */
export interface StoredPlace {
  readonly offset: number;
  readonly index: number;
}

/** A reading, and where it stands. */
export interface StoredReading extends Reading, StoredPlace {}

/** @shape before: offset that is not asked for any more. All before it must be stored: what is stored later is missed */
export interface ArrivalsQuery {
  /** Any of: who follows channels of several organisations asks for all at once. */
  readonly orgs: readonly string[];
  /** Any of; absent: all of the organisations. */
  readonly channels?: readonly string[];
  readonly partition: number;
  readonly from: StoredPlace;
  readonly before: number;
  /** 1 to 10,000 readings; fewer come where they are large. */
  readonly limit: number;
}
/** @shape next: where to go on; `{offset: before, index: 0}` when there is no more */
export interface ArrivalsPage {
  readonly readings: readonly StoredReading[];
  readonly next: StoredPlace;
}

/** Gives readings in the order in which they were published, from a place on: what live questions are answered from. */
export interface Arrivals {
  /** @throws StoreError STORE_QUERY_INVALID, STORE_QUERY_TOO_EXPENSIVE, STORE_UNREACHABLE, STORE_CLOSED */
  since(query: ArrivalsQuery): Promise<ArrivalsPage>;
}
