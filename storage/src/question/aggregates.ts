import type { Aggregation } from '@millrace/core';
import { invalid } from './selection.ts';

/** What a bucket's numbers are made to, in the engine. Numbers of a series are in the order of time, and of equal times in
 *  that of the log. NaN is no number here: it stands for a value that a device did not have. Infinities are reckoned with
 *  as IEEE 754 does. Nothing comes from outside the question's selection, so the first reading has none before it.
 *  Expressions are of
 *  - `v` the number (null where the reading has none), `ns` its time, `lp lo li` its place in the log, `b` its bucket
 *  - for those that look at neighbours also `pv pns` of the number before it and `nv nns` of the one after it, in whatever
 *    bucket; `rest` ns to the end of the bucket; `past` ns since its start if the number before lies before it, else 0. */
interface Aggregate {
  readonly sql: string;
  /** Columns that it reads. */
  readonly needs: 'value' | 'position' | 'neighbours';
}

const step = 'if(isNull(pv), NULL, if(v >= pv, v - pv, v))';
const stepSeconds = 'if(isNull(pv), NULL, (ns - pns) / 1e9)';
/** Of the time until the next number, what lies in the bucket. */
const ahead = 'if(isNull(nv), 0, if(nns - ns < rest, nns - ns, rest))';

/** Each value until the next, from the bucket's start if there is one before. */
const held = `if(ahead > 0, v * (ahead / 1e9), 0) + if(past > 0, pv * (past / 1e9), 0)`;

/** The trapezoid to the next number, and that from the one before, cut at the bucket's borders. */
const trapezoids = `if(ahead > 0, (v + if(ahead = nns - ns, nv, v + (nv - v) * (ahead / (nns - ns)))) / 2 * (ahead / 1e9), 0)
  + if(past > 0, (v + (pv - v) * (past / (ns - pns)) + v) / 2 * (past / 1e9), 0)`;

const first = 'argMinIf(v, (ns, lp, lo, li), isNotNull(v))';
const last = 'argMaxIf(v, (ns, lp, lo, li), isNotNull(v))';

const binned = '(isNotNull(v) AND v >= {bin_low:Float64} AND v <= {bin_high:Float64})';
// What is in no bin is reckoned too, and must not be beyond an integer.
const bin = `if({bin_high:Float64} > {bin_low:Float64}, toUInt32(least(toFloat64({bins:UInt32} - 1),
  floor((if(${binned}, assumeNotNull(v), {bin_low:Float64}) - {bin_low:Float64}) * {bins:UInt32} / ({bin_high:Float64} - {bin_low:Float64})))), 0)`;

/** Without quantiles. */
const AGGREGATES: Readonly<Record<Exclude<Aggregation, `p${number}` | 'median'>, Aggregate>> = {
  min: { sql: 'min(v)', needs: 'value' },
  max: { sql: 'max(v)', needs: 'value' },
  avg: { sql: 'avg(v)', needs: 'value' },
  sum: { sql: 'sum(v)', needs: 'value' },
  /** Of readings of any kind, NaN too. */
  count: { sql: 'count()', needs: 'value' },
  first: { sql: first, needs: 'position' },
  last: { sql: last, needs: 'position' },
  /** Of a sample: by n − 1; a single number has none. */
  stddev: { sql: 'if(count(v) < 2, NULL, stddevSampStable(v))', needs: 'value' },
  variance: { sql: 'if(count(v) < 2, NULL, varSampStable(v))', needs: 'value' },
  /** The steps that end in the bucket by the time that they took. */
  rate: { sql: `if(sum(${stepSeconds}) > 0, sum(${step}) / sum(${stepSeconds}), NULL)`, needs: 'neighbours' },
  /** The sum of the steps that end in the bucket: of all buckets, that of the range. */
  delta: { sql: `sum(${step})`, needs: 'neighbours' },
  /** Of the straight lines between numbers, as far as they lie in the bucket. */
  integral: {
    sql: `if(countIf(isNotNull(pv) OR isNotNull(nv)) = 0, NULL, sum(if(isNull(v), 0, ${trapezoids})))`,
    needs: 'neighbours',
  },
  /** Over the part of the bucket that lies between numbers; where that is nothing, the last number. */
  twa: {
    sql: `if(sum(if(isNull(v), 0, ahead + past)) > 0, sum(if(isNull(v), 0, ${held})) / (sum(if(isNull(v), 0, ahead + past)) / 1e9), ${last})`,
    needs: 'neighbours',
  },
  /** Counts by bin, as a map; what is outside the bounds is in none. */
  histogram: {
    sql: `toJSONString(sumMapIf(map(${bin}, toUInt64(1)), ${binned}))`,
    needs: 'value',
  },
};

export const AHEAD = ahead;
export const PAST = 'if(isNull(pv) OR pns >= b, 0, ns - b)';

/** @throws StoreError STORE_QUERY_INVALID */
export function aggregatesOf(aggregations: readonly Aggregation[]): Aggregate[] {
  const levels = aggregations.map((aggregation) => levelOf(aggregation));
  const asked = levels.filter((level) => level !== null);
  let count = 0;
  return aggregations.map((aggregation, index) => {
    if (levels[index] === null) return AGGREGATES[aggregation as keyof typeof AGGREGATES];
    // Between two numbers linearly, as PERCENTILE_CONT. Of several the numbers are sorted once.
    return {
      sql: `if(count(v) = 0, NULL, quantilesExactInclusive(${asked.join(', ')})(v)[${++count}])`,
      needs: 'value',
    };
  });
}

/** What part of the numbers lies below: 0 to 1; null: it is no quantile. */
function levelOf(aggregation: Aggregation): number | null {
  if (aggregation === 'median') return 0.5;
  if (Object.hasOwn(AGGREGATES, aggregation)) return null;
  const percent = /^p(\d{1,3}(?:\.\d{1,6})?)$/.exec(aggregation)?.[1];
  if (percent === undefined || Number(percent) > 100) throw invalid('an aggregation is not known');
  return Number(percent) / 100;
}
