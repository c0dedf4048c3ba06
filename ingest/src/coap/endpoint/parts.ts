import type { Dedup } from './dedup.ts';
import type { Exchanges } from './exchanges.ts';
import type { EndpointCounts, EndpointOptions } from './options.ts';
import type { PeerStates } from './peer-state.ts';
import type { TimerWheel } from './timer-wheel.ts';

/** What both halves of an endpoint, the answering and the asking one, share. */
export interface EndpointParts {
  readonly options: EndpointOptions;
  readonly counts: EndpointCounts;
  readonly wheel: TimerWheel;
  readonly states: PeerStates;
  readonly exchanges: Exchanges;
  readonly dedup: Dedup;
}

/** Runs what belongs to others: a fault of theirs is counted and told, and stops nothing here. */
export function guarded({ counts, options }: EndpointParts, work: () => void): void {
  try {
    work();
  } catch (error) {
    counts.faults++;
    options.onFault?.(error);
  }
}
