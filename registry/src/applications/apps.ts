import { uuidV7 } from '@millrace/core';
import { changedFields } from '../audit/changed-fields.ts';
import type { ChangeSession } from '../changes.ts';
import { RegistryError } from '../error.ts';
import { type Listed, type ListQuery, listRows } from '../inventory/page.ts';
import type { Parts } from '../parts.ts';
import { type AppKind, keepsSecret } from './kinds.ts';

export interface App {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly description: string;
  readonly kind: AppKind;
  readonly redirectUris: readonly string[];
  readonly postLogoutRedirectUris: readonly string[];
  readonly scopes: readonly string[];
  readonly logo: string | null;
  readonly homepage: string | null;
  readonly enabled: boolean;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tags: readonly string[];
  readonly previousSecretUntil: Date | null;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
/** What is undefined stays as it is, or takes its default. */
export interface AppPatch {
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  readonly redirectUris?: readonly string[] | undefined;
  readonly postLogoutRedirectUris?: readonly string[] | undefined;
  readonly scopes?: readonly string[] | undefined;
  readonly logo?: string | null | undefined;
  readonly homepage?: string | null | undefined;
  readonly enabled?: boolean | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly tags?: readonly string[] | undefined;
}
export interface NewApp extends AppPatch {
  readonly id?: string | undefined;
  readonly name: string;
  readonly kind: AppKind;
}
export interface MadeApp {
  readonly app: App;
  /** Told only here; null where the kind keeps none. */
  readonly secret: string | null;
}
export interface Apps {
  /** All or none, in their order.  @throws RegistryError REGISTRY_CONFLICT with field id */
  create(org: string, apps: readonly NewApp[]): Promise<MadeApp[]>;
  get(id: string): Promise<App | null>;
  /** Of things, those that are who a machine is. */
  machines(things: readonly string[]): Promise<ReadonlySet<string>>;
  list(query: ListQuery & { readonly kind?: AppKind | undefined }): Promise<Listed<App>>;
  /** null if it is gone.  @param version that it must have; null: any  @throws RegistryError REGISTRY_VERSION_MISMATCH */
  update(id: string, patch: AppPatch, version: number | null): Promise<App | null>;
  /** A new secret; the old one holds for the overlap beside it. null if it is gone or keeps none. */
  rotateSecret(id: string, overlapSeconds: number): Promise<{ readonly app: App; readonly secret: string } | null>;
  /** With all that people granted it, and of a machine its thing.  @returns what went with it; null if it was gone */
  remove(id: string): Promise<Readonly<Record<string, number>> | null>;
}

const COLUMNS = `id, org, name, description, kind, redirect_uris AS "redirectUris",
  post_logout_redirect_uris AS "postLogoutRedirectUris", scopes, logo, homepage, enabled, metadata, tags,
  CASE WHEN previous_secret_until > now() THEN previous_secret_until END AS "previousSecretUntil",
  version, created_at AS "createdAt", updated_at AS "updatedAt"`;
/** Grants that one change names. */
const TOLD_GRANTS_MAX = 1_000;
const SCOPES_OF_PEOPLE = ['openid', 'profile', 'email', 'offline_access'];

export function createApps({ database, feed, credentials }: Parts): Apps {
  /** @throws RegistryError REGISTRY_VERSION_MISMATCH */
  const lock = async (tx: ChangeSession, id: string, version: number | null): Promise<App | null> => {
    const [app] = await tx.query<App>(`SELECT ${COLUMNS} FROM registry.apps WHERE id = $1 FOR UPDATE`, [id]);
    if (app === undefined) return null;
    if (version !== null && app.version !== version)
      throw new RegistryError('REGISTRY_VERSION_MISMATCH', 'never', { app: id, version: app.version });
    return app;
  };
  /** Everybody who acts by the application is looked up anew. */
  const tellAll = async (tx: ChangeSession, { id, org, kind }: App): Promise<void> => {
    const grants = await tx.query<{ id: string }>('SELECT id FROM registry.oauth_grants WHERE app = $1', [id]);
    const told = [id, ...grants.map((grant) => grant.id)];
    for (let from = 0; from < told.length; from += TOLD_GRANTS_MAX)
      tx.changed('app', id, org, told.slice(from, from + TOLD_GRANTS_MAX));
    if (kind === 'machine') tx.changed('thing', id, org, [id]);
  };
  const insert = async (tx: ChangeSession, org: string, id: string, given: NewApp, secret: string | null) => {
    const machine = given.kind === 'machine';
    if (machine) await makeThing(tx, org, id, given);
    const [made] = await tx.query<App>(
      `INSERT INTO registry.apps (id, org, thing, name, description, kind, redirect_uris, post_logout_redirect_uris, scopes,
         logo, homepage, secret_digest, enabled, metadata, tags)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING ${COLUMNS}`,
      [
        id,
        org,
        machine ? id : null,
        given.name,
        given.description ?? '',
        given.kind,
        given.redirectUris ?? [],
        given.postLogoutRedirectUris ?? [],
        given.scopes ?? (machine ? [] : SCOPES_OF_PEOPLE),
        given.logo ?? null,
        given.homepage ?? null,
        secret === null ? null : credentials.digest(secret),
        given.enabled ?? true,
        JSON.stringify(given.metadata ?? {}),
        given.tags ?? [],
      ],
    );
    if (made === undefined) throw new TypeError('INSERT … RETURNING gave no row');
    tx.changed('app', id, org, [id]);
    tx.audit({ action: 'apps.create', entity: 'apps', id, org, detail: { name: made.name, kind: made.kind } });
    return made;
  };

  return {
    create: (org, apps) =>
      feed.transaction(async (tx) => {
        const made: MadeApp[] = [];
        for (const given of apps) {
          const secret = keepsSecret(given.kind) ? credentials.newKey() : null;
          made.push({ app: await insert(tx, org, given.id?.toLowerCase() ?? uuidV7(), given, secret), secret });
        }
        return made;
      }),

    async get(id) {
      return (await database.query<App>(`SELECT ${COLUMNS} FROM registry.apps WHERE id = $1`, [id]))[0] ?? null;
    },

    async machines(things) {
      const sql = 'SELECT id FROM registry.apps WHERE thing = ANY ($1::uuid[])';
      return new Set((await database.query<{ id: string }>(sql, [things])).map(({ id }) => id));
    },

    list: ({ kind, ...query }) =>
      listRows<App>(database, 'registry.apps', COLUMNS, query, (clauses) => {
        if (kind !== undefined) clauses.add('kind = ?', kind);
      }),

    update: (id, patch, version) =>
      feed.transaction(async (tx) => {
        const before = await lock(tx, id, version);
        if (before === null) return null;
        const [after] = await tx.query<App>(
          `UPDATE registry.apps SET name = coalesce($2, name), description = coalesce($3, description),
             redirect_uris = coalesce($4::text[], redirect_uris),
             post_logout_redirect_uris = coalesce($5::text[], post_logout_redirect_uris), scopes = coalesce($6::text[], scopes),
             logo = CASE WHEN $7 THEN $8 ELSE logo END, homepage = CASE WHEN $9 THEN $10 ELSE homepage END,
             enabled = coalesce($11, enabled), metadata = coalesce($12::jsonb, metadata), tags = coalesce($13::text[], tags),
             version = version + 1, updated_at = now()
           WHERE id = $1 RETURNING ${COLUMNS}`,
          [
            id,
            patch.name,
            patch.description,
            patch.redirectUris,
            patch.postLogoutRedirectUris,
            patch.scopes,
            patch.logo !== undefined,
            patch.logo,
            patch.homepage !== undefined,
            patch.homepage,
            patch.enabled,
            patch.metadata === undefined ? undefined : JSON.stringify(patch.metadata),
            patch.tags,
          ],
        );
        if (after === undefined) return null;
        if (after.kind === 'machine' && (after.name !== before.name || after.enabled !== before.enabled))
          await tx.query(
            'UPDATE registry.things SET name = $2, enabled = $3, version = version + 1, updated_at = now() WHERE id = $1',
            [id, after.name, after.enabled],
          );
        // Who is let in depends on nothing else: a new name cuts nobody off.
        if (after.enabled !== before.enabled || patch.scopes !== undefined) await tellAll(tx, after);
        else tx.changed('app', id, after.org, []);
        const only = Object.keys(patch).length === 1 && patch.enabled !== undefined;
        const action = only ? `apps.${after.enabled ? 'enable' : 'disable'}` : 'apps.update';
        tx.audit({ action, entity: 'apps', id, org: after.org, detail: changedFields(before, patch) });
        return after;
      }),

    async rotateSecret(id, overlapSeconds) {
      const secret = credentials.newKey();
      const app = await feed.transaction(async (tx) => {
        const [rotated] = await tx.query<App>(
          `UPDATE registry.apps SET secret_digest = $2,
             previous_secret_digest = CASE WHEN $3 > 0 THEN secret_digest END,
             previous_secret_until = CASE WHEN $3 > 0 THEN now() + $3 * interval '1 second' END,
             version = version + 1, updated_at = now()
           WHERE id = $1 AND secret_digest IS NOT NULL RETURNING ${COLUMNS}`,
          [id, credentials.digest(secret), overlapSeconds],
        );
        if (rotated === undefined) return null;
        tx.changed('app', id, rotated.org, []);
        tx.audit({ action: 'apps.rotate', entity: 'apps', id, org: rotated.org, detail: { overlapSeconds } });
        return rotated;
      });
      return app === null ? null : { app, secret };
    },

    remove: (id) =>
      feed.transaction(async (tx) => {
        const app = await lock(tx, id, null);
        if (app === null) return null;
        const [counts] = await tx.query<{ grants: number; connections: number }>(
          `SELECT (SELECT count(*)::integer FROM registry.oauth_grants WHERE app = $1) AS grants,
             (SELECT count(*)::integer FROM registry.connections WHERE thing = $1) AS connections`,
          [id],
        );
        await tellAll(tx, app);
        const attachments = await tx.query(
          `DELETE FROM registry.policy_attachments WHERE org = $1 AND target = $2 AND kind IN ('app', 'thing') RETURNING 1`,
          [app.org, id],
        );
        await tx.query('DELETE FROM registry.apps WHERE id = $1', [id]);
        if (app.kind === 'machine') await tx.query('DELETE FROM registry.things WHERE id = $1', [id]);
        tx.audit({ action: 'apps.delete', entity: 'apps', id, org: app.org, detail: { name: app.name } });
        return {
          grants: counts?.grants ?? 0,
          connections: counts?.connections ?? 0,
          attachments: attachments.length,
        };
      }),
  };

  /** Its own identity. It has a key as every thing, which is told to nobody here. */
  async function makeThing(tx: ChangeSession, org: string, id: string, { name, enabled }: NewApp): Promise<void> {
    const key = credentials.newKey();
    await tx.query(
      `INSERT INTO registry.things (id, org, name, type, key_digest, key_sealed, enabled) VALUES ($1, $2, $3, 'app', $4, $5, $6)`,
      [id, org, name, credentials.digest(key), credentials.encrypt(key, id), enabled ?? true],
    );
    tx.changed('thing', id, org, [id]);
  }
}
