import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { beforeAll, describe, expect, test } from 'vitest';
import { WORK_PREFIX } from './directory.ts';
import { runGate } from './gate/gate.ts';
import { GATE_QUICK, type GateBenchOptions } from './gate/options.ts';
import type { GateReport } from './gate/report.ts';
import { formatGateReport } from './gate/table.ts';

const SHORT: GateBenchOptions = {
  ...GATE_QUICK,
  rounds: 1,
  warmCount: 10_000,
  warmPrincipals: 20,
  policies: 20_000,
  coldCount: 10,
  cachedPrincipals: 100,
};
const leftovers = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith(WORK_PREFIX));

describe('the gate, for a moment', () => {
  let report: GateReport;
  let before: string[];
  beforeAll(async () => {
    before = leftovers();
    report = await runGate(SHORT, () => undefined);
  }, 180_000);

  test('measures every target: each decision was warm, or cold, and the right one', () => {
    expect(report.targets).toHaveLength(7);
    for (const { name, value } of report.targets) expect(value, name).toBeGreaterThan(0);
    expect(report.figures['floor/map/lookups_per_second']?.median).toBeGreaterThan(0);
  });

  test('asks about principals whom some 25 policies concern', () => {
    expect(report.figures['cold/thing/rules']?.median).toBeGreaterThan(50);
    expect(report.figures['cold/user/rules']?.median).toBeGreaterThan(50);
  });

  test('prints what it found, and leaves no directory behind', () => {
    expect(formatGateReport(report)).toContain('a thing publishes, by a connection');
    expect(leftovers().filter((name) => !before.includes(name))).toEqual([]);
  });
});
