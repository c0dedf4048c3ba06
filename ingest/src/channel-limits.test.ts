import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ChannelLimits } from './channel-limits.ts';

const limitOf = (limits: ChannelLimits, messagesPerSecond: number, id = 'c') =>
  limits.limitOf({ id, limits: { messagesPerSecond } }) ?? expect.unreachable('there is a limit');

describe("a channel's limit", () => {
  test('is none where none is set', () => {
    expect(new ChannelLimits().limitOf({ id: 'c', limits: {} })).toBeNull();
  });

  test('lets a second’s worth through at once, at least one message, and then the rate', () => {
    const limits = new ChannelLimits();
    const five = limitOf(limits, 5);
    for (let index = 0; index < 5; index++) expect(five.take(1, 1_000)).toBe(0);
    expect(five.take(1, 1_000)).toBe(200);
    expect(five.take(1, 1_199)).toBe(1);
    expect(five.take(1, 1_200)).toBe(0);
    const slow = limitOf(limits, 0.1, 'slow');
    expect(slow.take(1, 0)).toBe(0);
    expect(slow.take(1, 0)).toBe(10_000);
    expect(slow.take(1, 10_000)).toBe(0);
  });

  test('takes a batch larger than a second’s worth from a full bucket, which is then in debt', () => {
    const limit = limitOf(new ChannelLimits(), 10);
    expect(limit.take(30, 0)).toBe(0);
    expect(limit.take(1, 1_000)).toBe(1_100);
    expect(limit.take(30, 2_100)).toBe(900);
    expect(limit.take(30, 3_000)).toBe(0);
  });

  test('is one for all who publish to the channel, also once it was changed', () => {
    const limits = new ChannelLimits();
    const [one, other] = [limitOf(limits, 2), limitOf(limits, 2)];
    expect([one.take(1, 0), other.take(1, 0)]).toEqual([0, 0]);
    expect([one.take(1, 0), other.take(1, 0)]).toEqual([500, 500]);
    expect(limitOf(limits, 1_000).take(1, 1)).toBe(0);
    expect(ChannelLimits.of(limits)).toBe(ChannelLimits.of(limits));
  });

  test('of nothing a second lets nothing more through, and tells nobody to wait for ever', () => {
    const limit = limitOf(new ChannelLimits(), 0);
    expect(limit.take(1, 0)).toBe(0);
    expect(limit.take(1, 1e12)).toBe(3_600_000);
  });

  test('is never exceeded, and never holds back what it may let through, whoever takes how much when', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.2, max: 500, noNaN: true }),
        fc.array(fc.record({ afterMs: fc.integer({ min: 0, max: 900 }), count: fc.integer({ min: 1, max: 40 }) }), {
          minLength: 1,
          maxLength: 200,
        }),
        (rate, steps) => {
          const limits = new ChannelLimits();
          const handles = [limitOf(limits, rate), limitOf(limits, rate), limitOf(limits, rate)];
          const burst = Math.max(1, rate);
          let nowMs = 5_000;
          // What may have been taken since the beginning, by the definition: a full bucket, filled at the rate.
          let tokens = burst;
          for (const [index, { afterMs, count }] of steps.entries()) {
            nowMs += afterMs;
            tokens = Math.min(burst, tokens + (afterMs * rate) / 1_000);
            const needed = Math.min(count, burst);
            const waitMs = handles[index % 3]?.take(count, nowMs) ?? 0;
            if (waitMs === 0) {
              expect(tokens).toBeGreaterThan(needed - 1e-6);
              tokens -= count;
            } else {
              expect(tokens).toBeLessThan(needed + 1e-6);
              const inTimeMs = ((needed - tokens) * 1_000) / rate;
              expect(waitMs).toBeGreaterThanOrEqual(inTimeMs - 1e-3);
              expect(waitMs).toBeLessThanOrEqual(inTimeMs + 1.001);
            }
          }
        },
      ),
    );
  });
});

describe('buckets', () => {
  test('are forgotten once they are full, and bounded', () => {
    const limits = new ChannelLimits();
    for (let index = 0; index < 5_000; index++) limitOf(limits, 10, `a${index}`).take(1, index * 10);
    // Those of the last 100 ms are not full.
    expect(limits.bucketCount).toBeLessThan(1_100);
    for (let index = 0; index < 150_000; index++) limitOf(limits, 1, `b${index}`).take(1, 1e6);
    expect(limits.bucketCount).toBeLessThanOrEqual(65_536);
  });

  test('that are not full are not forgotten while there is room', () => {
    const limits = new ChannelLimits();
    limitOf(limits, 0.001, 'kept').take(1, 0);
    for (let index = 0; index < 10_000; index++) limitOf(limits, 10, `a${index}`).take(1, index * 10);
    expect(limitOf(limits, 0.001, 'kept').take(1, 100_000)).toBe(900_000);
  });
});
