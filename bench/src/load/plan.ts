import type { Target } from '../pack.ts';

/** What the load generator is to do. */
export interface LoadPlan {
  readonly url: string;
  readonly targets: readonly Target[];
  readonly connections: number;
  /** Records in a pack, one pack a message. */
  readonly recordCount: number;
  readonly seconds: number;
  /** Open loop: so many messages a second are due whether or not answers come. Left out: closed loop, every
   *  connection sends as soon as it has its answer. */
  readonly messagesPerSecond?: number;
}

/** What came of it.
 *  @units latency in ms: closed loop from the request to its answer, open loop from when the message was due */
export interface LoadFigures {
  /** ms since 1970. */
  readonly startedAt: number;
  readonly seconds: number;
  /** Messages answered 202, also after the last was sent. */
  readonly accepted: number;
  readonly acceptedPerSecond: number;
  /** Other answers by status; `lost`: connections that ended with a request in flight; `unanswered` at the end. */
  readonly refused: Readonly<Record<string, number>>;
  readonly latency: { readonly p50: number; readonly p90: number; readonly p99: number; readonly max: number };
  /** Open loop: how late the generator itself was. Large values say that the generator had too little of the cores. */
  readonly generatorLate: { readonly p50: number; readonly p99: number };
  /** CPU seconds of the generator, for each second. */
  readonly generatorCores: number;
  readonly requestBytes: number;
}
