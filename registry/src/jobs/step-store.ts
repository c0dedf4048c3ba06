import { uuidV7 } from '@millrace/core';
import { actingAs, currentActor } from '../audit/actor.ts';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { JOB_COLUMNS, type Job, refuseTooMany, type StepKind } from './jobs.ts';
import type { StepOutcome } from './work.ts';

/** What is submitted beside the input. */
export interface StepAbout {
  /** What progress counts: rows, bytes, messages. */
  readonly unit: string;
  readonly total?: number;
  /** Where it acts, for the check of rights; null (if left out): in the organisation as a whole. */
  readonly groups?: readonly (string | null)[];
  /** Chosen beforehand, where something else must name it. */
  readonly id?: string;
  /** What belongs with it is written in the same transaction. */
  with?(tx: ChangeSession, job: Job): Promise<void>;
}
/** A job that this node works on. Nobody else does, as long as `token` is in its row. */
export interface Leased {
  readonly job: Job;
  readonly token: string;
  /** It is over; what it left behind is to be cleared away. */
  readonly over: boolean;
  /** Broke down too often already: it is to fail. */
  readonly isSpent: boolean;
}
/** held: go on; over: it was cancelled or ended otherwise; lost: somebody else has the lease, or the job is gone */
export type Beat = 'held' | 'over' | 'frozen' | 'lost';

export interface StepStore {
  /** @throws RegistryError REGISTRY_FULL, REGISTRY_NOT_FOUND, REGISTRY_VALUE_REFUSED */
  create(org: string, kind: StepKind, input: unknown, about: StepAbout): Promise<Job>;
  /** The next one that is due, or is over and not settled. Organisations that have the fewest in work come first, then
   *  those that have waited longest.  @param without ids that this node works on still */
  claim(kinds: readonly StepKind[], without: readonly string[]): Promise<Leased | null>;
  beat(leased: Leased, progress: { done?: number; total?: number }): Promise<Beat>;
  /** Keeps what a step came to.  @returns whether it counts: false if the lease was lost or the job is over */
  keep(leased: Leased, outcome: StepOutcome): Promise<boolean>;
  /** After a fault: later, and not for ever. */
  breakDown(leased: Leased): Promise<void>;
  release(leased: Leased): Promise<void>;
  /** Nothing more is to be done about it. */
  settle(leased: Leased): Promise<void>;
}

/** A node tells so often that it works on a job still; after so long a silence another may take it. */
export const BEAT_MS = 1_000;
export const LEASE_MS = 8_000;
const LEASE = `interval '${LEASE_MS} milliseconds'`;
const BREAKDOWNS_MAX = 20;
/** Doubled with each breakdown in a row. */
const BACKOFF = `least(interval '60 seconds', interval '1 second' * 2 ^ least(breakdowns, 10))`;
const JSON_CHARACTERS_MAX = 64 * 1024;
const FROZEN = '(SELECT frozen FROM registry.orgs WHERE orgs.id = jobs.org)';
const BROKE_DOWN = 'It broke down again and again; the log of the node says why.';

