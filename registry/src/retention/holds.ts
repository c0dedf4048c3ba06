import { isUuid, uuidV7 } from '@millrace/core';
import { type Actor, currentActor } from '../audit/actor.ts';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { Clauses, type Listed } from '../inventory/page.ts';
import { type DeletionRequest, overlap, type Reach } from './selection.ts';
import { wantSweep } from './wanted.ts';

/** What must stay until it is released, whatever retention or people say. */
export interface LegalHold {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly reason: string;
  readonly channels: readonly string[] | null;
  readonly publishers: readonly string[] | null;
  /** µs since 1970, decimal text. */
  readonly fromUs: string | null;
  readonly toUs: string | null;
  readonly actor: Actor;
  readonly createdAt: Date;
  readonly inForceAt: Date | null;
  readonly releasedBy: Actor | null;
  readonly releasedAt: Date | null;
}
export interface NewHold extends Reach {
  readonly name: string;
  readonly reason: string;
}

export interface Holds {
  /** @throws RegistryError REGISTRY_CONFLICT with the deletion that has begun on some of it; REGISTRY_FULL */
  create(org: string, hold: NewHold): Promise<LegalHold>;
  get(id: string): Promise<LegalHold | null>;
  list(query: {
    readonly org: string;
    readonly offset: number;
    readonly limit: number;
    readonly active?: boolean | undefined;
  }): Promise<Listed<LegalHold>>;
  /** One that is released already is given as it is.  @returns null if there is none */
  release(id: string): Promise<LegalHold | null>;
}

const ACTIVE_PER_ORG_MAX = 100;
const COLUMNS = `id, org, name, reason, channels::text[], publishers::text[], from_us::text AS "fromUs", to_us::text AS "toUs", actor,
  created_at AS "createdAt", in_force_at AS "inForceAt", released_by AS "releasedBy", released_at AS "releasedAt"`;

export function createHolds(session: Session, feed: ChangeFeed): Holds {
  return {
    create: (org, hold) =>
      feed.transaction(async (tx) => {
        await lockHolds(tx, org);
        const active = await activeHolds(tx, org);
        if (active.length >= ACTIVE_PER_ORG_MAX)
          throw new RegistryError('REGISTRY_FULL', 'never', { holds: ACTIVE_PER_ORG_MAX });
        const begun = await tx.query<{ id: string; request: DeletionRequest }>(
          `SELECT id, request FROM registry.deletions WHERE org = $1 AND status = 'running'`,
          [org],
        );
        const under = begun.find(({ request }) => overlap(hold, request));
        if (under !== undefined)
          throw new RegistryError('REGISTRY_CONFLICT', 'never', { field: 'deletion', deletion: under.id });
        const id = uuidV7();
        const [made] = await tx.query<LegalHold>(
          `INSERT INTO registry.holds (id, org, name, reason, channels, publishers, from_us, to_us, actor)
           VALUES ($1, $2, $3, $4, $5::uuid[], $6::uuid[], $7, $8, $9) RETURNING ${COLUMNS}`,
          [
            id,
            org,
            hold.name,
            hold.reason,
            hold.channels ?? null,
            hold.publishers ?? null,
            hold.from_us ?? null,
            hold.to_us ?? null,
            JSON.stringify(currentActor()),
          ],
        );
        if (made === undefined) throw new RegistryError('REGISTRY_NOT_FOUND', 'never', { org });
        // What is stored from now on must not expire by itself: whoever writes has to hear of it.
        tx.changed('org', org, org, []);
        await wantSweep(tx);
        const { name, reason } = hold;
        tx.audit({ action: 'holds.create', entity: 'holds', id, org, detail: { name, reason } });
        return made;
      }),

    async get(id) {
      if (!isUuid(id)) return null;
      return (await session.query<LegalHold>(`SELECT ${COLUMNS} FROM registry.holds WHERE id = $1`, [id]))[0] ?? null;
    },

    async list({ org, offset, limit, active }) {
      const clauses = new Clauses();
      clauses.add('org = ?', org);
      if (active !== undefined) clauses.add(active ? 'released_at IS NULL' : 'released_at IS NOT NULL');
      const { where, values } = clauses;
      const [items, [count]] = await Promise.all([
        session.query<LegalHold>(
          `SELECT ${COLUMNS} FROM registry.holds WHERE ${where} ORDER BY created_at DESC, id DESC OFFSET $2 LIMIT $3`,
          [...values, offset, limit],
        ),
        session.query<{ total: number }>(
          `SELECT count(*)::integer AS total FROM registry.holds WHERE ${where}`,
          values,
        ),
      ]);
      return { total: count?.total ?? 0, offset, limit, items };
    },

    release: (id) =>
      feed.transaction(async (tx) => {
        const [released] = await tx.query<LegalHold>(
          `UPDATE registry.holds SET released_at = now(), released_by = $2 WHERE id = $1 AND released_at IS NULL RETURNING ${COLUMNS}`,
          [id, JSON.stringify(currentActor())],
        );
        if (released === undefined)
          return (await tx.query<LegalHold>(`SELECT ${COLUMNS} FROM registry.holds WHERE id = $1`, [id]))[0] ?? null;
        const { org, name } = released;
        tx.changed('org', org, org, []);
        await wantSweep(tx);
        tx.audit({ action: 'holds.release', entity: 'holds', id, org, detail: { name } });
        return released;
      }),
  };
}

/** Deletions that begin and holds that are made take turns, in each organisation. */
export const lockHolds = async (tx: ChangeSession, org: string): Promise<void> => {
  await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended('holds ' || $1, 0))`, [org]);
};

export const activeHolds = (session: Session, org: string): Promise<LegalHold[]> =>
  session.query<LegalHold>(
    `SELECT ${COLUMNS} FROM registry.holds WHERE org = $1 AND released_at IS NULL ORDER BY created_at`,
    [org],
  );

export const reachOfHold = ({ channels, publishers, fromUs, toUs }: LegalHold): Reach => ({
  channels: channels ?? undefined,
  publishers: publishers ?? undefined,
  from_us: fromUs ?? undefined,
  to_us: toUs ?? undefined,
});

/** Names of the holds that a deletion would reach into. */
export async function holdsOver(session: Session, org: string, request: Reach): Promise<string[]> {
  const active = await activeHolds(session, org);
  return active.filter((hold) => overlap(reachOfHold(hold), request)).map(({ name }) => name);
}
