import { fileURLToPath } from 'node:url';
import type { Machine } from '../report.ts';
import type { SmallLoad } from './plan.ts';

/** What `bench small` writes to bench/results.
 *  @units memory in MiB */
export interface SmallReport {
  readonly format: 1;
  readonly benchmark: 'small';
  readonly date: string;
  readonly machine: Machine;
  readonly settings: {
    readonly profile: string;
    readonly messagesPerSecond: number;
    readonly seconds: number;
    readonly environment: Readonly<Record<string, string>>;
  };
  readonly readyMs: number;
  readonly idle: MemorySample | null;
  readonly load: SmallLoad;
  /** Cores that the tree took. */
  readonly cores: number;
  readonly stored: number;
  readonly queries: { readonly count: number; readonly p50: number; readonly max: number; readonly failed: number };
  readonly memory: { readonly max: number; readonly p99: number; readonly last: number } | null;
  /** The sample with the largest total. */
  readonly largest: MemorySample | null;
  readonly samples: readonly MemorySample[];
  readonly reached: boolean;
}

export interface MemorySample {
  readonly second: number;
  /** Of the tree as on a machine of its own: anonymous and files. */
  readonly total: number;
  readonly anonymous: number;
  readonly files: number;
  /** As the kernel shares pages out, neighbours included. */
  readonly pss: number;
  readonly byProgram: Readonly<Record<string, number>>;
}

/** The goal of the small profile at 500 messages a second. @units MiB  @source ADR 0028 */
export const SMALL_MEMORY_MAX = 400;

export function smallResultFile(date: string): string {
  return fileURLToPath(new URL(`../../results/${date.slice(0, 10)}-small.json`, import.meta.url));
}
