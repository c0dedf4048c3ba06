import type { Logger } from '@millrace/core';
import type { Database } from '../database/database.ts';

export interface NodeLeaseOptions {
  readonly database: Database;
  readonly node: string;
  readonly logger: Logger;
  /** A node says so often that it lives, and is dead once it has been silent so long. */
  readonly beatMs?: number;
  readonly leaseMs?: number;
}

/** What a lease tells who works under it. */
export interface NodeLeaseEvents {
  /** There are others now. */
  joined(): void;
  /** The others have taken this node for dead meanwhile. */
  buried(): void;
  /** Each beat. @param buriedOthers nodes have been found dead by this one */
  beat(buriedOthers: boolean): Promise<void>;
}

const BEAT_MS = 2_000;
const LEASE_MS = 10_000;

const BEAT = `INSERT INTO registry.nodes AS node (id, seen_at) VALUES ($1, clock_timestamp())
  ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp()
  RETURNING xmax = 0 AS fresh, (SELECT count(*)::integer FROM registry.nodes AS other WHERE other.id <> $1) AS others`;
const BURY = `DELETE FROM registry.nodes WHERE id <> $1 AND seen_at < clock_timestamp() - $2 * interval '1 ms' RETURNING id`;

/** That this node lives, told to the others by a row of the database and its clock. A node is alive as long as it has
 *  its row: who finds it silent for too long removes it, and with that it is dead for all at once.
 *  @holds a node that could not ask for a while buries nobody before the others have had the time of a lease to tell
 *         that they live: when the database comes back, all are silent */
export class NodeLease {
  readonly #options: NodeLeaseOptions;
  readonly #beatMs: number;
  readonly #leaseMs: number;
  #events: NodeLeaseEvents | null = null;
  #others = 0;
  #known = false;
  #beatenMs = Number.NEGATIVE_INFINITY;
  #steadySinceMs = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #beating: Promise<void> | null = null;

  constructor(options: NodeLeaseOptions) {
    this.#options = options;
    this.#beatMs = options.beatMs ?? BEAT_MS;
    this.#leaseMs = options.leaseMs ?? LEASE_MS;
  }

  get alone(): boolean {
    return this.#others === 0;
  }

  /** @throws never */
  async start(events: NodeLeaseEvents): Promise<void> {
    this.#events = events;
    await this.#round();
  }

  /** @throws never */
  async stop(): Promise<void> {
    if (this.#events === null) return;
    this.#events = null;
    clearTimeout(this.#timer);
    await this.#beating;
    const { database, node } = this.#options;
    await database.query('DELETE FROM registry.nodes WHERE id = $1', [node]).catch(() => undefined);
  }

  async #round(): Promise<void> {
    this.#beating = this.#beat().catch((error: Error) => {
      this.#steadySinceMs = Number.POSITIVE_INFINITY;
      this.#options.logger.warn({ err: error }, 'can not tell the other nodes that this one lives; tries again');
    });
    await this.#beating;
    if (this.#events === null) return;
    this.#timer = setTimeout(() => void this.#round(), this.#beatMs);
    this.#timer.unref();
  }

  async #beat(): Promise<void> {
    const { database, node, logger } = this.#options;
    const startedMs = performance.now();
    const [row] = await database.query<{ fresh: boolean; others: number }>(BEAT, [node]);
    const nowMs = performance.now();
    // Whoever was stopped, or could not ask, has missed what the others told.
    if (nowMs - this.#beatenMs > this.#leaseMs / 2) this.#steadySinceMs = startedMs;
    this.#beatenMs = nowMs;
    this.#steadySinceMs = Math.min(this.#steadySinceMs, startedMs);
    const events = this.#events;
    if (row === undefined || events === null) return;
    const wereAlone = this.alone;
    this.#others = row.others;
    if (row.fresh && this.#known) {
      logger.warn({ node }, 'this node was silent for so long that the others took it for dead');
      events.buried();
    }
    this.#known = true;
    if (wereAlone && !this.alone) events.joined();
    let buried = 0;
    if (nowMs - this.#steadySinceMs > this.#leaseMs) {
      const dead = await database.query<{ id: string }>(BURY, [node, this.#leaseMs]);
      buried = dead.length;
      for (const { id } of dead) logger.warn({ node: id }, 'a node has died');
    }
    await events.beat(buried > 0);
  }
}
