import type { Logger } from '@millrace/core';
import type { Session } from '../database/database.ts';

export interface LastUsesOptions {
  readonly session: Session;
  readonly logger: Logger;
  readonly everyMs?: number;
}

const EVERY_MS = 10_000;
/** Keys that were used since the last writing; further ones are not told of this time. */
const KEYS_MAX = 100_000;
const ROWS_MAX = 5_000;

/** Only forward: two nodes write in any order. */
const WRITE = `UPDATE registry.api_keys SET last_used_at = to_timestamp(used.ms / 1000)
  FROM unnest($1::uuid[], $2::float8[]) AS used (id, ms)
  WHERE api_keys.id = used.id AND (last_used_at IS NULL OR last_used_at < to_timestamp(used.ms / 1000))`;

/** When API keys were last used: gathered, and written once in a while in one statement, so that a use costs a Map's
 *  entry. A crash loses the last seconds of it. */
export class LastUses {
  readonly #options: LastUsesOptions;
  #uses = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: LastUsesOptions) {
    this.#options = options;
  }

  add(id: string, nowMs: number): void {
    if (this.#uses.size < KEYS_MAX || this.#uses.has(id)) this.#uses.set(id, nowMs);
  }

  start(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#writing = this.#write().finally(() => this.start());
    }, this.#options.everyMs ?? EVERY_MS);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#writing;
    await this.#write();
  }

  /** What can't be written is left: the next use tells it again. */
  async #write(): Promise<void> {
    const uses = [...this.#uses];
    this.#uses = new Map();
    try {
      for (let from = 0; from < uses.length; from += ROWS_MAX) {
        // In one order, so that two nodes never wait for each other.
        const batch = uses.slice(from, from + ROWS_MAX).toSorted(([a], [b]) => (a < b ? -1 : 1));
        await this.#options.session.query(WRITE, [batch.map(([id]) => id), batch.map(([, ms]) => ms)]);
      }
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'can not write when API keys were used');
    }
  }
}
