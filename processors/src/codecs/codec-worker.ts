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
  /** Set to 1 when it begins: the thread and its engine may take a while to start. */
  readonly begun: Int32Array;
}

const sandbox = new Sandbox((workerData as CodecSeed).limits);

/** The one task of the pool. */
export default function run(task: CodecTask): Promise<SandboxAnswer> {
  return sandbox.run(task.script, task.forms, task.input, () => Atomics.store(task.begun, 0, 1));
}
