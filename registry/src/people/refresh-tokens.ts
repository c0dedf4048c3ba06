import { randomUUID } from 'node:crypto';
import type { Credentials } from '@millrace/core';
import type { Database, Session } from '../database/database.ts';

export type Refreshed =
  | { readonly kind: 'ok'; readonly user: string; readonly epoch: number; readonly refreshToken: string }
  | { readonly kind: 'refused'; readonly reason: 'unknown' | 'expired' | 'disabled' }
  /** Whose it was. */
  | { readonly kind: 'reused'; readonly user: string };

/** Refresh tokens are kept as digests only. Each is good for one use; a second use of one means that it was stolen (or
 *  its thief was first), and ends the whole family. */
export interface RefreshTokens {
  /** @param epoch the user's own when they showed who they are: the session ends when it changes */
  issue(user: string, epoch: number): Promise<string>;
  rotate(token: string): Promise<Refreshed>;
  /** Ends the session that a token belongs to.  @returns whose it was; null if it is unknown */
  revoke(token: string): Promise<string | null>;
}

const DAYS_KEPT = 30;

export function createRefreshTokens(database: Database, credentials: Credentials): RefreshTokens {
  const insert = async (session: Session, user: string, epoch: number, family: string): Promise<string> => {
    const token = credentials.newKey();
    await session.query(
      `INSERT INTO registry.refresh_tokens (digest, family, user_id, epoch, expires_at) VALUES ($1, $2, $3, $4, now() + $5 * interval '1 day')`,
      [credentials.digest(token), family, user, epoch, DAYS_KEPT],
    );
    return token;
  };
  return {
    async issue(user, epoch) {
      await database.query(
        `DELETE FROM registry.refresh_tokens WHERE digest IN
           (SELECT digest FROM registry.refresh_tokens WHERE expires_at < now() LIMIT 100)`,
      );
      return insert(database, user, epoch, randomUUID());
    },
    rotate: (token) =>
      database.transaction(async (tx): Promise<Refreshed> => {
        const digest = credentials.digest(token);
        await takeTurns(tx, digest);
        const [row] = await tx.query<{
          family: string;
          user: string;
          used: boolean;
          expired: boolean;
          enabled: boolean;
          epoch: number;
        }>(
          `SELECT family, user_id AS user, used_at IS NOT NULL AS used, expires_at < now() AS expired,
             enabled AND refresh_tokens.epoch = users.epoch AS enabled, users.epoch
           FROM registry.refresh_tokens JOIN registry.users ON users.id = user_id WHERE digest = $1 FOR UPDATE OF refresh_tokens`,
          [digest],
        );
        if (row === undefined) return { kind: 'refused', reason: 'unknown' };
        if (row.used) {
          await tx.query('DELETE FROM registry.refresh_tokens WHERE family = $1', [row.family]);
          return { kind: 'reused', user: row.user };
        }
        if (row.expired) return { kind: 'refused', reason: 'expired' };
        if (!row.enabled) return { kind: 'refused', reason: 'disabled' };
        await tx.query('UPDATE registry.refresh_tokens SET used_at = now() WHERE digest = $1', [digest]);
        const refreshToken = await insert(tx, row.user, row.epoch, row.family);
        return { kind: 'ok', user: row.user, epoch: row.epoch, refreshToken };
      }),
    revoke: (token) =>
      database.transaction(async (tx) => {
        const digest = credentials.digest(token);
        await takeTurns(tx, digest);
        const [gone] = await tx.query<{ user: string }>(
          `DELETE FROM registry.refresh_tokens WHERE family = (SELECT family FROM registry.refresh_tokens WHERE digest = $1)
           RETURNING user_id AS user`,
          [digest],
        );
        return gone?.user ?? null;
      }),
  };
}

/** Those that end a session must see the token that is just being made in it. */
const takeTurns = (tx: Session, digest: string): Promise<unknown> =>
  tx.query(
    'SELECT pg_advisory_xact_lock(hashtextextended(family::text, 0)) FROM registry.refresh_tokens WHERE digest = $1',
    [digest],
  );
