import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, loadavg, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Figures } from './figures.ts';

/** What the benchmark writes to bench/results. */
export interface RoadReport {
  readonly format: 1;
  readonly benchmark: 'road';
  readonly date: string;
  readonly machine: Machine;
  readonly settings: RoadSettings;
  readonly figures: Figures;
  readonly targets: readonly Target[];
  readonly soak: SoakFigures | null;
}

export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly memoryMiB: number;
  readonly node: string;
  readonly platform: string;
  /** Processes that wanted a core over the minute before the run. */
  readonly loadBefore: number;
}

export interface RoadSettings {
  readonly rounds: number;
  readonly seconds: number;
  readonly connections: number;
  readonly channels: number;
  /** Settings of the environment that reached the product; secrets and addresses left out. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface Target {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  readonly bound: number;
  readonly reached: boolean;
}

/** @units memory in MiB; ratios: mean of the last third of the samples to that of the first third */
export interface SoakFigures {
  readonly minutes: number;
  readonly messagesPerSecond: number;
  readonly accepted: number;
  readonly pssRatio: number;
  readonly anonymousRatio: number;
  readonly rssRatio: number;
  readonly samples: readonly {
    readonly second: number;
    readonly pss: number;
    readonly anonymous: number;
    readonly rss: number;
  }[];
}

export function machineFacts(): Machine {
  const processors = cpus();
  return {
    cores: processors.length,
    cpu: processors[0]?.model ?? 'unknown',
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    loadBefore: Number((loadavg()[0] ?? 0).toFixed(2)),
  };
}

const NOT_FOR_A_REPORT = /SECRET|PASSWORD|KEY|URL|BROKERS|EMAIL|DIR|FILE|CERT|HOST|CONFIG/;

export function reportedEnvironment(environment: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).filter(
      (entry): entry is [string, string] =>
        entry[0].startsWith('MILLRACE_') && entry[1] !== undefined && !NOT_FOR_A_REPORT.test(entry[0]),
    ),
  );
}

const FLAT_RATIO_MAX = 1.1;

/** What the figures are held against. Only what was measured is listed. */
export function judge(figures: Figures, soak: SoakFigures | null): Target[] {
  const targets: Target[] = [];
  const value = (name: string): number | undefined => figures[name]?.median;
  const add = (name: string, unit: string, found: number | undefined, bound: number, atLeast: boolean): void => {
    if (found === undefined || !Number.isFinite(found)) return;
    targets.push({ name, unit, value: found, bound, reached: atLeast ? found >= bound : found <= bound });
  };
  const readings = value('millrace/packs-10/readings_per_second');
  const ratio = (floor: string): number | undefined => {
    const found = value(floor);
    return readings === undefined || found === undefined ? undefined : readings / found;
  };
  add('readings/s at packs of 10, to the bare road', '×', ratio('bare-road/packs-10/readings_per_second'), 0.75, true);
  add('readings/s at packs of 10, to the raw insert', '×', ratio('insert/text/rows_per_second'), 0.5, true);
  add('acknowledgement p50 at 10,000 messages/s', 'ms', value('millrace/open-10k/ack_p50'), 5, false);
  add('acknowledgement p99 at 10,000 messages/s', 'ms', value('millrace/open-10k/ack_p99'), 50, false);
  add('memory of the tree, idle (PSS)', 'MiB', value('millrace/idle/memory_pss'), 700, false);
  add('memory, last third of the soak to the first', '×', soak?.pssRatio, FLAT_RATIO_MAX, false);
  return targets;
}

/** bench/results/<date>.json in the package, wherever it was built. */
export function defaultResultFile(date: string): string {
  const name = date.slice(0, 16).replace('T', '-').replace(':', '');
  return fileURLToPath(new URL(`../results/${name}.json`, import.meta.url));
}

export async function writeReport(report: object, file: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(report, null, 2)}\n`);
}
