import type { Log, StoreUpkeep } from '@millrace/core';
import type { Route } from '../http/route.ts';
import { type Channels, createChannels } from '../inventory/channels.ts';
import type { Removed } from '../inventory/things.ts';
import type { Jobs } from '../jobs/index.ts';
import type { Job } from '../jobs/jobs.ts';
import type { Parts, Topic } from '../parts.ts';
import { deletionRoutes } from './deletion-routes.ts';
import { createAdvance } from './deletion-work.ts';
import { createDeletions, type DeletionRecord, type Deletions, insertDeletion } from './deletions.ts';
import { holdRoutes } from './hold-routes.ts';
import { createHolds, type Holds } from './holds.ts';
import { Keeper } from './keeper.ts';
import type { DeletionRequest } from './selection.ts';

/** How long stored data is kept, what of it must stay, and what is deleted at once. */
export interface Retention extends Topic {
  readonly holds: Holds;
  readonly deletions: Pick<Deletions, 'get' | 'list'>;
  /** Has what is asked for deleted by a job of the same id.
   *  @throws RegistryError REGISTRY_CONFLICT with the holds that are in the way, REGISTRY_FULL */
  erase(org: string, request: DeletionRequest, reason: string): Promise<DeletionRecord>;
  /** Deletes a channel and all that is stored of it.  @returns null if there is none  @throws as `Channels.remove`, and `erase` */
  removeChannel(
    channel: { readonly id: string; readonly org: string },
    expected: number | null,
  ): Promise<Removed | null>;
  /** Names the store that this node looks after. Until then it leaves the work to others. */
  undertake(means: { readonly upkeep: StoreUpkeep; readonly log: Log | null; readonly processorsGroup: string }): void;
}

/** Messages of a channel that other nodes have let in meanwhile reach the log. */
const SETTLE_MS = 60_000;

export function createRetention(parts: Parts, jobs: Jobs): Retention {
  const { database, feed, config, node, now, logger, metrics } = parts;
  const ends = metrics.counter('millrace_deletions_total', 'Deletions that have ended.', ['status', 'by']);
  const deletions = createDeletions(database, feed, (status, by) => ends.inc({ status, by }));
  const channels: Channels = createChannels(database, feed);
  const rows = metrics.counter(
    'millrace_retention_rows_total',
    'Stored rows that retention has deleted, or whose end it has moved.',
    ['what'],
  );
  let keeper: Keeper | null = null;
  let started = false;
  return {
    holds: createHolds(database, feed),
    deletions,

    async erase(org, request, reason) {
      const job = await jobs.submit(
        org,
        'deletions.create',
        {},
        {
          unit: 'rows',
          async with(tx, { id }) {
            await insertDeletion(tx, org, { id, byPlatform: false, request, reason });
          },
        },
      );
      return (await deletions.get(job.id)) as DeletionRecord;
    },

    removeChannel: ({ id, org }, expected) =>
      feed.transaction(async (tx) => {
        const removed = await channels.removeIn(tx, id, expected);
        if (removed === null) return null;
        await insertDeletion(tx, org, {
          byPlatform: true,
          request: { what: ['readings', 'payloads', 'dead_letters', 'message_log'], channels: [id] },
          reason: 'The channel was deleted.',
          dueMs: SETTLE_MS,
        });
        return removed;
      }),

    undertake({ upkeep, log, processorsGroup }) {
      const advance = createAdvance({ deletions, upkeep, log, processorsGroup });
      jobs.undertake('deletions.create', {
        step: (job, signal) => advance(job.id, signal),
        ended: async (job: Job) => {
          if (job.status === 'done') return;
          const error = job.reason ?? 'It was cancelled; what was deleted by then is gone.';
          const status = job.status === 'cancelled' ? 'cancelled' : 'failed';
          await deletions
            .finish(job.id, { status, error })
            .catch((cause) => logger.warn({ err: cause, deletion: job.id }, 'the end of a deletion is not kept'));
        },
      });
      keeper = new Keeper({
        database,
        deletions,
        upkeep,
        advance,
        node,
        retentionDays: config.MILLRACE_RETENTION_DAYS ?? null,
        now,
        rows,
        logger,
      });
      if (started) keeper.start();
    },

    async start() {
      started = true;
      keeper?.start();
    },
    async stop() {
      await keeper?.stop();
    },
  };
}

export const retentionRoutes: readonly Route[] = [...holdRoutes, ...deletionRoutes];
