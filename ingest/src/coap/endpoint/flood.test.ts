import { expect, test } from 'vitest';
import { FloodLimiter } from './flood.ts';

const limits = { ratePerSecond: 10, burst: 20, holdMs: 1_000, holdMsMax: 10_000, forgiveMs: 30_000, addressesMax: 100 };

test('an address that floods is ignored for seconds, longer when it goes on, and never for more than ten', () => {
  const limiter = new FloodLimiter(limits);
  const heldMs: number[] = [];
  let nowMs = 0;
  for (let round = 0; round < 6; round++) {
    while (!limiter.isIgnored('192.0.2.1', nowMs)) {
      limiter.penalize('192.0.2.1', nowMs);
      nowMs += 1;
    }
    const from = nowMs;
    while (limiter.isIgnored('192.0.2.1', nowMs)) nowMs += 1;
    heldMs.push(Math.round((nowMs - from) / 1_000));
  }
  expect(heldMs).toEqual([1, 2, 4, 8, 10, 10]);
});

test('a well-behaved device is never ignored while another address floods', () => {
  const limiter = new FloodLimiter(limits);
  for (let nowMs = 0; nowMs < 5_000; nowMs++) {
    limiter.penalize('192.0.2.1', nowMs);
    expect(limiter.isIgnored('192.0.2.2', nowMs)).toBe(false);
  }
  expect(limiter.holds).toBeGreaterThan(0);
});

test('now and then something bad is no flood', () => {
  const limiter = new FloodLimiter(limits);
  for (let nowMs = 0; nowMs < 100_000; nowMs += 200) {
    limiter.penalize('192.0.2.1', nowMs);
    expect(limiter.isIgnored('192.0.2.1', nowMs)).toBe(false);
  }
});

test('who was good for a while begins anew', () => {
  const limiter = new FloodLimiter(limits);
  const flood = (nowMs: number): void => {
    for (let count = 0; count < 50; count++) limiter.penalize('192.0.2.1', nowMs);
  };
  flood(0);
  flood(1_001);
  expect(limiter.isIgnored('192.0.2.1', 3_000)).toBe(true);
  flood(60_000);
  expect(limiter.isIgnored('192.0.2.1', 60_999)).toBe(true);
  expect(limiter.isIgnored('192.0.2.1', 61_001)).toBe(false);
});

test('bursts from made-up addresses take bounded memory, and set nobody free who is held', () => {
  const limiter = new FloodLimiter(limits);
  for (let count = 0; count < 50; count++) limiter.penalize('192.0.2.1', 0);
  for (let count = 0; count < 100_000; count++)
    limiter.penalize(`10.${(count >> 16) & 255}.${(count >> 8) & 255}.${count & 255}`, 1);
  expect(limiter.size).toBeLessThanOrEqual(100);
  expect(limiter.isIgnored('192.0.2.1', 2)).toBe(true);
});

test('all addresses of one IPv6 network of 64 bits are one sender', () => {
  const limiter = new FloodLimiter(limits);
  for (let count = 0; count < 50; count++) limiter.penalize(`2001:db8:1:2::${count.toString(16)}`, 0);
  expect(limiter.isIgnored('2001:db8:1:2:aaaa:bbbb:cccc:dddd', 1)).toBe(true);
  expect(limiter.isIgnored('2001:db8:1:3::1', 1)).toBe(false);
});
