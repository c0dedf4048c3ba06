import { changedFields } from '../audit/changed-fields.ts';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { Conditions, containing, type ListRequest, listPage, type Page } from './listing.ts';
import type { Counts } from './removal.ts';
import type { RoleReference } from './roles.ts';

export interface Member {
  /** Of the user. */
  readonly id: string;
  readonly email: string;
  readonly name: string;
  readonly picture: string | null;
  readonly enabled: boolean;
  /** Built in, or the name of one of the organisation's own. */
  readonly role: string;
  readonly roleId: string | null;
  /** When they became one. */
  readonly createdAt: Date;
}
export interface MemberFilter {
  /** Part of the e-mail. */
  readonly email?: string | undefined;
  readonly name?: string | undefined;
  readonly role?: string | undefined;
}
export type MemberRefusal =
  /** No such member, or user. */
  | 'gone'
  /** An organisation without an owner could be helped by nobody in it. */
  | 'last_owner'
  /** The member is an owner, and who asks is none. */
  | 'owners_only'
  /** MILLRACE_MEMBERS_PER_ORG_MAX */
  | 'full';
export interface MemberChange {
  /** Who asks is an owner. */
  readonly byOwner: boolean;
  /** Makes a member of who is none. */
  readonly add?: boolean;
}

export interface Members {
  get(org: string, user: string): Promise<Member | null>;
  list(org: string, filter: MemberFilter, request: ListRequest): Promise<Page<Member>>;
  /** Takes effect at once.  @throws RegistryError REGISTRY_NOT_FOUND if the role is gone */
  set(org: string, user: string, role: RoleReference, change: MemberChange): Promise<Member | MemberRefusal>;
  /** With all that they have there: roles in groups, keys, policies attached to them. */
  remove(org: string, user: string, change: MemberChange): Promise<Counts | MemberRefusal>;
}

const COLUMNS = `users.id, users.email, users.name, users.picture, users.enabled, coalesce(role, roles.name) AS role,
  custom_role AS "roleId", memberships.created_at AS "createdAt"`;
const FROM = `registry.memberships JOIN registry.users ON users.id = user_id LEFT JOIN registry.roles ON roles.id = custom_role`;
const SOURCE = {
  columns: COLUMNS,
  from: FROM,
  id: 'users.id',
  order: { created: 'memberships.created_at', updated: 'memberships.created_at', name: 'users.name' },
} as const;
const ONE = `SELECT ${COLUMNS} FROM ${FROM} WHERE memberships.org = $1 AND user_id = $2`;

export function createMembers(session: Session, feed: ChangeFeed, membersMax: number): Members {
  const one = async (tx: Session, org: string, user: string): Promise<Member | null> =>
    (await tx.query<Member>(ONE, [org, user]))[0] ?? null;
  return {
    get: (org, user) => one(session, org, user),

    list(org, { email, name, role }, request) {
      const conditions = new Conditions().add((value) => `memberships.org = ${value}`, org);
      if (email !== undefined) conditions.add((value) => `users.email ILIKE ${value}`, containing(email));
      if (name !== undefined) conditions.add((value) => `users.name ILIKE ${value}`, containing(name));
      if (role !== undefined) conditions.add((value) => `coalesce(role, roles.name) = ${value}`, role);
      return listPage<Member>(session, SOURCE, conditions, request);
    },

    set: (org, user, { role, roleId }, { byOwner, add = false }) =>
      feed.transaction(async (tx) => {
        if (!(await lockOrg(tx, org))) return 'gone';
        const before = await one(tx, org, user);
        if (before === null) {
          if (!add) return 'gone';
          if ((await tx.query('SELECT 1 FROM registry.users WHERE id = $1', [user])).length === 0) return 'gone';
          if ((await placesTaken(tx, org)) >= membersMax) return 'full';
        } else {
          const refusal = await refuseOwner(tx, org, before, byOwner, role !== 'owner');
          if (refusal !== null) return refusal;
        }
        if (role === 'owner' && !byOwner) return 'owners_only';
        await putMember(tx, org, user, { role, roleId } as RoleReference);
        const after = await one(tx, org, user);
        if (after === null) return 'gone';
        const detail = { email: after.email, ...changedFields({ role: before?.role ?? null }, { role: after.role }) };
        const verb = before === null ? 'create' : 'update';
        tx.audit({ action: `members.${verb}`, entity: 'members', id: user, org, detail });
        return after;
      }),

    remove: (org, user, { byOwner }) =>
      feed.transaction(async (tx) => {
        if (!(await lockOrg(tx, org))) return 'gone';
        const before = await one(tx, org, user);
        if (before === null) return 'gone';
        const refusal = await refuseOwner(tx, org, before, byOwner, true);
        if (refusal !== null) return refusal;
        const counts = await removeMember(tx, org, user);
        const detail = { email: before.email, role: before.role };
        tx.audit({ action: 'members.delete', entity: 'members', id: user, org, detail });
        return counts;
      }),
  };
}

