import { deepEqual, equal, throws } from 'node:assert/strict';
import type { Interval } from '@millrace/core';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { calendarStarts, runsOf } from './calendar.ts';
import { nextOf, startOf } from './reference.ts';

const HOUR = 3_600_000;
const days = (timeZone: string, from: number, to: number): number[] =>
  calendarStarts({ kind: 'calendar', unit: 'day', count: 1 }, timeZone, from, to);
const hours = (starts: readonly number[]): number[] =>
  starts.slice(1).map((start, index) => (start - (starts[index] as number)) / HOUR);

describe('calendar intervals', () => {
  test('have days of 23 and 25 hours where clocks change, and of 24 and a half where they change by less', () => {
    deepEqual(hours(days('Europe/Berlin', Date.UTC(2026, 2, 28), Date.UTC(2026, 2, 29, 20))), [24, 23]);
    deepEqual(hours(days('America/New_York', Date.UTC(2026, 10, 1, 12), Date.UTC(2026, 10, 1, 20))), [25]);
    deepEqual(hours(days('Australia/Lord_Howe', Date.UTC(2026, 3, 4, 20), Date.UTC(2026, 3, 5))), [24.5]);
  });

  test('leave out the day that a zone skipped', () => {
    const starts = days('Pacific/Apia', Date.UTC(2011, 11, 29, 12), Date.UTC(2011, 11, 31, 12));
    // Thursday 29, Saturday 31, Sunday 1.
    deepEqual(
      starts.map((ms) => new Date(ms).toISOString()),
      [29, 30, 31, 32].map((day) => new Date(Date.UTC(2011, 11, day, 10)).toISOString()),
    );
  });

  test('begin weeks on Monday, quarters in January, and reach over the range', () => {
    const at = Date.UTC(2026, 10, 21);
    const begin = (unit: 'week' | 'month' | 'quarter' | 'year'): string =>
      new Date(calendarStarts({ kind: 'calendar', unit, count: 1 }, 'UTC', at, at)[0] ?? 0).toISOString().slice(0, 10);
    deepEqual((['week', 'month', 'quarter', 'year'] as const).map(begin), [
      '2026-11-16',
      '2026-11-01',
      '2026-10-01',
      '2026-01-01',
    ]);
  });

  test('are those of the clocks on the wall, in every zone and century', () => {
    const given = fc.record({
      at: fc.integer({ min: Date.UTC(1901, 0, 1) / 1_000, max: Date.UTC(2260, 0, 1) / 1_000 }),
      timeZone: fc.constantFrom(
        'Europe/Berlin',
        'America/New_York',
        'Australia/Lord_Howe',
        'Asia/Kolkata',
        'Pacific/Apia',
      ),
      unit: fc.constantFrom('day', 'week', 'month', 'quarter', 'year'),
      count: fc.integer({ min: 1, max: 4 }),
    });
    fc.assert(
      fc.property(given, ({ at, timeZone, unit, count }) => {
        const interval = { kind: 'calendar', unit, count } as Extract<Interval, { kind: 'calendar' }>;
        const [first, second] = calendarStarts(interval, timeZone, at * 1_000, at * 1_000);
        equal(first, startOf(interval, timeZone, at * 1e6) / 1_000);
        equal(second, nextOf(interval, timeZone, (first ?? 0) * 1_000) / 1_000);
      }),
      { numRuns: 150, seed: 7 },
    );
  }, 60_000);

  test('refuse a zone that nobody knows', () => {
    for (const timeZone of ['Mars/Olympus', '', "'; DROP", 'Europe/Berlin\u0000'])
      throws(() => days(timeZone, 0, 1), { code: 'STORE_QUERY_INVALID' });
  });

  test('are told the engine in runs', () => {
    deepEqual(runsOf([-2, 3, 8, 9]), { counts: [1, 2, 1], stepsNs: ['-2000000', '5000000', '1000000'] });
  });
});
