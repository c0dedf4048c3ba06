import { type SeriesField, type SeriesQuestion, seriesFields } from '@millrace/core';
import type { QueryParameters } from '../engine/engine.ts';
import { AHEAD, aggregateOf, PAST } from './aggregates.ts';
import { type Buckets, bucketsOf } from './buckets.ts';
import { invalid, selectReadings } from './selection.ts';
import { unitsTo } from './units.ts';

/** A statement for points, one a row.
 *  @shape of rows: `k_<field>` for each of `keys`, `b` ns of the point, `a0`, `a1`… its values; `unknown` whether a unit
 *         among them cannot be converted; `torn` whether a rollup holds what it cannot tell */
export interface SeriesPlan {
  readonly source: 'readings' | 'rollups_1m' | 'rollups_1h';
  readonly why: string;
  readonly keys: readonly SeriesField[];
  /** Names of `a0`, `a1`… */
  readonly columns: readonly string[];
  readonly points: string;
  /** What points of a series are sorted by. */
  readonly order: readonly string[];
  readonly buckets: Buckets;
  readonly parameters: QueryParameters;
}

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
  const buckets = bucketsOf(interval, timeZone, fromUs, toUs);
  const unit = convertedTo(question.unit, 'readings.unit');
  const planned = {
    source: 'readings' as const,
    why,
    keys,
    buckets,
    parameters: { ...parameters, ...buckets.parameters, ...unit.parameters, ...more },
  };
  const readings = (columns: readonly string[], also: readonly string[]): string =>
    `SELECT ${[...keys.map((key) => `${keyOf(key, parameters)} AS k_${key}`), `${unit.unknown} AS u`, ...columns].join(', ')}
  FROM readings WHERE ${[...where, ...also].join(' AND ')}`;
  const ns = 'toUnixTimestamp64Nano(readings.time) AS ns';
  const position = ['readings.log_partition AS lp', 'readings.log_offset AS lo', 'readings.`index` AS li'];

  if (aggregations.length === 0) {
    const value = `${unit.of('assumeNotNull(readings.value)')} AS v`;
    const columns = ['value'];
    if (question.thin !== undefined)
      return {
        ...planned,
        columns,
        order: ['b'],
        points: thinned(readings([ns, value], [FINITE]), keys, question.thin),
      };
    const order = ['b', 'lp', 'lo', 'li'];
    const sorted = order.map((column) => `${column} ${question.direction}`);
    const points = `SELECT ${[...keyColumns(keys), 'ns AS b', 'u AS unknown', '0 AS torn', 'v AS a0', 'lp', 'lo', 'li'].join(', ')}
FROM (${readings([ns, value, ...position], [IS_NUMBER])})
ORDER BY ${[...keyColumns(keys), ...sorted].join(', ')} LIMIT ${question.limit + 1}${keys.length === 0 ? '' : ` BY ${keyColumns(keys).join(', ')}`}`;
    return { ...planned, columns, order, points };
  }

  const aggregates = aggregations.map((aggregation) => aggregateOf(aggregation));
  const neighbours = aggregates.some(({ needs }) => needs === 'neighbours');
  const counts = aggregations.includes('count');
  const raw = counts
    ? 'if(isNaN(readings.value), NULL, readings.value)'
    : neighbours
      ? 'toNullable(assumeNotNull(readings.value))'
      : 'assumeNotNull(readings.value)';
  const needed = neighbours || aggregates.some(({ needs }) => needs === 'position') ? position : [];
  const timed = interval !== undefined || neighbours || needed.length > 0 || buckets.start === null;
  const columns = [...(timed ? [ns] : []), `${unit.of(raw)} AS v`, ...needed];
  let source = readings(columns, counts ? [] : [IS_NUMBER, NOT_NAN]);
  const start = buckets.start === null ? 'toInt64(0)' : buckets.start;
  source = `SELECT *, ${start} AS b FROM (${source})`;
  if (neighbours)
    source = besides(source, keys, buckets.rest ?? 'toInt64(9223372036854775807)', interval !== undefined);
  const points = `SELECT ${[
    ...keyColumns(keys),
    buckets.start === null ? 'min(ns) AS b_first' : 'b',
    'max(u) AS unknown',
    '0 AS torn',
    ...aggregates.map(({ sql }, index) => `${sql} AS a${index}`),
  ].join(', ')} FROM (${source}) GROUP BY ${[...keyColumns(keys), 'b'].join(', ')}`;
  return {
    ...planned,
    columns: aggregations,
    order: ['b'],
    points: buckets.start === null ? `SELECT * EXCEPT (b_first), b_first AS b FROM (${points})` : points,
  };
}

const IS_NUMBER = 'isNotNull(readings.value)';
const NOT_NAN = 'NOT isNaN(assumeNotNull(readings.value))';
const FINITE = 'isFinite(assumeNotNull(readings.value)) AND isNotNull(readings.value)';

/** A field that the selection gives one value is not grouped by: that it is a constant, the engine sees. */
const keyOf = (field: SeriesField, parameters: QueryParameters): string =>
  Object.hasOwn(parameters, `of_${field}`) ? `{of_${field}:String}` : `readings.${field}`;

export const keyColumns = (keys: readonly SeriesField[]): string[] => keys.map((key) => `k_${key}`);
export const keysOf = ({ across }: SeriesQuestion): SeriesField[] =>
  seriesFields.filter((field) => !across.includes(field));

/** Each number with those beside it in its series. Other readings are apart: nobody is their neighbour. */
function besides(source: string, keys: readonly SeriesField[], rest: string, cut: boolean): string {
  return `SELECT *, ${rest} AS rest, ${AHEAD} AS ahead, ${cut ? PAST : '0'} AS past FROM (
  SELECT *, lagInFrame(v) OVER beside AS pv, lagInFrame(ns) OVER beside AS pns,
    leadInFrame(v) OVER beside AS nv, leadInFrame(ns) OVER beside AS nns
  FROM (${source})
  WINDOW beside AS (PARTITION BY ${[...keyColumns(keys), 'isNull(v)'].join(', ')} ORDER BY ns, lp, lo, li
    ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING))`;
}

/** In µs: a double holds those of all times that the engine's clock has, to 2255 exactly. */
function thinned(readings: string, keys: readonly SeriesField[], count: number): string {
  const point = `largestTriangleThreeBuckets(${count})(toFloat64(intDiv(ns - positiveModulo(ns, 1000), 1000)), v)`;
  const group = keys.length === 0 ? '' : ` GROUP BY ${keyColumns(keys).join(', ')}`;
  return `SELECT ${[...keyColumns(keys), 'toInt64(point.1) * 1000 AS b', 'unknown', '0 AS torn', 'point.2 AS a0'].join(', ')}
FROM (SELECT ${[...keyColumns(keys), 'max(u) AS unknown', `${point} AS points`].join(', ')} FROM (${readings})${group})
ARRAY JOIN points AS point`;
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
