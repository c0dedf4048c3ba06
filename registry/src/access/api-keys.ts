import { API_KEY_PREFIX, type Scope, uuidV7 } from '@millrace/core';
import { changedFields } from '../audit/changed-fields.ts';
import { RegistryError } from '../error.ts';
import { type Clauses, type Listed, type ListQuery, listRows } from '../inventory/page.ts';
import type { Parts } from '../parts.ts';
import { LastUses } from './last-uses.ts';

export interface ApiKey {
  readonly id: string;
  readonly org: string;
  /** Whose rights it carries a part of. */
  readonly user: string;
  readonly name: string;
  readonly grants: Scope['grants'];
  readonly enabled: boolean;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tags: readonly string[];
  readonly expiresAt: Date | null;
  readonly lastUsedAt: Date | null;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
export interface NewApiKey {
  readonly id?: string | undefined;
  readonly name: string;
  readonly grants: Scope['grants'];
  /** ms since 1970; null: does not expire. */
  readonly expiresMs: number | null;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly tags?: readonly string[] | undefined;
}
export interface ApiKeyPatch {
  readonly name?: string | undefined;
  readonly enabled?: boolean | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly tags?: readonly string[] | undefined;
}
export interface ApiKeys {
  /** The secret is given this once.  @throws RegistryError REGISTRY_CONFLICT with field id, REGISTRY_FULL */
  create(org: string, user: string, key: NewApiKey): Promise<{ key: ApiKey; secret: string }>;
  get(id: string): Promise<ApiKey | null>;
  /** @param user null: of all members */
  list(query: ListQuery, user: string | null): Promise<Listed<ApiKey>>;
  /** null if it is gone.  @throws RegistryError REGISTRY_VERSION_MISMATCH */
  update(id: string, patch: ApiKeyPatch, version: number | null): Promise<ApiKey | null>;
  /** @throws RegistryError REGISTRY_VERSION_MISMATCH */
  remove(id: string, version: number | null): Promise<boolean>;
  /** It was shown and let in. Cheap; written down with others, soon. */
  used(id: string, nowMs: number): void;
  start(): void;
  stop(): Promise<void>;
}

/** Of one user in one organisation. */
const KEYS_MAX = 100;

const COLUMNS = `id, org, user_id AS "user", name, grants, enabled, metadata, tags, expires_at AS "expiresAt",
  last_used_at AS "lastUsedAt", version, created_at AS "createdAt", updated_at AS "updatedAt"`;

export function createApiKeys({ database, feed, credentials, logger }: Parts): ApiKeys {
  const uses = new LastUses({ session: database, logger });
  return {
    create: (org, user, { id, name, grants, expiresMs, metadata = {}, tags = [] }) => {
      const secret = `${API_KEY_PREFIX}${credentials.newKey()}`;
      return feed.transaction(async (tx) => {
        // One after the other, so that a hundred at once don't pass the limit together.
        const member = 'SELECT 1 FROM registry.users WHERE id = $1 FOR UPDATE';
        if ((await tx.query(member, [user])).length === 0)
          throw new RegistryError('REGISTRY_NOT_FOUND', 'never', { user });
        const [count] = await tx.query<{ all: number }>(
          'SELECT count(*)::integer AS all FROM registry.api_keys WHERE user_id = $1 AND org = $2',
          [user, org],
        );
        if ((count?.all ?? 0) >= KEYS_MAX) throw new RegistryError('REGISTRY_FULL', 'never', { keys: KEYS_MAX });
        const [key] = await tx.query<ApiKey>(
          `INSERT INTO registry.api_keys (id, org, user_id, name, digest, grants, expires_at, metadata, tags)
           VALUES ($1, $2, $3, $4, $5, $6, to_timestamp($7::float8 / 1000), $8, $9) RETURNING ${COLUMNS}`,
          [
            id?.toLowerCase() ?? uuidV7(),
            org,
            user,
            name,
            credentials.digest(secret),
            JSON.stringify(grants),
            expiresMs,
            JSON.stringify(metadata),
            tags,
          ],
        );
        if (key === undefined) throw new TypeError('INSERT … RETURNING gave no row');
        tx.changed('key', key.id, org, [key.id]);
        const detail = { name, user, grants, expires_at: key.expiresAt?.toISOString() ?? null };
        tx.audit({ action: 'keys.create', entity: 'keys', id: key.id, org, detail });
        return { key, secret };
      });
    },

    async get(id) {
      return (await database.query<ApiKey>(`SELECT ${COLUMNS} FROM registry.api_keys WHERE id = $1`, [id]))[0] ?? null;
    },

    list: (query, user) =>
      listRows<ApiKey>(database, 'registry.api_keys', COLUMNS, query, (clauses: Clauses) => {
        if (user !== null) clauses.add('user_id = ?', user);
      }),

    update: (id, patch, version) =>
      feed.transaction(async (tx) => {
        const lock = `SELECT ${COLUMNS} FROM registry.api_keys WHERE id = $1 FOR UPDATE`;
        const [before] = await tx.query<ApiKey>(lock, [id]);
        if (before === undefined) return null;
        mustBe(before, version);
        const [after] = await tx.query<ApiKey>(
          `UPDATE registry.api_keys SET name = coalesce($2, name), enabled = coalesce($3, enabled),
             metadata = coalesce($4::jsonb, metadata), tags = coalesce($5::text[], tags), version = version + 1, updated_at = now()
           WHERE id = $1 RETURNING ${COLUMNS}`,
          [
            id,
            patch.name,
            patch.enabled,
            patch.metadata === undefined ? undefined : JSON.stringify(patch.metadata),
            patch.tags,
          ],
        );
        if (after === undefined) return null;
        if (after.enabled !== before.enabled) tx.changed('key', id, after.org, [id]);
        const { lastUsedAt: _, ...told } = after;
        tx.audit({ action: 'keys.update', entity: 'keys', id, org: after.org, detail: changedFields(before, told) });
        return after;
      }),

    remove: (id, version) =>
      feed.transaction(async (tx) => {
        const lock = `SELECT ${COLUMNS} FROM registry.api_keys WHERE id = $1 FOR UPDATE`;
        const [key] = await tx.query<ApiKey>(lock, [id]);
        if (key === undefined) return false;
        mustBe(key, version);
        await tx.query('DELETE FROM registry.api_keys WHERE id = $1', [id]);
        tx.changed('key', id, key.org, [id]);
        const detail = { name: key.name, user: key.user };
        tx.audit({ action: 'keys.revoke', entity: 'keys', id, org: key.org, detail });
        return true;
      }),

    used: (id, nowMs) => uses.add(id, nowMs),
    start: () => uses.start(),
    stop: () => uses.stop(),
  };
}

/** @throws RegistryError REGISTRY_VERSION_MISMATCH */
function mustBe(key: ApiKey, version: number | null): void {
  if (version !== null && key.version !== version)
    throw new RegistryError('REGISTRY_VERSION_MISMATCH', 'never', { version: key.version });
}
