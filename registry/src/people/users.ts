import { type Credentials, type OrgRole, uuidV7 } from '@millrace/core';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';

export interface User {
  readonly id: string;
  readonly email: string;
  readonly admin: boolean;
  readonly enabled: boolean;
  readonly epoch: number;
  readonly createdAt: Date;
}
export interface Membership {
  readonly org: string;
  readonly name: string;
  readonly role: OrgRole;
}
export interface Users {
  /** With an org of their own.  @throws RegistryError REGISTRY_CONFLICT with field email */
  register(email: string, password: string): Promise<User>;
  get(id: string): Promise<User | null>;
  /** The oldest first: it is the org that requests mean which name none. */
  memberships(user: string): Promise<Membership[]>;
  /** null if e-mail or password is wrong or the user is disabled; takes the same time for all. */
  authenticate(email: string, password: string): Promise<User | null>;
  /** Ends the user's sessions. */
  setPassword(id: string, password: string): Promise<boolean>;
}

export const USER_COLUMNS = 'id, email, admin, enabled, epoch, created_at AS "createdAt"';
export const normaliseEmail = (email: string): string => email.trim().toLowerCase();

export function createUsers(session: Session, feed: ChangeFeed, credentials: Credentials): Users {
  return {
    async register(email, password) {
      const hash = await credentials.hashPassword(password);
      return feed.transaction(async (tx) => {
        const user = await insertUser(tx, { email: normaliseEmail(email), hash, admin: false });
        await insertOrg(tx, user.email, user.id);
        return user;
      });
    },
    async get(id) {
      return (await session.query<User>(`SELECT ${USER_COLUMNS} FROM registry.users WHERE id = $1`, [id]))[0] ?? null;
    },
    memberships: (user) =>
      session.query<Membership>(
        `SELECT org, name, role FROM registry.memberships JOIN registry.orgs ON orgs.id = org
         WHERE user_id = $1 ORDER BY memberships.created_at, org`,
        [user],
      ),
    async authenticate(email, password) {
      const [row] = await session.query<User & { hash: string }>(
        `SELECT ${USER_COLUMNS}, password_hash AS hash FROM registry.users WHERE email = $1`,
        [normaliseEmail(email)],
      );
      const right = await credentials.verifyPassword(password, row?.hash ?? null);
      if (!right || row === undefined || !row.enabled) return null;
      const { hash: _, ...user } = row;
      return user;
    },
    async setPassword(id, password) {
      const hash = await credentials.hashPassword(password);
      return feed.transaction(async (tx) => {
        const rows = await tx.query('UPDATE registry.users SET password_hash = $2 WHERE id = $1 RETURNING id', [
          id,
          hash,
        ]);
        if (rows.length === 0) return false;
        await tx.query('DELETE FROM registry.refresh_tokens WHERE user_id = $1', [id]);
        tx.changed('user', id, null, [id]);
        return true;
      });
    },
  };
}

export async function insertUser(
  tx: ChangeSession,
  { email, hash, admin }: { email: string; hash: string; admin: boolean },
): Promise<User> {
  const [user] = await tx.query<User>(
    `INSERT INTO registry.users (id, email, password_hash, admin) VALUES ($1, $2, $3, $4) RETURNING ${USER_COLUMNS}`,
    [uuidV7(), email, hash, admin],
  );
  if (user === undefined) throw new TypeError('INSERT … RETURNING gave no row');
  tx.changed('user', user.id, null, [user.id]);
  return user;
}

export async function insertOrg(tx: ChangeSession, name: string, owner: string): Promise<string> {
  const org = uuidV7();
  await tx.query('INSERT INTO registry.orgs (id, name) VALUES ($1, $2)', [org, name]);
  await tx.query(`INSERT INTO registry.memberships (user_id, org, role) VALUES ($1, $2, 'owner')`, [owner, org]);
  tx.changed('org', org, org, [owner]);
  return org;
}
