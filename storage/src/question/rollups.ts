import type { SeriesQuestion } from '@millrace/core';
import type { QueryParameters } from '../engine/engine.ts';
import { bucketsOf } from './buckets.ts';
import { bucketedBy, convertedTo, fixedOf, freeOf, keyColumns, keysOf, type SeriesPlan } from './plan.ts';
import { instant, nsOf, selectReadings, selectSeries } from './selection.ts';

/** Of a row of rollups, as expressions: `n` numbers from `low` to `high`, together `total`. */
interface Rolled {
  readonly n: string;
  readonly low: string;
  readonly high: string;
  readonly total: string;
}
/** What such rows are merged to. */
const MERGED: Readonly<Record<string, (row: Rolled) => string>> = {
  min: ({ low }) => `min(${low})`,
  max: ({ high }) => `max(${high})`,
  sum: ({ total }) => `sum(${total})`,
  count: ({ n }) => `sum(${n})`,
  avg: ({ total, n }) => `sum(${total}) / sum(${n})`,
};

/** Points from rollups, with the ragged ends of the range from the readings; or why that would not be exact.
 *
 *  Rollups hold no `first` and `last`: they would not know the log's order of equal times. They hold numbers alone, so `count` is
 *  exact only where there is nothing else: `latest_others` tells, and who asks must look there. A sum that is NaN may be of
 *  a NaN, which is left out of the readings' own aggregates: such points are `torn`.
 *  @throws StoreError STORE_QUERY_INVALID  @source docs/adr/0030 */
