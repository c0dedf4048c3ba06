import type {
  AnswerFormat,
  LatestQuery,
  ReadingsSelection,
  RowsQuestion,
  SeriesAnswer,
  SeriesPoint,
  SeriesQuestion,
} from './question.ts';

/** An answer on its way, in the bytes of its format. What nobody takes is not read; an iterator that is returned, or the
 *  signal, ends the query in the engine.
 *  @throws StoreError while it is iterated, also after the first bytes */
export type AnswerBytes = AsyncIterable<Uint8Array>;

export interface StreamOptions {
  readonly format: AnswerFormat;
  readonly signal: AbortSignal;
  /** How ndjson writes times (`s` if left out). */
  readonly time?: 's' | 'ms' | 'us' | 'ns' | 'rfc3339';
  /** A question of somebody who waits, or work in the background that must not stand in their way. */
  readonly urgency: 'interactive' | 'background';
}

export type SeriesOptions = Partial<Pick<StreamOptions, 'signal' | 'urgency'>>;

/** @shape lines: one JSON object a line, in the JSON dialect, but for protocol and update_time, which are not known; ordered
 *         by channel, name, publisher and subtopic. As the engine wrote it: 10,000 objects would cost more than the question
 *  @shape cursor: present when there is more */
export interface LatestPage {
  readonly lines: Uint8Array;
  readonly count: number;
  readonly cursor?: string;
}

export interface LatestOptions {
  /** How times are written (`s` if left out). */
  readonly time?: NonNullable<StreamOptions['time']>;
  readonly signal?: AbortSignal;
}

/** A range of time, with the rows that are in it.  @units µs since 1970; from inclusive, to exclusive; absent: no bound */
export interface Slice {
  readonly fromUs?: bigint;
  readonly toUs?: bigint;
  readonly rows: number;
}

/** Answers what apps and analysts ask of readings.
 *  @throws StoreError STORE_QUERY_INVALID, STORE_QUERY_TOO_EXPENSIVE, STORE_UNREACHABLE, STORE_CLOSED */
export interface Questions {
  /** In memory: of what is more than about a million values, it is refused. */
  series(question: SeriesQuestion, options?: SeriesOptions): Promise<SeriesAnswer>;
  /** The same with its points as JSON text, `[time,value…],[time,value…]`, as the engine wrote them; null for numbers that
   *  JSON does not know. Where it is made here (`fill`, histograms, RFC 3339), its points come as they are. */
  seriesText(
    question: SeriesQuestion,
    options?: SeriesOptions & Pick<StreamOptions, 'time'>,
  ): Promise<SeriesAnswer<string | readonly SeriesPoint[]>>;
  /** The same as rows of (series fields, time, columns…), ordered by series and time. */
  seriesRows(question: SeriesQuestion, options: StreamOptions): AnswerBytes;
  rows(question: RowsQuestion, options: StreamOptions): AnswerBytes;
  latest(query: LatestQuery, options?: LatestOptions): Promise<LatestPage>;
  /** Cuts a selection into ranges of time, in their order and without a gap, each of about so many rows at most; more
   *  only where more have the same µs. Work in the background. Empty if there is no row. */
  slices(selection: ReadingsSelection, rowsMax: number, signal: AbortSignal): Promise<readonly Slice[]>;
}
