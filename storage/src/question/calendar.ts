import type { Interval } from '@millrace/core';
import { invalid } from './selection.ts';

type Calendar = Extract<Interval, { kind: 'calendar' }>;

const DAY_MS = 86_400_000;
/** The engine's clock, and a day to each side. */
const MS_MIN = Date.UTC(1899, 11, 30);
const MS_MAX = Date.UTC(2262, 3, 13);
/** Two changes of a zone's clock are never closer. */
const PROBE_MS = 10 * DAY_MS;

/** Starts of a calendar's intervals, ascending: the first at or before `fromMs`, the last after `toMs`. A start is the first
 *  instant at which the zone's calendar shows the day, so days last 23 or 25 hours, and one that the zone skipped is none.
 *  Days and weeks are counted from Monday 29 December 1969, months and longer from the year 0.
 *  @units ms since 1970  @throws StoreError STORE_QUERY_INVALID for an unknown time zone */
export function calendarStarts({ unit, count }: Calendar, timeZone: string, fromMs: number, toMs: number): number[] {
  const [low, high] = [Math.max(fromMs, MS_MIN), Math.min(toMs, MS_MAX)];
  const monthCount =
    unit === 'day' || unit === 'week' ? 0 : count * (unit === 'month' ? 1 : unit === 'quarter' ? 3 : 12);
  const dayCount = count * (unit === 'week' ? 7 : 1);
  const marginMs = (2 * (dayCount + 31 * monthCount) + 2) * DAY_MS;
  const clock = clockOf(timeZone, low - marginMs, high + marginMs);
  const startOf = (index: number): number =>
    monthCount > 0
      ? clock.startOfDay(new Date(0).setUTCFullYear(0, index * monthCount, 1))
      : clock.startOfDay((index * dayCount - 3) * DAY_MS);
  const local = new Date(low + clock.offsetMs(low));
  let index =
    monthCount > 0
      ? Math.floor((local.getUTCFullYear() * 12 + local.getUTCMonth()) / monthCount)
      : Math.floor((Math.floor(local.getTime() / DAY_MS) + 3) / dayCount);
  while (startOf(index) > low) index--;
  const starts: number[] = [];
  for (;;) {
    const start = startOf(index++);
    if (start !== starts.at(-1)) starts.push(start);
    if (start > high) return starts;
  }
}

/** What a zone's clocks show. */
interface Clock {
  offsetMs(ms: number): number;
  /** The first instant of a day.  @param localMs midnight, as if it were in UTC */
  startOfDay(localMs: number): number;
}

/** A zone's changes are looked for so far at a time, and remembered. */
const BLOCK_MS = 20 * 366 * DAY_MS;
/** By the zones' proper names and by blocks; the oldest goes for a new one. */
const CLOCKS_MAX = 200;
const clocks = new Map<string, Clock>();

/** Right from one instant to the other. */
function clockOf(timeZone: string, fromMs: number, toMs: number): Clock {
  const first = Math.max(MS_MIN, Math.floor(fromMs / BLOCK_MS) * BLOCK_MS);
  const last = Math.min(MS_MAX, Math.ceil(toMs / BLOCK_MS) * BLOCK_MS);
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  } catch {
    throw invalid('the time zone is not known: use an IANA name as Europe/Berlin');
  }
  const name = `${format.resolvedOptions().timeZone} ${first} ${last}`;
  const known = clocks.get(name);
  if (known !== undefined) return known;
  const offsetAt = (ms: number): number => {
    const [month = 0, day = 0, year = 0, hour = 0, minute = 0, second = 0] = (
      format.format(ms).match(/\d+/g) ?? []
    ).map(Number);
    return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(ms / 1_000) * 1_000;
  };
  // Where the offset changes, and to what.
  const changesMs = [first];
  const offsetsMs = [offsetAt(first)];
  for (let ms = first; ms < last; ms += PROBE_MS) {
    const before = offsetsMs.at(-1);
    const after = offsetAt(ms + PROBE_MS);
    if (after === before) continue;
    let [low, high] = [ms, ms + PROBE_MS];
    while (high - low > 1_000) {
      const middle = Math.floor((low + high) / 2_000) * 1_000;
      if (offsetAt(middle) === before) low = middle;
      else high = middle;
    }
    changesMs.push(high);
    offsetsMs.push(offsetAt(high));
  }
  const indexAt = (ms: number): number => {
    let [low, high] = [0, changesMs.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((changesMs[middle] as number) <= ms) low = middle;
      else high = middle - 1;
    }
    return low;
  };
  const clock: Clock = {
    offsetMs: (ms) => offsetsMs[indexAt(ms)] as number,
    startOfDay(localMs) {
      // No zone is more than a day away.
      for (let index = indexAt(localMs - DAY_MS); ; index++) {
        // Before what is known, clocks are taken to show what they showed first.
        const begins = index === 0 ? Number.NEGATIVE_INFINITY : (changesMs[index] as number);
        const ends = changesMs[index + 1] ?? Number.POSITIVE_INFINITY;
        const start = Math.max(begins, localMs - (offsetsMs[index] as number));
        if (start < ends) return start;
      }
    },
  };
  for (const oldest of clocks.keys()) {
    if (clocks.size < CLOCKS_MAX) break;
    clocks.delete(oldest);
  }
  clocks.set(name, clock);
  return clock;
}

/** Starts as the engine is told them: so many steps of so many ns, each run once.
 *  @shape the first step leads from 1970 to the first start */
export function runsOf(starts: readonly number[]): { counts: number[]; stepsNs: string[] } {
  const counts: number[] = [];
  const stepsNs: string[] = [];
  let before = 0;
  for (const start of starts) {
    const step = String(BigInt(start - before) * 1_000_000n);
    if (step === stepsNs.at(-1)) counts[counts.length - 1] = (counts.at(-1) ?? 0) + 1;
    else {
      counts.push(1);
      stepsNs.push(step);
    }
    before = start;
  }
  return { counts, stepsNs };
}
