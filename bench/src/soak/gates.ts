import { median } from '../statistics.ts';

/** What is looked at again and again.
 *  @units memory in MiB
 *  @shape heap: the least since the look before, so that what waits for the collector does not count */
export interface Sample {
  readonly second: number;
  readonly pss: number;
  readonly anonymous: number;
  readonly rss: number;
  readonly heap: number;
  readonly handles: number;
  readonly files: number;
  readonly threads: number;
  readonly processes: number;
  readonly databaseConnections: number;
}

export type Watched = Exclude<keyof Sample, 'second'>;

/** How much more the last third may take than the middle one: a share of it, and so much besides for noise. The first
 *  third fills caches and pools. */
export interface Gate {
  readonly name: string;
  readonly unit: string;
  readonly of: Watched;
  readonly shareMax: number;
  readonly moreMax: number;
}

export const GATES: readonly Gate[] = [
  { name: 'memory of the tree, without files (PSS)', unit: 'MiB', of: 'anonymous', shareMax: 0.1, moreMax: 32 },
  { name: 'memory of its processes, with files (RSS)', unit: 'MiB', of: 'rss', shareMax: 0.15, moreMax: 64 },
  { name: "Node's heap, after collections", unit: 'MiB', of: 'heap', shareMax: 0.15, moreMax: 12 },
  { name: 'active handles', unit: '', of: 'handles', shareMax: 0.1, moreMax: 16 },
  { name: 'open files', unit: '', of: 'files', shareMax: 0.1, moreMax: 32 },
  { name: 'threads', unit: '', of: 'threads', shareMax: 0.1, moreMax: 12 },
  { name: 'processes', unit: '', of: 'processes', shareMax: 0, moreMax: 6 },
  { name: 'PostgreSQL connections', unit: '', of: 'databaseConnections', shareMax: 0, moreMax: 4 },
];

export interface Growth extends Gate {
  /** Medians. */
  readonly first: number;
  readonly middle: number;
  readonly last: number;
  /** From the middle third to the last. */
  readonly perHour: number;
  readonly lastMax: number;
  readonly leaks: boolean;
}

/** Holds the samples against the gates.  @holds six samples at least, in order of time */
export function judgeGrowth(samples: readonly Sample[], gates: readonly Gate[] = GATES): Growth[] {
  const third = Math.floor(samples.length / 3);
  const seconds = (samples.at(-1)?.second ?? 0) - (samples[0]?.second ?? 0);
  return gates.map((gate) => {
    const of = (from: number, to?: number): number => median(samples.slice(from, to).map((sample) => sample[gate.of]));
    const [first, middle, last] = [of(0, third), of(third, 2 * third), of(samples.length - third)];
    const lastMax = middle * (1 + gate.shareMax) + gate.moreMax;
    return {
      ...gate,
      first,
      middle,
      last,
      perHour: ((last - middle) / (seconds / 3)) * 3_600,
      lastMax,
      leaks: !(last <= lastMax),
    };
  });
}
