import type { Parts } from '../parts.ts';
import { insertOrg, insertUser, normaliseEmail, USER_COLUMNS, type User } from '../people/users.ts';

/** What another provider says of somebody. */
export interface OutsideIdentity {
  readonly issuer: string;
  readonly subject: string;
  /** null unless that provider has verified it. */
  readonly email: string | null;
  readonly name: string | null;
}
export type OutsideLogin =
  | { readonly kind: 'ok'; readonly user: User }
  | {
      readonly kind: 'refused';
      readonly reason:
        | 'disabled'
        /** Nobody here has this address, and strangers get no account. */
        | 'unknown'
        /** That provider vouches for no address, so nobody can be found by it. */
        | 'unverified_there'
        /** Somebody took the address here without showing that it is theirs. */
        | 'unverified_here';
    };

interface Known extends User {
  readonly hasPassword: boolean;
}

/** Finds who somebody is here: by what they are called there; the first time by their verified e-mail.
 *  @param register whether strangers get an account */
export async function recognise(
  { database, feed }: Pick<Parts, 'database' | 'feed'>,
  { issuer, subject, email, name }: OutsideIdentity,
  register: boolean,
): Promise<OutsideLogin> {
  const [linked] = await database.query<User>(
    `SELECT ${USER_COLUMNS} FROM registry.user_identities JOIN registry.users ON users.id = user_id
     WHERE issuer = $1 AND subject = $2`,
    [issuer, subject],
  );
  if (linked !== undefined) return admitted(linked);
  if (email === null) return { kind: 'refused', reason: 'unverified_there' };
  return feed.transaction(async (tx): Promise<OutsideLogin> => {
    const address = normaliseEmail(email);
    const [known] = await tx.query<Known>(
      `SELECT ${USER_COLUMNS}, password_hash IS NOT NULL AS "hasPassword" FROM registry.users WHERE email = $1 FOR UPDATE`,
      [address],
    );
    // Who registered with somebody else's address would get into what its owner does here from now on.
    if (known?.hasPassword === true && !known.verified) return { kind: 'refused', reason: 'unverified_here' };
    if (known !== undefined && !known.enabled) return { kind: 'refused', reason: 'disabled' };
    if (known === undefined && !register) return { kind: 'refused', reason: 'unknown' };
    let user: User;
    if (known === undefined) {
      user = await insertUser(tx, { email: address, hash: null, admin: false, name: name ?? '', verified: true });
      await insertOrg(tx, user.email, user.id);
    } else {
      const { hasPassword: _, ...rest } = known;
      user = rest;
      await tx.query('UPDATE registry.users SET email_verified_at = coalesce(email_verified_at, now()) WHERE id = $1', [
        user.id,
      ]);
    }
    await tx.query(
      'INSERT INTO registry.user_identities (issuer, subject, user_id) VALUES ($1, $2, $3) ON CONFLICT (issuer, subject) DO NOTHING',
      [issuer, subject, user.id],
    );
    tx.audit({ action: 'users.link', entity: 'users', id: user.id, org: null, detail: { issuer } });
    return { kind: 'ok', user };
  });
}

const admitted = (user: User): OutsideLogin =>
  user.enabled ? { kind: 'ok', user } : { kind: 'refused', reason: 'disabled' };
