import { type Credentials, type Position, uuidV7, type WebhookFormat, type WebhookTarget } from '@millrace/core';
import { type Actor, currentActor } from '../audit/actor.ts';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { checkVersion, noteChange } from '../inventory/change.ts';
import { lockOrg } from '../inventory/org-lock.ts';
import { type Listed, type ListQuery, listRows } from '../inventory/page.ts';
import { goodKeys, newKey, openSecrets, rotated, sealSecrets } from './secrets.ts';

/** One as it is shown: without what is secret. */
export interface StoredWebhook {
  readonly id: string;
  readonly org: string;
  readonly channel: string;
  readonly name: string;
  readonly url: string;
  readonly subtopic: string;
  readonly format: WebhookFormat;
  readonly batchMessages: number;
  readonly batchMs: number;
  readonly headerNames: readonly string[];
  readonly actor: Actor;
  readonly enabled: boolean;
  readonly disabledReason: string | null;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
export interface WebhookStatus {
  readonly position: Position | null;
  readonly failingSince: Date | null;
  readonly problem: string | null;
  readonly isHeld: boolean;
  readonly delivered: number;
  readonly givenUp: number;
  readonly skipped: number;
  readonly letters: number;
}
export interface WebhookSettings {
  readonly name: string;
  readonly url: string;
  readonly subtopic: string;
  readonly format: WebhookFormat;
  readonly batchMessages: number;
  readonly batchMs: number;
}
export interface NewWebhook extends WebhookSettings {
  readonly id?: string | undefined;
  readonly channel: string;
  readonly enabled: boolean;
  readonly headers: Readonly<Record<string, string>>;
  /** Where the log ends: what comes from here on is sent. */
  readonly position: Position | null;
}
export type WebhookPatch = { readonly [K in keyof WebhookSettings]?: WebhookSettings[K] | undefined } & {
  readonly enabled?: boolean | undefined;
  /** In the place of all that there were. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
};

export interface Webhooks {
  /** @returns its signing key as well, base64  @throws RegistryError REGISTRY_CONFLICT, REGISTRY_FULL, REGISTRY_NOT_FOUND */
  create(org: string, webhook: NewWebhook): Promise<{ readonly webhook: StoredWebhook; readonly key: string }>;
  get(id: string): Promise<StoredWebhook | null>;
  list(query: ListQuery & { readonly channel?: string | undefined }): Promise<Listed<StoredWebhook>>;
  /** Whoever changes it is in whose name it reads from then on.
   *  @throws RegistryError REGISTRY_VERSION_MISMATCH, REGISTRY_CONFLICT, REGISTRY_INVALID */
  update(id: string, patch: WebhookPatch, expected: number | null): Promise<StoredWebhook | null>;
  rotate(id: string, overlapMs: number): Promise<{ readonly webhook: StoredWebhook; readonly key: string } | null>;
  remove(id: string, expected: number | null): Promise<boolean>;
  status(id: string): Promise<WebhookStatus>;
  /** With its secrets, for one request that somebody tries it with: that is written down. */
  trial(id: string): Promise<WebhookTarget | null>;
}

interface Row extends StoredWebhook {
  readonly sealed: string;
}
export const COLUMNS = `id, org, channel, name, url, subtopic, format, batch_messages AS "batchMessages",
  batch_ms AS "batchMs", header_names AS "headerNames", actor, enabled, disabled_reason AS "disabledReason", sealed,
  version, created_at AS "createdAt", updated_at AS "updatedAt"`;

export interface WebhooksOptions {
  readonly session: Session;
  readonly feed: ChangeFeed;
  readonly credentials: Credentials;
  readonly perOrgMax: number;
  readonly now: () => number;
}

export function createWebhooks({ session, feed, credentials, perOrgMax, now }: WebhooksOptions): Webhooks {
  const locked = async (tx: ChangeSession, id: string, expected: number | null): Promise<Row | null> => {
    const [row] = await tx.query<Row>(`SELECT ${COLUMNS} FROM registry.webhooks WHERE id = $1 FOR UPDATE`, [id]);
    if (row === undefined) return null;
    checkVersion('webhook', row, expected);
    return row;
  };
  const stored = async (id: string): Promise<Row | null> =>
    (await session.query<Row>(`SELECT ${COLUMNS} FROM registry.webhooks WHERE id = $1`, [id]))[0] ?? null;

  return {
    create: (org, { id: given, channel, headers, position, enabled, ...settings }) =>
      feed.transaction(async (tx) => {
        // One after the other, so that many at once don't pass the limit together.
        await lockOrg(tx, 'webhooks', org);
        const [count] = await tx.query<{ all: number }>(
          'SELECT count(*)::integer AS all FROM registry.webhooks WHERE org = $1',
          [org],
        );
        if ((count?.all ?? 0) >= perOrgMax) throw new RegistryError('REGISTRY_FULL', 'never', { webhooks: perOrgMax });
        const id = given?.toLowerCase() ?? uuidV7();
        const key = newKey();
        const sealed = sealSecrets(credentials, id, { keys: [{ key, untilMs: null }], headers });
        const { name, url, subtopic, format, batchMessages, batchMs } = settings;
        const [row] = await tx.query<Row>(
          `INSERT INTO registry.webhooks (id, org, channel, name, url, subtopic, format, batch_messages, batch_ms, sealed,
             header_names, actor, enabled)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING ${COLUMNS}`,
          [
            id,
            org,
            channel,
            name,
            url,
            subtopic,
            format,
            batchMessages,
            batchMs,
            sealed,
            Object.keys(headers),
            JSON.stringify(currentActor()),
            enabled,
          ],
        );
        if (row === undefined) throw new TypeError('INSERT … RETURNING gave no row');
        await tx.query('INSERT INTO registry.webhook_states (webhook, log_partition, log_offset) VALUES ($1, $2, $3)', [
          id,
          position?.partition ?? null,
          position?.offset ?? null,
        ]);
        const webhook = shown(row);
        noteChange(tx, 'webhooks', 'create', null, webhook);
        return { webhook, key };
      }),

    async get(id) {
      const row = await stored(id);
      return row === null ? null : shown(row);
    },

    async list({ channel, ...query }) {
      const { items, ...rest } = await listRows<Row>(session, 'registry.webhooks', COLUMNS, query, (clauses) => {
        if (channel !== undefined) clauses.add('channel = ?', channel);
      });
      return { ...rest, items: items.map(shown) };
    },

    update: (id, patch, expected) =>
      feed.transaction(async (tx) => {
        const before = await locked(tx, id, expected);
        if (before === null) return null;
        const { url = before.url, enabled = before.enabled, headers } = patch;
        const had = openSecrets(credentials, id, before.sealed);
        // They were meant for whom it named.
        const elsewhere = new URL(url).origin !== new URL(before.url).origin;
        if (elsewhere && headers === undefined && before.headerNames.length > 0)
          throw new RegistryError('REGISTRY_INVALID', 'never', {
            field: 'headers',
            because: 'must be given again where the URL names another host, port or scheme',
          });
        const secrets = headers === undefined ? had : { ...had, headers };
        const [row] = await tx.query<Row>(
          `UPDATE registry.webhooks SET name = $2, url = $3, subtopic = $4, format = $5, batch_messages = $6,
             batch_ms = $7, sealed = $8, header_names = $9, actor = $10, enabled = $11, disabled_reason = $12,
             version = version + 1, updated_at = now() WHERE id = $1 RETURNING ${COLUMNS}`,
          [
            id,
            patch.name ?? before.name,
            url,
            patch.subtopic ?? before.subtopic,
            patch.format ?? before.format,
            patch.batchMessages ?? before.batchMessages,
            patch.batchMs ?? before.batchMs,
            sealSecrets(credentials, id, secrets),
            Object.keys(secrets.headers),
            JSON.stringify(currentActor()),
            enabled,
            enabled ? null : before.disabledReason,
          ],
        );
        if (row === undefined) return null;
        noteChange(tx, 'webhooks', 'update', told(shown(before)), told(shown(row)));
        return shown(row);
      }),

    rotate: (id, overlapMs) =>
      feed.transaction(async (tx) => {
        const before = await locked(tx, id, null);
        if (before === null) return null;
        const secrets = rotated(openSecrets(credentials, id, before.sealed), now(), overlapMs);
        const [row] = await tx.query<Row>(
          `UPDATE registry.webhooks SET sealed = $2, version = version + 1, updated_at = now() WHERE id = $1
           RETURNING ${COLUMNS}`,
          [id, sealSecrets(credentials, id, secrets)],
        );
        if (row === undefined) return null;
        const { org, name } = row;
        tx.audit({ action: 'webhooks.rotate', entity: 'webhooks', id, org, detail: { name } });
        return { webhook: shown(row), key: secrets.keys[0]?.key ?? '' };
      }),

    remove: (id, expected) =>
      feed.transaction(async (tx) => {
        const row = await locked(tx, id, expected);
        if (row === null) return false;
        await tx.query('DELETE FROM registry.webhook_deliveries WHERE webhook = $1', [id]);
        await tx.query('DELETE FROM registry.webhooks WHERE id = $1', [id]);
        noteChange(tx, 'webhooks', 'delete', shown(row), null);
        return true;
      }),

    async status(id) {
      const [row] = await session.query<Omit<WebhookStatus, 'position'> & { partition: number | null; offset: number }>(
        `SELECT log_partition AS partition, log_offset::double precision AS offset, failing_since AS "failingSince",
           problem, held_until > now() AS "isHeld", delivered::double precision AS delivered,
           given_up::double precision AS "givenUp", skipped::double precision AS skipped,
           (SELECT count(*)::integer FROM registry.webhook_letters WHERE webhook = $1) AS letters
         FROM registry.webhook_states WHERE webhook = $1`,
        [id],
      );
      if (row === undefined) return NO_STATUS;
      const { partition, offset, ...rest } = row;
      return { ...rest, position: partition === null ? null : { partition, offset } };
    },

    trial: (id) =>
      feed.transaction(async (tx) => {
        const row = await locked(tx, id, null);
        if (row === null) return null;
        const { org, name, url } = row;
        tx.audit({ action: 'webhooks.test', entity: 'webhooks', id, org, detail: { name } });
        const secrets = openSecrets(credentials, id, row.sealed);
        return { url, secrets: goodKeys(secrets, now()), headers: secrets.headers };
      }),
  };
}

const NO_STATUS: WebhookStatus = {
  position: null,
  failingSince: null,
  problem: null,
  isHeld: false,
  delivered: 0,
  givenUp: 0,
  skipped: 0,
  letters: 0,
};

/** Nobody who is given it can give its secrets away. */
const shown = ({ sealed: _, ...webhook }: Row): StoredWebhook => webhook;

/** What the audit compares: whose it is shows by who changed it. */
const told = ({ actor: _, disabledReason: __, ...rest }: StoredWebhook) => rest;
