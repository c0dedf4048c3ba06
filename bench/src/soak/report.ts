import { fileURLToPath } from 'node:url';
import type { Machine } from '../report.ts';
import type { Growth, Sample } from './gates.ts';
import type { BesideFigures } from './load/beside.ts';
import type { MixedFigures } from './load/mixed.ts';

/** What `soak` writes. */
export interface SoakReport {
  readonly format: 1;
  readonly benchmark: 'soak';
  readonly date: string;
  readonly machine: Machine;
  readonly minutes: number;
  /** @units messages/s */
  readonly sustainable: number;
  readonly perSecond: number;
  readonly ramp: readonly RampStep[];
  readonly load: MixedFigures;
  readonly beside: BesideFigures;
  /** Over the whole run, the ramp too.  missing: acknowledged and not processed in the end */
  readonly account: { readonly acknowledged: number; readonly processed: number; readonly missing: number };
  readonly growth: readonly Growth[];
  readonly samples: readonly Sample[];
  /** What it fails with. */
  readonly problems: readonly string[];
}

export interface RampStep extends MixedFigures {
  readonly perSecond: number;
  readonly lag: number;
  readonly holds: boolean;
}

const LATE_MS_MAX = 1_000;
const TAKEN_SHARE_MIN = 0.9;
const LAG_SECONDS_MAX = 3;
/** Less of the load than this says nothing about leaks. */
const SOAKED_SHARE_MIN = 0.5;

/** Whether a node goes on for ever like this: it takes what it is offered in time, and processes it in time. */
export function holds(step: MixedFigures & { readonly perSecond: number; readonly lag: number }): boolean {
  return (
    step.taken >= step.offered * TAKEN_SHARE_MIN &&
    step.p99 <= LATE_MS_MAX &&
    step.lag <= step.perSecond * LAG_SECONDS_MAX
  );
}

export function soakProblems(report: Omit<SoakReport, 'problems'>): string[] {
  const problems = report.growth
    .filter(({ leaks }) => leaks)
    .map(
      ({ name, unit, middle, last, lastMax }) =>
        `${name} grew: ${middle.toFixed(0)} in the middle third, ${last.toFixed(0)} in the last, ${lastMax.toFixed(0)} ${unit} at most`,
    );
  if (report.growth.length === 0) problems.push('too few samples: nothing was measured');
  if (report.account.missing > 0) problems.push(`${report.account.missing} messages were acknowledged and not stored`);
  const [failure] = report.beside.failures;
  if (failure !== undefined) problems.push(`${report.beside.failures.length} failures beside, as ${failure}`);
  for (const name of ['received', 'connects', 'queries', 'keyChanges'] as const)
    if (report.beside[name] === 0) problems.push(`nothing was ${name}`);
  if (report.load.taken < report.load.offered * SOAKED_SHARE_MIN)
    problems.push(`only ${report.load.taken} of ${report.load.offered} messages were taken at ${report.perSecond}/s`);
  return problems;
}

export function soakResultFile(date: string): string {
  const name = date.slice(0, 16).replace('T', '-').replace(':', '');
  return fileURLToPath(new URL(`../../results/${name}-soak.json`, import.meta.url));
}
