import {
  type Credentials,
  type Logger,
  uuidV7,
  type Webhook,
  type WebhookRequest,
  type WebhookStore,
} from '@millrace/core';
import type { ChangeFeed } from '../changes.ts';
import type { Database, Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { goodKeys, openSecrets } from './secrets.ts';
import { COLUMNS, type StoredWebhook } from './webhooks.ts';

/** One request that was made. */
export interface WebhookDelivery {
  readonly id: string;
  readonly request: string;
  readonly at: Date;
  readonly messages: number;
  readonly status: number | null;
  readonly ms: number;
  readonly error: string | null;
}
/** A request that was given up. */
export interface WebhookLetter {
  readonly id: string;
  readonly request: string;
  readonly messages: number;
  readonly bytes: number;
  readonly reason: string;
  readonly createdAt: Date;
  readonly replayAt: Date | null;
}

export interface DeliveryRecords {
  /** The last ones, the newest first. */
  deliveries(webhook: string, limit: number): Promise<readonly WebhookDelivery[]>;
  /** The oldest first. */
  letters(webhook: string, limit: number): Promise<readonly WebhookLetter[]>;
  /** Has requests that were given up tried again.  @param letters undefined: all  @returns how many */
  replay(webhook: StoredWebhook, letters: readonly string[] | undefined): Promise<number>;
}

/** Of each webhook. */
const DELIVERIES_MAX = 100;
const LETTERS_MAX = 1_000;
const LETTERS_BYTES_MAX = 16 * 1024 * 1024;

interface ClaimedRow extends StoredWebhook {
  readonly sealed: string;
  readonly partition: number | null;
  readonly offset: number;
  readonly failingSince: Date | null;
  readonly replays: number;
}

export interface DeliveryOptions {
  readonly session: Database;
  readonly feed: ChangeFeed;
  readonly credentials: Credentials;
  readonly node: string;
  readonly now: () => number;
  readonly logger: Logger;
  /** In whose name a webhook reads. */
  readonly makerOf: (actor: StoredWebhook['actor']) => Promise<Webhook['maker']>;
}

/** Where webhooks stand, for the nodes that deliver them. */
export function createDeliveries(options: DeliveryOptions): WebhookStore & { readonly records: DeliveryRecords } {
  const { session, feed, credentials, node, now, makerOf, logger } = options;
  return {
    async claim(leaseMs) {
      // A restored installation has none of them.
      await session.query(
        `INSERT INTO registry.webhook_states (webhook)
         SELECT id FROM registry.webhooks WHERE NOT EXISTS (SELECT FROM registry.webhook_states WHERE webhook = id)
         ON CONFLICT DO NOTHING`,
      );
      const rows = await session.query<ClaimedRow>(
        `WITH held AS (
           UPDATE registry.webhook_states AS state SET holder = $1, held_until = now() + $2 * interval '1 millisecond'
           FROM registry.webhooks AS webhook JOIN registry.orgs AS org ON org.id = webhook.org
           WHERE state.webhook = webhook.id AND webhook.enabled AND NOT org.frozen
             AND (state.holder = $1 OR state.held_until < now())
           RETURNING state.webhook, log_partition AS partition, log_offset::double precision AS "offset",
             failing_since AS "failingSince")
         SELECT ${COLUMNS}, partition, "offset", "failingSince",
           (SELECT count(*)::integer FROM registry.webhook_letters AS letter
            WHERE letter.webhook = held.webhook AND replay_at IS NOT NULL) AS replays
         FROM held JOIN registry.webhooks ON id = held.webhook ORDER BY id`,
        [node, leaseMs],
      );
      const claimed: Webhook[] = [];
      for (const row of rows) {
        try {
          claimed.push(await portOf(row));
        } catch (error) {
          if (!(error instanceof RegistryError && error.code === 'REGISTRY_SECRET_MISMATCH')) throw error;
          // One of them must not keep the others out.
          logger.error({ err: error, webhook: row.id }, 'the secrets of a webhook can not be opened: it is left out');
        }
      }
      return claimed;
    },

    async progress(id, { position, failingSinceMs, skipped, attempt, givenUp = false }) {
      const taken = attempt !== undefined && attempt.outcome.error === null ? attempt.request.messages : 0;
      const lost = givenUp ? (attempt?.request.messages ?? 0) : 0;
      return session.transaction(async (tx) => {
        const held = await tx.query(
          `UPDATE registry.webhook_states SET log_partition = $3, log_offset = $4,
             failing_since = to_timestamp($5::double precision / 1000), skipped = skipped + $6,
             delivered = delivered + $7, given_up = given_up + $8
           WHERE webhook = $1 AND holder = $2 RETURNING 1`,
          [id, node, position.partition, position.offset, failingSinceMs, skipped, taken, lost],
        );
        if (held.length === 0) return false;
        if (attempt === undefined) return true;
        const { request, outcome } = attempt;
        await note(tx, id, request, outcome);
        if (givenUp) await keepLetter(tx, id, request, outcome.error ?? '');
        return true;
      });
    },

    async state(id, problem) {
      await session.query(
        'UPDATE registry.webhook_states SET problem = $3 WHERE webhook = $1 AND holder = $2 AND problem IS DISTINCT FROM $3',
        [id, node, problem],
      );
    },

    disable: (id, reason) =>
      feed.transaction(async (tx) => {
        const [row] = await tx.query<{ org: string; name: string }>(
          `UPDATE registry.webhooks SET enabled = false, disabled_reason = $2, version = version + 1, updated_at = now()
           WHERE id = $1 AND enabled RETURNING org, name`,
          [id, reason],
        );
        if (row === undefined) return;
        const { org, name } = row;
        tx.audit({ action: 'webhooks.disable', entity: 'webhooks', id, org, detail: { name, reason } });
      }),

    async replay(id) {
      const [row] = await session.query<
        { letter: string; request: string } & Pick<WebhookRequest, 'headers' | 'body' | 'messages'>
      >(
        `SELECT id AS letter, request, headers, body, messages FROM registry.webhook_letters
         WHERE webhook = $1 AND replay_at IS NOT NULL ORDER BY id LIMIT 1`,
        [id],
      );
      if (row === undefined) return null;
      const { request, ...rest } = row;
      return { ...rest, id: request };
    },

    async replayed(id, letter, outcome) {
      await session.transaction(async (tx) => {
        const [row] =
          outcome.error === null
            ? await tx.query<{ request: string; messages: number }>(
                'DELETE FROM registry.webhook_letters WHERE id = $1 RETURNING request, messages',
                [letter],
              )
            : await tx.query<{ request: string; messages: number }>(
                `UPDATE registry.webhook_letters SET replay_at = NULL, reason = $2 WHERE id = $1 RETURNING request, messages`,
                [letter, outcome.error],
              );
        if (row === undefined) return;
        await note(tx, id, { id: row.request, messages: row.messages }, outcome);
        if (outcome.error !== null) return;
        await tx.query('UPDATE registry.webhook_states SET delivered = delivered + $2 WHERE webhook = $1', [
          id,
          row.messages,
        ]);
      });
    },

    async release() {
      await session.query(
        `UPDATE registry.webhook_states SET holder = NULL, held_until = '-infinity' WHERE holder = $1`,
        [node],
      );
    },

    records: {
      deliveries: (webhook, limit) =>
        session.query<WebhookDelivery>(
          `SELECT id::text AS id, request, at, messages, status, ms, error FROM registry.webhook_deliveries
           WHERE webhook = $1 ORDER BY webhook_deliveries.id DESC LIMIT $2`,
          [webhook, limit],
        ),
      letters: (webhook, limit) =>
        session.query<WebhookLetter>(
          `SELECT id, request, messages, octet_length(body) AS bytes, reason, created_at AS "createdAt",
             replay_at AS "replayAt" FROM registry.webhook_letters WHERE webhook = $1 ORDER BY id LIMIT $2`,
          [webhook, limit],
        ),
      replay: (webhook, letters) =>
        feed.transaction(async (tx) => {
          const { id, org, name } = webhook;
          const marked = await tx.query(
            `UPDATE registry.webhook_letters SET replay_at = now()
             WHERE webhook = $1 AND ($2::uuid[] IS NULL OR id = ANY ($2::uuid[])) RETURNING 1`,
            [id, letters ?? null],
          );
          const detail = { name, letters: marked.length };
          tx.audit({ action: 'webhooks.replay', entity: 'webhooks', id, org, detail });
          return marked.length;
        }),
    },
  };

  async function portOf(row: ClaimedRow): Promise<Webhook> {
    const { id, org, channel, url, subtopic, format, batchMessages, batchMs, version, partition, offset, replays } =
      row;
    const secrets = openSecrets(credentials, id, row.sealed);
    return {
      id,
      org,
      channel,
      url,
      subtopic,
      format,
      batchMessages,
      batchMs,
      version,
      replays,
      secrets: goodKeys(secrets, now()),
      headers: secrets.headers,
      maker: await makerOf(row.actor),
      position: partition === null ? null : { partition, offset },
      failingSinceMs: row.failingSince?.getTime() ?? null,
    };
  }
}

async function note(
  tx: Session,
  webhook: string,
  request: Pick<WebhookRequest, 'id' | 'messages'>,
  { status, ms, error }: { readonly status: number | null; readonly ms: number; readonly error: string | null },
): Promise<void> {
  await tx.query(
    `INSERT INTO registry.webhook_deliveries (webhook, request, messages, status, ms, error) VALUES ($1, $2, $3, $4, $5, $6)`,
    [webhook, request.id, request.messages, status, ms, error?.replaceAll('\0', '') ?? null],
  );
  await tx.query(
    `DELETE FROM registry.webhook_deliveries WHERE webhook = $1 AND id <=
       (SELECT id FROM registry.webhook_deliveries WHERE webhook = $1 ORDER BY id DESC OFFSET $2 LIMIT 1)`,
    [webhook, DELIVERIES_MAX],
  );
}

async function keepLetter(tx: Session, webhook: string, request: WebhookRequest, reason: string): Promise<void> {
  await tx.query(
    `INSERT INTO registry.webhook_letters (id, webhook, request, headers, body, messages, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    [uuidV7(), webhook, request.id, JSON.stringify(request.headers), request.body, request.messages, reason],
  );
  // One that nobody looks after must not fill the database.
  await tx.query(
    `DELETE FROM registry.webhook_letters WHERE id IN (
       SELECT id FROM (SELECT id, row_number() OVER newer AS n, sum(octet_length(body)) OVER newer AS bytes
         FROM registry.webhook_letters WHERE webhook = $1 WINDOW newer AS (ORDER BY id DESC)) AS kept
       WHERE n > $2 OR bytes > $3)`,
    [webhook, LETTERS_MAX, LETTERS_BYTES_MAX],
  );
}
