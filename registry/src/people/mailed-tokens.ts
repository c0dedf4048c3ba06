import type { Credentials } from '@millrace/core';
import type { Session } from '../database/database.ts';

/** What a mailed token is good for: a new password, confirming an address, changing to it. */
export type Purpose = 'reset' | 'verify' | 'change';

/** Tokens that are sent by mail, 256 bits, kept as digests, good once. */
export interface MailedTokens {
  /** null while too many of the user's are still good: whoever asks again and again fills a mailbox only so far. */
  issue(tx: Session, purpose: Purpose, user: string, email: string): Promise<string | null>;
  /** Whose it is, without spending it. */
  look(session: Session, purpose: Purpose, token: string): Promise<{ user: string; email: string } | null>;
  /** Spends it, if it is good.  @returns whose it was, and the address that it proves */
  redeem(tx: Session, purposes: readonly Purpose[], token: string): Promise<Redeemed | null>;
}
export interface Redeemed {
  readonly user: string;
  readonly email: string;
  readonly purpose: Purpose;
}

const SECONDS: Readonly<Record<Purpose, number>> = { reset: 3_600, verify: 86_400, change: 86_400 };
const GOOD_MAX = 5;

export function createMailedTokens(credentials: Credentials): MailedTokens {
  return {
    async issue(tx, purpose, user, email) {
      await tx.query(
        `DELETE FROM registry.mailed_tokens WHERE digest IN
           (SELECT digest FROM registry.mailed_tokens WHERE expires_at < now() LIMIT 100 FOR UPDATE SKIP LOCKED)`,
      );
      const token = credentials.newKey();
      const [kept] = await tx.query(
        `INSERT INTO registry.mailed_tokens (digest, purpose, user_id, email, expires_at)
         SELECT $1, $2, $3, $4, now() + $5 * interval '1 second'
         WHERE (SELECT count(*) FROM registry.mailed_tokens WHERE user_id = $3 AND purpose = $2 AND expires_at > now()) < $6
         RETURNING digest`,
        [credentials.digest(token), purpose, user, email, SECONDS[purpose], GOOD_MAX],
      );
      return kept === undefined ? null : token;
    },
    async look(session, purpose, token) {
      const [found] = await session.query<{ user: string; email: string }>(
        `SELECT user_id AS user, email FROM registry.mailed_tokens WHERE digest = $1 AND purpose = $2 AND expires_at > now()`,
        [credentials.digest(token), purpose],
      );
      return found ?? null;
    },
    async redeem(tx, purposes, token) {
      const [found] = await tx.query<Redeemed>(
        `DELETE FROM registry.mailed_tokens WHERE digest = $1 AND purpose = ANY ($2) AND expires_at > now()
         RETURNING user_id AS user, email, purpose`,
        [credentials.digest(token), purposes],
      );
      return found ?? null;
    },
  };
}
