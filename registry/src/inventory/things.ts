import { type Credentials, uuidV7 } from '@millrace/core';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { checkVersion, noteChange } from './change.ts';
import { checkGateways, checkStaysGateway, lockGateways } from './gateways.ts';
import { keepGroup } from './group-lock.ts';
import { inBranch, within } from './group-scope.ts';
import { checkKeysFree } from './key-use.ts';
import { lockOrg } from './org-lock.ts';
import { type Listed, type ListQuery, listRows } from './page.ts';
import { ONLINE } from './presence.ts';

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
  readonly groupId: string | null;
  /** The group that it is in and those above it. */
  readonly groups: readonly string[];
  readonly gateway: string | null;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** Opens with `Things.key`. */
  readonly keySealed: string;
  /** Until then the key before this one holds too. */
  readonly previousKeyUntil: Date | null;
  /** Opens with `Things.externalKey`. */
  readonly externalKeySealed: string | null;
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
  /** Made if there is an external id and this is left out. */
  readonly externalKey?: string | undefined;
  readonly groupId?: string | null | undefined;
  readonly gateway?: string | null | undefined;
}
/** What is undefined stays as it is. */
export type ThingPatch = Omit<NewThing, 'id' | 'key'>;
export interface ThingListQuery extends ListQuery {
  readonly type?: ThingType | undefined;
  readonly group?: string | undefined;
  /** With group: also those in groups below it. */
  readonly below?: boolean | undefined;
  readonly gateway?: string | undefined;
  readonly online?: boolean | undefined;
  /** Only those in these groups and below them. */
  readonly within?: readonly string[] | undefined;
}
/** A thing that was made, with the key that it got. */
export interface MadeThing {
  readonly thing: Thing;
  readonly key: string;
}
/** What a deletion took along, by what it is. */
export type Removed = Readonly<Record<string, number>>;

export interface Things {
  /** All or none.
   *  @throws RegistryError REGISTRY_CONFLICT with field id, key or external; REGISTRY_NOT_FOUND if a group is not of the
   *          org; REGISTRY_INVALID with field gateway or external_key */
  create(org: string, things: readonly NewThing[]): Promise<MadeThing[]>;
  /** The same as a part of a transaction. */
  createIn(tx: ChangeSession, org: string, things: readonly NewThing[]): Promise<MadeThing[]>;
  get(id: string): Promise<Thing | null>;
  many(ids: readonly string[]): Promise<Thing[]>;
  list(query: ThingListQuery): Promise<Listed<Thing>>;
  /** Their ids alone, and how many there are in all. */
  ids(query: ThingListQuery): Promise<{ readonly ids: readonly string[]; readonly total: number }>;
  /** null if it is gone.  @param expected the version that the change was made for; null: any
   *  @throws RegistryError REGISTRY_VERSION_MISMATCH, and as `create` */
  update(id: string, patch: ThingPatch, expected?: number | null): Promise<Thing | null>;
  updateIn(tx: ChangeSession, id: string, patch: ThingPatch, expected?: number | null): Promise<Thing | null>;
  /** null if there is none. Things behind a gateway stay, without it. */
  remove(id: string, expected?: number | null): Promise<Removed | null>;
  removeIn(tx: ChangeSession, id: string, expected?: number | null): Promise<Removed | null>;
  /** @throws RegistryError REGISTRY_SECRET_MISMATCH */
  key(thing: Pick<Thing, 'id' | 'keySealed'>): string;
  /** null if it has none.  @throws RegistryError REGISTRY_SECRET_MISMATCH */
  externalKey(thing: Pick<Thing, 'id' | 'externalKeySealed'>): string | null;
}

/** @holds over registry.things under its own name */
export const THING_COLUMNS = `things.id, things.org, things.name, things.type, things.enabled, things.metadata, things.tags,
  things.external_id AS "externalId", things.group_id AS "groupId", things.gateway, things.version,
  coalesce((SELECT above.ancestors || above.id FROM registry.groups AS above WHERE above.id = things.group_id), '{}') AS groups,
  things.created_at AS "createdAt", things.updated_at AS "updatedAt", things.key_sealed AS "keySealed",
  things.previous_key_until AS "previousKeyUntil", things.external_key_sealed AS "externalKeySealed"`;

/** What the sealed external key is bound to: it can not be passed off as the key. */
const aboutExternal = (id: string): string => `external ${id}`;

