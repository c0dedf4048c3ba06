import { hash, timingSafeEqual } from 'node:crypto';
import type { Session } from '../database/database.ts';
import type { Parts } from '../parts.ts';
import { USER_COLUMNS, type User } from '../people/users.ts';

/** What a code is bound to: nobody else who gets hold of it can use it. */
export interface CodeBinding {
  /** SHA-256 of a secret that whoever began keeps (PKCE, S256). */
  readonly challenge?: string | undefined;
  /** The authorization that goes on with it. */
  readonly interaction?: string | undefined;
}
export interface CodeProof {
  readonly verifier?: string | undefined;
  readonly interaction?: string | undefined;
}
/** Codes that stand for a login, good once, for a minute. */
export interface LoginCodes {
  issue(user: Pick<User, 'id' | 'epoch'>, binding: CodeBinding): Promise<string>;
  /** Whose login it was; null if it is unknown, used, too old or bound to something else, or the user is disabled or has
   *  ended all sessions since. */
  redeem(code: string, proof: CodeProof): Promise<User | null>;
}

const CODE_SECONDS = 60;

export function createLoginCodes({ database, credentials }: Pick<Parts, 'database' | 'credentials'>): LoginCodes {
  return {
    async issue(user, { challenge, interaction }) {
      const code = credentials.newKey();
      await database.query(
        `INSERT INTO registry.login_codes (digest, user_id, epoch, challenge, interaction, expires_at)
         VALUES ($1, $2, $3, $4, $5, now() + $6 * interval '1 second')`,
        [
          credentials.digest(code),
          user.id,
          user.epoch,
          challenge ?? null,
          interaction === undefined ? null : credentials.digest(interaction),
          CODE_SECONDS,
        ],
      );
      return code;
    },

    async redeem(code, { verifier, interaction }) {
      const spent = await spend(database, credentials.digest(code));
      if (spent === null) return null;
      const bound = interaction === undefined ? null : credentials.digest(interaction);
      if (spent.interaction !== bound || !proves(verifier, spent.challenge)) return null;
      const [user] = await database.query<User>(
        `SELECT ${USER_COLUMNS} FROM registry.users WHERE id = $1 AND enabled AND epoch = $2`,
        [spent.user, spent.epoch],
      );
      return user ?? null;
    },
  };
}

interface SpentCode {
  readonly user: string;
  readonly epoch: number;
  readonly challenge: string | null;
  readonly interaction: string | null;
}

/** It is spent by the first who shows it, right or wrong. */
async function spend(session: Session, digest: string): Promise<SpentCode | null> {
  const [row] = await session.query<SpentCode & { readonly late: boolean }>(
    `DELETE FROM registry.login_codes WHERE digest = $1
     RETURNING user_id AS "user", epoch, challenge, interaction, expires_at <= now() AS late`,
    [digest],
  );
  return row === undefined || row.late ? null : row;
}

function proves(verifier: string | undefined, challenge: string | null): boolean {
  if (challenge === null || verifier === undefined) return challenge === null && verifier === undefined;
  const given = Buffer.from(hash('sha256', verifier, 'base64url'));
  const wanted = Buffer.from(challenge);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}
