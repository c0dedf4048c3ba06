import type { Interval } from '@millrace/core';

type CalendarUnit = Extract<Interval, { kind: 'calendar' }>['unit'];

/** Units by their letters and by the words of PostgreSQL, as the classic dialect takes them: ms of a fixed one, or the
 *  calendar's. */
const UNITS: ReadonlyMap<string, number | CalendarUnit> = new Map(
  (
    [
      [['ms', 'millisecond', 'milliseconds'], 1],
      [['s', 'sec', 'second', 'seconds'], 1_000],
      [['m', 'min', 'minute', 'minutes'], 60_000],
      [['h', 'hour', 'hours'], 3_600_000],
      [['d', 'day', 'days'], 'day'],
      [['w', 'week', 'weeks'], 'week'],
      [['M', 'mo', 'mon', 'month', 'months'], 'month'],
      [['q', 'Q', 'quarter', 'quarters'], 'quarter'],
      [['y', 'year', 'years'], 'year'],
    ] as const
  ).flatMap(([words, unit]) => words.map((word) => [word, unit] as const)),
);
const FORM = /^(\d{1,12}) ?([A-Za-z]{1,12})$/;
const FIXED_MS_MAX = 366 * 86_400_000;
const CALENDAR_COUNT_MAX = 1_000;

export const INTERVAL = 'a number and a unit: 100ms, 5m, 1h, 1d, 1w, 1mo, 1q, 1y';

/** `5m`, `100ms`, `1 hour`: fixed up to hours; days and longer are the calendar's in the question's time zone.
 *  @returns null if it is none, 0, or longer than can be asked for */
export function parseInterval(text: string): Interval | null {
  const [, digits, word = ''] = FORM.exec(text) ?? [];
  // One letter tells minutes and months apart by its case.
  const unit = UNITS.get(word) ?? (word.length > 1 ? UNITS.get(word.toLowerCase()) : undefined);
  const count = Number(digits);
  if (unit === undefined || !(count >= 1)) return null;
  if (typeof unit === 'string') return count > CALENDAR_COUNT_MAX ? null : { kind: 'calendar', count, unit };
  const everyMs = count * unit;
  return everyMs > FIXED_MS_MAX ? null : { kind: 'fixed', everyMs };
}
