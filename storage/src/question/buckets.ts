import type { Interval } from '@millrace/core';
import { calendarStarts, runsOf } from './calendar.ts';
import { invalid, nsOf } from './selection.ts';

/** More makes no sense to anybody, and every series may have as many. */
const BUCKETS_MAX = 1_000_000;
/** Ten years: longer ones are calendar intervals. */
const EVERY_MS_MAX = 10 * 366 * 86_400_000;
const COUNT_MAX = 1_000;

/** How time is cut. Expressions are of `ns` (Int64, since 1970) and `b`, the start of its bucket. */
export interface Buckets {
  /** Start of the bucket that `ns` is in; null: all are in one, that begins with its first reading. */
  readonly start: string | null;
  /** ns from a reading to the end of its bucket; null: there is no end. */
  readonly rest: string | null;
  readonly parameters: Readonly<Record<string, string | number | readonly number[]>>;
  /** Whether every border is on one of a width.  @units s */
  isOn(widthS: number): boolean;
  /** Starts of all buckets from that of the one instant to that of the other, ascending.
   *  @units ns since 1970  @throws StoreError STORE_QUERY_INVALID when there are too many */
  between(firstNs: bigint, lastNs: bigint): bigint[];
}

/** @units µs since 1970  @throws StoreError STORE_QUERY_INVALID */
export function bucketsOf(
  interval: Interval | undefined,
  timeZone: string,
  fromUs: bigint | undefined,
  toUs: bigint | undefined,
): Buckets {
  if (interval === undefined) return oneBucket(fromUs);
  if (interval.kind === 'fixed') return fixedBuckets(interval.everyMs, fromUs, toUs);
  return calendarBuckets(interval, timeZone, fromUs, toUs);
}

function oneBucket(fromUs: bigint | undefined): Buckets {
  return {
    start: fromUs === undefined ? null : '{one_bucket:Int64}',
    rest: null,
    parameters: fromUs === undefined ? {} : { one_bucket: nsOf(fromUs) },
    isOn: () => fromUs !== undefined,
    between: () => [],
  };
}

function fixedBuckets(everyMs: number, fromUs: bigint | undefined, toUs: bigint | undefined): Buckets {
  if (!Number.isInteger(everyMs) || everyMs < 1 || everyMs > EVERY_MS_MAX)
    throw invalid('an interval is 1 ms to 10 years; for longer ones use calendar years');
  const everyNs = BigInt(everyMs) * 1_000_000n;
  const bound = (firstNs: bigint, lastNs: bigint): void => {
    if ((lastNs - firstNs) / everyNs > BUCKETS_MAX) throw tooMany();
  };
  if (fromUs !== undefined && toUs !== undefined) bound(fromUs * 1_000n, toUs * 1_000n);
  return {
    start: 'ns - positiveModulo(ns, {every:Int64})',
    rest: '{every:Int64} - (ns - b)',
    parameters: { every: String(everyNs) },
    isOn: (widthS) => everyMs % (widthS * 1_000) === 0,
    between(firstNs, lastNs) {
      bound(firstNs, lastNs);
      const starts: bigint[] = [];
      for (let ns = firstNs - modulo(firstNs, everyNs); ns <= lastNs; ns += everyNs) starts.push(ns);
      return starts;
    },
  };
}

function calendarBuckets(
  interval: Extract<Interval, { kind: 'calendar' }>,
  timeZone: string,
  fromUs: bigint | undefined,
  toUs: bigint | undefined,
): Buckets {
  if (!Number.isInteger(interval.count) || interval.count < 1 || interval.count > COUNT_MAX)
    throw invalid(`a calendar interval has 1 to ${COUNT_MAX} of its unit`);
  const ms = (us: bigint | undefined, open: number): number =>
    us === undefined ? open : Number(BigInt(nsOf(us)) / 1_000_000n);
  const startsMs = calendarStarts(
    interval,
    timeZone,
    ms(fromUs, Number.NEGATIVE_INFINITY) - 1,
    ms(toUs, Number.POSITIVE_INFINITY) + 1,
  );
  const { counts, stepsNs } = runsOf(startsMs);
  const starts =
    'arrayCumSum(arrayFlatten(arrayMap((count, step) -> arrayWithConstant(count, step), {starts_count:Array(UInt32)}, {starts_step:Array(Int64)})))';
  return {
    start: `roundDown(ns, ${starts})`,
    // The first start after it: of the negatives, the last at or below.
    rest: `-roundDown(-ns - 1, arrayReverse(arrayMap(start -> -start, ${starts}))) - ns`,
    parameters: { starts_count: counts, starts_step: `[${stepsNs.join(',')}]` },
    isOn: (widthS) => startsMs.every((start) => start % (widthS * 1_000) === 0),
    between(firstNs, lastNs) {
      const all = startsMs.map((start) => BigInt(start) * 1_000_000n);
      const first = all.findLastIndex((start) => start <= firstNs);
      const last = all.findLastIndex((start) => start <= lastNs);
      return all.slice(Math.max(0, first), last + 1);
    },
  };
}

const tooMany = () =>
  invalid(`more than ${BUCKETS_MAX} buckets: ask for a longer interval, a shorter range or fewer series`);

/** As mathematicians have it: never negative. */
const modulo = (value: bigint, by: bigint): bigint => ((value % by) + by) % by;
