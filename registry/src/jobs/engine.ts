import type { Logger } from '@millrace/core';
import type { Queue, Worker } from 'bullmq';
import type { Database } from '../database/database.ts';
import type { ChunkWork } from './chunk.ts';
import type { JobStore } from './jobs.ts';

export interface EngineOptions {
  readonly url: string;
  readonly database: Database;
  readonly store: JobStore;
  readonly work: ChunkWork;
  readonly logger: Logger;
}
export interface JobEngine {
  /** Has a job worked off, by whichever node is free.  @throws never: what can not be told now is found by the poll */
  submit(id: string): Promise<void>;
  start(): void;
  stop(): Promise<void>;
}

const QUEUE = 'bulk';
const SCHEMA = 'jobs';
/** Jobs that one node works on at once. */
const CONCURRENCY = 2;
/** A job whose node has been silent for so long is given to another. Should it live after all, the two take turns. */
const LOCK_MS = 6_000;
const STALLED_MS = 3_000;
/** How often is looked for jobs that no queue knows: their node died before it told one. */
const POLL_MS = 5_000;
const SWEEP_POLLS = 120;
const OPEN_MAX = 100;
const BREAKDOWNS_MAX = 20;

interface Running {
  readonly queue: Queue<{ job: string }>;
  readonly worker: Worker<{ job: string }>;
}

/** BullMQ on the registry's own PostgreSQL tells nodes what there is to do and notices those that died; what is done is
 *  in the registry's tables. It is loaded when there is the first job: a node without jobs starts without it.
 *  @holds whatever the queue loses, repeats or gives to two nodes, each line is made once */
export function createEngine({ url, database, store, work, logger }: EngineOptions): JobEngine {
  let starting: Promise<Running> | null = null;
  let timer: NodeJS.Timeout | undefined;
  let polling: Promise<void> = Promise.resolve();
  let polls = 0;
  let stopped = false;

  async function load(): Promise<Running> {
    const { createPostgresBackend, withBackend } = await import('bullmq');
    const bull = withBackend(createPostgresBackend);
    const connection = {
      connectionString: url,
      schema: SCHEMA,
      migrate: true,
      max: 2,
      application_name: 'millrace-jobs',
    };
    const worker = new bull.Worker<{ job: string }>(QUEUE, ({ data }) => run(data.job), {
      connection,
      concurrency: CONCURRENCY,
      lockDuration: LOCK_MS,
      stalledInterval: STALLED_MS,
      // The table says how often a job may break down.
      maxStalledCount: 1_000_000,
    });
    worker.on('error', (error) =>
      logger.warn({ err: error.message }, 'the queue of jobs does not answer; tries again'),
    );
    const queue = new bull.Queue<{ job: string }>(QUEUE, { connection });
    queue.on('error', () => undefined);
    await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);
    return { queue, worker } as unknown as Running;
  }

  function running(): Promise<Running> {
    starting ??= load().catch((error) => {
      starting = null;
      throw error;
    });
    return starting;
  }

  async function run(id: string): Promise<void> {
    try {
      while (!stopped && (await work(id)));
    } catch (error) {
      logger.warn({ err: error, job: id }, 'a job broke down; tries again');
      await database
        .query(
          `UPDATE registry.jobs SET breakdowns = breakdowns + 1,
             status = CASE WHEN breakdowns + 1 >= $2 THEN 'failed' ELSE status END,
             reason = CASE WHEN breakdowns + 1 >= $2 THEN 'It broke down again and again; the log of the node says why.' END,
             finished_at = CASE WHEN breakdowns + 1 >= $2 THEN now() END
           WHERE id = $1 AND status IN ('waiting', 'running')`,
          [id, BREAKDOWNS_MAX],
        )
        .catch(() => undefined);
    }
  }

  /** @holds what the queue has already stays as it is */
  async function enqueue(ids: readonly string[]): Promise<void> {
    const { queue } = await running();
    for (const id of ids)
      await queue.add(QUEUE, { job: id }, { jobId: id, removeOnComplete: true, removeOnFail: true });
  }

  async function poll(): Promise<void> {
    try {
      const open = await store.open(OPEN_MAX);
      if (open.length > 0 && !stopped) await enqueue(open);
      if (polls++ % SWEEP_POLLS === 0) await store.sweep();
    } catch (error) {
      logger.warn({ err: error }, 'can not look for jobs; tries again');
    }
  }

  function schedule(delayMs: number): void {
    if (stopped) return;
    timer = setTimeout(() => {
      polling = poll().finally(() => schedule(POLL_MS));
    }, delayMs);
    timer.unref();
  }

  return {
    start: () => schedule(POLL_MS * Math.random()),

    async submit(id) {
      await enqueue([id]).catch((error) =>
        logger.warn({ err: error, job: id }, 'can not queue a job now; tries again'),
      );
    },

    async stop() {
      stopped = true;
      clearTimeout(timer);
      await polling;
      const begun = await starting?.catch(() => null);
      if (begun === null || begun === undefined) return;
      await begun.worker.close();
      await begun.queue.close();
    },
  };
}
