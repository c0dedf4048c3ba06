import type { Route } from '../http/route.ts';
import { createChannels } from '../inventory/channels.ts';
import { createThings } from '../inventory/things.ts';
import type { Parts, Topic } from '../parts.ts';
import { bulkRoutes } from './bulk-routes.ts';
import { createChunkWork } from './chunk.ts';
import { createEngine } from './engine.ts';
import { jobRoutes as ownRoutes } from './job-routes.ts';
import { createJobStore, type Job, type JobKind, type JobStore } from './jobs.ts';
import type { JobRights } from './rights.ts';

/** Work that is larger than a request. */
export interface Jobs extends Topic, Omit<JobStore, 'create' | 'open' | 'sweep' | 'stopUnlawful'> {
  /** Names who judges, before each part of a job, whether who asked for it still may. Until then only the platform's own
   *  are worked off. */
  guard(rights: JobRights): void;
  /** Keeps what shall be made, and has it made.  @throws RegistryError REGISTRY_FULL */
  submit(org: string, kind: JobKind, items: readonly unknown[]): Promise<Job>;
  /** Set where Redis tells of jobs; nothing else needs it.
   *  @shape health: null when it answers, else what is wrong */
  readonly redis: { health(): Promise<string | null> } | null;
}

export function createJobs({ database, feed, credentials, config, now, url, logger }: Parts): Jobs {
  const store = createJobStore(database, feed, credentials);
  const things = createThings(database, feed, credentials, now);
  const channels = createChannels(database, feed);
  let rights: JobRights | null = null;
  const work = createChunkWork({
    session: database,
    feed,
    credentials,
    things,
    channels,
    rights: async (job) => {
      if (job.actor.kind === 'system') return 'held';
      return rights === null ? null : (await rights(job)) ? 'held' : 'lost';
    },
    stopUnlawful: store.stopUnlawful,
  });
  const redisUrl = config.MILLRACE_REDIS_URL;
  const prefix = `millrace-${credentials.digest('jobs').slice(0, 16)}`;
  const redis = redisUrl === undefined ? null : { url: redisUrl, prefix };
  const engine = createEngine({ url, redis, database, store, work, logger });
  return {
    ...store,
    guard(judge) {
      rights = judge;
    },
    async submit(org, kind, items) {
      const job = await store.create(org, kind, items);
      // It is safe in the table: who asked need not wait until a queue is there.
      void engine.submit(job.id);
      return job;
    },
    redis: redis === null ? null : { health: () => engine.health() },
    start: async () => engine.start(),
    stop: () => engine.stop(),
  };
}

export const jobRoutes: readonly Route[] = [...bulkRoutes, ...ownRoutes];
