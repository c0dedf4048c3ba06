import { fileURLToPath } from 'node:url';
import type { Machine } from '../report.ts';
import type { Filled } from './fill.ts';

/** What `bench fill` and `bench ask` write to bench/results. */
export interface AskingReport {
  readonly format: 1;
  readonly benchmark: 'ask';
  readonly date: string;
  readonly machine: Machine;
  readonly settings: {
    readonly readings: number;
    readonly rounds: number;
    readonly environment: Readonly<Record<string, string>>;
  };
  readonly filled: Omit<Filled, 'directory' | 'password' | 'org'>;
  /** Whether the cold questions found nothing of the files in memory. */
  readonly pageCacheDropped: boolean;
  /** None after `fill`. */
  readonly questions: readonly AskedQuestion[];
}

export interface AskedQuestion {
  readonly name: string;
  /** Of the answer, all of which agreed with the engine's. */
  readonly values: number;
  readonly product: Times;
  /** Plain SQL over the same data, in a process that does nothing else. */
  readonly engine: Times;
  /** What the product may take, warm.  @units ms */
  readonly bound: number;
  readonly reached: boolean;
}
/** cold: median of the first after each start.  @units ms */
export interface Times {
  readonly cold: number;
  readonly p50: number;
  readonly p99: number;
  readonly count: number;
}

/** bench/results/<date>-ask.json in the package, wherever it was built. */
export const askingResultFile = (date: string): string =>
  fileURLToPath(new URL(`../../results/${date.slice(0, 10)}-ask.json`, import.meta.url));
