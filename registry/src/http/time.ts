/** How times are written in an answer. */
export const timeFormats = ['s', 'ms', 'us', 'ns', 'rfc3339'] as const;
export type TimeFormat = (typeof timeFormats)[number];

const NS_PER: Readonly<Record<'ms' | 'us' | 'ns', bigint>> = { ms: 1_000_000n, us: 1_000n, ns: 1n };

/** The JSON of a time: a number, a text for RFC 3339.
 *  @param ns since 1970, decimal text  @units s: to the microsecond, ms and us: whole, rounded down, ns: exact */
export function timeJson(ns: string, format: TimeFormat): string {
  if (format === 's' && ns.length > 3 && !ns.startsWith('-')) return String(Number(ns.slice(0, -3)) / 1e6);
  const exact = BigInt(ns);
  if (format === 's') return String(Number(floorDivide(exact, 1_000n)) / 1e6);
  if (format !== 'rfc3339') return String(floorDivide(exact, NS_PER[format]));
  const ms = floorDivide(exact, 1_000_000n);
  const rest = String(exact - floorDivide(exact, 1_000_000_000n) * 1_000_000_000n).padStart(9, '0');
  const fraction = rest.replace(/0+$/, '');
  const whole = new Date(Number(ms)).toISOString().slice(0, -5);
  return `"${whole}${fraction === '' ? '' : `.${fraction}`}Z"`;
}

const floorDivide = (a: bigint, b: bigint): bigint => (a < 0n && a % b !== 0n ? a / b - 1n : a / b);

const SECONDS = /^([+-]?)(\d{1,12})(?:\.(\d{1,18}))?$/;
const SECONDS_EXPONENT = /^[+-]?\d+(\.\d+)?[eE][+-]?\d{1,2}$/;
const RFC3339 = /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,18}))?([Zz]|[+-]\d{2}:\d{2})$/;

/** A time that a person or a program wrote: seconds since 1970 with a fraction, or RFC 3339.
 *  @returns µs since 1970, rounded down; null if it is neither */
export function parseTimeUs(text: string): bigint | null {
  const seconds = SECONDS.exec(text);
  if (seconds !== null) {
    const [, sign, whole = '', fraction = ''] = seconds;
    const us = BigInt(whole) * 1_000_000n + BigInt(fraction.slice(0, 6).padEnd(6, '0'));
    return sign === '-' ? -us : us;
  }
  if (SECONDS_EXPONENT.test(text)) {
    const us = Math.round(Number(text) * 1e6);
    return Number.isSafeInteger(us) ? BigInt(us) : null;
  }
  // In a query string `+` means a space: an offset written unescaped arrives as one.
  const date = RFC3339.exec(text.replace(/ (\d{2}:\d{2})$/, '+$1'));
  if (date === null) return null;
  const [, day, clock, fraction = '', zone = 'Z'] = date;
  const ms = Date.parse(`${day}T${clock}${zone.toUpperCase()}`);
  if (Number.isNaN(ms)) return null;
  return BigInt(ms) * 1_000n + BigInt(fraction.slice(0, 6).padEnd(6, '0'));
}
