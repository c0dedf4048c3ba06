import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Parts } from '../parts.ts';
import { addressChangingMail, passwordChangedMail, resetMail, verifyMail } from './mail-texts.ts';
import type { MailedTokens } from './mailed-tokens.ts';
import type { Mails } from './mails.ts';
import { normaliseEmail, USER_COLUMNS, type User } from './users.ts';

/** What people do with their own account: passwords, sessions, and the address that they are reached at. */
export interface Accounts {
  /** Ends all sessions; access tokens are void at once.  @returns the new epoch; null if gone */
  logOutEverywhere(user: string): Promise<number | null>;
  /** Ends all sessions. @returns the new epoch; null unless the old password is right */
  changePassword(user: User, old: string, password: string): Promise<number | null>;
  /** Mails a token, if somebody has this address. Takes its time: not to be awaited before the answer. */
  requestReset(email: string): Promise<void>;
  /** Ends all sessions, and what the user let applications do: whoever knew the old password may have.
   *  @returns false if the token is unknown, used or expired */
  reset(token: string, password: string): Promise<boolean>;
  /** Mails a token to the user's address, unless it is confirmed. */
  requestVerification(user: User): Promise<void>;
  /** Mails a token to the new address, and a warning to the old one. */
  requestChange(user: User, email: string): Promise<void>;
  /** Confirms an address, or takes a new one into use.  @returns null if the token is unknown, used or expired
   *  @throws RegistryError REGISTRY_CONFLICT with field email: somebody else has taken it */
  verify(token: string): Promise<User | null>;
  /** Part of a registration. */
  welcome(tx: ChangeSession, user: User): Promise<void>;
}

interface AccountParts extends Pick<Parts, 'database' | 'credentials' | 'publicUrl'> {
  readonly feed: ChangeFeed;
  readonly mails: Mails;
  readonly tokens: MailedTokens;
}

