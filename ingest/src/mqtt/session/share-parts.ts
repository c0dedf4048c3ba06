import type { Position, ShareGroupReport, ShareGroupShare } from '@millrace/core';

/** A partition that is handed over waits so long for what its members have not acknowledged. */
const RELEASE_MS_MAX = 5_000;

interface Releasing {
  /** Where this node stopped to read. */
  readonly offset: number;
  readonly untilMs: number;
}

/** What a group knows of itself when it is reported. */
export interface ShareGroupPlace {
  /** Where its delivery stands. */
  readonly positions: readonly Position[];
  /** By partition, the first that a member has not acknowledged and that nobody else would get. */
  readonly unacknowledged: ReadonlyMap<number, number>;
}

// hot
/** The partitions of a group's filter that this node reads, where several nodes have members of it. The group's delivery
 *  goes through all of them; what is in the others is for others.
 *  @holds a partition that was taken is read from where its last reader had everything acknowledged */
export class ShareParts {
  /** Where each was begun. */
  readonly #begun = new Map<number, number>();
  readonly #releasing = new Map<number, Releasing>();
  #starts: readonly Position[] = [];
  /** There is nobody to share with. */
  readonly #all: boolean;
  /** The store has said what is its own. */
  #told = false;

  constructor(shared: boolean) {
    this.#all = !shared;
  }

  /** @param starts where the group would begin in each partition */
  start(starts: readonly Position[]): void {
    this.#starts = starts;
  }

  /** The others can't be asked: it reads everything until they can. */
  adopt(): void {
    if (this.#told) return;
    for (const { partition, offset } of this.#starts) this.#begun.set(partition, offset);
  }

  reads({ partition, offset }: Position): boolean {
    if (this.#all) return true;
    const begun = this.#begun.get(partition);
    return begun !== undefined && offset >= begun;
  }

  report(
    key: string,
    members: number,
    { positions, unacknowledged }: ShareGroupPlace,
    nowMs: number,
  ): ShareGroupReport {
    const held: Position[] = [];
    const released: Position[] = [];
    const at = new Map(positions.map(({ partition, offset }) => [partition, offset]));
    for (const [partition, begun] of this.#begun) {
      const offset = Math.max(begun, at.get(partition) ?? 0);
      held.push({ partition, offset: Math.min(offset, unacknowledged.get(partition) ?? offset) });
    }
    for (const [partition, { offset, untilMs }] of this.#releasing) {
      const first = unacknowledged.get(partition);
      const place = { partition, offset: Math.min(offset, first ?? offset) };
      if (first === undefined || nowMs > untilMs) released.push(place);
      else held.push(place);
    }
    return { key, members, kept: true, starts: this.#starts, held, released };
  }

  /** The last word of a group that is over here: everything is released. */
  farewell(key: string, kept: boolean, place: ShareGroupPlace): ShareGroupReport {
    const { held, released, ...rest } = this.report(key, 0, place, Number.POSITIVE_INFINITY);
    return { ...rest, kept, held: [], released: [...held, ...released] };
  }

  /** @param reported what this is the answer to
   *  @returns where the delivery has to go back to */
  apply(
    { lost, taken, excess }: ShareGroupShare,
    reported: ShareGroupReport,
    place: ShareGroupPlace,
    nowMs: number,
  ): readonly Position[] {
    this.#told = true;
    for (const { partition } of reported.released) this.#releasing.delete(partition);
    for (const partition of lost) {
      this.#begun.delete(partition);
      this.#releasing.delete(partition);
    }
    for (const { partition, offset } of taken) {
      this.#releasing.delete(partition);
      this.#begun.set(partition, offset);
    }
    const at = new Map(place.positions.map(({ partition, offset }) => [partition, offset]));
    const spare = [...this.#begun]
      .sort(([one], [other]) => other - one)
      .slice(0, Math.max(0, excess - this.#releasing.size));
    for (const [partition, begun] of spare) {
      this.#begun.delete(partition);
      const offset = Math.max(begun, at.get(partition) ?? 0);
      this.#releasing.set(partition, { offset, untilMs: nowMs + RELEASE_MS_MAX });
    }
    return taken;
  }
}
