import type { OrgRole } from '@millrace/core';
import type { ChangeFeed } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import type { Group } from './groups.ts';
import type { Listed } from './page.ts';

/** What somebody is in a group and in all below it. */
export interface GroupRole {
  readonly userId: string;
  readonly email: string;
  /** Built in; null if it is the organisation's own. */
  readonly role: OrgRole | null;
  readonly customRole: string | null;
  /** Of either. */
  readonly name: string;
  /** null if it is built in. */
  readonly actions: readonly string[] | null;
  readonly createdAt: Date;
}
export type GivenRole = { readonly role: OrgRole } | { readonly customRole: string };

export interface GroupRoles {
  list(group: string, offset: number, limit: number): Promise<Listed<GroupRole>>;
  get(group: string, user: string): Promise<GroupRole | null>;
  /** Actions of a role that the organisation made; null if there is no such role. */
  actionsOf(org: string, customRole: string): Promise<readonly string[] | null>;
  /** In place of what they were there.
   *  @throws RegistryError REGISTRY_INVALID with field user for who is no member, REGISTRY_NOT_FOUND for an unknown role */
  put(group: Group, user: string, given: GivenRole): Promise<GroupRole>;
  /** @returns false if they were nothing there */
  remove(group: Group, user: string): Promise<boolean>;
}

const SELECT = `SELECT user_id AS "userId", email, group_roles.role, custom_role AS "customRole",
    coalesce(group_roles.role, roles.name) AS name, roles.actions, group_roles.created_at AS "createdAt"
  FROM registry.group_roles JOIN registry.users ON users.id = user_id LEFT JOIN registry.roles ON roles.id = custom_role
  WHERE group_id = $1`;

export function createGroupRoles(session: Session, feed: ChangeFeed): GroupRoles {
  const get = async (from: Session, group: string, user: string): Promise<GroupRole | null> =>
    (await from.query<GroupRole>(`${SELECT} AND user_id = $2`, [group, user]))[0] ?? null;
  return {
    get: (group, user) => get(session, group, user),

    async list(group, offset, limit) {
      const [items, [count]] = await Promise.all([
        session.query<GroupRole>(`${SELECT} ORDER BY email OFFSET $2 LIMIT $3`, [group, offset, limit]),
        session.query<{ total: number }>(
          'SELECT count(*)::integer AS total FROM registry.group_roles WHERE group_id = $1',
          [group],
        ),
      ]);
      return { total: count?.total ?? 0, offset, limit, items };
    },

    async actionsOf(org, customRole) {
      const sql = 'SELECT actions FROM registry.roles WHERE org = $1 AND id = $2';
      return (await session.query<{ actions: string[] }>(sql, [org, customRole]))[0]?.actions ?? null;
    },

    put: (group, user, given) =>
      feed.transaction(async (tx) => {
        const [member] = await tx.query(
          'SELECT 1 FROM registry.memberships WHERE org = $1 AND user_id = $2 FOR KEY SHARE',
          [group.org, user],
        );
        if (member === undefined)
          throw new RegistryError('REGISTRY_INVALID', 'never', {
            field: 'user',
            because: 'is no member of the organisation: invite them first',
          });
        await tx.query(
          `INSERT INTO registry.group_roles (group_id, user_id, org, role, custom_role) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (group_id, user_id) DO UPDATE SET role = excluded.role, custom_role = excluded.custom_role`,
          [
            group.id,
            user,
            group.org,
            'role' in given ? given.role : null,
            'customRole' in given ? given.customRole : null,
          ],
        );
        const made = await get(tx, group.id, user);
        if (made === null) throw new RegistryError('REGISTRY_NOT_FOUND', 'never', { group: group.id });
        tx.changed('group', group.id, group.org, [user]);
        tx.audit({
          action: 'groups.set_role',
          entity: 'groups',
          id: group.id,
          org: group.org,
          detail: { name: group.name, user, role: made.name },
        });
        return made;
      }),

    remove: (group, user) =>
      feed.transaction(async (tx) => {
        const [gone] = await tx.query(
          'DELETE FROM registry.group_roles WHERE group_id = $1 AND user_id = $2 RETURNING 1',
          [group.id, user],
        );
        if (gone === undefined) return false;
        tx.changed('group', group.id, group.org, [user]);
        const detail = { name: group.name, user };
        tx.audit({ action: 'groups.remove_role', entity: 'groups', id: group.id, org: group.org, detail });
        return true;
      }),
  };
}
