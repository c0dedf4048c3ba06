import { isUuid, type StoredCounts, storedKinds, uuidV7 } from '@millrace/core';
import { type Actor, currentActor } from '../audit/actor.ts';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import type { Listed } from '../inventory/page.ts';
import { holdsOver, lockHolds } from './holds.ts';
import { type DeletionRequest, requestHash } from './selection.ts';

export const deletionStatuses = ['waiting', 'running', 'done', 'failed', 'cancelled'] as const;

/** Where a deletion stands.
 *  @shape positions: of each partition of the log, the first offset that it does not reach
 *         span: µs since 1970 as decimal text, of rollups that are to be corrected once more */
export interface DeletionState {
  readonly positions?: readonly (readonly [partition: number, offset: number])[];
  readonly stage?: 'erase' | 'correct' | 'prove';
  /** How often it was begun, and how often rollups were corrected. */
  readonly attempt?: number;
  readonly round?: number;
  readonly span?: { readonly fromUs?: string; readonly toUs?: string };
}
/** What was asked for, and the proof of what became of it: kept when the data is gone. */
export interface DeletionRecord {
  readonly id: string;
  readonly org: string;
  /** Of an organisation or channel that was deleted: nobody's job. */
  readonly byPlatform: boolean;
  readonly request: DeletionRequest;
  readonly requestHash: string;
  readonly reason: string;
  readonly actor: Actor;
  readonly askedAt: Date;
  readonly dueAt: Date;
  readonly status: (typeof deletionStatuses)[number];
  readonly state: DeletionState;
  readonly before: StoredCounts | null;
  readonly remaining: StoredCounts | null;
  readonly error: string | null;
  readonly finishedAt: Date | null;
}

export interface Deletions {
  get(id: string): Promise<DeletionRecord | null>;
  list(query: {
    readonly org: string;
    readonly offset: number;
    readonly limit: number;
  }): Promise<Listed<DeletionRecord>>;
  /** Those of the platform's own that are due. */
  due(limit: number): Promise<string[]>;
  later(id: string, afterMs: number): Promise<void>;
  keep(id: string, change: { readonly state?: DeletionState; readonly before?: StoredCounts }): Promise<void>;
  /** Once more before it reaches anything: what is held stays, and what somebody has again, after a restore. Once it has
   *  begun no hold can be made any more on what it reaches. */
  begin(id: string): Promise<DeletionBegin>;
  finish(id: string, end: DeletionEnd): Promise<void>;
}
export type DeletionBegin =
  | { readonly kind: 'begun' }
  | { readonly kind: 'held'; readonly by: readonly string[] }
  | { readonly kind: 'refused'; readonly reason: string };
export type DeletionEnd =
  | { readonly status: 'done'; readonly remaining: StoredCounts; readonly rounds: number }
  | { readonly status: 'failed' | 'cancelled'; readonly error: string };

const COLUMNS = `id, org, by_platform AS "byPlatform", request, request_hash AS "requestHash", reason, actor, asked_at AS "askedAt",
  due_at AS "dueAt", status, state, before, remaining, error, finished_at AS "finishedAt"`;

