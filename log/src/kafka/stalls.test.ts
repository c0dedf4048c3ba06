import { expect, test } from 'vitest';
import { STALLED_MS, Stalls } from './stalls.ts';

const LATE_MS = STALLED_MS + 1;

/** One partition as it is seen. */
function look(stalls: Stalls, nowMs: number, next: number, offset: number | null, metadata = ''): void {
  const committed = offset === null ? [] : ([[3, { offset, metadata }]] as const);
  stalls.look(nowMs, new Map([[3, { earliest: 0, next }]]), new Map(committed));
}

test('a partition of which nothing is committed while more comes has stalled, until something is', () => {
  const stalls = new Stalls();
  look(stalls, 0, 10, 5);
  look(stalls, 1_000, 12, 5);
  expect(stalls.stalled(STALLED_MS)).toBeNull();
  look(stalls, LATE_MS, 12, 5);
  expect(stalls.stalled(LATE_MS)).toEqual({ partitions: [3], ms: LATE_MS });
  look(stalls, LATE_MS + 1, 20, 6);
  expect(stalls.stalled(LATE_MS + 1)).toBeNull();
});

test('so has one of which nothing was ever committed', () => {
  const stalls = new Stalls();
  look(stalls, 0, 1, null);
  look(stalls, 1_000, 2, null);
  expect(stalls.stalled(LATE_MS)?.partitions).toEqual([3]);
});

test('one that is read to its end, to which nothing comes, or whose owner plans the next range has not', () => {
  const read = new Stalls();
  look(read, 0, 10, 10);
  look(read, 1_000, 10, 10);
  expect(read.stalled(LATE_MS)).toBeNull();
  const quiet = new Stalls();
  look(quiet, 0, 10, 5);
  look(quiet, LATE_MS, 10, 5);
  expect(quiet.stalled(LATE_MS)).toBeNull();
  const planned = new Stalls();
  look(planned, 0, 10, 5);
  look(planned, LATE_MS, 12, 5, '5-11');
  expect(planned.stalled(LATE_MS)).toBeNull();
});
