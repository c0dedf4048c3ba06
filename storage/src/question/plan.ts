import { type SeriesField, type SeriesQuestion, seriesFields } from '@millrace/core';
import type { QueryParameters } from '../engine/engine.ts';
import { AHEAD, aggregatesOf, PAST } from './aggregates.ts';
import { type Buckets, bucketsOf } from './buckets.ts';
import { invalid, selectReadings } from './selection.ts';
import { unitsTo } from './units.ts';

/** A SELECT by its parts, so that who needs its columns in another order adds no level to it. */
export interface Points {
  /** With a space at its end, or empty. */
  readonly with: string;
  /** Expressions by their names. */
  readonly columns: Readonly<Record<string, string>>;
  /** FROM, and what follows it. */
  readonly from: string;
}
export const textOf = (points: Points, names: readonly string[] = Object.keys(points.columns)): string =>
  `${points.with}SELECT ${names.map((name) => `${points.columns[name]} AS ${name}`).join(', ')} ${points.from}`;

/** A statement for points, one a row. What the engine takes to plan it grows with its levels: most questions ask for less
 *  time than that, so it has few.
 *  @shape of rows: `k_<field>` for each of `keys` that is not `fixed`, `b` ns of the point, `a0`, `a1`… its values; if a
 *         unit is wanted, `unknown` whether one among them cannot be converted; of rollups, `torn` whether one holds what
 *         it cannot tell */
export interface SeriesPlan {
  readonly source: 'readings' | 'rollups_1m' | 'rollups_1h';
  readonly why: string;
  readonly keys: readonly SeriesField[];
  /** Fields of which the selection has one value: they part nothing, so the engine is not asked for them. */
  readonly fixed: Fixed;
  /** Names of `a0`, `a1`… */
  readonly columns: readonly string[];
  readonly points: Points;
  /** What points of a series are sorted by. */
  readonly order: readonly string[];
  /** Whether the statement sorts and limits them itself. */
  readonly isSorted?: boolean;
  readonly buckets: Buckets;
  readonly parameters: QueryParameters;
}

export type Fixed = Readonly<Partial<Record<SeriesField, string>>>;

const POINTS_MAX = 1_000_000;
const SERIES_MAX = 100_000;
const BINS_MAX = 1_000;

/** A question's fields are in their bounds, and those that are together go together.
 *  @throws StoreError STORE_QUERY_INVALID */
export function checkQuestion(question: SeriesQuestion): void {
  const { aggregations, interval, fill, thin, histogram, limit, seriesMax, across } = question;
  const within = (value: number, low: number, high: number, name: string): void => {
    if (!Number.isInteger(value) || value < low || value > high) throw invalid(`${name} must be ${low} to ${high}`);
  };
  within(limit, 1, POINTS_MAX, 'limit');
  within(seriesMax, 1, SERIES_MAX, 'the limit of series');
  if (new Set(aggregations).size !== aggregations.length) throw invalid('an aggregation is named twice');
  if (across.some((field) => !seriesFields.includes(field))) throw invalid('series have no such field');
  if (aggregations.length === 0) {
    if (interval !== undefined) throw invalid('an interval needs an aggregation');
    if (fill !== 'none') throw invalid('only buckets are filled: an aggregation and an interval are needed');
  } else if (thin !== undefined) throw invalid('only readings as they are can be thinned: leave the aggregation out');
  if (thin !== undefined) within(thin, 2, POINTS_MAX, 'thin');
  if (fill !== 'none' && interval === undefined) throw invalid('only buckets are filled: an interval is needed');
  if (histogram !== undefined) {
    within(histogram.bins, 1, BINS_MAX, 'bins');
    for (const bound of [histogram.min, histogram.max])
      if (bound !== undefined && !Number.isFinite(bound)) throw invalid('the bounds of a histogram must be numbers');
    if ((histogram.min ?? Number.NEGATIVE_INFINITY) >= (histogram.max ?? Number.POSITIVE_INFINITY))
      throw invalid('the lower bound of a histogram must be below the upper');
  }
}

/** Points from the readings themselves.
 *  @param more parameters that aggregations name
 *  @throws StoreError STORE_QUERY_INVALID */
