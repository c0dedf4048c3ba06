import type { Metrics } from '@millrace/core';
import type { Session } from '../database/database.ts';

const ROWS_MAX = 1_000;

/** Two nodes at once take different rows; what one took the other passes over. */
const TRIM = `DELETE FROM registry.audit WHERE id IN (
    SELECT id FROM registry.audit WHERE at < to_timestamp($1::float8 / 1000) ORDER BY at LIMIT ${ROWS_MAX} FOR UPDATE SKIP LOCKED)
  RETURNING 1`;
const DAY_MS = 86_400_000;

export interface RetentionOptions {
  readonly session: Session;
  readonly retentionDays: number;
  readonly metrics: Metrics;
  readonly now: () => number;
}

/** Deletes lines of the audit that are older than they are kept, a bounded statement at a time. */
export class Retention {
  readonly #options: RetentionOptions;
  readonly #swept;

  constructor(options: RetentionOptions) {
    this.#options = options;
    this.#swept = options.metrics.counter('millrace_registry_swept_total', 'Rows that were removed in time.', ['what']);
  }

  async trim(stopped: () => boolean): Promise<void> {
    const { session, retentionDays, now } = this.#options;
    for (let count = ROWS_MAX; count === ROWS_MAX && !stopped(); ) {
      count = (await session.query(TRIM, [now() - retentionDays * DAY_MS])).length;
      if (count > 0) this.#swept.inc({ what: 'audit' }, count);
    }
  }
}
