import { type Credentials, uuidV7 } from '@millrace/core';
import type { ChangeFeed } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { type Listed, type ListQuery, listClauses } from './page.ts';

export const thingTypes = ['device', 'gateway', 'app'] as const;
export type ThingType = (typeof thingTypes)[number];

export interface Thing {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly type: ThingType;
  readonly enabled: boolean;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tags: readonly string[];
  readonly externalId: string | null;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** Opens with `Things.key`. */
  readonly keySealed: string;
}
export interface NewThing {
  readonly id?: string | undefined;
  readonly key?: string | undefined;
  readonly name?: string | undefined;
  readonly type?: ThingType | undefined;
  readonly enabled?: boolean | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly externalId?: string | null | undefined;
}
/** What is undefined stays as it is. */
export type ThingPatch = Omit<NewThing, 'id' | 'key'>;

export interface Things {
  /** All or none.  @throws RegistryError REGISTRY_CONFLICT with field id, key or external */
  create(org: string, things: readonly NewThing[]): Promise<{ thing: Thing; key: string }[]>;
  get(id: string): Promise<Thing | null>;
  many(ids: readonly string[]): Promise<Thing[]>;
  list(query: ListQuery & { readonly type?: ThingType | undefined }): Promise<Listed<Thing>>;
  /** null if it is gone. */
  update(id: string, patch: ThingPatch): Promise<Thing | null>;
  remove(id: string): Promise<boolean>;
  /** A new key, generated if none is given; the old one is void at once. */
  rotateKey(id: string, key?: string): Promise<{ thing: Thing; key: string } | null>;
  /** @throws RegistryError REGISTRY_SECRET_MISMATCH */
  key(thing: Thing): string;
}

const COLUMNS = `id, org, name, type, enabled, metadata, tags, external_id AS "externalId", version,
  created_at AS "createdAt", updated_at AS "updatedAt", key_sealed AS "keySealed"`;

export function createThings(session: Session, feed: ChangeFeed, credentials: Credentials): Things {
  const patchOne = (
    sets: string,
    id: string,
    values: readonly unknown[],
    entity: 'thing' | 'key',
  ): Promise<Thing | null> =>
    feed.transaction(async (tx) => {
      const [thing] = await tx.query<Thing>(
        `UPDATE registry.things SET ${sets}, version = version + 1, updated_at = now() WHERE id = $1 RETURNING ${COLUMNS}`,
        [id, ...values],
      );
      if (thing === undefined) return null;
      tx.changed(entity, id, thing.org, [id]);
      return thing;
    });

  return {
    async create(org, things) {
      const keys = new Map<string, string>();
      const rows = things.map((thing, index) => {
        const id = thing.id?.toLowerCase() ?? uuidV7();
        const key = thing.key ?? credentials.newKey();
        keys.set(id, key);
        return {
          at: index,
          id,
          name: thing.name ?? '',
          type: thing.type ?? 'device',
          key_digest: credentials.digest(key),
          key_sealed: credentials.encrypt(key, id),
          enabled: thing.enabled ?? true,
          metadata: thing.metadata ?? {},
          tags: thing.tags ?? [],
          external_id: thing.externalId ?? null,
        };
      });
      const made = await feed.transaction(async (tx) => {
        const created = await tx.query<Thing>(
          `INSERT INTO registry.things (id, org, name, type, key_digest, key_sealed, enabled, metadata, tags, external_id)
           SELECT id, $1, name, type, key_digest, key_sealed, enabled, metadata, ARRAY(SELECT jsonb_array_elements_text(tags)), external_id
           FROM jsonb_to_recordset($2) AS thing (at integer, id uuid, name text, type text, key_digest text, key_sealed text,
             enabled boolean, metadata jsonb, tags jsonb, external_id text)
           ORDER BY at RETURNING ${COLUMNS}`,
          [org, JSON.stringify(rows)],
        );
        for (const thing of created) tx.changed('thing', thing.id, org, [thing.id]);
        return created;
      });
      return made.map((thing) => ({ thing, key: keys.get(thing.id) ?? '' }));
    },

    async get(id) {
      return (await session.query<Thing>(`SELECT ${COLUMNS} FROM registry.things WHERE id = $1`, [id]))[0] ?? null;
    },

    many: (ids) => session.query<Thing>(`SELECT ${COLUMNS} FROM registry.things WHERE id = ANY ($1::uuid[])`, [ids]),

    async list(query) {
      const { where, order, values } = listClauses(query);
      const all = query.type === undefined ? values : [...values, query.type];
      const filter = query.type === undefined ? where : `${where} AND type = $${all.length}`;
      const [items, [count]] = await Promise.all([
        session.query<Thing>(
          `SELECT ${COLUMNS} FROM registry.things WHERE ${filter} ORDER BY ${order} OFFSET $${all.length + 1} LIMIT $${all.length + 2}`,
          [...all, query.offset, query.limit],
        ),
        session.query<{ total: number }>(`SELECT count(*)::integer AS total FROM registry.things WHERE ${filter}`, all),
      ]);
      return { total: count?.total ?? 0, offset: query.offset, limit: query.limit, items };
    },

    update: (id, patch) =>
      patchOne(
        `name = coalesce($2, name), type = coalesce($3, type), enabled = coalesce($4, enabled), metadata = coalesce($5::jsonb, metadata),
         tags = coalesce($6::text[], tags), external_id = CASE WHEN $7 THEN $8 ELSE external_id END`,
        id,
        [
          patch.name,
          patch.type,
          patch.enabled,
          patch.metadata === undefined ? undefined : JSON.stringify(patch.metadata),
          patch.tags,
          patch.externalId !== undefined,
          patch.externalId,
        ],
        'thing',
      ),

    remove: (id) =>
      feed.transaction(async (tx) => {
        const [gone] = await tx.query<{ org: string }>('DELETE FROM registry.things WHERE id = $1 RETURNING org', [id]);
        if (gone === undefined) return false;
        tx.changed('thing', id, gone.org, [id]);
        return true;
      }),

    async rotateKey(id, given) {
      const key = given ?? credentials.newKey();
      const values = [credentials.digest(key), credentials.encrypt(key, id)];
      const thing = await patchOne('key_digest = $2, key_sealed = $3', id, values, 'key');
      return thing === null ? null : { thing, key };
    },

    key(thing) {
      try {
        return credentials.decrypt(thing.keySealed, thing.id);
      } catch (cause) {
        throw new RegistryError('REGISTRY_SECRET_MISMATCH', 'never', { thing: thing.id }, { cause });
      }
    },
  };
}
