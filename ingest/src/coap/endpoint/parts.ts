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

/** Counts and tells a fault, which stops nothing here. */
export function faulted({ counts, options }: EndpointParts, error: unknown): void {
  counts.faults++;
  options.onFault?.(error);
}

/** Runs what belongs to others. */
export function guarded(parts: EndpointParts, work: () => void): void {
  try {
    work();
  } catch (error) {
    faulted(parts, error);
  }
}