export function planReadings(question: SeriesQuestion, why: string, more: QueryParameters = {}): SeriesPlan {
  const { interval, timeZone, fromUs, toUs, aggregations } = question;
  const { where, parameters } = selectReadings(question);
  const keys = keysOf(question);
  const fixed = fixedOf(keys, parameters);
  const free = freeOf({ keys, fixed });
  const columns = keyColumns(free);
  const buckets = bucketsOf(interval, timeZone, fromUs, toUs);
  const unit = convertedTo(question.unit, 'readings.unit');
  const unknown = question.unit === undefined ? [] : [unit.unknown];
  const planned = {
    source: 'readings' as const,
    why,
    keys,
    fixed,
    buckets,
    parameters: { ...parameters, ...buckets.parameters, ...unit.parameters, ...more },
  };
  const labels = Object.fromEntries(free.map((key) => [`k_${key}`, `readings.${key}`]));
  const from = (also: readonly string[]): string => `FROM readings WHERE ${[...where, ...also].join(' AND ')}`;
  const ns = 'toUnixTimestamp64Nano(readings.time) AS ns';
  const position = { lp: 'readings.log_partition', lo: 'readings.log_offset', li: 'readings.`index`' };
  const isUnknown = (each: string): { unknown?: string } => (unknown.length === 0 ? {} : { unknown: each });

  if (aggregations.length === 0) {
    const value = unit.of('assumeNotNull(readings.value)');
    if (question.thin !== undefined) {
      const point = `arrayJoin(largestTriangleThreeBuckets(${question.thin})(${THIN_TIME}, ${value}))`;
      const shown = { ...labels, b: 'toInt64(point.1) * 1000', ...isUnknown(`max(${unit.unknown})`), a0: 'point.2' };
      const points = {
        with: `WITH ${ns}, ${point} AS point `,
        columns: shown,
        from: `${from([FINITE])}${groupedBy(columns)}`,
      };
      return { ...planned, columns: ['value'], order: ['b'], points };
    }
    const order = ['b', 'lp', 'lo', 'li'];
    const sorted = [...columns, ...order.map((column) => `${column} ${question.direction}`)].join(', ');
    const points = {
      with: '',
      columns: {
        ...labels,
        b: 'toUnixTimestamp64Nano(readings.time)',
        ...isUnknown(unit.unknown),
        a0: value,
        ...position,
      },
      from: `${from([IS_NUMBER])} ORDER BY ${sorted} LIMIT ${question.limit + 1}${columns.length === 0 ? '' : ` BY ${columns.join(', ')}`}`,
    };
    return { ...planned, columns: ['value'], order, isSorted: true, points };
  }

  const aggregates = aggregatesOf(aggregations);
  const neighbours = aggregates.some(({ needs }) => needs === 'neighbours');
  const counts = aggregations.includes('count');
  const raw = counts
    ? 'if(isNaN(readings.value), NULL, readings.value)'
    : neighbours
      ? 'toNullable(assumeNotNull(readings.value))'
      : 'assumeNotNull(readings.value)';
  const also = counts ? [] : [IS_NUMBER, NOT_NAN];
  const places = Object.entries(position).map(([name, sql]) => `${sql} AS ${name}`);
  const named = [ns, `${unit.of(raw)} AS v`, ...places];
  const values = Object.fromEntries(aggregates.map(({ sql }, index) => [`a${index}`, sql]));
  const shown = { ...planned, columns: aggregations, order: ['b'] };
  if (!neighbours) {
    const bucketed = bucketedBy(buckets, columns, 'min(ns)');
    const points = {
      with: `WITH ${named.join(', ')} `,
      columns: { ...labels, b: bucketed.start, ...isUnknown(`max(${unit.unknown})`), ...values },
      from: `${from(also)}${bucketed.groupBy}`,
    };
    return { ...shown, points };
  }
  const read = [
    ...Object.entries(labels).map(([name, sql]) => `${sql} AS ${name}`),
    ...unknown.map((each) => `${each} AS u`),
    ...named,
  ];
  const source = `SELECT *, ${buckets.start ?? 'toInt64(0)'} AS b FROM (SELECT ${read.join(', ')} ${from(also)})`;
  const rest = buckets.rest ?? 'toInt64(9223372036854775807)';
  const start = interval === undefined ? buckets.start : 'beside.b';
  const bucketed = bucketedBy({ ...buckets, start }, columns, 'min(ns)');
  const own = Object.fromEntries(columns.map((column) => [column, `beside.${column}`]));
  const beside = besides(source, columns, rest, interval !== undefined);
  const points = {
    with: '',
    columns: { ...own, b: bucketed.start, ...isUnknown('max(u)'), ...values },
    from: `FROM (${beside}) AS beside${bucketed.groupBy}`,
  };
  return { ...shown, points };
}