export function planRollups(question: SeriesQuestion): SeriesPlan | { readonly why: string } {
  const { aggregations, interval, timeZone, fromUs, toUs } = question;
  if (question.rollups === 'raw') return { why: 'rollups were not wanted' };
  if (aggregations.length === 0) return { why: 'readings are asked for as they are' };
  const other = aggregations.find((aggregation) => !Object.hasOwn(MERGED, aggregation));
  if (other !== undefined) return { why: `rollups do not hold ${other}` };
  const { protocols, receivedBeforeUs, value, stringValue, boolValue, dataValue } = question;
  if ([protocols, receivedBeforeUs, value, stringValue, boolValue, dataValue].some((filter) => filter !== undefined))
    return { why: 'rollups know neither protocols nor single values, nor when they came' };
  const buckets = bucketsOf(interval, timeZone, fromUs, toUs);
  if (buckets.start === null) return { why: 'without a beginning, it is the first reading that tells it' };
  const widthS = [3_600, 60].find((width) => interval === undefined || buckets.isOn(width));
  if (widthS === undefined) return { why: 'the intervals do not begin with whole minutes' };
  const range = wholeOf(fromUs, toUs, widthS) ?? wholeOf(fromUs, toUs, 60);
  if (range === null) return { why: 'the range has no whole minute' };

  const series = selectSeries(question, 'rollups');
  const keys = keysOf(question);
  const fixed = fixedOf(keys, series.parameters);
  const free = freeOf({ keys, fixed });
  const parameters: Record<string, QueryParameters[string]> = { ...buckets.parameters, ...series.parameters };
  const where = [...series.where, `rollups.width = ${range.widthS}`];
  const edges: string[] = [];
  if (range.fromS !== undefined) {
    where.push(`rollups.bucket >= toDateTime64({whole_from:Int64}, 0, 'UTC')`);
    parameters.whole_from = String(range.fromS);
    if (range.raggedFrom) {
      edges.push(`readings.time < ${instant('edge_from')}`);
      parameters.edge_from = nsOf(range.fromS * 1_000_000n);
    }
  }
  if (range.toS !== undefined) {
    where.push(`rollups.bucket < toDateTime64({whole_to:Int64}, 0, 'UTC')`);
    parameters.whole_to = String(range.toS);
    if (range.raggedTo) {
      edges.push(`readings.time >= ${instant('edge_to')}`);
      parameters.edge_to = nsOf(range.toS * 1_000_000n);
    }
  }
  const isWhole = edges.length === 0;
  const unit = convertedTo(question.unit, isWhole ? 'rollups.unit' : 'unit');
  Object.assign(parameters, unit.parameters);
  const inSeconds = 'toInt64(rollups.bucket) * 1000000000';
  const rolledUp = `FROM rollups WHERE ${where.join(' AND ')}`;
  const one = 'assumeNotNull(readings.value)';
  const number = { ns: 'toUnixTimestamp64Nano(readings.time)', n: 'toUInt64(1)', least: one, greatest: one, all: one };
  const within = [...new Set([...free, ...(question.unit === undefined ? [] : ['unit' as const])])];
  const part = (table: string, columns: Readonly<Record<string, string>>): string =>
    [
      ...within.map((key) => `${table}.${key} AS ${key}`),
      ...Object.entries(columns).map(([name, sql]) => `${sql} AS ${name}`),
    ].join(', ');
  // Beside readings the types of both must be the same.
  const bucket = {
    ns: inSeconds,
    n: 'rollups.count',
    least: 'toFloat64(rollups.minimum)',
    greatest: 'toFloat64(rollups.maximum)',
    all: 'toFloat64(rollups.sum)',
  };
  const parts = [`SELECT ${part('rollups', bucket)} ${rolledUp}`];
  for (const edge of edges) {
    const readings = selectReadings(question);
    Object.assign(parameters, readings.parameters);
    parts.push(`SELECT ${part('readings', number)}
  FROM readings WHERE ${[...readings.where, edge, 'isNotNull(readings.value)'].join(' AND ')}`);
  }
  const columns = keyColumns(free);
  const { start, groupBy } = bucketedBy(buckets, columns, '');
  const row = isWhole
    ? { n: 'rollups.count', least: 'rollups.minimum', greatest: 'rollups.maximum', all: 'rollups.sum' }
    : { n: 'n', least: 'least', greatest: 'greatest', all: 'all' };
  const rolled: Rolled = {
    n: row.n,
    low: unit.of(row.least),
    high: unit.of(row.greatest),
    total: question.unit === undefined ? row.all : `(${row.all} * ${unit.factor} + ${row.n} * ${unit.offset})`,
  };
  const points = {
    with: isWhole ? `WITH ${inSeconds} AS ns ` : '',
    columns: {
      ...Object.fromEntries(free.map((key) => [`k_${key}`, isWhole ? `rollups.${key}` : `parts.${key}`])),
      b: start,
      ...(question.unit === undefined ? {} : { unknown: `max(${unit.unknown})` }),
      torn: `max(isNaN(${rolled.total}))`,
      ...Object.fromEntries(
        aggregations.map((aggregation, index) => [`a${index}`, MERGED[aggregation]?.(rolled) ?? '']),
      ),
    },
    from: `${isWhole ? rolledUp : `FROM (${parts.join('\n  UNION ALL ')}) AS parts`}${groupBy}`,
  };
  return {
    source: range.widthS === 60 ? 'rollups_1m' : 'rollups_1h',
    why: isWhole
      ? 'the rollups answer it exactly'
      : 'the rollups answer it exactly, with the ends of the range from the readings',
    keys,
    fixed,
    buckets,
    columns: aggregations,
    order: ['b'],
    points,
    parameters,
  };
}

const clamped = (us: bigint): bigint => BigInt(nsOf(us)) / 1_000n;

/** The part of a range that is whole buckets of a width; null if there is none. */
function wholeOf(fromUs: bigint | undefined, toUs: bigint | undefined, widthS: number) {
  const width = BigInt(widthS);
  const widthUs = width * 1_000_000n;
  const floor = (us: bigint): bigint => (us - (((us % widthUs) + widthUs) % widthUs)) / 1_000_000n;
  const fromS = fromUs === undefined ? undefined : floor(clamped(fromUs) + widthUs - 1n);
  const toS = toUs === undefined ? undefined : floor(clamped(toUs));
  if (fromS !== undefined && toS !== undefined && fromS >= toS) return null;
  return {
    widthS,
    fromS,
    toS,
    raggedFrom: fromS !== undefined && fromS * 1_000_000n !== fromUs,
    raggedTo: toS !== undefined && toS * 1_000_000n !== toUs,
  };
}
