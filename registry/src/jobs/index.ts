import type { Route } from '../http/route.ts';
import { createChannels } from '../inventory/channels.ts';
import { createThings } from '../inventory/things.ts';
import type { Parts, Topic } from '../parts.ts';
import { bulkRoutes } from './bulk-routes.ts';
import { createChunkWork } from './chunk.ts';
import { createEngine } from './engine.ts';
import { jobRoutes as ownRoutes } from './job-routes.ts';
import { createJobStore, type Job, type JobStore, type LineKind, type StepKind } from './jobs.ts';
import type { JobRights } from './rights.ts';
import { createStepStore, type StepAbout } from './step-store.ts';
import { createSteps } from './steps.ts';
import type { JobWork } from './work.ts';

/** Work that is larger than a request. */
export interface Jobs extends Topic, Omit<JobStore, 'create' | 'open' | 'sweep' | 'stopUnlawful'> {
  /** Names who judges, before each part of a job, whether who asked for it still may. Until then only the platform's own
   *  are worked off. */
  guard(rights: JobRights): void;
  /** Keeps what shall be made, and has it made.  @throws RegistryError REGISTRY_FULL */
  submitLines(org: string, kind: LineKind, items: readonly unknown[]): Promise<Job>;
  /** Names how this node carries out jobs of a kind; those of kinds without a name it leaves to others. */
  undertake(kind: StepKind, work: JobWork): void;
  /** Keeps what shall be done step by step, and has it done by a node that knows how to.
   *  @param input at most 64 KiB of JSON; no secret: it is kept as it is
   *  @throws RegistryError REGISTRY_FULL */
  submit(org: string, kind: StepKind, input: unknown, about: StepAbout): Promise<Job>;
  /** Set where Redis tells of jobs; nothing else needs it.
   *  @shape health: null when it answers, else what is wrong */
  readonly redis: { health(): Promise<string | null> } | null;
}

export function createJobs({ database, feed, credentials, config, now, url, logger }: Parts): Jobs {
  const store = createJobStore(database, feed, credentials);
  const things = createThings(database, feed, credentials, now);
  const channels = createChannels(database, feed);
  let rights: JobRights | null = null;
  const judged = {
    rights: async (job: Job) => {
      if (job.actor.kind === 'system') return 'held';
      return rights === null ? null : (await rights(job)) ? 'held' : 'lost';
    },
    stopUnlawful: store.stopUnlawful,
  } as const;
  const stepStore = createStepStore(database, feed);
  const steps = createSteps({ store: stepStore, ...judged, logger });
  const work = createChunkWork({
    session: database,
    feed,
    credentials,
    things,
    channels,
    ...judged,
    told: steps.look,
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
    async submitLines(org, kind, items) {
      const job = await store.create(org, kind, items);
      // It is safe in the table: who asked need not wait until a queue is there.
      void engine.submit(job.id);
      return job;
    },
    undertake: steps.undertake,
    async submit(org, kind, input, about) {
      const job = await stepStore.create(org, kind, input, about);
      void engine.submit(job.id);
      return job;
    },
    redis: redis === null ? null : { health: () => engine.health() },
    async start() {
      engine.start();
      steps.start();
    },
    async stop() {
      await Promise.all([engine.stop(), steps.stop()]);
    },
  };
}

export const jobRoutes: readonly Route[] = [...bulkRoutes, ...ownRoutes];
