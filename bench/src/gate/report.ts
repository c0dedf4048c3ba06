import { fileURLToPath } from 'node:url';
import type { Figures } from '../figures.ts';
import type { Machine } from '../report.ts';
import type { OF_ORG } from './population.ts';

/** What `bench gate` writes to bench/results. */
export interface GateReport {
  readonly format: 1;
  readonly benchmark: 'gate';
  readonly date: string;
  readonly machine: Machine;
  readonly settings: {
    readonly rounds: number;
    readonly policies: number;
    readonly ofEachOrganisation: typeof OF_ORG;
    readonly cachedPrincipals: number;
    readonly coldCount: number;
  };
  readonly figures: Figures;
  readonly targets: readonly GateTarget[];
}

export interface GateTarget {
  readonly name: string;
  readonly unit: string;
  readonly atLeast: boolean;
  readonly bound: number;
  /** null: not measured. */
  readonly value: number | null;
  readonly reached: boolean | null;
}

const WARM_MIN = 2_000_000;
const COLD_P50_MS_MAX = 2;

/** What the figures are held against. A target whose figures are not there is listed as not measured. */
export function judgeGate(figures: Figures): GateTarget[] {
  const target = (name: string, figure: string, unit: string, atLeast: boolean, bound: number): GateTarget => {
    const value = figures[figure]?.median ?? null;
    return {
      name,
      unit,
      atLeast,
      bound,
      value,
      reached: value === null ? null : atLeast ? value >= bound : value <= bound,
    };
  };
  const warm = (name: string, figure: string): GateTarget =>
    target(`warm decisions/s, ${name}`, `warm/${figure}/decisions_per_second`, '1/s', true, WARM_MIN);
  return [
    warm('a thing publishes', 'thing-publish'),
    warm('a thing whose policies ask about subtopic and address', 'thing-publish-subtopic-address'),
    warm('an API key publishes', 'key-publish'),
    warm('a user on the control plane', 'user-control'),
    warm('an API key on the control plane', 'key-control'),
    target('cold decision on a message, p50', 'cold/thing/p50', 'ms', false, COLD_P50_MS_MAX),
    target('cold decision on the control plane, p50', 'cold/user/p50', 'ms', false, COLD_P50_MS_MAX),
  ];
}

/** bench/results/<date>-gate.json in the package, wherever it was built. */
export function gateResultFile(date: string): string {
  return fileURLToPath(new URL(`../../results/${date.slice(0, 10)}-gate.json`, import.meta.url));
}
