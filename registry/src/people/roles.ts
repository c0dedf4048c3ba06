import { controlEntities, type OrgRole, roleActions, uuidV7 } from '@millrace/core';
import { changedFields } from '../audit/changed-fields.ts';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { Conditions, containing, type ListRequest, listPage, type Page } from './listing.ts';
import type { Counts } from './removal.ts';
import { atVersion, json } from './users.ts';

/** A role of an organisation's own: a named set of actions. */
export interface Role {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly description: string;
  readonly actions: readonly string[];
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tags: readonly string[];
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
export interface NewRole {
  readonly id?: string | undefined;
  readonly name: string;
  readonly description?: string | undefined;
  readonly actions: readonly string[];
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly tags?: readonly string[] | undefined;
}
export type RolePatch = { readonly [K in keyof Omit<NewRole, 'id'>]?: NewRole[K] | undefined };
/** A role that is given: built in, or one of the organisation's own. */
export type RoleReference =
  | { readonly role: OrgRole; readonly roleId: null }
  | { readonly role: null; readonly roleId: string };

export interface Roles {
  /** null if the organisation has as many as it may.  @throws RegistryError REGISTRY_CONFLICT with field id or name */
  create(org: string, role: NewRole): Promise<Role | null>;
  /** The same as a part of a transaction. */
  createIn(tx: ChangeSession, org: string, role: NewRole): Promise<Role | null>;
  get(id: string): Promise<Role | null>;
  list(
    org: string,
    filter: { readonly name?: string | undefined; readonly tag?: string | undefined },
    request: ListRequest,
  ): Promise<Page<Role>>;
  /** Takes effect at once for all who have it. null if gone.  @throws RegistryError REGISTRY_VERSION_MISMATCH */
  update(id: string, patch: RolePatch, version: number | null): Promise<Role | null>;
  updateIn(tx: ChangeSession, id: string, patch: RolePatch, version: number | null): Promise<Role | null>;
  /** With `cascade` whoever has it is no member any more. null if gone.
   *  @throws RegistryError REGISTRY_IN_USE with how many have it */
  remove(id: string, cascade: boolean): Promise<Counts | null>;
  removeIn(tx: ChangeSession, id: string, cascade: boolean): Promise<Counts | null>;
  /** What a role may; null if the organisation has no such role. */
  actionsOf(org: string, reference: RoleReference): Promise<readonly string[] | null>;
}

const ROLES_MAX = 500;
/** Holders that a change names one by one; beyond it all of the organisation is void. */
const NAMED_MAX = 1_000;
const COLUMNS = `roles.id, roles.org, roles.name, roles.description, roles.actions, roles.metadata, roles.tags, roles.version,
  roles.created_at AS "createdAt", roles.updated_at AS "updatedAt"`;
const SOURCE = {
  columns: COLUMNS,
  from: 'registry.roles',
  id: 'roles.id',
  order: { created: 'roles.created_at', updated: 'roles.updated_at', name: 'roles.name' },
} as const;
const HOLDERS = `SELECT user_id AS user FROM registry.memberships WHERE custom_role = $1
  UNION SELECT user_id FROM registry.group_roles WHERE custom_role = $1 LIMIT ${NAMED_MAX + 1}`;

/** `publish`, `subscribe`, `*`, and `<entity>.<verb>` of a known entity, either of which may be `*`. */
export const isAction = (action: string): boolean => {
  if (action === '*' || action === 'publish' || action === 'subscribe') return true;
  const [, entity, verb] = /^([a-z]+|\*)\.([a-z_]{1,32}|\*)$/.exec(action) ?? [];
  return verb !== undefined && (entity === '*' || (controlEntities as readonly string[]).includes(entity ?? ''));
};

export function createRoles(session: Session, feed: ChangeFeed): Roles {
  const holders = async (tx: Session, id: string, org: string): Promise<string[]> => {
    const found = await tx.query<{ user: string }>(HOLDERS, [id]);
    return found.length > NAMED_MAX ? [org] : found.map(({ user }) => user);
  };
  const createIn: Roles['createIn'] = async (tx, org, role) => {
    await tx.query('SELECT 1 FROM registry.orgs WHERE id = $1 FOR UPDATE', [org]);
    const count = 'SELECT count(*)::integer AS count FROM registry.roles WHERE org = $1';
    const [has] = await tx.query<{ count: number }>(count, [org]);
    if ((has?.count ?? 0) >= ROLES_MAX) return null;
    const [made] = await tx.query<Role>(
      `INSERT INTO registry.roles (id, org, name, description, actions, metadata, tags)
       VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ${COLUMNS}`,
      [
        role.id?.toLowerCase() ?? uuidV7(),
        org,
        role.name,
        role.description ?? '',
        role.actions,
        JSON.stringify(role.metadata ?? {}),
        role.tags ?? [],
      ],
    );
    if (made === undefined) return null;
    const detail = { name: made.name, actions: made.actions };
    tx.audit({ action: 'roles.create', entity: 'roles', id: made.id, org, detail });
    return made;
  };

  const updateIn: Roles['updateIn'] = async (tx, id, patch, version) => {
    const [before] = await tx.query<Role>(`SELECT ${COLUMNS} FROM registry.roles WHERE id = $1 FOR UPDATE`, [id]);
    if (before === undefined) return null;
    atVersion(before, version);
    const [after] = await tx.query<Role>(
      `UPDATE registry.roles SET name = coalesce($2, name), description = coalesce($3, description),
         actions = coalesce($4::text[], actions), metadata = coalesce($5::jsonb, metadata), tags = coalesce($6::text[], tags),
         version = version + 1, updated_at = now() WHERE id = $1 RETURNING ${COLUMNS}`,
      [id, patch.name, patch.description, patch.actions, json(patch.metadata), patch.tags],
    );
    tx.changed('role', id, before.org, await holders(tx, id, before.org));
    const detail = changedFields(before, patch);
    tx.audit({ action: 'roles.update', entity: 'roles', id, org: before.org, detail });
    return after ?? null;
  };

  const removeIn: Roles['removeIn'] = async (tx, id, cascade) => {
    const [role] = await tx.query<{ org: string; name: string }>(
      'SELECT org, name FROM registry.roles WHERE id = $1 FOR UPDATE',
      [id],
    );
    if (role === undefined) return null;
    const voids = await holders(tx, id, role.org);
    const count = async (sql: string): Promise<number> => (await tx.query(`${sql} RETURNING 1`, [id])).length;
    const invitations = `DELETE FROM registry.invitations WHERE custom_role = $1`;
    const keys = await tx.query<{ id: string }>(
      `DELETE FROM registry.api_keys AS key USING registry.memberships AS member
       WHERE member.custom_role = $1 AND key.org = member.org AND key.user_id = member.user_id RETURNING key.id`,
      [id],
    );
    const counts = {
      invitations: await count(`${invitations} AND state = 'pending' AND expires_at > now()`),
      // Who is nothing in the organisation may be nothing in its groups.
      group_roles: await count(
        `DELETE FROM registry.group_roles WHERE custom_role = $1 OR (org = (SELECT org FROM registry.roles WHERE id = $1)
           AND user_id IN (SELECT user_id FROM registry.memberships WHERE custom_role = $1))`,
      ),
      api_keys: keys.length,
      members: await count('DELETE FROM registry.memberships WHERE custom_role = $1'),
      policies: await count(`DELETE FROM registry.policy_attachments WHERE kind = 'role' AND target = $1::text`),
    };
    const used = Object.entries(counts).filter(([, each]) => each > 0);
    // Nothing is deleted where this is thrown: all of it is one transaction.
    if (used.length > 0 && !cascade) throw new RegistryError('REGISTRY_IN_USE', 'never', Object.fromEntries(used));
    await tx.query(invitations, [id]);
    await tx.query('DELETE FROM registry.roles WHERE id = $1', [id]);
    tx.changed('role', id, role.org, voids);
    for (const key of keys) tx.changed('key', key.id, role.org, [key.id]);
    tx.audit({
      action: 'roles.delete',
      entity: 'roles',
      id,
      org: role.org,
      detail: { name: role.name, ...counts },
    });
    return counts;
  };

  return {
    createIn,
    updateIn,
    removeIn,
    create: (...what) => feed.transaction((tx) => createIn(tx, ...what)),
    update: (...what) => feed.transaction((tx) => updateIn(tx, ...what)),
    remove: (...what) => feed.transaction((tx) => removeIn(tx, ...what)),

    async get(id) {
      return (await session.query<Role>(`SELECT ${COLUMNS} FROM registry.roles WHERE id = $1`, [id]))[0] ?? null;
    },

    list(org, { name, tag }, request) {
      const conditions = new Conditions().add((value) => `roles.org = ${value}`, org);
      if (name !== undefined) conditions.add((value) => `roles.name ILIKE ${value}`, containing(name));
      if (tag !== undefined) conditions.add((value) => `${value} = ANY (roles.tags)`, tag);
      return listPage<Role>(session, SOURCE, conditions, request);
    },

    async actionsOf(org, { role, roleId }) {
      if (role !== null) return roleActions[role];
      const sql = 'SELECT actions FROM registry.roles WHERE id = $1 AND org = $2';
      return (await session.query<{ actions: string[] }>(sql, [roleId, org]))[0]?.actions ?? null;
    },
  };
}
