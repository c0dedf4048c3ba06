import { describe, expect, test } from 'vitest';
import { SOAK_QUICK } from './options.ts';
import { runSoak } from './soak.ts';
import { formatSoakReport } from './table.ts';

describe('a node under 70 % of what it can take', () => {
  test('for three minutes, by all protocols, takes no more of anything at the end, and stores what it acknowledged', {
    timeout: 900_000,
  }, async () => {
    const report = await runSoak(SOAK_QUICK, () => undefined);
    console.log(formatSoakReport(report));
    expect(report.problems).toEqual([]);
    expect(report.load.taken).toBeGreaterThan(0);
    expect(report.growth.map(({ of }) => of)).toContain('databaseConnections');
  });
});
