import type { Logger, Metrics } from '@millrace/core';
import type { Database, Session } from '../database/database.ts';
import { LOCKS } from '../database/migrate.ts';

export interface UpkeepOptions {
  readonly database: Database;
  readonly node: string;
  /** So long the sessions of a node are kept that has gone without a word. */
  readonly sessionsKeptMs: number;
  readonly everyMs: number;
  readonly now: () => number;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

const ROWS_MAX = 1_000;
const NODE_SILENT = `interval '10 minutes'`;
const TOMBSTONE_KEPT = `interval '1 hour'`;
const GROUP_KEPT = `interval '7 days'`;

/** What goes by, each a bounded statement. @shape $1 now in ms, where it occurs */
const SWEEPS: readonly { readonly what: string; readonly sql: string; readonly values: (now: number) => unknown[] }[] =
  [
    {
      what: 'sessions',
      sql: `DELETE FROM registry.mqtt_sessions WHERE (owner, client_id) IN (
      SELECT owner, client_id FROM registry.mqtt_sessions WHERE expires_at <= to_timestamp($1::float8 / 1000)
      LIMIT ${ROWS_MAX} FOR UPDATE SKIP LOCKED) RETURNING 1`,
      values: (now) => [now],
    },
    {
      what: 'tickets',
      sql: `DELETE FROM registry.tickets WHERE digest IN (
      SELECT digest FROM registry.tickets WHERE expires_at <= to_timestamp($1::float8 / 1000)
      LIMIT ${ROWS_MAX} FOR UPDATE SKIP LOCKED) RETURNING 1`,
      values: (now) => [now],
    },
    {
      what: 'tombstones',
      sql: `DELETE FROM registry.retained WHERE (channel, subtopic) IN (
      SELECT channel, subtopic FROM registry.retained WHERE cleared_at < now() - ${TOMBSTONE_KEPT}
      LIMIT ${ROWS_MAX} FOR UPDATE SKIP LOCKED) RETURNING 1`,
      values: () => [],
    },
    {
      what: 'share_members',
      sql: `DELETE FROM registry.mqtt_share_members WHERE (group_key, node) IN (
      SELECT group_key, node FROM registry.mqtt_share_members AS held
      WHERE NOT EXISTS (SELECT FROM registry.nodes WHERE nodes.id = held.node) LIMIT ${ROWS_MAX}) RETURNING 1`,
      values: () => [],
    },
    {
      what: 'share_cursors',
      sql: `DELETE FROM registry.mqtt_share_cursors WHERE (group_key, partition) IN (
      SELECT group_key, partition FROM registry.mqtt_share_cursors AS held WHERE updated_at < now() - ${GROUP_KEPT}
        AND NOT EXISTS (SELECT FROM registry.nodes WHERE nodes.id = held.node) LIMIT ${ROWS_MAX}) RETURNING 1`,
      values: () => [],
    },
  ];

/** Sessions whose node died hold no end: they get one. The node stays their holder, in case that it lives. */
const ORPHANS = `UPDATE registry.mqtt_sessions SET expires_at = to_timestamp($1::float8 / 1000) WHERE (owner, client_id) IN (
  SELECT owner, client_id FROM registry.mqtt_sessions AS held WHERE node IS NOT NULL AND expires_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM registry.session_nodes WHERE id = held.node AND seen_at > now() - ${NODE_SILENT})
  LIMIT ${ROWS_MAX} FOR UPDATE SKIP LOCKED) RETURNING 1`;

/** Removes what has expired, one node of the cluster at a time, and tells the others that this node lives. */
export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #swept;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | null = null;
  #stopped = false;

  constructor(options: UpkeepOptions) {
    this.#options = options;
    this.#swept = options.metrics.counter('millrace_registry_swept_total', 'Rows that were removed in time.', ['what']);
  }

  async start(): Promise<void> {
    await this.#live();
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
    // Who asks for a session of ours need not tell us any more.
    const gone = 'DELETE FROM registry.session_nodes WHERE id = $1';
    await this.#options.database.query(gone, [this.#options.node]).catch(() => undefined);
  }

  /** One round. */
  async sweep(): Promise<void> {
    await this.#live();
    const { now, sessionsKeptMs } = this.#options;
    await this.#repeat('orphans', ORPHANS, () => [now() + sessionsKeptMs]);
    for (const { what, sql, values } of SWEEPS) await this.#repeat(what, sql, () => values(now()));
    await this.#options.database.query(
      `DELETE FROM registry.session_nodes WHERE seen_at < now() - 2 * ${NODE_SILENT} AND id <> $1`,
      [this.#options.node],
    );
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#running = this.sweep()
        .catch((error) => this.#options.logger.warn({ err: error }, 'can not remove what has expired; tries again'))
        .finally(() => this.#schedule());
    }, this.#options.everyMs);
    this.#timer.unref();
  }

  /** A node that was taken for dead takes its sessions back. */
  async #live(): Promise<void> {
    const { database, node } = this.#options;
    const [row] = await database.query<{ fresh: boolean }>(
      `INSERT INTO registry.session_nodes AS node (id, seen_at) VALUES ($1, now())
       ON CONFLICT (id) DO UPDATE SET seen_at = now() RETURNING xmax = 0 AS fresh`,
      [node],
    );
    if (row?.fresh !== true) return;
    await database.query(
      'UPDATE registry.mqtt_sessions SET expires_at = NULL WHERE node = $1 AND expires_at IS NOT NULL',
      [node],
    );
  }

  async #repeat(what: string, sql: string, values: () => unknown[]): Promise<void> {
    for (let count = ROWS_MAX; count === ROWS_MAX && !this.#stopped; ) {
      count = await this.#options.database.transaction((tx) => alone(tx, sql, values()));
      if (count > 0) this.#swept.inc({ what }, count);
    }
  }
}

/** @returns how many rows; 0 while another node is at it */
async function alone(tx: Session, sql: string, values: unknown[]): Promise<number> {
  const [lock] = await tx.query<{ held: boolean }>('SELECT pg_try_advisory_xact_lock($1) AS held', [LOCKS.sweep]);
  return lock?.held === true ? (await tx.query(sql, values)).length : 0;
}
