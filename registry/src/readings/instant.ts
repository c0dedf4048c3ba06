import { DateTime, type DateTimeUnit, IANAZone } from 'luxon';
import { parseTimeUs } from '../http/time.ts';

/** How times are told that count from now: a unit as Grafana writes it, and as the calendar names it. */
const UNITS: Readonly<Record<string, DateTimeUnit>> = {
  ms: 'millisecond',
  s: 'second',
  m: 'minute',
  h: 'hour',
  d: 'day',
  w: 'week',
  M: 'month',
  mo: 'month',
  Q: 'quarter',
  q: 'quarter',
  y: 'year',
};
const STEP = /([+ -])(\d{1,9})(ms|mo|[smhdwMQqy])|\/(ms|mo|[smhdwMQqy])/g;
const RELATIVE = /^now(?:[+ -]\d{1,9}(?:ms|mo|[smhdwMQqy])|\/(?:ms|mo|[smhdwMQqy])){0,8}$/;

/** How an instant can be written, for who wrote it otherwise. */
export const INSTANT = 'seconds since 1970, an RFC 3339 time, or relative: now, now-15m, now-1d/d';

export interface InstantAt {
  readonly nowMs: number;
  /** IANA name: days and longer units are the calendar's there. */
  readonly timeZone: string;
  /** `/d` rounds a `from` down to the start of the day, and a `to` up to the end of it. */
  readonly edge: 'from' | 'to';
}

/** An instant: as `parseTimeUs`, or relative to now as Grafana writes it.
 *  @returns µs since 1970; null if it is neither, or beyond what a calendar holds */
export function parseInstantUs(text: string, { nowMs, timeZone, edge }: InstantAt): bigint | null {
  if (!RELATIVE.test(text)) return parseTimeUs(text);
  let time = DateTime.fromMillis(nowMs, { zone: timeZone });
  for (const [, sign, count, unit = '', rounded] of text.matchAll(STEP)) {
    if (rounded !== undefined) {
      const start = time.startOf(UNITS[rounded] as DateTimeUnit);
      time = edge === 'from' || start.equals(time) ? start : start.plus({ [UNITS[rounded] as DateTimeUnit]: 1 });
    } else {
      // In a query string `+` means a space.
      time = time.plus({ [UNITS[unit] as DateTimeUnit]: (sign === '-' ? -1 : 1) * Number(count) });
    }
  }
  return time.isValid ? BigInt(time.toMillis()) * 1_000n : null;
}

export const isInstant = (text: string): boolean =>
  parseInstantUs(text, { nowMs: 0, timeZone: 'UTC', edge: 'from' }) !== null;

/** Whether it is a name of the IANA database. Offsets as `+02:00` are none: no engine agrees about them. */
export const isTimeZone = (name: string): boolean => /^[A-Za-z]/.test(name) && IANAZone.isValidZone(name);
