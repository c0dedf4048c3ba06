import { uuidV7 } from '@millrace/core';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { checkVersion, noteChange } from './change.ts';
import { type Branch, branchFrom, tellBranch } from './group-branch.ts';
import { lockBranch } from './group-lock.ts';
import { lockOrg } from './org-lock.ts';
import { type Listed, type ListQuery, listRows } from './page.ts';
import type { Removed } from './things.ts';

export interface Group {
  readonly id: string;
  readonly org: string;
  readonly parentId: string | null;
  /** From the topmost to the parent. */
  readonly ancestors: readonly string[];
  readonly name: string;
  readonly description: string;
  readonly enabled: boolean;
  /** Enabled, as are all that it is below. */
  readonly active: boolean;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tags: readonly string[];
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
export interface NewGroup {
  readonly id?: string | undefined;
  readonly parentId?: string | null | undefined;
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  readonly enabled?: boolean | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly tags?: readonly string[] | undefined;
}
/** What is undefined stays as it is; a parent moves it with all that is below. */
export type GroupPatch = Omit<NewGroup, 'id'>;
export interface GroupListQuery extends ListQuery {
  /** Right below this group; null: the topmost. */
  readonly parent?: string | null | undefined;
  /** Anywhere below this group. */
  readonly below?: string | undefined;
  /** Only these groups and those below them. */
  readonly within?: readonly string[] | undefined;
}

/** @holds a group is never below itself, and no more than LEVELS_MAX deep: whoever changes the tree of an organisation
 *         waits for who does so already */
export interface Groups {
  /** @throws RegistryError REGISTRY_CONFLICT with field id, REGISTRY_NOT_FOUND, REGISTRY_INVALID with field parent_id */
  create(org: string, group: NewGroup): Promise<Group>;
  createIn(tx: ChangeSession, org: string, group: NewGroup): Promise<Group>;
  /** All or none, one after the other: a group may be below one before it. */
  createMany(org: string, groups: readonly NewGroup[]): Promise<Group[]>;
  get(id: string): Promise<Group | null>;
  /** Those of the org that are found. */
  many(ids: readonly string[], org: string): Promise<Group[]>;
  list(query: GroupListQuery): Promise<Listed<Group>>;
  /** null if it is gone.  @throws RegistryError REGISTRY_VERSION_MISMATCH, and as `create` */
  update(id: string, patch: GroupPatch, expected?: number | null): Promise<Group | null>;
  updateIn(tx: ChangeSession, id: string, patch: GroupPatch, expected?: number | null): Promise<Group | null>;
  /** null if there is none. With cascade the groups below go too, and things and channels fall out of them.
   *  @throws RegistryError REGISTRY_IN_USE without cascade if anything is in it */
  remove(id: string, cascade: boolean, expected?: number | null): Promise<Removed | null>;
  removeIn(tx: ChangeSession, id: string, cascade: boolean, expected?: number | null): Promise<Removed | null>;
}

export const LEVELS_MAX = 32;
const COLUMNS = `groups.id, groups.org, groups.parent AS "parentId", groups.ancestors, groups.name, groups.description,
  groups.enabled, groups.active, groups.metadata, groups.tags, groups.version, groups.created_at AS "createdAt",
  groups.updated_at AS "updatedAt"`;

const invalid = (because: string): RegistryError =>
  new RegistryError('REGISTRY_INVALID', 'never', { field: 'parent_id', because });
const tooDeep = (): RegistryError => invalid(`would be deeper than ${LEVELS_MAX} levels`);

export function createGroups(session: Session, feed: ChangeFeed): Groups {
  const read = async (from: Session, id: string): Promise<Group | null> =>
    (await from.query<Group>(`SELECT ${COLUMNS} FROM registry.groups WHERE id = $1`, [id]))[0] ?? null;

  /** The group that something shall be put below.  @throws RegistryError REGISTRY_NOT_FOUND */
  async function parentOf(tx: Session, org: string, id: string | null): Promise<Group | null> {
    if (id === null) return null;
    const parent = await read(tx, id);
    if (parent === null || parent.org !== org) throw new RegistryError('REGISTRY_NOT_FOUND', 'never', { group: id });
    return parent;
  }
  const pathBelow = (parent: Group | null): string[] => (parent === null ? [] : [...parent.ancestors, parent.id]);

  async function createIn(tx: ChangeSession, org: string, group: NewGroup): Promise<Group> {
    await lockOrg(tx, 'groups', org);
    const parent = await parentOf(tx, org, group.parentId ?? null);
    const ancestors = pathBelow(parent);
    if (ancestors.length >= LEVELS_MAX) throw tooDeep();
    const enabled = group.enabled ?? true;
    const [made] = await tx.query<Group>(
      `INSERT INTO registry.groups (id, org, parent, ancestors, name, description, enabled, active, metadata, tags)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING ${COLUMNS}`,
      [
        group.id?.toLowerCase() ?? uuidV7(),
        org,
        parent?.id ?? null,
        ancestors,
        group.name ?? '',
        group.description ?? '',
        enabled,
        enabled && (parent?.active ?? true),
        JSON.stringify(group.metadata ?? {}),
        group.tags ?? [],
      ],
    );
    if (made === undefined) throw new RegistryError('REGISTRY_NOT_FOUND', 'never', { org });
    tx.changed('group', made.id, org, []);
    noteChange(tx, 'groups', 'create', null, made);
    return made;
  }

  async function updateIn(
    tx: ChangeSession,
    id: string,
    patch: GroupPatch,
    expected: number | null = null,
  ): Promise<Group | null> {
    const org = (await read(tx, id))?.org;
    if (org === undefined) return null;
    await lockOrg(tx, 'groups', org);
    const before = await read(tx, id);
    if (before === null) return null;
    checkVersion('group', before, expected);
    const enabled = patch.enabled ?? before.enabled;
    const parentId = patch.parentId === undefined ? before.parentId : (patch.parentId?.toLowerCase() ?? null);
    const moves = parentId !== before.parentId;
    if (moves) await move(tx, before, parentId);
    await tx.query(
      `UPDATE registry.groups SET name = $2, description = $3, enabled = $4, metadata = $5, tags = $6,
         version = version + 1, updated_at = now() WHERE id = $1`,
      [
        id,
        patch.name ?? before.name,
        patch.description ?? before.description,
        enabled,
        JSON.stringify(patch.metadata ?? before.metadata),
        patch.tags ?? before.tags,
      ],
    );
    if (moves || enabled !== before.enabled) {
      const switched = await settleActive(tx, id);
      tellBranch(tx, org, id, await branchFrom(tx, id), switched);
    } else {
      tx.changed('group', id, org, []);
    }
    const after = await read(tx, id);
    if (after !== null) noteChange(tx, 'groups', moves ? 'move' : 'update', before, after);
    return after;
  }

  /** Puts it and all that is below it elsewhere, in one statement. */
  async function move(tx: Session, group: Group, to: string | null): Promise<void> {
    const parent = await parentOf(tx, group.org, to);
    const path = pathBelow(parent);
    if (path.includes(group.id)) throw invalid('lies in the group itself');
    const [deepest] = await tx.query<{ levels: number | null }>(
      'SELECT max(cardinality(ancestors))::integer AS levels FROM registry.groups WHERE ancestors @> ARRAY[$1::uuid]',
      [group.id],
    );
    const below = Math.max(0, (deepest?.levels ?? 0) - group.ancestors.length);
    if (path.length + below >= LEVELS_MAX) throw tooDeep();
    await tx.query(
      `UPDATE registry.groups SET parent = CASE WHEN id = $1 THEN $2::uuid ELSE parent END,
         ancestors = $3::uuid[] || ancestors[$4::integer + 1 :]
       WHERE id = $1 OR ancestors @> ARRAY[$1::uuid]`,
      [group.id, to, path, group.ancestors.length],
    );
  }

  /** Says anew of a branch what of it is active.  @returns whether that changed anywhere */
  async function settleActive(tx: Session, id: string): Promise<boolean> {
    const rows = await tx.query(
      `UPDATE registry.groups SET active = settled.active FROM (
         SELECT below.id, below.enabled AND NOT EXISTS (
           SELECT 1 FROM registry.groups AS above WHERE above.id = ANY (below.ancestors) AND NOT above.enabled) AS active
         FROM registry.groups AS below WHERE below.id = $1 OR below.ancestors @> ARRAY[$1::uuid]) AS settled
       WHERE groups.id = settled.id AND groups.active <> settled.active RETURNING groups.id`,
      [id],
    );
    return rows.length > 0;
  }

  async function removeIn(
    tx: ChangeSession,
    id: string,
    cascade: boolean,
    expected: number | null = null,
  ): Promise<Removed | null> {
    const org = (await read(tx, id))?.org;
    if (org === undefined) return null;
    await lockOrg(tx, 'groups', org);
    const before = await read(tx, id);
    if (before === null) return null;
    checkVersion('group', before, expected);
    await lockBranch(tx, id);
    const branch: Branch = await branchFrom(tx, id);
    const { groups, things, channels } = branch.counts;
    if (!cascade && groups - 1 + things + channels > 0)
      throw new RegistryError('REGISTRY_IN_USE', 'never', { groups: groups - 1, things, channels });
    const attached = await tx.query(
      `DELETE FROM registry.policy_attachments WHERE org = $1 AND kind = 'group' AND target IN (
         SELECT id::text FROM registry.groups WHERE id = $2 OR ancestors @> ARRAY[$2::uuid]) RETURNING 1`,
      [org, id],
    );
    const gone = await tx.query<{ id: string; active: boolean }>(
      'DELETE FROM registry.groups WHERE id = $1 OR ancestors @> ARRAY[$1::uuid] RETURNING id, active',
      [id],
    );
    // What falls out of a disabled group works again.
    tellBranch(
      tx,
      org,
      id,
      branch,
      gone.some(({ active }) => !active),
    );
    noteChange(tx, 'groups', 'delete', before, null);
    const told = { groups: groups - 1, roles: branch.counts.roles, policy_attachments: attached.length };
    return { ...told, things_without_group: things, channels_without_group: channels };
  }

  return {
    createIn,
    updateIn,
    removeIn,
    create: (org, group) => feed.transaction((tx) => createIn(tx, org, group)),
    createMany: (org, groups) =>
      feed.transaction(async (tx) => {
        const made: Group[] = [];
        for (const group of groups) made.push(await createIn(tx, org, group));
        return made;
      }),
    update: (id, patch, expected = null) => feed.transaction((tx) => updateIn(tx, id, patch, expected)),
    remove: (id, cascade, expected = null) => feed.transaction((tx) => removeIn(tx, id, cascade, expected)),
    get: (id) => read(session, id),
    many: (ids, org) =>
      session.query<Group>(`SELECT ${COLUMNS} FROM registry.groups WHERE id = ANY ($1::uuid[]) AND org = $2`, [
        ids,
        org,
      ]),
    list: (query) =>
      listRows<Group>(session, 'registry.groups', COLUMNS, query, (clauses) => {
        if (query.parent === null) clauses.add('parent IS NULL');
        else if (query.parent !== undefined) clauses.add('parent = ?', query.parent);
        if (query.below !== undefined) clauses.add('ancestors @> ARRAY[?::uuid]', query.below);
        if (query.within !== undefined) clauses.add('(id = ANY (?::uuid[]) OR ancestors && ?::uuid[])', query.within);
      }),
  };
}
