import type { Committed } from '@millrace/core';
import type { Extent } from './client.ts';

/** An heir may have to wait for the late inserts of the owner before, more than a minute. */
export const STALLED_MS = 120_000;

interface Standing extends Committed {
  readonly sinceMs: number;
  /** What had been appended then. */
  readonly next: number;
  readonly grows: boolean;
}

/** Sees which partitions a group leaves alone although more and more is to be read: nobody has them, or whoever has
 *  them hangs.  @units ms of a clock that never goes back */
export class Stalls {
  readonly #standing = new Map<number, Standing>();

  look(nowMs: number, extents: ReadonlyMap<number, Extent>, committed: ReadonlyMap<number, Committed>): void {
    for (const [partition, { earliest, next }] of extents) {
      const { offset, metadata } = committed.get(partition) ?? { offset: earliest, metadata: '' };
      const before = this.#standing.get(partition);
      if (offset >= next) this.#standing.delete(partition);
      else if (before === undefined || before.offset !== offset || before.metadata !== metadata)
        this.#standing.set(partition, { offset, metadata, sinceMs: nowMs, next, grows: false });
      else if (next > before.next) this.#standing.set(partition, { ...before, grows: true });
    }
  }

  /** null if there are none.  @shape ms: of the one that stands the longest */
  stalled(nowMs: number): { readonly partitions: readonly number[]; readonly ms: number } | null {
    const found = [...this.#standing].filter(([, { sinceMs, grows }]) => grows && nowMs - sinceMs > STALLED_MS);
    if (found.length === 0) return null;
    return {
      partitions: found.map(([partition]) => partition).sort((a, b) => a - b),
      ms: Math.max(...found.map(([, { sinceMs }]) => nowMs - sinceMs)),
    };
  }
}
