import type { Comparator } from './readings-store.ts';

/** What one number (or none) is made of a bucket of readings.
 *
 *  Numbers of a series are in the order of time, and of equal times in that of the log. NaN stands for a value that a device
 *  did not have: it is left out. Infinities are reckoned with as IEEE 754 does. Only what the question selects counts: the
 *  first reading of a range has none before it.
 *  - `min max avg sum first last median`: of the bucket's numbers; `stddev variance`: of a sample (n − 1), null for one
 *  - `count`: of readings of any kind, NaN too. Without it, a bucket or series without a number is not in the answer.
 *  - `p<0…100>`: a quantile, as `p50`, `p99.9`: exact, between two numbers linearly
 *  - `delta`: of a counter, the sum of the steps that end in the bucket, also of that from the bucket before; a fall is a
 *    reset and counts from 0. `rate`: that by the seconds which these steps took. Null where no step ends.
 *  - `integral`: value × s under straight lines between numbers; `twa`: the average over time, each value holding until the
 *    next. Both take of a line across a border what lies in the bucket, and nothing before the first and after the last
 *    number; buckets without a number have none. Where nothing lies between numbers, `twa` is the last number.
 *  - `histogram`: bounds and counts instead of one number; the last bin has its upper bound too */
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

/** Width of a bucket. Fixed ones are aligned to the epoch, also before it; calendar ones begin when the clocks of the
 *  question's time zone first show the day: days last 23 or 25 hours, and a day that the zone skipped is none. Several days or weeks are
 *  counted from Monday 29 December 1969, months and longer from the year 0.
 *  @units every in ms, from 1 to ten years */
export type Interval =
  | { readonly kind: 'fixed'; readonly everyMs: number }
  | { readonly kind: 'calendar'; readonly count: number; readonly unit: 'day' | 'week' | 'month' | 'quarter' | 'year' };

/** What a bucket without a value is given, between `from` and `to` or as far as any series of the answer reaches. `none`: it
 *  is left out. `null`: it stands there without values. `previous`: those of the last bucket that has one, looked for before
 *  `from` as far back as the range is long. `linear`: on the line between its neighbours, of the answer alone. */
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
  /** Absent: one bucket from `from` (or each series' first reading) to `to`. */
  readonly interval?: Interval;
  /** IANA name, of calendar intervals. */
  readonly timeZone: string;
  readonly fill: Fill;
  /** Fields that series are brought together over: `['publisher']` gives one series for all publishers of a name. */
  readonly across: readonly SeriesField[];
  /** Unit that values are converted to, where the series' own unit has the same dimension; a series of another dimension
   *  is refused (STORE_QUERY_INVALID). */
  readonly unit?: string;
  /** Points of a series at most, from 2, chosen by largest triangles, to the µs; only with no aggregation. */
  readonly thin?: number;
  /** Bounds and count of the histogram's bins; from the minimum and maximum of all selected numbers where
   *  absent, the same for all series. */
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
export interface Series<Points = readonly SeriesPoint[]> {
  /** Those fields that the series was not brought together over. */
  readonly channel?: string;
  readonly publisher?: string;
  readonly name?: string;
  readonly subtopic?: string;
  readonly unit?: string;
  readonly points: Points;
  /** Whether `limit` left points out. */
  readonly cut: boolean;
}
export interface SeriesAnswer<Points = readonly SeriesPoint[]> {
  /** Names of the values of a point: aggregations, or `value`. */
  readonly columns: readonly string[];
  readonly series: readonly Series<Points>[];
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
