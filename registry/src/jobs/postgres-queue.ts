import { type JobQueue, jobOf, QUEUE, type QueueOptions, WORKER } from './queue.ts';

const SCHEMA = 'jobs';

/** BullMQ on the registry's own PostgreSQL. */
export async function postgresQueue(url: string, { work, logger }: QueueOptions): Promise<JobQueue> {
  const { createPostgresBackend, withBackend } = await import('bullmq');
  const bull = withBackend(createPostgresBackend);
  const connection = {
    connectionString: url,
    schema: SCHEMA,
    migrate: true,
    max: 2,
    application_name: 'millrace-jobs',
  };
  const worker = new bull.Worker<{ job: string }>(QUEUE, ({ data }) => work(data.job), { connection, ...WORKER });
  worker.on('error', (error) => logger.warn({ err: error.message }, 'the queue of jobs does not answer; tries again'));
  const queue = new bull.Queue<{ job: string }>(QUEUE, { connection });
  queue.on('error', () => undefined);
  await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);
  return {
    async add(id) {
      await queue.add(...jobOf(id));
    },
    async close() {
      await worker.close();
      await queue.close();
    },
  };
}
