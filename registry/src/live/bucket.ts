import type { Interval } from '@millrace/core';
import { DateTime } from 'luxon';

/** One bucket of time.  @units ms since 1970; to exclusive */
export interface Bucket {
  readonly fromMs: number;
  readonly toMs: number;
}

const DAY_MS = 86_400_000;
/** Days are counted from Monday 29 December 1969. */
const MONDAY = 3;
const MONTHS = { month: 1, quarter: 3, year: 12 } as const;

/** The bucket that an instant is in, as the store cuts time.  @see Interval  @units ms since 1970 */
export function bucketAt(interval: Interval, timeZone: string, ms: number): Bucket {
  if (interval.kind === 'fixed') {
    const fromMs = Math.floor(ms / interval.everyMs) * interval.everyMs;
    return { fromMs, toMs: fromMs + interval.everyMs };
  }
  const { year, month, day } = DateTime.fromMillis(ms, { zone: timeZone });
  const { count, unit } = interval;
  if (unit === 'day' || unit === 'week') {
    const days = count * (unit === 'week' ? 7 : 1);
    const index = Math.floor((Math.floor(Date.UTC(year, month - 1, day) / DAY_MS) + MONDAY) / days);
    const start = (at: number): number => {
      const date = new Date((at * days - MONDAY) * DAY_MS);
      return startOfDay(timeZone, date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate());
    };
    return { fromMs: start(index), toMs: start(index + 1) };
  }
  const months = count * MONTHS[unit];
  const index = Math.floor((year * 12 + month - 1) / months);
  const start = (at: number): number =>
    startOfDay(timeZone, Math.floor((at * months) / 12), (((at * months) % 12) + 12) % 12, 1);
  return { fromMs: start(index), toMs: start(index + 1) };
}

const startOfDay = (zone: string, year: number, month: number, day: number): number =>
  DateTime.fromObject({ year, month: month + 1, day }, { zone })
    .startOf('day')
    .toMillis();
