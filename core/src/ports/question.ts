import type { Comparator } from './readings-store.ts';

/** What one number (or none) is made of a bucket of readings.
 *  `min max avg sum count first last median stddev variance`: of the numbers of the bucket, `count` of readings of any kind.
 *  `rate`: per second, `delta`: the difference, of a counter; both heed resets (a fall counts from 0).
 *  `integral`: trapezoids, value × s. `twa`: time-weighted average, each value holding until the next.
 *  `p<0…100>`: a quantile, as `p50`, `p99.9`; exact. `histogram` answers bounds and counts instead of one number. */
export const aggregations = [
  'min',
  'max',
  'avg',
  'sum',
  'count',
  'first',
  'last',
  'median',
  'stddev',
  'variance',
  'rate',
  'delta',
  'integral',
  'twa',
  'histogram',
] as const;
export type Aggregation = (typeof aggregations)[number] | `p${number}`;

/** Width of a bucket. Fixed ones are aligned to the epoch, calendar ones to the calendar of the question's time zone.
 *  @units every in ms, from 1 */
export type Interval =
  | { readonly kind: 'fixed'; readonly everyMs: number }
  | { readonly kind: 'calendar'; readonly count: number; readonly unit: 'day' | 'week' | 'month' | 'quarter' | 'year' };

/** What a bucket without readings is given. `none`: it is left out. `null`: it stands there without values. */
export const fills = ['none', 'null', 'previous', 'linear'] as const;
export type Fill = (typeof fills)[number];

/** Which readings. Lists mean any of; a list that is left out, any at all; an empty list, none.
 *  @shape channels: ids  @units µs since 1970; from inclusive, to exclusive */
export interface ReadingsSelection {
  readonly org: string;
  readonly channels: readonly string[];
  readonly publishers?: readonly string[];
  readonly names?: readonly string[];
  /** Beginnings of names, as `hall/`. */
  readonly namePrefix?: string;
  readonly subtopics?: readonly string[];
  readonly protocols?: readonly string[];
  readonly fromUs?: bigint;
  readonly toUs?: bigint;
  /** Only what the platform had taken before then: rollups do not know it.  @units µs since 1970 */
  readonly receivedBeforeUs?: bigint;
  readonly value?: { readonly comparator: Comparator; readonly operand: number };
  readonly stringValue?: { readonly comparator: Comparator | 'contains'; readonly operand: string };
  readonly boolValue?: boolean;
  /** base64url without padding. */
  readonly dataValue?: string;
}

/** Of which series: readings of one channel, publisher, name, subtopic and unit. Never are two mixed in one, unless
 *  `across` says so. */
export const seriesFields = ['channel', 'publisher', 'name', 'subtopic', 'unit'] as const;
export type SeriesField = (typeof seriesFields)[number];

/** Asks for many series at once: aggregated in buckets, or as they are, thinned for a chart. */
export interface SeriesQuestion extends ReadingsSelection {
  /** Empty: the numbers as they are. */
  readonly aggregations: readonly Aggregation[];
  /** Absent: one bucket from `from` to `to`. */
  readonly interval?: Interval;
  /** IANA name, of calendar intervals. */
  readonly timeZone: string;
  readonly fill: Fill;
  /** Fields that series are brought together over: `['publisher']` gives one series for all publishers of a name. */
  readonly across: readonly SeriesField[];
  /** Unit that values are converted to, where the series' own unit has the same dimension; a series of another dimension
   *  is refused (STORE_QUERY_INVALID). */
  readonly unit?: string;
  /** Points of a series at most, chosen by largest triangles; only with no aggregation. */
  readonly thin?: number;
  /** Bounds and count of the histogram's bins; from the data's own minimum and maximum where absent. */
  readonly histogram?: { readonly bins: number; readonly min?: number; readonly max?: number };
  /** `desc`: the newest bucket first, and the newest are kept where `limit` cuts. */
  readonly direction: 'asc' | 'desc';
  /** Points of one series at most, and series at most. */
  readonly limit: number;
  readonly seriesMax: number;
  /** `auto`: the rollups where they answer exactly. `raw`: never. */
  readonly rollups: 'auto' | 'raw';
}

/** One bucket or reading.
 *  @shape time: ns since 1970 of the bucket's start or the reading, decimal text.
 *         values: in the order of `columns` of the answer; null where there is none; a histogram is an array of
 *         [lower, upper, count]. NaN and infinities are numbers. */
export interface SeriesPoint {
  readonly timeNs: string;
  readonly values: readonly (number | null | readonly (readonly [number, number, number])[])[];
}
export interface Series {
  /** Those fields that the series was not brought together over. */
  readonly channel?: string;
  readonly publisher?: string;
  readonly name?: string;
  readonly subtopic?: string;
  readonly unit?: string;
  readonly points: readonly SeriesPoint[];
  /** Whether `limit` left points out. */
  readonly cut: boolean;
}
export interface SeriesAnswer {
  /** Names of the values of a point: aggregations, or `value`. */
  readonly columns: readonly string[];
  readonly series: readonly Series[];
  /** Whether `seriesMax` left series out. */
  readonly cut: boolean;
  /** What it was answered from. */
  readonly used: { readonly source: 'readings' | 'rollups_1m' | 'rollups_1h'; readonly why: string };
}

/** Raw readings as rows, in order of time.  @see SeriesQuestion for aggregated ones */
export interface RowsQuestion extends ReadingsSelection {
  readonly order: 'time' | 'name';
  readonly direction: 'asc' | 'desc';
  /** Rows at most; absent: all. */
  readonly limit?: number;
}

/** How an answer is written. Columns have the names of the JSON dialect (`time`, `value`, `string_value`, …); times are
 *  RFC 3339 in csv, seconds to the µs in ndjson unless the question says otherwise, timestamps in arrow and parquet. */
export const answerFormats = ['ndjson', 'csv', 'arrow', 'parquet'] as const;
export type AnswerFormat = (typeof answerFormats)[number];

/** The last value of each series.
 *  @shape after: of the page before */
export interface LatestQuery {
  readonly org: string;
  readonly channels: readonly string[];
  readonly publishers?: readonly string[];
  readonly names?: readonly string[];
  readonly subtopics?: readonly string[];
  /** 1 to 100,000 series. */
  readonly limit: number;
  readonly cursor?: string;
}