export function createStepStore(session: Session, feed: ChangeFeed): StepStore {
  return {
    create: (org, kind, input, about) =>
      feed.transaction(async (tx) => {
        await refuseTooMany(tx, org, [kind]);
        const id = about.id ?? uuidV7();
        const [job] = await tx.query<Job>(
          `INSERT INTO registry.jobs (id, org, kind, status, unit, total, actor, groups, input, unsettled)
           VALUES ($1, $2, $3, 'stepping', $4, $5, $6, $7::uuid[], $8, true) RETURNING ${JOB_COLUMNS}`,
          [
            id,
            org,
            kind,
            about.unit,
            about.total ?? 0,
            JSON.stringify(currentActor()),
            about.groups ?? [null],
            bounded('input', input),
          ],
        );
        if (job === undefined) throw new RegistryError('REGISTRY_NOT_FOUND', 'never', { org });
        await about.with?.(tx, job);
        tx.audit({ action: 'jobs.create', entity: 'jobs', id, org, detail: { kind } });
        return job;
      }),

    async claim(kinds, without) {
      const token = uuidV7();
      // A lease that has run out is a node that died: what kills node after node must end, too.
      const [row] = await session.query<Job & { stepping: boolean; breakdowns: number }>(
        `UPDATE registry.jobs SET lease = $1, lease_until = now() + ${LEASE}, started = true,
           breakdowns = breakdowns + (lease IS NOT NULL)::integer
         WHERE id = (
           SELECT id FROM registry.jobs
           WHERE unsettled AND kind = ANY ($2) AND id <> ALL ($3::uuid[]) AND (lease IS NULL OR lease_until < now())
             AND (due_at IS NULL OR due_at <= now()) AND (status <> 'stepping' OR NOT ${FROZEN})
           ORDER BY (SELECT count(*) FROM registry.jobs AS others
                     WHERE others.unsettled AND others.org = jobs.org AND others.lease_until > now()),
             stepped_at NULLS FIRST, created_at
           LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING ${JOB_COLUMNS}, jobs.status = 'stepping' AS stepping, breakdowns`,
        [token, kinds, without],
      );
      if (row === undefined) return null;
      const { stepping, breakdowns, ...job } = row;
      return { job, token, over: !stepping, isSpent: breakdowns >= BREAKDOWNS_MAX };
    },

    async beat({ job, token, over }, { done, total }) {
      const [row] = await session.query<{ status: string; frozen: boolean }>(
        `UPDATE registry.jobs SET lease_until = now() + ${LEASE},
           done = CASE WHEN status = 'stepping' THEN coalesce($3, done) ELSE done END,
           total = CASE WHEN status = 'stepping' THEN coalesce($4, total) ELSE total END
         WHERE id = $1 AND lease = $2 RETURNING status, ${FROZEN} AS frozen`,
        [job.id, token, done ?? null, total ?? null],
      );
      if (row === undefined) return 'lost';
      if (over) return 'held';
      if (row.status !== 'stepping') return 'over';
      return row.frozen ? 'frozen' : 'held';
    },

    keep({ job, token }, outcome) {
      const { kind, done, failed, total } = outcome;
      const status = kind === 'done' || kind === 'failed' ? kind : 'stepping';
      const values = [
        job.id,
        token,
        status,
        done ?? null,
        failed ?? null,
        total ?? null,
        outcome.state === undefined ? null : bounded('state', outcome.state),
        outcome.result === undefined ? null : bounded('result', outcome.result),
        kind === 'failed' ? outcome.reason.slice(0, 1_000) : null,
        kind === 'wait' ? Math.max(0, Math.round(outcome.afterMs)) : 0,
      ];
      // The lease stays: whoever holds it lets go of it.
      return actingAs(job.actor, () =>
        feed.transaction(async (tx) => {
          const [kept] = await tx.query<Pick<Job, 'done' | 'failed'>>(
            `UPDATE registry.jobs SET status = $3, done = coalesce($4, done), failed = coalesce($5, failed),
               total = coalesce($6, total), state = coalesce($7::jsonb, state), result = coalesce($8::jsonb, result),
               reason = $9, due_at = now() + interval '1 millisecond' * $10::double precision, breakdowns = 0,
               stepped_at = now(), lease_until = now() + ${LEASE},
               finished_at = CASE WHEN $3 <> 'stepping' THEN now() END
             WHERE id = $1 AND lease = $2 AND status = 'stepping' RETURNING done, failed`,
            values,
          );
          if (kept !== undefined && status !== 'stepping')
            tx.audit({
              action: 'jobs.finish',
              entity: 'jobs',
              id: job.id,
              org: job.org,
              detail: { kind: job.kind, status, ...kept },
            });
          return kept !== undefined;
        }),
      );
    },

    async breakDown({ job, token }) {
      await session.query(
        `UPDATE registry.jobs SET breakdowns = breakdowns + 1, due_at = now() + ${BACKOFF}, stepped_at = now(),
           status = CASE WHEN status = 'stepping' AND breakdowns + 1 >= $3 THEN 'failed' ELSE status END,
           reason = CASE WHEN status = 'stepping' AND breakdowns + 1 >= $3 THEN $4 ELSE reason END,
           finished_at = CASE WHEN status = 'stepping' AND breakdowns + 1 >= $3 THEN now() ELSE finished_at END,
           unsettled = status = 'stepping' OR breakdowns + 1 < $3 * 2
         WHERE id = $1 AND lease = $2`,
        [job.id, token, BREAKDOWNS_MAX, BROKE_DOWN],
      );
    },

    async release({ job, token }) {
      await session.query('UPDATE registry.jobs SET lease = NULL, lease_until = NULL WHERE id = $1 AND lease = $2', [
        job.id,
        token,
      ]);
    },

    async settle({ job, token }) {
      await session.query('UPDATE registry.jobs SET unsettled = false WHERE id = $1 AND lease = $2', [job.id, token]);
    },
  };
}

/** @throws TypeError if it is no JSON or too much of it */
function bounded(what: string, value: unknown): string {
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined || text.length > JSON_CHARACTERS_MAX)
    throw new TypeError(`the ${what} of a job is no JSON of at most ${JSON_CHARACTERS_MAX} characters`);
  return text;
}