export function createAccounts({ database, feed, credentials, publicUrl, mails, tokens }: AccountParts): Accounts {
  /** Voids access tokens by the epoch, and refresh tokens by their rows. */
  const endSessions = async (tx: ChangeSession, user: string): Promise<number | null> => {
    const sql = 'UPDATE registry.users SET epoch = epoch + 1 WHERE id = $1 RETURNING epoch';
    const [row] = await tx.query<{ epoch: number }>(sql, [user]);
    if (row === undefined) return null;
    await tx.query('DELETE FROM registry.refresh_tokens WHERE user_id = $1', [user]);
    tx.changed('user', user, null, [user]);
    return row.epoch;
  };
  /** What somebody else may have made in the account to get in again. */
  const endGrants = async (tx: ChangeSession, user: string): Promise<void> => {
    const sql = 'DELETE FROM registry.oauth_grants WHERE user_id = $1 RETURNING id, app, org';
    for (const { id, app, org } of await tx.query<{ id: string; app: string; org: string | null }>(sql, [user])) {
      tx.changed('key', id, org, [id]);
      tx.audit({ action: 'apps.revoke', entity: 'apps', id: app, org, detail: { grant: id } });
    }
  };
  const endKeys = async (tx: ChangeSession, user: string): Promise<void> => {
    const sql = 'DELETE FROM registry.api_keys WHERE user_id = $1 RETURNING id, org, name';
    for (const { id, org, name } of await tx.query<{ id: string; org: string; name: string }>(sql, [user])) {
      tx.changed('key', id, org, [id]);
      tx.audit({ action: 'keys.revoke', entity: 'keys', id, org, detail: { name, user } });
    }
  };
  const setPassword = async (tx: ChangeSession, user: string, hash: string, how: string): Promise<number | null> => {
    const sql = 'UPDATE registry.users SET password_hash = $2, updated_at = now() WHERE id = $1 RETURNING email';
    const [row] = await tx.query<{ email: string }>(sql, [user, hash]);
    if (row === undefined) return null;
    await tx.query(`DELETE FROM registry.mailed_tokens WHERE user_id = $1 AND purpose IN ('reset', 'change')`, [user]);
    await mails.put(tx, passwordChangedMail(publicUrl(), row.email));
    tx.audit({ action: 'users.password', entity: 'users', id: user, org: null, detail: { by: how } });
    return endSessions(tx, user);
  };
  const mailVerification = async (tx: ChangeSession, user: User): Promise<void> => {
    const token = await tokens.issue(tx, 'verify', user.id, user.email);
    if (token !== null) await mails.put(tx, verifyMail(publicUrl(), user.email, token));
  };

  return {
    logOutEverywhere: (user) =>
      feed.transaction(async (tx) => {
        tx.audit({ action: 'users.logout', entity: 'users', id: user, org: null, detail: { sessions: 'all' } });
        return endSessions(tx, user);
      }),

    async changePassword(user, old, password) {
      const [row] = await database.query<{ hash: string | null }>(
        'SELECT password_hash AS hash FROM registry.users WHERE id = $1',
        [user.id],
      );
      if (!(await credentials.verifyPassword(old, row?.hash ?? null))) return null;
      const hash = await credentials.hashPassword(password);
      return feed.transaction((tx) => setPassword(tx, user.id, hash, 'old password'));
    },

    requestReset: (email) =>
      feed.transaction(async (tx) => {
        const sql = 'SELECT id, email FROM registry.users WHERE email = $1 AND enabled';
        const [user] = await tx.query<{ id: string; email: string }>(sql, [normaliseEmail(email)]);
        if (user === undefined) return;
        const token = await tokens.issue(tx, 'reset', user.id, user.email);
        if (token === null) return;
        await mails.put(tx, resetMail(publicUrl(), user.email, token));
        tx.audit({ action: 'users.reset_request', entity: 'users', id: user.id, org: null });
      }),

    async reset(token, password) {
      // A hash is dear: not for who just guesses.
      if ((await tokens.look(database, 'reset', token)) === null) return false;
      const hash = await credentials.hashPassword(password);
      return feed.transaction(async (tx) => {
        const redeemed = await tokens.redeem(tx, ['reset'], token);
        if (redeemed === null) return false;
        const confirmed = await tx.query(
          'UPDATE registry.users SET email_verified_at = now() WHERE id = $1 AND email = $2 AND email_verified_at IS NULL RETURNING 1',
          [redeemed.user, redeemed.email],
        );
        // Somebody else may have registered with the address, and waited for its owner to come.
        if (confirmed.length > 0) await endKeys(tx, redeemed.user);
        await endGrants(tx, redeemed.user);
        return (await setPassword(tx, redeemed.user, hash, 'mail')) !== null;
      });
    },

    requestVerification: (user) =>
      feed.transaction(async (tx) => {
        await mailVerification(tx, user);
        tx.audit({ action: 'users.verify_request', entity: 'users', id: user.id, org: null });
      }),

    requestChange: (user, email) =>
      feed.transaction(async (tx) => {
        const next = normaliseEmail(email);
        const token = await tokens.issue(tx, 'change', user.id, next);
        if (token === null) return;
        await mails.put(tx, verifyMail(publicUrl(), next, token));
        await mails.put(tx, addressChangingMail(publicUrl(), user.email, next));
        tx.audit({ action: 'users.email_request', entity: 'users', id: user.id, org: null, detail: { to: next } });
      }),

    verify: (token) =>
      feed.transaction(async (tx) => {
        const redeemed = await tokens.redeem(tx, ['verify', 'change'], token);
        if (redeemed === null) return null;
        const { user: id, email, purpose } = redeemed;
        const [user] = await tx.query<User>(
          purpose === 'verify'
            ? `UPDATE registry.users SET email_verified_at = coalesce(email_verified_at, now()), version = version + 1, updated_at = now()
               WHERE id = $1 AND email = $2 RETURNING ${USER_COLUMNS}`
            : `UPDATE registry.users SET email = $2, email_verified_at = now(), version = version + 1, updated_at = now()
               WHERE id = $1 RETURNING ${USER_COLUMNS}`,
          [id, email],
        );
        if (user === undefined) return null;
        if (purpose === 'change') {
          // Mails to the old address prove nothing any more.
          await tx.query('DELETE FROM registry.mailed_tokens WHERE user_id = $1', [id]);
          // Policies may speak of ${user.email}, and the audit names people by it.
          tx.changed('user', id, null, [id]);
        }
        tx.audit({ action: 'users.verify', entity: 'users', id, org: null, detail: { email } });
        return user;
      }),

    welcome: mailVerification,
  };
}
