import type { Holder, Scope, ThingRecord, UserRecord } from '@millrace/core';
import { THING_RECORD } from '../access/directory.ts';
import type { Parts } from '../parts.ts';
import { grantsOf } from './scopes.ts';

/** What somebody lets an application do. */
export interface Grant {
  readonly id: string;
  readonly app: { readonly id: string; readonly name: string; readonly orgName: string; readonly logo: string | null };
  readonly org: string | null;
  readonly scopes: readonly string[];
  readonly createdAt: Date;
  readonly expiresAt: Date;
}
export interface OauthGrants {
  /** Who holds an access token, by its digest. */
  holder(digest: string): Promise<Holder | null>;
  /** What a grant opens at most; null if it is withdrawn, has expired or is good nowhere. */
  scope(id: string): Promise<Scope | null>;
  /** The newest first. */
  list(
    user: string,
    page: { readonly offset: number; readonly limit: number },
  ): Promise<{ readonly total: number; readonly grants: readonly Grant[] }>;
  /** What it gave ends at once.  @returns false if the user has none such */
  withdraw(user: string, id: string): Promise<boolean>;
  /** Says where a grant is good; set once. */
  place(id: string, org: string | null): Promise<void>;
  placeOf(id: string): Promise<string | null>;
}

interface TokenRow {
  readonly kind: 'AccessToken' | 'ClientCredentials';
  readonly id: string;
  readonly grant: string | null;
  readonly org: string | null;
  readonly user: string | null;
  readonly app: string;
  readonly scopes: readonly string[];
  readonly appScopes: readonly string[];
  readonly expiresMs: number;
}
interface GrantRow {
  readonly id: string;
  readonly app: string;
  readonly name: string;
  readonly orgName: string;
  readonly logo: string | null;
  readonly org: string | null;
  readonly payload: StoredGrant;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}
interface Scoped {
  readonly scope?: string | undefined;
}
interface StoredGrant {
  readonly openid?: Scoped | undefined;
  readonly rejected?: { readonly openid?: Scoped | undefined } | undefined;
}

const TOKEN = `SELECT items.kind, items.id, items.grant_id AS "grant", oauth_grants.org, items.user_id AS "user", items.app, items.scopes,
    apps.scopes AS "appScopes", (extract(epoch FROM items.expires_at) * 1000)::float8 AS "expiresMs"
  FROM registry.oauth_items AS items JOIN registry.apps ON apps.id = items.app
    LEFT JOIN registry.oauth_grants ON oauth_grants.id = items.grant_id AND oauth_grants.expires_at > now()
  WHERE items.kind IN ('AccessToken', 'ClientCredentials') AND items.digest = $1 AND apps.enabled
    AND items.expires_at > to_timestamp($2::float8 / 1000)`;
const USER = `SELECT 'user' AS kind, id, email, enabled, admin, epoch FROM registry.users WHERE id = $1`;
const THING = `SELECT ${THING_RECORD} FROM registry.things JOIN registry.orgs ON orgs.id = things.org WHERE things.id = $1`;
const GRANTS = `SELECT oauth_grants.id, app, apps.name, orgs.name AS "orgName", apps.logo, oauth_grants.org, payload,
    oauth_grants.created_at AS "createdAt", expires_at AS "expiresAt"
  FROM registry.oauth_grants JOIN registry.apps ON apps.id = app JOIN registry.orgs ON orgs.id = apps.org
  WHERE user_id = $1 AND expires_at > now() ORDER BY oauth_grants.created_at DESC, oauth_grants.id OFFSET $2 LIMIT $3`;

