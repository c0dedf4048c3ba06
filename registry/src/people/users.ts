import { type Credentials, type OrgRole, uuidV7 } from '@millrace/core';
import { changedFields } from '../audit/changed-fields.ts';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { Conditions, containing, type ListRequest, listPage, type Page } from './listing.ts';

export interface User {
  readonly id: string;
  readonly email: string;
  readonly name: string;
  /** https URL, or data:image/…. */
  readonly picture: string | null;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tags: readonly string[];
  readonly admin: boolean;
  readonly enabled: boolean;
  /** Whether the user has shown that they read mails to their address. */
  readonly verified: boolean;
  readonly epoch: number;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
export interface Membership {
  readonly org: string;
  readonly name: string;
  /** Built in, or the name of one of the organisation's own. */
  readonly role: string;
  /** Of a role of the organisation's own. */
  readonly roleId: string | null;
}
/** What is undefined stays as it is. */
export interface ProfilePatch {
  readonly name?: string | undefined;
  readonly picture?: string | null | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly tags?: readonly string[] | undefined;
}
export interface UserPatch extends ProfilePatch {
  /** Of the installation. */
  readonly admin?: boolean | undefined;
}
export interface UserFilter {
  readonly email?: string | undefined;
  readonly name?: string | undefined;
  readonly tag?: string | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly enabled?: boolean | undefined;
}
/** Why a user was left as they are. */
export type UserRefusal = 'gone' | 'last_admin';

export interface Users {
  /** With an org of their own, and a mail that asks them to confirm their address.
   *  @throws RegistryError REGISTRY_CONFLICT with field email or id */
  register(
    email: string,
    password: string,
    more?: { id?: string | undefined; name?: string | undefined },
  ): Promise<User>;
  get(id: string): Promise<User | null>;
  byEmail(email: string): Promise<User | null>;
  list(filter: UserFilter, request: ListRequest): Promise<Page<User>>;
  /** The oldest first: it is the org that requests mean which name none. */
  memberships(user: string): Promise<Membership[]>;
  /** null if e-mail or password is wrong, the user has none or is disabled; takes the same time for all. */
  authenticate(email: string, password: string): Promise<User | null>;
  /** @param version that it must have; null: any  @throws RegistryError REGISTRY_VERSION_MISMATCH */
  update(id: string, patch: UserPatch, version: number | null): Promise<User | UserRefusal>;
  /** Who is disabled is out at once, everywhere: sessions end, tokens are void. */
  setEnabled(id: string, enabled: boolean): Promise<User | UserRefusal>;
}

export const USER_COLUMNS = `users.id, users.email, users.name, users.picture, users.metadata, users.tags, users.admin, users.enabled,
  users.email_verified_at IS NOT NULL AS verified, users.epoch, users.version, users.created_at AS "createdAt",
  users.updated_at AS "updatedAt"`;
export const normaliseEmail = (email: string): string => email.trim().toLowerCase();

const MEMBERSHIPS = `SELECT memberships.org, orgs.name, coalesce(role, roles.name) AS role, custom_role AS "roleId"
  FROM registry.memberships JOIN registry.orgs ON orgs.id = memberships.org LEFT JOIN registry.roles ON roles.id = custom_role
  WHERE user_id = $1 ORDER BY memberships.created_at, memberships.org`;
const UPDATE = `UPDATE registry.users SET name = coalesce($2, name), picture = CASE WHEN $3 THEN $4 ELSE picture END,
    metadata = coalesce($5::jsonb, metadata), tags = coalesce($6::text[], tags), admin = coalesce($7, admin), version = version + 1, updated_at = now()
  WHERE id = $1 RETURNING ${USER_COLUMNS}`;

/** @param welcome what becomes of a user who has just registered, in the same transaction */
export function createUsers(
  session: Session,
  feed: ChangeFeed,
  credentials: Credentials,
  welcome: (tx: ChangeSession, user: User) => Promise<void>,
): Users {
  /** A user to be changed, unless that would leave no administrator. */
  const locked = async (tx: ChangeSession, id: string, staysAdmin: boolean): Promise<User | UserRefusal> => {
    const admins = staysAdmin ? [] : await lockAdmins(tx);
    const [user] = await tx.query<User>(`SELECT ${USER_COLUMNS} FROM registry.users WHERE id = $1 FOR UPDATE`, [id]);
    if (user === undefined) return 'gone';
    return !staysAdmin && user.admin && admins.every((admin) => admin === id) ? 'last_admin' : user;
  };

  return {
    async register(email, password, { id, name } = {}) {
      const hash = await credentials.hashPassword(password);
      return feed.transaction(async (tx) => {
        const user = await insertUser(tx, { id, email: normaliseEmail(email), hash, admin: false, name });
        await insertOrg(tx, user.email, user.id);
        await welcome(tx, user);
        return user;
      });
    },
    get: (id) => one(session, 'id', id),
    byEmail: (email) => one(session, 'email', normaliseEmail(email)),
    list({ email, name, tag, metadata, enabled }, request) {
      const conditions = new Conditions();
      if (email !== undefined) conditions.add((value) => `users.email ILIKE ${value}`, containing(email));
      if (name !== undefined) conditions.add((value) => `users.name ILIKE ${value}`, containing(name));
      if (tag !== undefined) conditions.add((value) => `${value} = ANY (users.tags)`, tag);
      if (metadata !== undefined)
        conditions.add((value) => `users.metadata @> ${value}::jsonb`, JSON.stringify(metadata));
      if (enabled !== undefined) conditions.add((value) => `users.enabled = ${value}`, enabled);
      return listPage<User>(session, SOURCE, conditions, request);
    },
    memberships: (user) => session.query<Membership>(MEMBERSHIPS, [user]),
    async authenticate(email, password) {
      const [row] = await session.query<User & { hash: string | null }>(
        `SELECT ${USER_COLUMNS}, password_hash AS hash FROM registry.users WHERE email = $1`,
        [normaliseEmail(email)],
      );
      const right = await credentials.verifyPassword(password, row?.hash ?? null);
      if (!right || row === undefined || !row.enabled) return null;
      const { hash: _, ...user } = row;
      return user;
    },
    update: (id, patch, version) =>
      feed.transaction(async (tx) => {
        const before = await locked(tx, id, patch.admin !== false);
        if (typeof before === 'string') return before;
        atVersion(before, version);
        const { name, picture, metadata, tags, admin } = patch;
        const values = [id, name, picture !== undefined, picture, json(metadata), tags, admin];
        const [after] = await tx.query<User>(UPDATE, values);
        if (admin !== undefined && admin !== before.admin) tx.changed('user', id, null, [id]);
        tx.audit({ action: 'users.update', entity: 'users', id, org: null, detail: changedFields(before, patch) });
        return after ?? 'gone';
      }),
    setEnabled: (id, enabled) =>
      feed.transaction(async (tx) => {
        const before = await locked(tx, id, enabled);
        if (typeof before === 'string' || before.enabled === enabled) return before;
        const [after] = await tx.query<User>(
          `UPDATE registry.users SET enabled = $2, epoch = epoch + $3, version = version + 1, updated_at = now()
           WHERE id = $1 RETURNING ${USER_COLUMNS}`,
          [id, enabled, enabled ? 0 : 1],
        );
        if (!enabled) await tx.query('DELETE FROM registry.refresh_tokens WHERE user_id = $1', [id]);
        tx.changed('user', id, null, [id]);
        tx.audit({ action: `users.${enabled ? 'enable' : 'disable'}`, entity: 'users', id, org: null });
        return after ?? 'gone';
      }),
  };
}

const SOURCE = {
  columns: USER_COLUMNS,
  from: 'registry.users',
  id: 'users.id',
  order: { created: 'users.created_at', updated: 'users.updated_at', name: 'users.name' },
} as const;

async function one(session: Session, column: 'id' | 'email', value: string): Promise<User | null> {
  const [found] = await session.query<User>(`SELECT ${USER_COLUMNS} FROM registry.users WHERE ${column} = $1`, [value]);
  return found ?? null;
}

/** Enabled administrators of the installation, locked in one order, so that two can't leave none between them. */
export async function lockAdmins(tx: Session): Promise<string[]> {
  const sql = 'SELECT id FROM registry.users WHERE admin AND enabled ORDER BY id FOR UPDATE';
  return (await tx.query<{ id: string }>(sql)).map(({ id }) => id);
}

/** @throws RegistryError REGISTRY_VERSION_MISMATCH */
export function atVersion(entity: { readonly id: string; readonly version: number }, expected: number | null): void {
  if (expected !== null && entity.version !== expected)
    throw new RegistryError('REGISTRY_VERSION_MISMATCH', 'never', { id: entity.id, version: entity.version });
}

export const json = (value: unknown): string | undefined => (value === undefined ? undefined : JSON.stringify(value));

export async function insertUser(
  tx: ChangeSession,
  user: {
    readonly id?: string | undefined;
    readonly email: string;
    /** null: comes in by another provider only. */
    readonly hash: string | null;
    readonly admin: boolean;
    readonly name?: string | undefined;
    readonly verified?: boolean;
  },
): Promise<User> {
  const [made] = await tx.query<User>(
    `INSERT INTO registry.users (id, email, password_hash, admin, name, email_verified_at)
     VALUES ($1, $2, $3, $4, $5, CASE WHEN $6 THEN now() END) RETURNING ${USER_COLUMNS}`,
    [user.id?.toLowerCase() ?? uuidV7(), user.email, user.hash, user.admin, user.name ?? '', user.verified ?? false],
  );
  if (made === undefined) throw new TypeError('INSERT … RETURNING gave no row');
  tx.changed('user', made.id, null, [made.id]);
  tx.audit({ action: 'users.create', entity: 'users', id: made.id, org: null, detail: { email: made.email } });
  return made;
}

export async function insertOrg(
  tx: ChangeSession,
  name: string,
  owner: string,
  more: {
    readonly id?: string | undefined;
    readonly alias?: string | null | undefined;
    readonly metadata?: Readonly<Record<string, unknown>> | undefined;
    readonly tags?: readonly string[] | undefined;
    readonly retentionDays?: number | null | undefined;
    readonly rollupRetentionDays?: number | null | undefined;
  } = {},
): Promise<string> {
  const org = more.id?.toLowerCase() ?? uuidV7();
  await tx.query(
    'INSERT INTO registry.orgs (id, name, alias, metadata, tags, retention_days, rollup_retention_days) VALUES ($1, $2, $3, $4, $5, $6, $7)',
    [
      org,
      name,
      more.alias ?? null,
      JSON.stringify(more.metadata ?? {}),
      more.tags ?? [],
      more.retentionDays ?? null,
      more.rollupRetentionDays ?? null,
    ],
  );
  const role: OrgRole = 'owner';
  await tx.query('INSERT INTO registry.memberships (user_id, org, role) VALUES ($1, $2, $3)', [owner, org, role]);
  // Nothing is known of it yet that could be void, but what its owner may: no node looks through all that it remembers.
  tx.changed('member', owner, org, [owner]);
  tx.audit({ action: 'orgs.create', entity: 'orgs', id: org, org, detail: { name, owner } });
  return org;
}
