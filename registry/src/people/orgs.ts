import { isUuid } from '@millrace/core';
import { changedFields } from '../audit/changed-fields.ts';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { wantSweep } from '../retention/wanted.ts';
import { Conditions, containing, type ListRequest, listPage, type Page } from './listing.ts';
import { atVersion, insertOrg, json } from './users.ts';

export interface Org {
  readonly id: string;
  readonly name: string;
  /** May stand for the id in the paths of organisations; unique in the installation. */
  readonly alias: string | null;
  readonly frozen: boolean;
  /** Of what its channels store, where they do not say otherwise; null: as the installation does. */
  readonly retentionDays: number | null;
  readonly rollupRetentionDays: number | null;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tags: readonly string[];
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
export interface NewOrg {
  readonly id?: string | undefined;
  readonly name: string;
  readonly alias?: string | null | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly retentionDays?: number | null | undefined;
  readonly rollupRetentionDays?: number | null | undefined;
}
export type OrgPatch = { readonly [K in keyof Omit<NewOrg, 'id'>]?: NewOrg[K] | undefined };
export interface OrgFilter {
  /** Those that this user is a member of; null: all. */
  readonly member: string | null;
  /** Just this one; null: any. */
  readonly only: string | null;
  readonly name?: string | undefined;
  readonly tag?: string | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly frozen?: boolean | undefined;
}

export interface Orgs {
  /** null if the user owns as many as they may.  @param ownedMax null: any number
   *  @throws RegistryError REGISTRY_CONFLICT with field id or handle (the alias) */
  create(owner: string, org: NewOrg, ownedMax: number | null): Promise<Org | null>;
  /** By id or alias. */
  get(reference: string): Promise<Org | null>;
  list(filter: OrgFilter, request: ListRequest): Promise<Page<Org>>;
  /** null if gone.  @throws RegistryError REGISTRY_VERSION_MISMATCH, REGISTRY_CONFLICT with field handle */
  update(id: string, patch: OrgPatch, version: number | null): Promise<Org | null>;
  /** Nothing gets into or out of a frozen organisation; nothing of it is lost. */
  setFrozen(id: string, frozen: boolean): Promise<Org | null>;
  /** Whether an organisation is frozen; remembered, so that asking costs nothing. */
  frozen(id: string): boolean | Promise<boolean>;
}

const COLUMNS = `orgs.id, orgs.name, orgs.alias, orgs.frozen, orgs.retention_days AS "retentionDays", orgs.rollup_retention_days AS "rollupRetentionDays", orgs.metadata, orgs.tags, orgs.version,
  orgs.created_at AS "createdAt", orgs.updated_at AS "updatedAt"`;
const SOURCE = {
  columns: COLUMNS,
  from: 'registry.orgs',
  id: 'orgs.id',
  order: { created: 'orgs.created_at', updated: 'orgs.updated_at', name: 'orgs.name' },
} as const;
/** What may be an id or an alias: nothing else is asked for. */
const REFERENCE = /^[\p{L}\p{N}._~-]{1,128}$/u;
const REMEMBERED_MAX = 10_000;

export function createOrgs(session: Session, feed: ChangeFeed): Orgs {
  const remembered = new Map<string, boolean>();
  let changes = 0;
  feed.onChange(({ entity, id, voids }) => {
    if (entity !== 'org' && !voids.includes('*')) return;
    // What is being read now may be older than this.
    changes++;
    if (entity === 'org') remembered.delete(id);
    else remembered.clear();
  });
  const locked = async (tx: ChangeSession, id: string): Promise<Org | undefined> =>
    (await tx.query<Org>(`SELECT ${COLUMNS} FROM registry.orgs WHERE id = $1 FOR UPDATE`, [id]))[0];

  return {
    create: (owner, org, ownedMax) =>
      feed.transaction(async (tx) => {
        // One after the other, so that many at once can't pass the limit together.
        await tx.query('SELECT 1 FROM registry.users WHERE id = $1 FOR UPDATE', [owner]);
        if (ownedMax !== null) {
          const sql = `SELECT count(*)::integer AS owned FROM registry.memberships WHERE user_id = $1 AND role = 'owner'`;
          const [row] = await tx.query<{ owned: number }>(sql, [owner]);
          if ((row?.owned ?? 0) >= ownedMax) return null;
        }
        const id = await insertOrg(tx, org.name, owner, org);
        return (await locked(tx, id)) ?? null;
      }),

    async get(reference) {
      if (!REFERENCE.test(reference)) return null;
      const column = isUuid(reference) ? 'id' : 'alias';
      const sql = `SELECT ${COLUMNS} FROM registry.orgs WHERE ${column} = $1`;
      return (await session.query<Org>(sql, [reference]))[0] ?? null;
    },

    list({ member, only, name, tag, metadata, frozen }, request) {
      const conditions = new Conditions();
      if (member !== null)
        conditions.add((user) => `orgs.id IN (SELECT org FROM registry.memberships WHERE user_id = ${user})`, member);
      if (only !== null) conditions.add((value) => `orgs.id = ${value}`, only);
      if (name !== undefined) conditions.add((value) => `orgs.name ILIKE ${value}`, containing(name));
      if (tag !== undefined) conditions.add((value) => `${value} = ANY (orgs.tags)`, tag);
      if (metadata !== undefined)
        conditions.add((value) => `orgs.metadata @> ${value}::jsonb`, JSON.stringify(metadata));
      if (frozen !== undefined) conditions.add((value) => `orgs.frozen = ${value}`, frozen);
      return listPage<Org>(session, SOURCE, conditions, request);
    },

    update: (id, patch, version) =>
      feed.transaction(async (tx) => {
        const before = await locked(tx, id);
        if (before === undefined) return null;
        atVersion(before, version);
        const [after] = await tx.query<Org>(
          `UPDATE registry.orgs SET name = coalesce($2, name), alias = CASE WHEN $3 THEN $4 ELSE alias END,
             metadata = coalesce($5::jsonb, metadata), tags = coalesce($6::text[], tags),
             retention_days = CASE WHEN $7 THEN $8::integer ELSE retention_days END,
             rollup_retention_days = CASE WHEN $9 THEN $10::integer ELSE rollup_retention_days END, version = version + 1, updated_at = now()
           WHERE id = $1 RETURNING ${COLUMNS}`,
          [
            id,
            patch.name,
            patch.alias !== undefined,
            patch.alias,
            json(patch.metadata),
            patch.tags,
            patch.retentionDays !== undefined,
            patch.retentionDays,
            patch.rollupRetentionDays !== undefined,
            patch.rollupRetentionDays,
          ],
        );
        // No rule speaks of any of this: nothing is voided, no session cut. But who stores its messages has to hear how long
        // they are kept.
        if (patch.retentionDays !== undefined || patch.rollupRetentionDays !== undefined) {
          tx.changed('org', id, id, []);
          await wantSweep(tx);
        }
        tx.audit({ action: 'orgs.update', entity: 'orgs', id, org: id, detail: changedFields(before, patch) });
        return after ?? null;
      }),

    setFrozen: (id, frozen) =>
      feed.transaction(async (tx) => {
        const before = await locked(tx, id);
        if (before === undefined || before.frozen === frozen) return before ?? null;
        const [after] = await tx.query<Org>(
          `UPDATE registry.orgs SET frozen = $2, version = version + 1, updated_at = now() WHERE id = $1 RETURNING ${COLUMNS}`,
          [id, frozen],
        );
        tx.changed('org', id, id, []);
        tx.audit({ action: frozen ? 'orgs.freeze' : 'orgs.unfreeze', entity: 'orgs', id, org: id });
        return after ?? null;
      }),

    frozen(id) {
      const known = remembered.get(id);
      if (known !== undefined) return known;
      const mark = changes;
      const sql = 'SELECT frozen FROM registry.orgs WHERE id = $1';
      return session.query<{ frozen: boolean }>(sql, [id]).then(([row]) => {
        const frozen = row?.frozen ?? false;
        if (remembered.size >= REMEMBERED_MAX) remembered.clear();
        if (mark === changes) remembered.set(id, frozen);
        return frozen;
      });
    },
  };
}
