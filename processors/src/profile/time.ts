import type { ChannelProfile } from '@millrace/core';
import { TIME_US_MAX, TIME_US_MIN } from '../rows/message-rows.ts';

export type TimeFormat = NonNullable<ChannelProfile['timeFormat']>;

const US_PER: Readonly<Record<Exclude<TimeFormat, 'rfc3339'>, number>> = { s: 1e6, ms: 1e3, us: 1, ns: 1e-3 };
const NUMBER = /^-?\d{1,20}(\.\d{1,20})?$/;
const RFC3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,20}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/** A time as a device wrote it. Numbers may be written as text.
 *  @param format undefined: text is RFC 3339, a number seconds
 *  @returns µs since 1970, or null if it is no such time, or before 1900 or after 2262 */
export function readTime(value: unknown, format: TimeFormat | undefined): number | null {
  const us = microseconds(value, format ?? (typeof value === 'string' ? 'rfc3339' : 's'));
  return us !== null && us >= TIME_US_MIN && us <= TIME_US_MAX ? us : null;
}

function microseconds(value: unknown, format: TimeFormat): number | null {
  if (format === 'rfc3339') return typeof value === 'string' ? parseRfc3339(value) : null;
  if (typeof value === 'number') return Number.isFinite(value) ? Math.round(value * US_PER[format]) : null;
  if (typeof value !== 'string' || !NUMBER.test(value)) return null;
  // As a double, a time in ns has lost its last digits.
  if (format === 'ns' && !value.includes('.')) return Number(BigInt(value) / 1_000n);
  return Math.round(Number(value) * US_PER[format]);
}

/** µs since 1970; a leap second counts as the second after it.  @source RFC 3339 §5.6, §5.7 */
function parseRfc3339(text: string): number | null {
  const match = RFC3339.exec(text);
  if (match === null) return null;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const [fraction = '', sign, offsetHour = '0', offsetMinute = '0'] = match.slice(7);
  if (hour > 23 || minute > 59 || second > 60 || Number(offsetHour) > 23 || Number(offsetMinute) > 59) return null;
  const date = new Date(0);
  // Date.UTC would take the years 0 to 99 for those of the last century.
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return null;
  const offsetS = (Number(offsetHour) * 60 + Number(offsetMinute)) * 60 * (sign === '-' ? -1 : 1);
  const seconds = date.getTime() / 1_000 + (hour * 60 + minute) * 60 + second - offsetS;
  return seconds * 1_000_000 + Number(fraction.slice(0, 6).padEnd(6, '0'));
}

/** Where the records of a channel's JSON messages say their time. */
export class TimeField {
  readonly path: string;
  readonly #keys: readonly string[];
  readonly #format: TimeFormat | undefined;

  constructor(path: string, format: TimeFormat | undefined) {
    this.path = path;
    this.#keys = path.split('.');
    this.#format = format;
  }

  /** Of one record; that of its message where it says none.  @returns null if what stands there is no time */
  of(record: unknown, messageUs: number): number | null {
    let value: unknown = record;
    for (const key of this.#keys) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return messageUs;
      value = (value as Record<string, unknown>)[key];
    }
    return value === null ? messageUs : readTime(value, this.#format);
  }
}
