import type { Committed } from '@millrace/core';
import type { Change, Table } from './store.ts';

/** What every group has committed, in memory and in the store.
 *  @holds a group is known from its first `consume` on; offset −1 until it commits */
export class Commits {
  readonly #table: Table;
  readonly #known = new Map<string, Map<string, Committed[]>>();

  constructor(table: Table) {
    this.#table = table;
    for (const { key, value } of table.getRange()) {
      const [topic, group, partition] = Buffer.from(key).toString().split('\0');
      if (topic === undefined || group === undefined || partition === undefined) continue;
      this.set(topic, group, Number(partition), decode(value));
    }
  }

  get(topic: string, group: string, partition: number): Committed | undefined {
    return this.#known.get(topic)?.get(group)?.[partition];
  }

  set(topic: string, group: string, partition: number, committed: Committed): void {
    let groups = this.#known.get(topic);
    if (groups === undefined) {
      groups = new Map();
      this.#known.set(topic, groups);
    }
    let partitions = groups.get(group);
    if (partitions === undefined) {
      partitions = [];
      groups.set(group, partitions);
    }
    partitions[partition] = committed;
  }

  groups(topic: string): IterableIterator<[string, Committed[]]> {
    return (this.#known.get(topic) ?? new Map<string, Committed[]>()).entries();
  }

  /** What all known groups have passed; null when no group is known. */
  floor(topic: string, partition: number): number | null {
    let floor: number | null = null;
    for (const [, partitions] of this.groups(topic)) {
      const offset = partitions[partition]?.offset ?? -1;
      if (floor === null || offset < floor) floor = offset;
    }
    return floor;
  }

  change(topic: string, group: string, partition: number, committed: Committed): Change {
    const value = Buffer.allocUnsafe(8 + Buffer.byteLength(committed.metadata));
    value.writeDoubleLE(committed.offset, 0);
    value.write(committed.metadata, 8);
    return { table: this.#table, key: Buffer.from(`${topic}\0${group}\0${partition}`), value };
  }
}

const decode = (value: Buffer): Committed => ({ offset: value.readDoubleLE(0), metadata: value.toString('utf8', 8) });
