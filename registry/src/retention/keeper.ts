import type { Logger } from '@millrace/core';
import { type Counter, type StoreUpkeep, uuidV7 } from '@millrace/core';
import type { Database } from '../database/database.ts';
import type { Advance } from './deletion-work.ts';
import type { Deletions } from './deletions.ts';
import { readRules } from './rules.ts';

export interface KeeperOptions {
  readonly database: Database;
  readonly deletions: Deletions;
  readonly upkeep: StoreUpkeep;
  readonly advance: Advance;
  readonly node: string;
  /** Of the installation; null: for ever. */
  readonly retentionDays: number | null;
  readonly now: () => number;
  readonly rows: Counter<'what'>;
  readonly logger: Logger;
}

const TICK_MS = 5_000;
const LEASE_MS = 30_000;
const LEASE = `interval '${LEASE_MS} milliseconds'`;
/** More often than the shortest retention, so that what came while a hold was not known yet is reached in time. */
const SWEEP_EVERY = `interval '6 hours'`;
const SWEEP_AGAIN = `interval '1 minute'`;
const DUE_MAX = 100;
/** Steps of one deletion before others have their turn. */
const STEPS_MAX = 100;

/** Looks after stored data, on one node at a time: deletes what is kept for long enough and what was left behind by what
 *  is gone. A second node at it would do harm to nobody: all of it may be repeated. */
export class Keeper {
  readonly #options: KeeperOptions;
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(): void {
    if (this.#stopping.signal.aborted) return;
    this.#timer = setTimeout(
      () => {
        this.#running = this.#look()
          .catch((error) => {
            if (!this.#stopping.signal.aborted)
              this.#options.logger.warn({ err: error }, 'can not look after stored data; tries again');
          })
          .finally(() => this.#schedule());
      },
      TICK_MS * (0.5 + Math.random() / 2),
    );
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const { database, node, deletions } = this.#options;
    const [taken] = await database.query<{ due: boolean }>(
      `UPDATE registry.store_upkeep SET holder = $1, held_until = now() + ${LEASE}
       WHERE (holder = $1 OR held_until < now()) AND (wanted_at <= now() OR EXISTS (
         SELECT FROM registry.deletions WHERE by_platform AND finished_at IS NULL AND due_at <= now()))
       RETURNING wanted_at <= now() AS due`,
      [node],
    );
    if (taken === undefined) return;
    const ending = new AbortController();
    const signal = AbortSignal.any([ending.signal, this.#stopping.signal]);
    const beats = setInterval(() => {
      this.#beat().then(
        (held) => held || ending.abort(),
        () => undefined,
      );
    }, LEASE_MS / 4);
    try {
      for (const id of await deletions.due(DUE_MAX)) await this.#workOff(id, signal);
      if (taken.due) await this.#sweep(signal);
    } finally {
      clearInterval(beats);
      await database
        .query('UPDATE registry.store_upkeep SET held_until = now() WHERE holder = $1', [node])
        .catch(() => undefined);
    }
  }

  async #beat(): Promise<boolean> {
    const sql = `UPDATE registry.store_upkeep SET held_until = now() + ${LEASE} WHERE holder = $1 RETURNING 1`;
    return (await this.#options.database.query(sql, [this.#options.node])).length > 0;
  }

  async #workOff(id: string, signal: AbortSignal): Promise<void> {
    const { deletions, advance, logger } = this.#options;
    try {
      for (let step = 0; step < STEPS_MAX; step++) {
        signal.throwIfAborted();
        const outcome = await advance(id, signal);
        if (outcome.kind === 'more') continue;
        if (outcome.kind === 'wait') await deletions.later(id, outcome.afterMs);
        return;
      }
    } catch (error) {
      signal.throwIfAborted();
      logger.warn({ err: error, deletion: id }, 'a deletion broke down; tries again');
      await deletions.later(id, TICK_MS * 12);
    }
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    const { database, upkeep, retentionDays, now, rows } = this.#options;
    // What is changed from here on wants another sweep.
    const [begun] = await database.query<{ at: Date }>(
      `UPDATE registry.store_upkeep SET wanted_at = now() + ${SWEEP_EVERY} RETURNING now() AS at`,
    );
    // Before the rules are read: those that they surely tell of.
    const holds = await database.query<{ id: string }>('SELECT id FROM registry.holds WHERE released_at IS NULL');
    try {
      // A clock that runs ahead must not make everything old: the earlier of two decides.
      const nowMs = Math.min(now(), begun?.at.getTime() ?? 0);
      const rules = await readRules(database, retentionDays, nowMs);
      const { deleted, moved } = await upkeep.sweep(rules, { mark: `sweep-${uuidV7()}`, signal });
      rows.inc({ what: 'deleted' }, deleted);
      rows.inc({ what: 'moved' }, moved);
    } catch (error) {
      await database.query(`UPDATE registry.store_upkeep SET wanted_at = least(wanted_at, now() + ${SWEEP_AGAIN})`);
      throw error;
    }
    await database.query('UPDATE registry.store_upkeep SET swept_at = now()');
    await database.query(
      'UPDATE registry.holds SET in_force_at = now() WHERE in_force_at IS NULL AND released_at IS NULL AND id = ANY ($1)',
      [holds.map(({ id }) => id)],
    );
  }
}
