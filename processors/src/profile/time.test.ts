import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readTime, TimeField } from './time.ts';

const US = 1_795_258_344_636_765;

describe('a time', () => {
  test.each([
    ['s', 1_795_258_344.5, 1_795_258_344_500_000],
    ['s', '1795258344.5', 1_795_258_344_500_000],
    ['s', -1, -1_000_000],
    ['ms', 1_795_258_344_636, 1_795_258_344_636_000],
    ['us', US, US],
    ['ns', '1795258344636765999', US],
    ['ns', '-1000', -1],
    ['rfc3339', '2026-11-21T14:52:24.636765Z', Date.UTC(2026, 10, 21, 14, 52, 24) * 1_000 + 636_765],
    ['rfc3339', '2026-11-21 14:52:24.6367659+01:30', Date.UTC(2026, 10, 21, 13, 22, 24) * 1_000 + 636_765],
    ['rfc3339', '2016-12-31t23:59:60z', Date.UTC(2017, 0, 1) * 1_000],
    [undefined, '2026-11-21T14:52:24Z', Date.UTC(2026, 10, 21, 14, 52, 24) * 1_000],
    [undefined, 12, 12_000_000],
  ] as const)('in %s is read from %j', (format, value, us) => {
    expect(readTime(value, format)).toBe(us);
  });

  test.each([
    ['s', 'soon'],
    ['s', ''],
    ['s', '1e3'],
    ['s', true],
    ['s', [1]],
    ['s', { s: 1 }],
    ['s', Number.MAX_VALUE],
    ['s', -1e10],
    ['ns', '99999999999999999999'],
    ['rfc3339', 12],
    ['rfc3339', '2026-02-29T00:00:00Z'],
    ['rfc3339', '2026-13-01T00:00:00Z'],
    ['rfc3339', '2026-11-21T24:00:00Z'],
    ['rfc3339', '2026-11-21T14:52:24'],
    ['rfc3339', '2026-11-21T14:52:24+24:00'],
    ['rfc3339', '1899-12-31T23:59:59Z'],
    ['rfc3339', '0099-01-01T00:00:00Z'],
    [undefined, '12'],
  ] as const)('in %s is none in %j', (format, value) => {
    expect(readTime(value, format)).toBeNull();
  });

  test('as RFC 3339 is the one that the clock wrote', () => {
    const min = Date.UTC(1900, 0);
    fc.assert(
      fc.property(fc.integer({ min, max: Date.UTC(2262, 0) }), (ms) => {
        expect(readTime(new Date(ms).toISOString(), 'rfc3339')).toBe(ms * 1_000);
      }),
    );
  });

  test('never throws, whatever stands there', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom('s', 'ms', 'us', 'ns', 'rfc3339', undefined), (value, format) => {
        const us = readTime(value, format);
        expect(us === null || Number.isSafeInteger(us)).toBe(true);
      }),
    );
  });
});

describe('the member that holds the time', () => {
  test('is found by its path, through arrays too, and never in what all objects have', () => {
    expect(new TimeField('meta.at', 's').of({ meta: { at: 5 } }, US)).toBe(5_000_000);
    expect(new TimeField('meta.0', 's').of({ meta: [5] }, US)).toBe(5_000_000);
    expect(new TimeField('constructor.length', 's').of({}, US)).toBe(US);
    expect(new TimeField('__proto__', 's').of({}, US)).toBe(US);
  });
  test('may be missing: then the record has the time of its reception', () => {
    const field = new TimeField('meta.at', 's');
    for (const record of [{}, { meta: 1 }, { meta: null }, { meta: { at: null } }, 7, 'x', null]) {
      expect(field.of(record, US)).toBe(US);
    }
    expect(field.of({ meta: { at: 'x' } }, US)).toBeNull();
  });
});
