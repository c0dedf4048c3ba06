import { fileURLToPath } from 'node:url';
import type { Figures } from '../figures.ts';
import type { Machine } from '../report.ts';

/** What `bench kafka` writes to bench/results. */
export interface KafkaReport {
  readonly format: 1;
  readonly benchmark: 'kafka';
  readonly date: string;
  readonly machine: Machine;
  readonly settings: {
    readonly rounds: number;
    readonly records: number;
    readonly recordBytes: number;
    readonly partitions: number;
    readonly inFlight: number;
    readonly perSecond: number;
    readonly compressions: readonly string[];
    readonly pinned: boolean;
    readonly environment: Readonly<Record<string, string>>;
  };
  readonly figures: Figures;
}

export function kafkaResultFile(date: string): string {
  return fileURLToPath(new URL(`../../results/${date.slice(0, 10)}-kafka.json`, import.meta.url));
}
