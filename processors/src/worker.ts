import { workerData } from 'node:worker_threads';
import type { EnforcerModule } from '@millrace/core';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { BatchNormaliser } from './batch/normaliser.ts';
import type { BatchAnswer, BatchTask } from './batch/task.ts';

/** What a worker thread is started with. */
export interface WorkerSeed {
  readonly enforcerUrl: string;
  /** 32 bytes. */
  readonly secret: Uint8Array;
}

const seed = workerData as WorkerSeed;
const enforcer = (await import(seed.enforcerUrl)) as EnforcerModule;
const normaliser = new BatchNormaliser(enforcer.createSealer(seed.secret), enforcer.createEnforcer());

/** The one task of the pool: a batch in, one buffer of blocks out, both transferred. */
export default function normalise(task: BatchTask): unknown {
  const answer: BatchAnswer = task.learns ? normaliser.learn(task) : normaliser.run(task);
  if (answer.kind !== 'rows') return answer;
  return move({ [transferableSymbol]: answer.rows, [valueSymbol]: answer });
}
