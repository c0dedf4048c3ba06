import type { Logger } from '@millrace/core';

/** Tells nodes what there is to do. What is done is in the registry's tables, whatever a queue loses, repeats or gives
 *  to two nodes. */
export interface JobQueue {
  /** @holds what it has already stays as it is  @throws while it does not answer */
  add(id: string): Promise<void>;
  /** What is being worked on is let come to an end. */
  close(): Promise<void>;
}
export interface QueueOptions {
  readonly work: (id: string) => Promise<void>;
  readonly logger: Logger;
}

export const QUEUE = 'bulk';
/** Jobs that one node works on at once. */
const CONCURRENCY = 2;
/** A job whose node has been silent for so long is given to another. Should it live after all, the two take turns. */
const LOCK_MS = 6_000;
const STALLED_MS = 3_000;

export const WORKER = {
  concurrency: CONCURRENCY,
  lockDuration: LOCK_MS,
  stalledInterval: STALLED_MS,
  // The table says how often a job may break down.
  maxStalledCount: 1_000_000,
} as const;

/** One job of a queue is one of the registry's, under its id. */
export const jobOf = (id: string) =>
  [QUEUE, { job: id }, { jobId: id, removeOnComplete: true, removeOnFail: true }] as const;
