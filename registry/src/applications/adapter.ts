import { isUuid, uuidV7 } from '@millrace/core';
import type { Adapter, AdapterPayload } from 'oidc-provider';
import type { Parts } from '../parts.ts';
import { clientOf } from './clients.ts';

/** Kinds whose holders the gate remembers: when one goes, it must be told. */
const TOKENS: ReadonlySet<string> = new Set(['AccessToken', 'ClientCredentials']);
/** Stands for what oidc-provider answers with invalid_grant when it is thrown. */
export type Spent = () => Error;

/** So long what has been used is kept to notice a second use; a client chooses how often it uses one up. */
const SPENT_KEPT = `interval '1 day'`;
/** Tokens that one machine may have at a time; the oldest go first. Looked after once in so many. */
const MACHINE_TOKENS_MAX = 10_000;
const MACHINE_TOKENS_A_LOOK = 100;
const DROP_OLDEST = `DELETE FROM registry.oauth_items WHERE kind = 'ClientCredentials' AND app = $1 AND digest IN (
  SELECT digest FROM registry.oauth_items WHERE kind = 'ClientCredentials' AND app = $1 ORDER BY expires_at DESC OFFSET ${MACHINE_TOKENS_MAX})`;

interface GoneToken {
  readonly id: string;
  readonly grant: string | null;
  readonly app: string;
  readonly org: string | null;
}
const UPSERT = `INSERT INTO registry.oauth_items (kind, digest, id, uid_digest, grant_id, app, user_id, epoch, scopes, sealed, expires_at)
  SELECT $1, $2, $3, $4, $5, $6, $7,
    CASE WHEN $1 IN ('Session', 'Interaction') THEN coalesce($11, (SELECT epoch FROM registry.users WHERE users.id = $7)) END,
    $8, $9, now() + $10 * interval '1 second'
  ON CONFLICT (kind, digest) DO UPDATE SET uid_digest = excluded.uid_digest, grant_id = excluded.grant_id, app = excluded.app,
    user_id = excluded.user_id, scopes = excluded.scopes, sealed = excluded.sealed, expires_at = excluded.expires_at,
    epoch = CASE WHEN oauth_items.user_id IS NOT DISTINCT FROM excluded.user_id THEN oauth_items.epoch ELSE excluded.epoch END`;
/** A session ends with all others of its user: who logs out everywhere is out here too, also between login and consent. */
const FIND = `SELECT digest, sealed, (extract(epoch FROM consumed_at))::float8 AS consumed FROM registry.oauth_items
  LEFT JOIN registry.users ON users.id = user_id
  WHERE kind = $1 AND expires_at > now() AND (oauth_items.epoch IS NULL OR (users.enabled AND users.epoch = oauth_items.epoch))
    AND `;

/** What oidc-provider keeps, in PostgreSQL: so any node goes on where another began.
 *  @holds no token, code or session's name is kept, neither as a key nor in a payload that is not sealed */
export function createAdapter(parts: Parts, spent: Spent): (kind: string) => Adapter {
  return (kind) => {
    if (kind === 'Client') return clientAdapter(parts);
    if (kind === 'Grant') return grantAdapter(parts);
    return itemAdapter(parts, kind, spent);
  };
}