/** How points are put in buckets: `b`, and what rows are grouped by.
 *  @param first what tells the start of the only bucket where nothing else does */
export function bucketedBy(
  { start, rest }: Pick<Buckets, 'start' | 'rest'>,
  columns: readonly string[],
  first: string,
): { start: string; groupBy: string } {
  const cut = rest !== null;
  return { start: start ?? first, groupBy: groupedBy(cut ? [...columns, 'b'] : columns) };
}
/** Without a key there is a row of nothing, too: it is left out. */
const groupedBy = (columns: readonly string[]): string =>
  columns.length === 0 ? ' HAVING count() > 0' : ` GROUP BY ${columns.join(', ')}`;

const IS_NUMBER = 'isNotNull(readings.value)';
const NOT_NAN = 'NOT isNaN(assumeNotNull(readings.value))';
const FINITE = 'isFinite(assumeNotNull(readings.value)) AND isNotNull(readings.value)';

/** In µs: a double holds those of all times that the engine's clock has, to 2255 exactly. */
const THIN_TIME = 'toFloat64(intDiv(ns - positiveModulo(ns, 1000), 1000))';

export const fixedOf = (keys: readonly SeriesField[], parameters: QueryParameters): Fixed =>
  Object.fromEntries(
    keys.filter((key) => Object.hasOwn(parameters, `of_${key}`)).map((key) => [key, String(parameters[`of_${key}`])]),
  );
export const freeOf = ({ keys, fixed }: Pick<SeriesPlan, 'keys' | 'fixed'>): SeriesField[] =>
  keys.filter((key) => fixed[key] === undefined);
export const keyColumns = (keys: readonly SeriesField[]): string[] => keys.map((key) => `k_${key}`);
export const keysOf = ({ across }: SeriesQuestion): SeriesField[] =>
  seriesFields.filter((field) => !across.includes(field));

/** Each number with those beside it in its series. Other readings are apart: nobody is their neighbour. */
function besides(source: string, columns: readonly string[], rest: string, cut: boolean): string {
  return `SELECT *, ${rest} AS rest, ${AHEAD} AS ahead, ${cut ? PAST : '0'} AS past FROM (
  SELECT *, lagInFrame(v) OVER beside AS pv, lagInFrame(ns) OVER beside AS pns,
    leadInFrame(v) OVER beside AS nv, leadInFrame(ns) OVER beside AS nns
  FROM (${source})
  WINDOW beside AS (PARTITION BY ${[...columns, 'isNull(v)'].join(', ')} ORDER BY ns, lp, lo, li
    ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING))`;
}

/** How values become those of a unit.
 *  @param column that has each value's own unit  @throws StoreError STORE_QUERY_INVALID */
export function convertedTo(unit: string | undefined, column: string) {
  if (unit === undefined) return { of: (value: string): string => value, unknown: '0', parameters: {}, ...IDENTITY };
  const units = unitsTo(unit);
  if (units === null) throw invalid('the unit is not known');
  const factor = `transform(toString(${column}), {units:Array(String)}, {unit_factors:Array(Float64)}, toFloat64(1))`;
  const offset = `transform(toString(${column}), {units:Array(String)}, {unit_offsets:Array(Float64)}, toFloat64(0))`;
  return {
    of: (value: string): string => `(${value}) * ${factor} + ${offset}`,
    unknown: `NOT has({units:Array(String)}, ${column})`,
    factor,
    offset,
    parameters: {
      units: units.map((each) => each.unit),
      unit_factors: units.map((each) => each.factor),
      unit_offsets: units.map((each) => each.offset),
    },
  };
}
const IDENTITY = { factor: '1', offset: '0' };