export function createThings(session: Session, feed: ChangeFeed, credentials: Credentials, now: () => number): Things {
  const open = (sealed: string, about: string, thing: string): string => {
    try {
      return credentials.decrypt(sealed, about);
    } catch (cause) {
      throw new RegistryError('REGISTRY_SECRET_MISMATCH', 'never', { thing }, { cause });
    }
  };
  /** The external key at rest. @param before that of the thing so far */
  const external = (
    id: string,
    externalId: string | null,
    given: string | undefined,
    before: string | null,
  ): { digest: string | null; sealed: string } | null | 'kept' => {
    if (externalId === null) {
      if (given !== undefined)
        throw new RegistryError('REGISTRY_INVALID', 'never', {
          field: 'external_key',
          because: 'needs an external_id',
        });
      return null;
    }
    if (given === undefined && before !== null) return 'kept';
    const key = given ?? credentials.newKey();
    return { digest: credentials.digest(key), sealed: credentials.encrypt(key, aboutExternal(id)) };
  };

  async function createIn(tx: ChangeSession, org: string, things: readonly NewThing[]): Promise<MadeThing[]> {
    const keys = new Map<string, string>();
    const given: string[] = [];
    const rows = things.map((thing, index) => {
      const id = thing.id?.toLowerCase() ?? uuidV7();
      const key = thing.key ?? credentials.newKey();
      const digest = credentials.digest(key);
      const sealed = external(id, thing.externalId ?? null, thing.externalKey, null);
      const beside = sealed === 'kept' ? null : sealed;
      keys.set(id, key);
      if (thing.key !== undefined) given.push(digest);
      return {
        at: index,
        id,
        name: thing.name ?? '',
        type: thing.type ?? 'device',
        key_digest: digest,
        key_sealed: credentials.encrypt(key, id),
        enabled: thing.enabled ?? true,
        metadata: thing.metadata ?? {},
        tags: thing.tags ?? [],
        external_id: thing.externalId ?? null,
        external_key_digest: beside?.digest ?? null,
        external_key_sealed: beside?.sealed ?? null,
        group_id: thing.groupId ?? null,
        gateway: thing.gateway ?? null,
      };
    });
    const behind = rows.filter(({ gateway }) => gateway !== null).map(({ id }) => id);
    if (behind.length > 0) await lockOrg(tx, 'gateways', org);
    const created = await tx.query<Thing>(
      `INSERT INTO registry.things (id, org, name, type, key_digest, key_sealed, enabled, metadata, tags, external_id,
         external_key_digest, external_key_sealed, group_id, gateway)
       SELECT id, $1, name, type, key_digest, key_sealed, enabled, metadata, ARRAY(SELECT jsonb_array_elements_text(tags)),
         external_id, external_key_digest, external_key_sealed, group_id, gateway
       FROM jsonb_to_recordset($2) AS thing (at integer, id uuid, name text, type text, key_digest text, key_sealed text,
         enabled boolean, metadata jsonb, tags jsonb, external_id text, external_key_digest text, external_key_sealed text,
         group_id uuid, gateway uuid)
       ORDER BY at RETURNING ${THING_COLUMNS}`,
      [org, JSON.stringify(rows)],
    );
    await checkKeysFree(tx, given, now());
    await checkGateways(tx, behind);
    for (const thing of created) {
      tx.changed('thing', thing.id, org, [thing.id]);
      noteChange(tx, 'things', 'create', null, thing);
    }
    return created.map((thing) => ({ thing, key: keys.get(thing.id) ?? '' }));
  }

  async function updateIn(
    tx: ChangeSession,
    id: string,
    patch: ThingPatch,
    expected: number | null = null,
  ): Promise<Thing | null> {
    if (patch.type !== undefined || (patch.gateway ?? null) !== null) await lockGateways(tx, id);
    await keepGroup(tx, patch.groupId);
    const [before] = await tx.query<Thing>(
      `SELECT ${THING_COLUMNS} FROM registry.things WHERE id = $1 FOR NO KEY UPDATE OF things`,
      [id],
    );
    if (before === undefined) return null;
    checkVersion('thing', before, expected);
    const next = {
      name: patch.name ?? before.name,
      type: patch.type ?? before.type,
      enabled: patch.enabled ?? before.enabled,
      metadata: patch.metadata ?? before.metadata,
      tags: patch.tags ?? before.tags,
      externalId: patch.externalId === undefined ? before.externalId : patch.externalId,
      groupId: patch.groupId === undefined ? before.groupId : patch.groupId,
      gateway: patch.gateway === undefined ? before.gateway : patch.gateway,
    };
    const sealed = external(id, next.externalId, patch.externalKey, before.externalKeySealed);
    if (before.type === 'gateway' && next.type !== 'gateway') await checkStaysGateway(tx, id);
    const [thing] = await tx.query<Thing>(
      `UPDATE registry.things SET name = $2, type = $3, enabled = $4, metadata = $5, tags = $6, external_id = $7,
         group_id = $8, gateway = $9,
         external_key_digest = CASE WHEN $10 THEN external_key_digest ELSE $11 END,
         external_key_sealed = CASE WHEN $10 THEN external_key_sealed ELSE $12 END,
         version = version + 1, updated_at = now()
       WHERE id = $1 RETURNING ${THING_COLUMNS}`,
      [
        id,
        next.name,
        next.type,
        next.enabled,
        JSON.stringify(next.metadata),
        next.tags,
        next.externalId,
        next.groupId,
        next.gateway,
        sealed === 'kept',
        sealed === 'kept' ? null : (sealed?.digest ?? null),
        sealed === 'kept' ? null : (sealed?.sealed ?? null),
      ],
    );
    if (thing === undefined) return null;
    if (thing.gateway !== before.gateway && thing.gateway !== null) await checkGateways(tx, [id]);
    tx.changed('thing', id, thing.org, [id]);
    noteChange(tx, 'things', 'update', before, thing);
    return thing;
  }

  async function removeIn(tx: ChangeSession, id: string, expected: number | null = null): Promise<Removed | null> {
    const [counts] = await tx.query<{ connections: number; certificates: number; policies: number; behind: number }>(
      `SELECT (SELECT count(*) FROM registry.connections WHERE thing = $1)::integer AS connections,
         (SELECT count(*) FROM registry.certificates WHERE thing = $1)::integer AS certificates,
         (SELECT count(*) FROM registry.policy_attachments WHERE org = things.org AND target = $1::text)::integer AS policies,
         (SELECT count(*) FROM registry.things AS other WHERE gateway = $1)::integer AS behind
       FROM registry.things WHERE id = $1 FOR UPDATE OF things`,
      [id],
    );
    if (counts === undefined) return null;
    const [gone] = await tx.query<Thing>(`DELETE FROM registry.things WHERE id = $1 RETURNING ${THING_COLUMNS}`, [id]);
    if (gone === undefined) return null;
    checkVersion('thing', gone, expected);
    await tx.query('DELETE FROM registry.policy_attachments WHERE org = $1 AND target = $2', [gone.org, id]);
    tx.changed('thing', id, gone.org, [id]);
    noteChange(tx, 'things', 'delete', gone, null);
    const { connections, certificates, policies, behind } = counts;
    return { connections, certificates, policy_attachments: policies, things_without_gateway: behind };
  }

  const rows = <T extends { readonly id: string }>(columns: string, query: ThingListQuery): Promise<Listed<T>> =>
    listRows<T>(session, 'registry.things', columns, query, (clauses) => {
      if (query.type !== undefined) clauses.add('type = ?', query.type);
      if (query.gateway !== undefined) clauses.add('gateway = ?', query.gateway);
      if (query.group !== undefined) inBranch(clauses, query.group, query.below === true);
      if (query.within !== undefined) within(clauses, query.within);
      if (query.online !== undefined) clauses.add(query.online ? ONLINE : `NOT ${ONLINE}`);
    });

  return {
    createIn,
    updateIn,
    removeIn,
    create: (org, things) => feed.transaction((tx) => createIn(tx, org, things)),
    update: (id, patch, expected = null) => feed.transaction((tx) => updateIn(tx, id, patch, expected)),
    remove: (id, expected = null) => feed.transaction((tx) => removeIn(tx, id, expected)),

    async get(id) {
      const sql = `SELECT ${THING_COLUMNS} FROM registry.things WHERE id = $1`;
      return (await session.query<Thing>(sql, [id]))[0] ?? null;
    },

    many: (ids) =>
      session.query<Thing>(`SELECT ${THING_COLUMNS} FROM registry.things WHERE id = ANY ($1::uuid[])`, [ids]),

    list: (query) => rows<Thing>(THING_COLUMNS, query),

    async ids(query) {
      const { items, total } = await rows<{ id: string }>('things.id', query);
      return { ids: items.map(({ id }) => id), total };
    },

    key: (thing) => open(thing.keySealed, thing.id, thing.id),
    externalKey: ({ id, externalKeySealed }) =>
      externalKeySealed === null ? null : open(externalKeySealed, aboutExternal(id), id),
  };
}
