import type { Route } from '../http/route.ts';
import { createChannels } from '../inventory/channels.ts';
import { createThings } from '../inventory/things.ts';
import type { Parts, Topic } from '../parts.ts';
import { bulkRoutes } from './bulk-routes.ts';
import { createChunkWork } from './chunk.ts';
import { createEngine } from './engine.ts';
import { jobRoutes as ownRoutes } from './job-routes.ts';
import { createJobStore, type Job, type JobKind, type JobStore } from './jobs.ts';

/** Work that is larger than a request. */
export interface Jobs extends Topic, Omit<JobStore, 'create' | 'open' | 'sweep'> {
  /** Keeps what shall be made, and has it made.  @throws RegistryError REGISTRY_FULL */
  submit(org: string, kind: JobKind, items: readonly unknown[]): Promise<Job>;
}

export function createJobs({ database, feed, credentials, now, url, logger }: Parts): Jobs {
  const store = createJobStore(database, feed, credentials);
  const things = createThings(database, feed, credentials, now);
  const channels = createChannels(database, feed);
  const work = createChunkWork({ session: database, feed, credentials, things, channels });
  const engine = createEngine({ url, database, store, work, logger });
  return {
    ...store,
    async submit(org, kind, items) {
      const job = await store.create(org, kind, items);
      // It is safe in the table: who asked need not wait until a queue is there.
      void engine.submit(job.id);
      return job;
    },
    start: async () => engine.start(),
    stop: () => engine.stop(),
  };
}

export const jobRoutes: readonly Route[] = [...bulkRoutes, ...ownRoutes];