export function createDeletions(
  session: Session,
  feed: ChangeFeed,
  counted: (status: DeletionEnd['status'], by: 'people' | 'platform') => void,
): Deletions {
  return {
    async get(id) {
      if (!isUuid(id)) return null;
      const sql = `SELECT ${COLUMNS} FROM registry.deletions WHERE id = $1`;
      return (await session.query<DeletionRecord>(sql, [id]))[0] ?? null;
    },

    async list({ org, offset, limit }) {
      const [items, [count]] = await Promise.all([
        session.query<DeletionRecord>(
          `SELECT ${COLUMNS} FROM registry.deletions WHERE org = $1 ORDER BY asked_at DESC, id DESC OFFSET $2 LIMIT $3`,
          [org, offset, limit],
        ),
        session.query<{ total: number }>('SELECT count(*)::integer AS total FROM registry.deletions WHERE org = $1', [
          org,
        ]),
      ]);
      return { total: count?.total ?? 0, offset, limit, items };
    },

    async due(limit) {
      const sql = `SELECT id FROM registry.deletions WHERE by_platform AND finished_at IS NULL AND due_at <= now() ORDER BY due_at LIMIT $1`;
      return (await session.query<{ id: string }>(sql, [limit])).map(({ id }) => id);
    },

    async later(id, afterMs) {
      await session.query(
        `UPDATE registry.deletions SET due_at = now() + $2::float8 * interval '1 millisecond' WHERE id = $1`,
        [id, afterMs],
      );
    },

    async keep(id, { state, before }) {
      await session.query(
        `UPDATE registry.deletions SET state = coalesce($2::jsonb, state), before = coalesce($3::jsonb, before)
         WHERE id = $1 AND finished_at IS NULL`,
        [id, state === undefined ? null : JSON.stringify(state), before === undefined ? null : JSON.stringify(before)],
      );
    },

    begin: (id) =>
      feed.transaction(async (tx): Promise<DeletionBegin> => {
        const [found] = await tx.query<DeletionRecord>(`SELECT ${COLUMNS} FROM registry.deletions WHERE id = $1`, [id]);
        if (found === undefined) throw new RegistryError('REGISTRY_NOT_FOUND', 'never', { deletion: id });
        await lockHolds(tx, found.org);
        if (found.byPlatform && found.request.channels === undefined) {
          const known = await tx.query('SELECT FROM registry.orgs WHERE id = $1 FOR SHARE', [found.org]);
          if (known.length > 0)
            return { kind: 'refused', reason: 'The organisation is there again: it keeps its data.' };
        }
        const holds = await holdsOver(tx, found.org, found.request);
        if (holds.length > 0) return { kind: 'held', by: holds };
        await tx.query(`UPDATE registry.deletions SET status = 'running' WHERE id = $1 AND finished_at IS NULL`, [id]);
        return { kind: 'begun' };
      }),

    async finish(id, end) {
      const finished = await feed.transaction(async (tx) => {
        const [found] = await tx.query<DeletionRecord>(
          `UPDATE registry.deletions SET status = $2, remaining = $3::jsonb, error = $4, finished_at = now()
           WHERE id = $1 AND finished_at IS NULL RETURNING ${COLUMNS}`,
          [
            id,
            end.status,
            end.status === 'done' ? JSON.stringify(end.remaining) : null,
            end.status === 'done' ? null : end.error,
          ],
        );
        if (found === undefined) return null;
        const { org, requestHash: hash, before, remaining, error } = found;
        tx.audit({
          action: end.status === 'done' ? 'deletions.finish' : 'deletions.end',
          entity: 'deletions',
          id,
          org,
          detail: end.status === 'done' ? { hash, before, remaining, rounds: end.rounds } : { hash, error },
        });
        return found;
      });
      if (finished !== null) counted(end.status, finished.byPlatform ? 'platform' : 'people');
    },
  };
}

/** Writes down what is to be deleted, as a part of the transaction that asks for it.
 *  @throws RegistryError REGISTRY_CONFLICT with the holds that are in the way */
export async function insertDeletion(
  tx: ChangeSession,
  org: string,
  given: {
    readonly id?: string;
    readonly byPlatform: boolean;
    readonly request: DeletionRequest;
    readonly reason: string;
    readonly dueMs?: number;
  },
): Promise<string> {
  const { id = uuidV7(), byPlatform, request, reason, dueMs = 0 } = given;
  await lockHolds(tx, org);
  const holds = await holdsOver(tx, org, request);
  if (holds.length > 0)
    throw new RegistryError('REGISTRY_CONFLICT', 'never', { field: 'hold', holds: holds.join(', ') });
  const hash = requestHash(org, request, reason);
  await tx.query(
    `INSERT INTO registry.deletions (id, org, by_platform, request, request_hash, reason, actor, due_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8::float8 * interval '1 millisecond')`,
    [id, org, byPlatform, JSON.stringify(request), hash, reason, JSON.stringify(currentActor()), dueMs],
  );
  tx.audit({ action: 'deletions.create', entity: 'deletions', id, org, detail: { ...request, reason, hash } });
  return id;
}

/** Nodes that have not heard of it yet may still let messages in: nobody would delete what comes after. */
const HEARD_MS = 10_000;

/** All that is stored of an organisation that is being deleted, once the grace is over. Deletions of its own that are not
 *  done are a part of it.  @throws RegistryError REGISTRY_CONFLICT with the holds that are in the way */
export async function insertOrgDeletion(tx: ChangeSession, org: string, graceDays: number): Promise<void> {
  await tx.query(
    `UPDATE registry.deletions SET status = 'cancelled', error = 'Its organisation was deleted, with all that it had.', finished_at = now()
     WHERE org = $1 AND finished_at IS NULL AND NOT by_platform`,
    [org],
  );
  await insertDeletion(tx, org, {
    byPlatform: true,
    request: { what: storedKinds },
    reason: 'The organisation was deleted.',
    dueMs: Math.max(graceDays * 86_400_000, HEARD_MS),
  });
}
