import { workerData } from 'node:worker_threads';
import { Sandbox, type SandboxAnswer, type SandboxLimits } from './sandbox.ts';

/** What a thread is started with. */
export interface CodecSeed {
  readonly limits: SandboxLimits;
}

/** One run of a script. */
export interface CodecTask {
  readonly script: string;
  readonly forms: readonly string[];
  /** JSON */
  readonly input: string;
  /** 1 once it has begun, as the thread and its engine may take a while to start; 2 once it has ended. */
  readonly progress: Int32Array;
}

const sandbox = new Sandbox((workerData as CodecSeed).limits);

/** The one task of the pool. */
export default async function run(task: CodecTask): Promise<SandboxAnswer> {
  try {
    return await sandbox.run(task.script, task.forms, task.input, () => Atomics.store(task.progress, 0, 1));
  } finally {
    Atomics.store(task.progress, 0, 2);
  }
}
