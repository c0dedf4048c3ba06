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
  issue(user: string, binding: CodeBinding): Promise<string>;
  /** Whose login it was; null if it is unknown, used, too old or bound to something else, or the user is disabled. */
  redeem(code: string, proof: CodeProof): Promise<User | null>;
}

const CODE_SECONDS = 60;

export function createLoginCodes({ database, credentials }: Pick<Parts, 'database' | 'credentials'>): LoginCodes {
  return {
    async issue(user, { challenge, interaction }) {
      const code = credentials.newKey();
      await database.query(
        `INSERT INTO registry.login_codes (digest, user_id, challenge, interaction, expires_at)
         VALUES ($1, $2, $3, $4, now() + $5 * interval '1 second')`,
        [
          credentials.digest(code),
          user,
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
        `SELECT ${USER_COLUMNS} FROM registry.users WHERE id = $1 AND enabled`,
        [spent.user],
      );
      return user ?? null;
    },
  };
}

/** It is spent by the first who shows it, right or wrong. */
async function spend(
  session: Session,
  digest: string,
): Promise<{ readonly user: string; readonly challenge: string | null; readonly interaction: string | null } | null> {
  const [row] = await session.query<{
    user: string;
    challenge: string | null;
    interaction: string | null;
    late: boolean;
  }>(
    `DELETE FROM registry.login_codes WHERE digest = $1
     RETURNING user_id AS "user", challenge, interaction, expires_at <= now() AS late`,
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
