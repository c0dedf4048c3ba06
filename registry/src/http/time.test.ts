import { describe, expect, test } from 'vitest';
import { parseTimeUs, timeJson } from './time.ts';

describe('times', () => {
  test('seconds keep their microseconds, on both sides of 1970', () => {
    expect(parseTimeUs('1792000000.123456789')).toBe(1_792_000_000_123_456n);
    expect(parseTimeUs('-1.5')).toBe(-1_500_000n);
    expect(parseTimeUs('1.5e9')).toBe(1_500_000_000_000_000n);
    expect(timeJson('-1', 'us')).toBe('-1');
    expect(timeJson('-1', 'rfc3339')).toBe('"1969-12-31T23:59:59.999999999Z"');
  });
  test('RFC 3339 with any offset, also when its plus came as a space', () => {
    expect(parseTimeUs('2026-01-01T01:00:00.5+01:00')).toBe(1_767_225_600_500_000n);
    expect(parseTimeUs('2026-01-01T01:00:00 01:00')).toBe(1_767_225_600_000_000n);
  });
  test('anything else is no time', () => {
    for (const text of [
      '',
      'now',
      '1e400',
      '2026-01-01',
      '2026-02-30T25:00:00Z',
      '1,5',
      '0x10',
      'Infinity',
      '9'.repeat(40),
    ])
      expect([text, parseTimeUs(text)]).toEqual([text, null]);
  });
  test('what is written is read back, for any time that can be stored', () => {
    for (let round = 0; round < 2_000; round++) {
      const us =
        BigInt(Math.floor((Math.random() * 362 - 70) * 31_556_952)) * 1_000_000n +
        BigInt(Math.floor(Math.random() * 1e6));
      expect(parseTimeUs(JSON.parse(timeJson(`${us * 1_000n}`, 'rfc3339')) as string)).toBe(us);
    }
  });
});
