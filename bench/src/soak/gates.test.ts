import { describe, expect, test } from 'vitest';
import { GATES, judgeGrowth, type Sample } from './gates.ts';

const FLAT: Omit<Sample, 'second'> = {
  pss: 600,
  anonymous: 500,
  rss: 800,
  heap: 90,
  handles: 120,
  files: 300,
  threads: 60,
  processes: 15,
  databaseConnections: 10,
};
const samples = (change: (index: number) => Partial<Sample>): Sample[] =>
  Array.from({ length: 60 }, (_, index) => ({ second: index * 5, ...FLAT, ...change(index) }));
const leaking = (found: readonly Sample[]): string[] =>
  judgeGrowth(found)
    .filter(({ leaks }) => leaks)
    .map(({ of }) => of);

describe('the gates of a soak', () => {
  test('let pass what is flat, and what only fills up at first', () => {
    expect(leaking(samples(() => ({})))).toEqual([]);
    expect(leaking(samples((index) => ({ anonymous: index < 20 ? 200 + index * 15 : 500 })))).toEqual([]);
  });

  test('let pass a few peaks', () => {
    expect(leaking(samples((index) => (index % 7 === 0 ? { anonymous: 900, files: 900, handles: 900 } : {})))).toEqual(
      [],
    );
  });

  test.each(GATES.map(({ of, shareMax, moreMax }) => ({ of, more: FLAT[of] * shareMax + moreMax })))(
    'catch $of that grow on and on',
    ({ of, more }) => {
      expect(leaking(samples((index) => ({ [of]: FLAT[of] + (index * more) / 10 })))).toEqual([of]);
    },
  );

  test('take what could not be seen for a leak, and tell growth an hour', () => {
    expect(leaking(samples(() => ({ heap: Number.NaN })))).toEqual(['heap']);
    const files = judgeGrowth(samples((index) => ({ files: 300 + index }))).find(({ of }) => of === 'files');
    expect(files?.perHour).toBeCloseTo((20 / ((59 * 5) / 3)) * 3_600, 5);
  });
});
