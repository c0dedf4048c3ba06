import { type Counter, type Logger, siblingUrl } from '@millrace/core';
import { Piscina } from 'piscina';
import type { BatchAnswer, BatchTask } from '../batch/task.ts';
import { ProcessorsError } from '../errors.ts';
import type { WorkerSeed } from '../worker.ts';

export interface PoolOptions {
  readonly threads: number;
  readonly taskMsMax: number;
  readonly heapMibMax: number;
  readonly seed: WorkerSeed;
  readonly logger: Logger;
  readonly restarts: Counter<'reason'>;
  /** Another worker file, for tests of what a worker can do wrong. */
  readonly workerUrl?: string;
}

/** Worker threads, each with one batch at a time.
 *  @holds at most `threads` batches are with workers; the others wait in order, bounded by the callers (two a lease) */
export class WorkerPool {
  readonly #piscina: Piscina<BatchTask, BatchAnswer>;
  readonly #options: PoolOptions;
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#free = options.threads;
    const workerUrl = options.workerUrl ?? siblingUrl(import.meta.url, '../worker');
    this.#piscina = new Piscina<BatchTask, BatchAnswer>({
      filename: workerUrl.endsWith('.ts') ? new URL('from-source.mjs', import.meta.url).href : workerUrl,
      minThreads: options.threads,
      maxThreads: options.threads,
      // Tasks wait here, not in the pool: what waits must not use up its time.
      maxQueue: 1,
      workerData: { ...options.seed, workerUrl },
      // An idle thread must not hold the process: it waits for events instead of blocking.
      atomics: 'disabled',
      resourceLimits: { maxOldGenerationSizeMb: options.heapMibMax },
    });
    // A thread that dies without a task tells it by an event, which must be heard.
    this.#piscina.on('error', (error: unknown) => {
      options.logger.error({ err: error }, 'a worker thread died');
      options.restarts.inc({ reason: 'died' });
    });
  }

  /** Runs one batch. Its bytes are transferred: they are gone, whatever comes back.
   *  @throws ProcessorsError WORKER_FAILED, WORKER_HUNG: the thread is replaced; `inHand` of the task has the suspect */
  async run(task: BatchTask): Promise<BatchAnswer> {
    await this.#enter();
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), this.#options.taskMsMax);
    try {
      const transferList = [task.bytes.buffer as ArrayBuffer];
      if (task.offsets !== null) transferList.push(task.offsets.buffer as ArrayBuffer);
      return await this.#piscina.run(task, { transferList, signal: abort.signal });
    } catch (cause) {
      const code = abort.signal.aborted ? 'WORKER_HUNG' : 'WORKER_FAILED';
      this.#options.restarts.inc({ reason: code === 'WORKER_HUNG' ? 'hung' : 'failed' });
      throw new ProcessorsError(
        code,
        'now',
        { partition: task.partition, first: task.first, last: task.last, reason: String(cause).slice(0, 200) },
        { cause },
      );
    } finally {
      clearTimeout(timer);
      this.#leave();
    }
  }

  /** Why no worker can be had at all, whatever it is asked; null if one answers. */
  async fault(): Promise<unknown> {
    try {
      await this.run(emptyTask());
      return null;
    } catch (error) {
      return error;
    }
  }

  /** Ends all threads at once. */
  async destroy(): Promise<void> {
    await this.#piscina.destroy();
  }

  async #enter(): Promise<void> {
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}

const emptyTask = (): BatchTask => ({
  partition: 0,
  first: 0,
  last: 0,
  bytes: new Uint8Array(0),
  offsets: null,
  cutAtMonth: false,
  nowUs: 0,
  raw: 'none',
  directoryVersion: -1,
  grants: [],
  profilesVersion: 0,
  profiles: null,
  repeats: null,
  repeatWindow: { recordsMax: 0, secondsMax: 0 },
  learns: false,
  inHand: null,
});
