import type { Interval } from '@millrace/core';

const FIXED_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const CALENDAR: Readonly<Record<string, 'day' | 'week' | 'month' | 'quarter' | 'year'>> = {
  d: 'day',
  w: 'week',
  mo: 'month',
  q: 'quarter',
  y: 'year',
};
/** Words of PostgreSQL, as the classic dialect takes them. */
const WORDS: Readonly<Record<string, string>> = {
  ms: 'ms',
  millisecond: 'ms',
  milliseconds: 'ms',
  s: 's',
  sec: 's',
  second: 's',
  seconds: 's',
  m: 'm',
  min: 'm',
  minute: 'm',
  minutes: 'm',
  h: 'h',
  hour: 'h',
  hours: 'h',
  d: 'd',
  day: 'd',
  days: 'd',
  w: 'w',
  week: 'w',
  weeks: 'w',
  mo: 'mo',
  M: 'mo',
  mon: 'mo',
  month: 'mo',
  months: 'mo',
  q: 'q',
  Q: 'q',
  quarter: 'q',
  quarters: 'q',
  y: 'y',
  year: 'y',
  years: 'y',
};
const FORM = /^(\d{1,12}) ?([A-Za-z]{1,12})$/;
const FIXED_MS_MAX = 366 * 86_400_000;
const CALENDAR_COUNT_MAX = 1_000;

export const INTERVAL = 'a number and a unit: 100ms, 5m, 1h, 1d, 1w, 1mo, 1q, 1y';

/** `5m`, `100ms`, `1 hour`: fixed up to hours; days and longer are the calendar's in the question's time zone.
 *  @returns null if it is none, 0, or longer than can be asked for */
export function parseInterval(text: string): Interval | null {
  const [, digits, word = ''] = FORM.exec(text) ?? [];
  const unit = WORDS[word] ?? WORDS[word.toLowerCase()];
  const count = Number(digits);
  if (unit === undefined || !(count >= 1)) return null;
  const calendar = CALENDAR[unit];
  if (calendar !== undefined) return count > CALENDAR_COUNT_MAX ? null : { kind: 'calendar', count, unit: calendar };
  const everyMs = count * (FIXED_MS[unit] as number);
  return everyMs > FIXED_MS_MAX ? null : { kind: 'fixed', everyMs };
}
