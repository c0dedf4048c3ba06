import type { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { type JobQueue, jobOf, QUEUE, type QueueOptions, WORKER } from './queue.ts';

const CONNECT_MS_MAX = 3_000;
const ANSWER_MS_MAX = 3_000;
const RETRY_MS_MAX = 2_000;
/** Sign of the worker's jobs being taken away while it works: it is let go of after so long. */
const CLOSE_MS_MAX = 5_000;
const COMMON = {
  connectTimeout: CONNECT_MS_MAX,
  connectionName: 'millrace-jobs',
  retryStrategy: (times: number): number => Math.min(RETRY_MS_MAX, 50 * 2 ** Math.min(times, 10)),
};
/** It neither waits for a connection nor for an answer: who asks tries again. */
const ASKING = {
  ...COMMON,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  commandTimeout: ANSWER_MS_MAX,
};
/** It waits for a connection as long as it takes. */
const WORKING = { ...COMMON, maxRetriesPerRequest: null };

export interface RedisQueue extends JobQueue {
  /** null when it answers, else what is wrong. */
  health(): Promise<string | null>;
}

/** Without a connection for so long, all is opened anew: what failed while it was being opened BullMQ does not try
 *  again. */
const RENEW_MS = 15_000;
const LOOK_MS = 1_000;

/** One life of the queue: its connections, and what stands on them. */
interface Opened {
  readonly asking: Redis;
  readonly queue: Queue<{ job: string }>;
  /** Whether all of it is connected. */
  isReady(): boolean;
  close(): Promise<void>;
}

/** BullMQ on Redis or Valkey, which may go and come back at any time.
 *  @param prefix of its keys: several installations may use one server */
export async function redisQueue(url: string, prefix: string, { work, logger }: QueueOptions): Promise<RedisQueue> {
  const [bullmq, { Redis: Client }] = await Promise.all([import('bullmq'), import('ioredis')]);
  const bull = bullmq.withBackend(bullmq.createRedisBackend);
  let away = false;
  const lost = (error: Error): void => {
    // Once, not at each try.
    if (!away) logger.warn({ err: error.message }, 'Redis does not answer: jobs wait until it does');
    away = true;
  };

  const open = (): Opened => {
    const asking = new Client(url, ASKING);
    const working = new Client(url, WORKING);
    for (const client of [asking, working]) client.on('error', lost);
    asking.on('ready', () => {
      if (away) logger.info('Redis answers again');
      away = false;
    });
    const worker = new bull.Worker<{ job: string }>(QUEUE, ({ data }) => work(data.job), {
      connection: working,
      prefix,
      ...WORKER,
    });
    worker.on('error', lost);
    const queue = new bull.Queue<{ job: string }>(QUEUE, { connection: asking, prefix });
    queue.on('error', () => undefined);
    let begun = false;
    Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]).then(
      () => {
        begun = true;
      },
      () => undefined,
    );
    return {
      asking,
      queue,
      isReady: () => begun && asking.status === 'ready' && working.status === 'ready',
      async close() {
        // Without an answer BullMQ would wait for one for ever.
        const timer = setTimeout(() => {
          for (const client of [asking, working]) client.disconnect();
        }, CLOSE_MS_MAX);
        if (working.status === 'ready') await worker.close().catch(() => undefined);
        else await worker.close(true).catch(() => undefined);
        await queue.close().catch(() => undefined);
        clearTimeout(timer);
        for (const client of [asking, working]) client.disconnect();
      },
    };
  };

  let opened = open();
  let readyMs = performance.now();
  const looking = setInterval(() => {
    const nowMs = performance.now();
    if (opened.isReady()) readyMs = nowMs;
    if (nowMs - readyMs < RENEW_MS) return;
    readyMs = nowMs;
    void opened.close();
    opened = open();
  }, LOOK_MS);
  looking.unref();
  return {
    async add(id) {
      if (opened.asking.status !== 'ready') throw new Error('Redis does not answer');
      await opened.queue.add(...jobOf(id));
    },
    health: () => health(opened.asking),
    async close() {
      clearInterval(looking);
      await opened.close();
    },
  };
}

async function health(client: Redis): Promise<string | null> {
  try {
    await client.ping();
    return null;
  } catch {
    return 'Redis does not answer: bulk jobs wait. Check that it runs and that MILLRACE_REDIS_URL is right';
  }
}
