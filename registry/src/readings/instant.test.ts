import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isInstant, isTimeZone, parseInstantUs } from './instant.ts';
import { parseInterval } from './interval.ts';

const NOW = Date.UTC(2026, 2, 29, 10, 20, 30, 456);
const at = (text: string, edge: 'from' | 'to' = 'from', timeZone = 'UTC'): string | null => {
  const us = parseInstantUs(text, { nowMs: NOW, timeZone, edge });
  return us === null ? null : new Date(Number(us / 1_000n)).toISOString();
};

describe('an instant', () => {
  test('counts from now in any unit, step after step', () => {
    expect(at('now')).toBe('2026-03-29T10:20:30.456Z');
    expect(at('now-15m')).toBe('2026-03-29T10:05:30.456Z');
    expect(at('now-250ms')).toBe('2026-03-29T10:20:30.206Z');
    expect(at('now-1d+2h')).toBe('2026-03-28T12:20:30.456Z');
    // What `+` becomes in a query string.
    expect(at('now 2h')).toBe('2026-03-29T12:20:30.456Z');
    expect(at('now-1M')).toBe('2026-02-28T10:20:30.456Z');
    expect(at('now-1mo')).toBe(at('now-1M'));
    expect(at('now-1Q')).toBe('2025-12-29T10:20:30.456Z');
    expect(at('now-1y')).toBe('2025-03-29T10:20:30.456Z');
  });

  test('is rounded down as a beginning and up as an end, so that now/d is the whole day', () => {
    expect(at('now/d')).toBe('2026-03-29T00:00:00.000Z');
    expect(at('now/d', 'to')).toBe('2026-03-30T00:00:00.000Z');
    expect(at('now-1d/d', 'to')).toBe(at('now/d'));
    expect(at('now/w')).toBe('2026-03-23T00:00:00.000Z');
    expect(at('now/d/d', 'to')).toBe(at('now/d', 'to'));
    expect(at('now/h-1h')).toBe('2026-03-29T09:00:00.000Z');
  });

  test('has days of 23 hours where the zone has', () => {
    // Berlin went to summer time that night.
    expect(at('now/d', 'from', 'Europe/Berlin')).toBe('2026-03-28T23:00:00.000Z');
    expect(at('now/d', 'to', 'Europe/Berlin')).toBe('2026-03-29T22:00:00.000Z');
    expect(at('now-1d', 'from', 'Europe/Berlin')).toBe('2026-03-28T11:20:30.456Z');
    expect(at('now-24h', 'from', 'Europe/Berlin')).toBe('2026-03-28T10:20:30.456Z');
  });

  test('is what a date or seconds say, too, and nothing else', () => {
    expect(at('2026-01-05T11:00:00+02:00')).toBe('2026-01-05T09:00:00.000Z');
    expect(at('1.5')).toBe('1970-01-01T00:00:01.500Z');
    for (const wrong of [
      '',
      'now-',
      'now-1',
      'now-1x',
      'now/',
      'now-1d/',
      'NOW',
      ' now',
      'now- 1d',
      'yesterday',
      'now-1e3s',
      'now-99999999999s',
    ])
      expect([wrong, isInstant(wrong)]).toEqual([wrong, false]);
    expect(parseInstantUs('now-999999999y', { nowMs: NOW, timeZone: 'UTC', edge: 'from' })).toBeNull();
  });

  test('never throws, whatever it is', () => {
    const step = fc.constantFrom('-', '+', ' ', '/', 'd', 'M', 'ms', '9', '999999999', 'now', '1', 'y', 'Q', 'mo');
    const text = fc.oneof(
      fc.string(),
      fc.array(step, { maxLength: 20 }).map((parts) => `now${parts.join('')}`),
    );
    fc.assert(
      fc.property(text, fc.constantFrom('UTC', 'Australia/Lord_Howe', 'Pacific/Apia'), (given, timeZone) => {
        const us = parseInstantUs(given, { nowMs: NOW, timeZone, edge: 'to' });
        expect(us === null || typeof us === 'bigint').toBe(true);
      }),
    );
  });
});

test('a time zone is a name of the IANA database', () => {
  for (const name of ['UTC', 'Europe/Berlin', 'Asia/Kolkata', 'America/Argentina/Buenos_Aires'])
    expect([name, isTimeZone(name)]).toEqual([name, true]);
  for (const name of ['', '+02:00', '-1', 'Mars/Olympus', 'local', 'UTC\0', "UTC'", 'Europe/Berlin '])
    expect([name, isTimeZone(name)]).toEqual([name, false]);
});

test('an interval is fixed up to hours and of the calendar from days on', () => {
  expect(parseInterval('1ms')).toEqual({ kind: 'fixed', everyMs: 1 });
  expect(parseInterval('5m')).toEqual({ kind: 'fixed', everyMs: 300_000 });
  expect(parseInterval('1 hour')).toEqual({ kind: 'fixed', everyMs: 3_600_000 });
  expect(parseInterval('10 Minutes')).toEqual({ kind: 'fixed', everyMs: 600_000 });
  expect(parseInterval('24h')).toEqual({ kind: 'fixed', everyMs: 86_400_000 });
  expect(parseInterval('1d')).toEqual({ kind: 'calendar', count: 1, unit: 'day' });
  expect(parseInterval('1M')).toEqual({ kind: 'calendar', count: 1, unit: 'month' });
  expect(parseInterval('2mo')).toEqual({ kind: 'calendar', count: 2, unit: 'month' });
  expect(parseInterval('1q')).toEqual({ kind: 'calendar', count: 1, unit: 'quarter' });
  for (const wrong of [
    '',
    '0m',
    '-1m',
    '1',
    'm',
    '1.5h',
    '1e3s',
    '1fortnight',
    '99999d',
    '999999999999h',
    '1m 5s',
    '1constructor',
  ])
    expect([wrong, parseInterval(wrong)]).toEqual([wrong, null]);
});
