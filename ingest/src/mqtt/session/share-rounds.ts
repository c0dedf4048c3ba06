import type { Logger, Position, ShareGroupReport, ShareGroupShare, ShareGroupStore } from '@millrace/core';
import type { ShareGroupPlace, ShareParts } from './share-parts.ts';

/** How often groups say where they stand, and hear what is theirs. */
const ROUND_MS = 1_000;
/** A SUBSCRIBE waits so long to hear it. */
const FIRST_MS_MAX = 2_000;

/** A group as it is reported. */
export interface ReportedGroup {
  readonly parts: ShareParts;
  readonly over: boolean;
  readonly members: number;
  place(): ShareGroupPlace;
  /** Goes on at earlier places of partitions that it has been given. */
  moveBack(positions: readonly Position[]): void;
}

/** Tells the store where the groups of this node stand, all in one go, and the groups what is theirs.
 *  @holds one round at a time; what a group leaves is told before it can come again */
export class ShareRounds {
  readonly #store: ShareGroupStore;
  readonly #logger: Logger;
  readonly #groups = new Map<string, ReportedGroup>();
  #farewells: ShareGroupReport[] = [];
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;
  #away = false;
  #stopped = false;

  constructor(store: ShareGroupStore, logger: Logger) {
    this.#store = store;
    this.#logger = logger;
  }

  /** A group has begun. Settles when it knows what it reads. */
  async enter(key: string, group: ReportedGroup): Promise<void> {
    this.#groups.set(key, group);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FIRST_MS_MAX);
    });
    await Promise.race([this.#round(), late]);
    clearTimeout(timer);
  }

  /** A group is over. @param kept whether a member may come back to where it stood */
  leave(key: string, group: ReportedGroup, kept: boolean, place: ShareGroupPlace): void {
    if (this.#groups.get(key) !== group) return;
    this.#groups.delete(key);
    this.#farewells.push(group.parts.farewell(key, kept, place));
    void this.#round();
  }

  async flush(deadlineMs: number): Promise<void> {
    const end = performance.now() + deadlineMs;
    while (this.#farewells.length > 0 && performance.now() < end && !this.#away) await this.#round();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** Who asks while one is under way shares the next. */
  #round(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    if (this.#running === null) {
      this.#running = this.#once().finally(() => {
        this.#running = null;
        this.#schedule();
      });
      return this.#running;
    }
    this.#next ??= this.#running.then(() => {
      this.#next = null;
      return this.#round();
    });
    return this.#next;
  }

  #schedule(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#stopped || (this.#groups.size === 0 && this.#farewells.length === 0)) return;
    this.#timer = setTimeout(() => void this.#round(), ROUND_MS);
    this.#timer.unref();
  }

  /** Rejects never. */
  async #once(): Promise<void> {
    const farewells = this.#farewells;
    this.#farewells = [];
    try {
      if (farewells.length > 0) await this.#store.share(farewells);
    } catch (error) {
      this.#farewells = [...farewells, ...this.#farewells];
      this.#failed(error);
      return;
    }
    const groups = [...this.#groups];
    const nowMs = performance.now();
    const reports = groups.map(([key, group]) => group.parts.report(key, group.members, group.place(), nowMs));
    if (reports.length === 0) return;
    let shares: readonly ShareGroupShare[];
    try {
      shares = await this.#store.share(reports);
    } catch (error) {
      this.#failed(error);
      return;
    }
    this.#away = false;
    for (const [index, [, group]] of groups.entries()) {
      const share = shares[index];
      if (share === undefined || group.over) continue;
      group.moveBack(group.parts.apply(share, reports[index] as ShareGroupReport, group.place(), nowMs));
    }
  }

  #failed(error: unknown): void {
    if (!this.#away)
      this.#logger.warn({ err: error }, 'mqtt: share groups can not be shared with other nodes; tries again');
    this.#away = true;
    for (const { parts } of this.#groups.values()) parts.adopt();
  }
}
