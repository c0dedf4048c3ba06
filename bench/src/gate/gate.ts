import { FigureCollector } from '../figures.ts';
import { machineFacts } from '../report.ts';
import { measureCold } from './cold.ts';
import { measureMemory } from './memory.ts';
import type { GateBenchOptions } from './options.ts';
import { OF_ORG } from './population.ts';
import { type GateReport, judgeGate } from './report.ts';
import { measureWarm } from './warm.ts';

/** Measures the gate: warm beside a bare map, cold before a real PostgreSQL, and what it keeps of each principal.
 *  @throws BenchError SETUP_FAILED; nothing it started runs on */
export async function runGate(options: GateBenchOptions, progress: (line: string) => void): Promise<GateReport> {
  const machine = machineFacts();
  const figures = new FigureCollector();
  await measureWarm(options, figures, progress);
  await measureMemory(options, figures, progress);
  await measureCold(options, figures, progress);
  const measured = figures.figures();
  const { rounds, policies, cachedPrincipals, coldCount } = options;
  return {
    format: 1,
    benchmark: 'gate',
    date: new Date().toISOString(),
    machine,
    settings: { rounds, policies, ofEachOrganisation: OF_ORG, cachedPrincipals, coldCount },
    figures: measured,
    targets: judgeGate(measured),
  };
}