function itemAdapter({ database, feed, credentials }: Parts, kind: string, spent: Spent): Adapter {
  let issued = 0;
  const about = (digest: string): string => `${kind} ${digest}`;
  const find = async (condition: string, digest: string): Promise<AdapterPayload | undefined> => {
    const [row] = await database.query<{ digest: string; sealed: string; consumed: number | null }>(
      `${FIND}${condition}`,
      [kind, digest],
    );
    if (row === undefined) return undefined;
    const payload = JSON.parse(credentials.decrypt(row.sealed, about(row.digest))) as AdapterPayload;
    return row.consumed === null ? payload : { ...payload, consumed: Math.floor(row.consumed) };
  };
  return {
    ...NO_USER_CODES,
    async upsert(id, payload, expiresIn) {
      const digest = credentials.digest(id);
      const login = loginOf(payload);
      await database.query(UPSERT, [
        kind,
        digest,
        uuidV7(),
        payload.uid === undefined ? null : credentials.digest(payload.uid),
        uuidOrNull(payload.grantId),
        uuidOrNull(payload.clientId),
        uuidOrNull(login?.accountId ?? payload.accountId ?? payload.session?.accountId),
        typeof payload.scope === 'string' ? payload.scope.split(' ') : [],
        credentials.encrypt(JSON.stringify(payload), about(digest)),
        expiresIn ?? 3_600,
        login?.epoch ?? null,
      ]);
      if (kind === 'ClientCredentials' && ++issued % MACHINE_TOKENS_A_LOOK === 0)
        await database.query(DROP_OLDEST, [uuidOrNull(payload.clientId)]);
    },
    find: (id) => find('digest = $2', credentials.digest(id)),
    findByUid: (uid) => find('uid_digest = $2', credentials.digest(uid)),
    async consume(id) {
      const rows = await database.query(
        `UPDATE registry.oauth_items SET consumed_at = now(), expires_at = least(expires_at, now() + ${SPENT_KEPT})
         WHERE kind = $1 AND digest = $2 AND consumed_at IS NULL RETURNING 1`,
        [kind, credentials.digest(id)],
      );
      // Of two who come at the same moment, perhaps to two nodes, one is let on.
      if (rows.length === 0) throw spent();
    },
    async destroy(id) {
      const remove = `DELETE FROM registry.oauth_items WHERE kind = $1 AND digest = $2 RETURNING id, grant_id AS "grant", app,
        coalesce((SELECT org FROM registry.oauth_grants WHERE oauth_grants.id = grant_id),
          (SELECT org FROM registry.apps WHERE apps.id = app)) AS org`;
      const values = [kind, credentials.digest(id)];
      if (!TOKENS.has(kind)) {
        await database.query(remove, values);
        return;
      }
      await feed.transaction(async (tx) => {
        const [gone] = await tx.query<GoneToken>(remove, values);
        if (gone === undefined) return;
        tx.changed('key', gone.id, gone.org, [gone.grant ?? gone.id, ...(gone.grant === null ? [gone.app] : [])]);
        tx.audit({ action: 'apps.revoke', entity: 'apps', id: gone.app, org: gone.org, detail: { token: gone.id } });
      });
    },
    async revokeByGrantId(grant) {
      if (!isUuid(grant)) return;
      await feed.transaction(async (tx) => {
        const gone = await tx.query('DELETE FROM registry.oauth_items WHERE kind = $1 AND grant_id = $2 RETURNING 1', [
          kind,
          grant,
        ]);
        if (gone.length > 0 && TOKENS.has(kind)) tx.changed('key', grant, null, [grant]);
      });
    },
  };
}

interface Login {
  readonly accountId?: string;
  readonly epoch?: number;
}
/** Who has logged in in an interaction, and has not come back to the application yet. */
function loginOf({ result, lastSubmission }: AdapterPayload): Login | undefined {
  const [now, before] = [result, lastSubmission] as readonly ({ readonly login?: Login } | undefined)[];
  return now?.login ?? before?.login;
}

/** What users let applications do: a table of its own, since people look at it. */
function grantAdapter({ database, feed }: Parts): Adapter {
  return {
    ...NO_USER_CODES,
    async upsert(id, payload, expiresIn) {
      // The organisation is set by the consent, beside.
      await database.query(
        `INSERT INTO registry.oauth_grants (id, app, user_id, payload, expires_at)
         VALUES ($1, $2, $3, $4, now() + $5 * interval '1 second')
         ON CONFLICT (id) DO UPDATE SET payload = excluded.payload, expires_at = excluded.expires_at`,
        [id, payload.clientId, payload.accountId, JSON.stringify(payload), expiresIn ?? 3_600],
      );
    },
    async find(id) {
      if (!isUuid(id)) return undefined;
      const [row] = await database.query<{ payload: AdapterPayload }>(
        'SELECT payload FROM registry.oauth_grants WHERE id = $1 AND expires_at > now()',
        [id],
      );
      return row?.payload;
    },
    findByUid: async () => undefined,
    consume: async () => undefined,
    async destroy(id) {
      if (!isUuid(id)) return;
      await feed.transaction(async (tx) => {
        const [gone] = await tx.query<{ app: string; org: string | null; user: string }>(
          'DELETE FROM registry.oauth_grants WHERE id = $1 RETURNING app, org, user_id AS "user"',
          [id],
        );
        if (gone === undefined) return;
        tx.changed('key', id, gone.org, [id]);
        tx.audit({ action: 'apps.revoke', entity: 'apps', id: gone.app, org: gone.org, detail: { grant: id } });
      });
    },
    revokeByGrantId: async () => undefined,
  };
}

function clientAdapter({ database }: Parts): Adapter {
  return {
    ...NO_USER_CODES,
    upsert: async () => undefined,
    find: (id) => clientOf(database, id),
    findByUid: async () => undefined,
    consume: async () => undefined,
    destroy: async () => undefined,
    revokeByGrantId: async () => undefined,
  };
}

const NO_USER_CODES = { findByUserCode: async () => undefined };
const uuidOrNull = (id: string | undefined): string | null => (id !== undefined && isUuid(id) ? id : null);
