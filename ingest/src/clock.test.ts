import { expect, test } from 'vitest';
import { WallClock } from './clock.ts';

const clocks = () => {
  const time = { wallMs: 1_700_000_000_000, monotonicMs: 500 };
  const pass = (ms: number): void => {
    time.wallMs += ms;
    time.monotonicMs += ms;
  };
  return {
    time,
    pass,
    clock: new WallClock(
      () => time.wallMs,
      () => time.monotonicMs,
    ),
  };
};

test('runs with the wall clock, in microseconds', () => {
  const { pass, clock, time } = clocks();
  pass(1.5);
  expect(clock.nowUs()).toBe(time.wallMs * 1_000);
});

test('never runs backward when the wall clock is set back a little, and makes up for it', () => {
  const { pass, clock, time } = clocks();
  let before = clock.nowUs();
  time.wallMs -= 200;
  for (let second = 0; second < 60; second++) {
    pass(1_000);
    clock.adjust();
    const now = clock.nowUs();
    expect(now).toBeGreaterThanOrEqual(before);
    before = now;
  }
  expect(Math.abs(clock.nowUs() - time.wallMs * 1_000)).toBeLessThan(1_500);
});

test('follows at once when the wall clock was plainly wrong', () => {
  const { clock, time } = clocks();
  clock.nowUs();
  time.wallMs -= 86_400_000;
  clock.adjust();
  expect(clock.nowUs()).toBe(time.wallMs * 1_000);
});
