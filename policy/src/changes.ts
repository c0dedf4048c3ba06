import type { DirectoryChange, DirectoryEntity } from '@millrace/core';

const KEPT_COUNT = 1_024;

/** The last changes of the control plane, so that a look-up that was under way meanwhile can tell whether what it read
 *  may be stale. @holds what is older than is kept counts as touching everything */
export class RecentChanges {
  readonly #kept: (DirectoryChange | undefined)[] = new Array(KEPT_COUNT);
  #count = 0;

  /** Now, to be asked about later. */
  mark(): number {
    return this.#count;
  }

  add(change: DirectoryChange): void {
    this.#kept[this.#count % KEPT_COUNT] = change;
    this.#count++;
  }

  /** Whether a change since the mark concerns one of these ids. */
  touched(mark: number, ids: readonly string[]): boolean {
    return this.#some(mark, (change) => concerns(change, ids));
  }

  /** Whether something of such a kind changed since the mark. */
  changed(mark: number, entities: ReadonlySet<DirectoryEntity>): boolean {
    return this.#some(mark, (change) => entities.has(change.entity) || change.voids.includes('*'));
  }

  #some(mark: number, test: (change: DirectoryChange) => boolean): boolean {
    if (this.#count - mark > KEPT_COUNT) return true;
    for (let at = mark; at < this.#count; at++) {
      const change = this.#kept[at % KEPT_COUNT];
      if (change !== undefined && test(change)) return true;
    }
    return false;
  }
}

function concerns(change: DirectoryChange, ids: readonly string[]): boolean {
  return ids.includes(change.id) || change.voids.some((id) => id === '*' || ids.includes(id));
}