export function createOauthGrants({ database, feed, now }: Parts): OauthGrants {
  return {
    async holder(digest) {
      const [token] = await database.query<TokenRow>(TOKEN, [digest, now()]);
      if (token === undefined) return null;
      const { expiresMs } = token;
      if (token.kind === 'ClientCredentials') {
        const [subject] = await database.query<ThingRecord>(THING, [token.app]);
        return subject === undefined ? null : { subject, expiresMs, scope: scopeOfMachine(token, subject.org) };
      }
      // A grant without an organisation says who somebody is, and opens nothing.
      if (token.grant === null || token.org === null || token.user === null) return null;
      const [subject] = await database.query<UserRecord>(USER, [token.user]);
      if (subject === undefined) return null;
      return { subject, expiresMs, scope: { id: token.grant, org: token.org, grants: grantsOf(within(token)) } };
    },

    async scope(id) {
      const [row] = await database.query<{ org: string | null; payload: StoredGrant; appScopes: string[] }>(
        `SELECT oauth_grants.org, payload, apps.scopes AS "appScopes" FROM registry.oauth_grants JOIN registry.apps ON apps.id = app
         WHERE oauth_grants.id = $1 AND expires_at > now() AND apps.enabled`,
        [id],
      );
      if (row === undefined || row.org === null) return null;
      const scopes = within({ scopes: grantedScopes(row.payload), appScopes: row.appScopes });
      return { id, org: row.org, grants: grantsOf(scopes) };
    },

    async list(user, { offset, limit }) {
      const [rows, [count]] = await Promise.all([
        database.query<GrantRow>(GRANTS, [user, offset, limit]),
        database.query<{ total: number }>(
          'SELECT count(*)::integer AS total FROM registry.oauth_grants WHERE user_id = $1 AND expires_at > now()',
          [user],
        ),
      ]);
      const grants = rows.map(({ app, name, orgName, logo, payload, ...rest }) => ({
        ...rest,
        app: { id: app, name, orgName, logo },
        scopes: grantedScopes(payload),
      }));
      return { total: count?.total ?? 0, grants };
    },

    withdraw: (user, id) =>
      feed.transaction(async (tx) => {
        const [gone] = await tx.query<{ app: string; org: string | null }>(
          'DELETE FROM registry.oauth_grants WHERE id = $1 AND user_id = $2 RETURNING app, org',
          [id, user],
        );
        if (gone === undefined) return false;
        tx.changed('key', id, gone.org, [id]);
        tx.audit({ action: 'apps.revoke', entity: 'apps', id: gone.app, org: gone.org, detail: { grant: id } });
        return true;
      }),

    place: (id, org) =>
      feed.transaction(async (tx) => {
        const [placed] = await tx.query<{ app: string; user: string; payload: StoredGrant }>(
          'UPDATE registry.oauth_grants SET org = $2 WHERE id = $1 RETURNING app, user_id AS "user", payload',
          [id, org],
        );
        if (placed === undefined) return;
        // Tokens of it may be remembered with fewer scopes, or without a place.
        tx.changed('key', id, org, [id]);
        const detail = { grant: id, user: placed.user, scopes: grantedScopes(placed.payload) };
        tx.audit({ action: 'apps.grant', entity: 'apps', id: placed.app, org, detail });
      }),

    async placeOf(id) {
      const sql = 'SELECT org FROM registry.oauth_grants WHERE id = $1';
      return (await database.query<{ org: string | null }>(sql, [id]))[0]?.org ?? null;
    },
  };
}

/** A machine that asks for no scope gets all that it may ask for; where that is not limited, all its rights. */
function scopeOfMachine({ id, scopes, appScopes }: TokenRow, org: string): Scope | null {
  if (scopes.length === 0 && appScopes.length === 0) return null;
  return { id, org, grants: grantsOf(scopes.length === 0 ? appScopes : within({ scopes, appScopes })) };
}

/** Scopes of a token that its application may still ask for: what is taken from it is taken from its tokens too. */
const within = ({ scopes, appScopes }: Pick<TokenRow, 'scopes' | 'appScopes'>): readonly string[] =>
  appScopes.length === 0 ? scopes : scopes.filter((scope) => appScopes.includes(scope));

/** Those that were granted and not rejected since. */
export function grantedScopes({ openid, rejected }: StoredGrant): string[] {
  const without = new Set(rejected?.openid?.scope?.split(' '));
  return (openid?.scope ?? '').split(' ').filter((scope) => scope !== '' && !without.has(scope));
}
