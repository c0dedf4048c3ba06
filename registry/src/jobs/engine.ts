import type { Logger } from '@millrace/core';
import type { Database } from '../database/database.ts';
import type { ChunkWork } from './chunk.ts';
import type { JobStore } from './jobs.ts';
import { postgresQueue } from './postgres-queue.ts';
import type { JobQueue } from './queue.ts';
import { type RedisQueue, redisQueue } from './redis-queue.ts';

export interface EngineOptions {
  /** Of PostgreSQL. */
  readonly url: string;
  /** What tells nodes of jobs instead. Holds a password. */
  readonly redis: { readonly url: string; readonly prefix: string } | null;
  readonly database: Database;
  readonly store: JobStore;
  readonly work: ChunkWork;
  readonly logger: Logger;
}
export interface JobEngine {
  /** Has a job worked off, by whichever node is free.  @throws never: what can not be told now is found by the poll */
  submit(id: string): Promise<void>;
  start(): void;
  /** What is wrong with Redis; null when it answers, or is not used. */
  health(): Promise<string | null>;
  stop(): Promise<void>;
}

/** How often is looked for jobs that no queue knows: their node died before it told one. */
const POLL_MS = 5_000;
const SWEEP_POLLS = 120;
const OPEN_MAX = 100;
const BREAKDOWNS_MAX = 20;

/** BullMQ tells nodes what there is to do and notices those that died, on the registry's own PostgreSQL or on Redis; what
 *  is done is in the registry's tables. It is loaded when there is the first job: a node without jobs starts without it.
 *  @holds whatever the queue loses, repeats or gives to two nodes, each line is made once */
export function createEngine({ url, redis, database, store, work, logger }: EngineOptions): JobEngine {
  let starting: Promise<JobQueue> | null = null;
  let timer: NodeJS.Timeout | undefined;
  let polling: Promise<void> = Promise.resolve();
  let polls = 0;
  let stopped = false;

  let onRedis: Promise<RedisQueue> | null = null;

  async function load(): Promise<JobQueue> {
    const options = { work: run, logger };
    if (redis === null) return postgresQueue(url, options);
    onRedis ??= redisQueue(redis.url, redis.prefix, options);
    return onRedis;
  }

  function running(): Promise<JobQueue> {
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
    const queue = await running();
    for (const id of ids) await queue.add(id);
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
    start() {
      schedule(POLL_MS * Math.random());
      // That it can not be reached is told at the start, not at the first job.
      if (redis !== null)
        void running().catch((error) => logger.warn({ err: error }, 'the queue of jobs does not start'));
    },
    health: async () => (onRedis === null ? null : (await onRedis).health()),

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
      await begun.close();
    },
  };
}
