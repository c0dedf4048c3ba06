import { readFileSync } from 'node:fs';

/** Resident memory of a process.  @units MiB */
export function residentMiB(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  return Number(kib ?? 0) / 1_024;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Looks at something again and again until it is stopped. */
export class Watch<Seen> {
  readonly seen: Seen[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(look: () => Seen, everyMs: number) {
    this.#timer = setInterval(() => this.seen.push(look()), everyMs);
  }

  stop(): readonly Seen[] {
    clearInterval(this.#timer);
    return this.seen;
  }
}
