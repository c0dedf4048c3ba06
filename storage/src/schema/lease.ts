import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError } from '@millrace/core';
import type { Engine } from '../engine/engine.ts';

/** So long a lease lasts whose holder is heard of no more. @units s */
const LEASE_S = 30;
const LOOK_MS = 200;
/** Turns that nobody remembers: far more than fit into the table's window. */
const KEPT = 1_000;

interface Turn {
  readonly number: string;
  readonly holder: string;
  readonly over: number;
}

export const LEASES = `CREATE TABLE IF NOT EXISTS schema_leases (number UInt64, holder String, until DateTime64(3, 'UTC'))
ENGINE = MergeTree() ORDER BY number SETTINGS non_replicated_deduplication_window = ${KEPT}`;

/** The right to change the schema, held by one node of all. ClickHouse has no locks, but it takes the first of several
 *  inserts with the same token: turns are numbered, who wants the next one inserts a row with its number as the token
 *  and looks whose is there. A holder that dies is waited for no longer than its lease lasts, by the servers' clock.
 *  @source docs/adr/0024 */
export class SchemaLease {
  readonly #engine: Engine;
  readonly #seconds: number;
  readonly #holder = randomUUID();
  #number = 0n;
  #renewing: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #untilMs = 0;

  private constructor(engine: Engine, seconds: number) {
    this.#engine = engine;
    this.#seconds = seconds;
  }

  /** Waits for whoever holds it.  @throws what the engine says */
  static async take(engine: Engine, seconds = LEASE_S): Promise<SchemaLease> {
    const lease = new SchemaLease(engine, seconds);
    let hidden = { number: 0n, sinceMs: 0 };
    for (let passed = 0n; ; ) {
      const turn = await lease.#last();
      if (turn === undefined || turn.over === 1) {
        const next = BigInt(turn?.number ?? 0) + 1n + passed;
        if (await lease.#claim(next, seconds)) break;
        // A turn that is taken and not to be seen went to a replica that is away with it: passed over when it must be over.
        if (hidden.number !== next) hidden = { number: next, sinceMs: performance.now() };
        else if (performance.now() - hidden.sinceMs > seconds * 1_000) passed++;
      } else passed = 0n;
      await sleep(LOOK_MS * (0.5 + Math.random()));
    }
    lease.#timer = setInterval(
      () => {
        lease.#renewing = lease.#renew();
      },
      (seconds * 1_000) / 3,
    ).unref();
    return lease;
  }

  /** @throws StoreError STORE_UNREACHABLE (later) when it was lost: it could not be renewed in time */
  check(): void {
    if (performance.now() >= this.#untilMs)
      throw new StoreError('STORE_UNREACHABLE', 'later', { problem: 'the lease of the schema was lost' });
  }

  async give(): Promise<void> {
    clearInterval(this.#timer);
    await this.#renewing;
    // Where it cannot be given back, it ends by itself.
    await this.#claim(this.#number + 1n, 0).catch(() => false);
  }

  /** Tried again at the next time, while the lease lasts. */
  async #renew(): Promise<void> {
    await this.#claim(this.#number + 1n, this.#seconds).catch(() => false);
  }

  async #claim(number: bigint, seconds: number): Promise<boolean> {
    const begunMs = performance.now();
    await this.#engine.command(
      `INSERT INTO schema_leases (number, holder, until) SETTINGS insert_deduplication_token='turn-${number}', insert_deduplicate=1, async_insert=0
       VALUES (${number}, '${this.#holder}', now64(3) + INTERVAL ${seconds} SECOND)`,
    );
    const [row] = await this.#engine.rows<{ holder: string }>(
      `SELECT holder FROM schema_leases WHERE number = ${number}`,
    );
    if (row?.holder !== this.#holder) return false;
    this.#number = number;
    this.#untilMs = begunMs + seconds * 1_000;
    return true;
  }

  async #last(): Promise<Turn | undefined> {
    const [turn] = await this.#engine.rows<Turn>(
      'SELECT toString(number) AS number, holder, until <= now64(3) AS over FROM schema_leases ORDER BY schema_leases.number DESC LIMIT 1',
    );
    return turn;
  }
}
