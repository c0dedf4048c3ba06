import { DateTime } from 'luxon';

export const timeFormats = ['auto', 'rfc3339', 's', 'ms', 'us', 'ns'] as const;
export type ImportTimeFormat = (typeof timeFormats)[number];

/** SenML takes what is less for a time relative to now.  @units µs since 1970  @source RFC 8428 §4.5.3 */
const US_MIN = 2 ** 28 * 1e6;
const US_MAX = 9_223_372_036_000_000;
const US_PER = { s: 1e6, ms: 1e3, us: 1, ns: 1e-3 } as const;
const NUMBER = /^-?\d{1,20}(\.\d{1,20})?$/;
const CALENDAR =
  /^(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,20}))?)?)?\s?([Zz]|UTC|[+-]\d\d(?::?\d\d)?)?$/;

/** A time as files write it.
 *  @param zone of what says no offset (IANA)
 *  @returns µs since 1970, or why it is none */
export function readTime(value: unknown, format: ImportTimeFormat, zone: string): number | string {
  const us = microseconds(value, format, zone);
  if (us === null) return `the time ${JSON.stringify(String(value).slice(0, 60))} can not be read${hint(format)}`;
  if (us < US_MIN) return 'the time is before July 1978, which SenML can not tell from a relative one';
  return us > US_MAX ? 'the time is after 2262' : us;
}

const hint = (format: ImportTimeFormat): string => (format === 'auto' ? '' : ` as ${format}`);

function microseconds(value: unknown, format: ImportTimeFormat, zone: string): number | null {
  if (value instanceof Instant) return value.us;
  const isText = typeof value === 'string';
  const isNumber = typeof value === 'number' || typeof value === 'bigint' || (isText && NUMBER.test(value));
  if (format === 'rfc3339' || (format === 'auto' && !isNumber)) return isText ? calendar(value, zone) : null;
  if (!isNumber) return null;
  const unit = format === 'auto' ? unitOf(Number(value)) : format;
  // As a double, a time in ns has lost its last digits.
  if (unit === 'ns' && typeof value === 'bigint') return Number(value / 1_000n);
  if (unit === 'ns' && isText && !value.includes('.')) return Number(BigInt(value) / 1_000n);
  const us = Math.round(Number(value) * US_PER[unit]);
  return Number.isFinite(us) ? us : null;
}

/** What a number of today must count. */
function unitOf(value: number): 's' | 'ms' | 'us' | 'ns' {
  const size = Math.abs(value);
  if (size < 1e11) return 's';
  if (size < 1e14) return 'ms';
  return size < 1e17 ? 'us' : 'ns';
}

function calendar(text: string, zone: string): number | null {
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '', offset] = CALENDAR.exec(text) ?? [];
  if (year === undefined) return null;
  const parts = { year: +year, month: Number(month), day: Number(day), hour: +hour, minute: +minute, second: +second };
  if (parts.second === 60) parts.second = 59;
  let ms: number;
  if (offset === undefined && zone !== 'UTC') {
    const local = DateTime.fromObject(parts, { zone });
    if (!local.isValid) return null;
    ms = local.toMillis();
  } else {
    if (parts.hour > 23 || parts.minute > 59 || parts.second > 59) return null;
    const date = new Date(0);
    date.setUTCFullYear(parts.year, parts.month - 1, parts.day);
    if (date.getUTCMonth() !== parts.month - 1 || date.getUTCDate() !== parts.day) return null;
    const minutes = parts.hour * 60 + parts.minute - offsetMinutes(offset);
    ms = date.getTime() + (minutes * 60 + parts.second) * 1_000;
  }
  return ms * 1_000 + Number(fraction.slice(0, 6).padEnd(6, '0'));
}

function offsetMinutes(offset: string | undefined): number {
  const [, sign, hours, minutes = '0'] = /^([+-])(\d\d):?(\d\d)?$/.exec(offset ?? '') ?? [];
  return hours === undefined ? 0 : (Number(hours) * 60 + Number(minutes)) * (sign === '-' ? -1 : 1);
}

/** A time that a file's own type says already.  @units µs since 1970 */
export class Instant {
  readonly us: number;
  constructor(us: number) {
    this.us = us;
  }
  toString(): string {
    return `${this.us} µs`;
  }
}