/** What is done to members of one organisation is done one after the other. */
export async function lockOrg(tx: Session, org: string): Promise<boolean> {
  return (await tx.query('SELECT 1 FROM registry.orgs WHERE id = $1 FOR UPDATE', [org])).length > 0;
}

/** Members, and those who are invited. */
export async function placesTaken(tx: Session, org: string): Promise<number> {
  const [row] = await tx.query<{ count: number }>(
    `SELECT (SELECT count(*) FROM registry.memberships WHERE org = $1)::integer
       + (SELECT count(*) FROM registry.invitations WHERE org = $1 AND state = 'pending' AND expires_at > now())::integer AS count`,
    [org],
  );
  return row?.count ?? 0;
}

/** Gives a role to a user, member or not yet. */
export async function putMember(
  tx: ChangeSession,
  org: string,
  user: string,
  { role, roleId }: RoleReference,
): Promise<void> {
  await tx.query(
    `INSERT INTO registry.memberships (user_id, org, role, custom_role) VALUES ($1, $2, $3, $4)
     ON CONFLICT (user_id, org) DO UPDATE SET role = excluded.role, custom_role = excluded.custom_role`,
    [user, org, role, roleId],
  );
  tx.changed('member', user, org, [user]);
}

async function removeMember(tx: ChangeSession, org: string, user: string): Promise<Counts> {
  const count = async (sql: string): Promise<number> => (await tx.query(`${sql} RETURNING 1`, [org, user])).length;
  const groups = await count('DELETE FROM registry.group_roles WHERE org = $1 AND user_id = $2');
  const policies = await count(
    `DELETE FROM registry.policy_attachments WHERE org = $1 AND kind = 'user' AND target = $2::text`,
  );
  const keys = await tx.query<{ id: string }>(
    'DELETE FROM registry.api_keys WHERE org = $1 AND user_id = $2 RETURNING id',
    [org, user],
  );
  await tx.query('DELETE FROM registry.memberships WHERE org = $1 AND user_id = $2', [org, user]);
  tx.changed('member', user, org, [user]);
  for (const { id } of keys) tx.changed('key', id, org, [id]);
  return { group_roles: groups, policies, api_keys: keys.length };
}

/** @param leaves whether the member would be no owner any more */
async function refuseOwner(
  tx: Session,
  org: string,
  { id, role, roleId }: Member,
  byOwner: boolean,
  leaves: boolean,
): Promise<MemberRefusal | null> {
  if (role !== 'owner' || roleId !== null) return null;
  if (!byOwner) return 'owners_only';
  if (!leaves) return null;
  const others = await tx.query(
    `SELECT 1 FROM registry.memberships JOIN registry.users ON users.id = user_id
     WHERE org = $1 AND role = 'owner' AND user_id <> $2 AND users.enabled LIMIT 1`,
    [org, id],
  );
  return others.length === 0 ? 'last_owner' : null;
}
