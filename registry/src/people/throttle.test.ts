import { expect, test } from 'vitest';
import { Throttle } from './throttle.ts';

test('some failures are free, then each doubles the wait, up to a limit, and a success ends it', () => {
  const throttle = new Throttle({ free: 2, waitMsMax: 4_000 });
  const waits: number[] = [];
  for (let index = 0; index < 6; index++) {
    throttle.failed('a', 0);
    waits.push(throttle.waitMs('a', 0));
  }
  expect(waits).toEqual([0, 1_000, 2_000, 4_000, 4_000, 4_000]);
  expect(throttle.waitMs('a', 4_000)).toBe(0);
  expect(throttle.waitMs('b', 0)).toBe(0);
  throttle.succeeded('a');
  expect(throttle.waitMs('a', 0)).toBe(0);
});

test('failures that come slowly are forgiven, so that a busy network is not shut out for its typing errors', () => {
  const slow = new Throttle({ free: 2, forgivenMs: 1_000 });
  for (let index = 0; index < 100; index++) slow.failed('office', index * 1_000);
  expect(slow.waitMs('office', 99_000)).toBe(0);
  for (let index = 0; index < 3; index++) slow.failed('office', 99_001 + index);
  expect(slow.waitMs('office', 99_004)).toBeGreaterThan(0);
});

test('memory is bounded whoever tries', () => {
  const throttle = new Throttle({ entriesMax: 100 });
  for (let index = 0; index < 10_000; index++) throttle.failed(String(index), index);
  expect(throttle.size).toBe(100);
});

test('many tries at once are turned away, since none has failed yet', async () => {
  const throttle = new Throttle();
  let turnedAway = 0;
  await Promise.all(
    Array.from({ length: 100 }, async () => {
      const tried = await throttle.attempt('a', () => new Promise<number>((resolve) => setTimeout(resolve, 5, 1)));
      if (tried === null) turnedAway++;
    }),
  );
  expect(turnedAway).toBe(84);
});
