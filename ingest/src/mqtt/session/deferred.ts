import type { DeliveredMessage } from '@millrace/core';
import type { InFlightEntry } from './in-flight.ts';

/** A PUBLISH that is about to be sent.  @shape entry: null at QoS 0 */
export interface Outgoing {
  readonly message: DeliveredMessage;
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly entry: InFlightEntry | null;
}

/** What a session may send once its packet ids are durable, and what must not overtake it in its partition.
 *  @holds at most the session's window, and a node's bound for all sessions: its owner sees to it */
export class Deferred {
  #list: Outgoing[] = [];
  readonly #partitions = new Map<number, number>();

  get size(): number {
    return this.#list.length;
  }

  blocks(partition: number): boolean {
    return this.#partitions.size > 0 && this.#partitions.has(partition);
  }

  push(outgoing: Outgoing): void {
    const { partition } = outgoing.message;
    this.#list.push(outgoing);
    this.#partitions.set(partition, (this.#partitions.get(partition) ?? 0) + 1);
  }

  /** Takes out, in order, what may go now that changes up to `savedMark` are durable. */
  release(savedMark: number): Outgoing[] {
    if (this.#list.length === 0) return [];
    const go: Outgoing[] = [];
    const stay: Outgoing[] = [];
    const blocked = new Set<number>();
    for (const outgoing of this.#list) {
      const { partition } = outgoing.message;
      const waits = outgoing.entry !== null && outgoing.qos === 2 && outgoing.entry.mark > savedMark;
      if (waits || blocked.has(partition)) {
        blocked.add(partition);
        stay.push(outgoing);
      } else {
        go.push(outgoing);
        const left = (this.#partitions.get(partition) ?? 0) - 1;
        if (left > 0) this.#partitions.set(partition, left);
        else this.#partitions.delete(partition);
      }
    }
    this.#list = stay;
    return go;
  }

  clear(): void {
    this.#list = [];
    this.#partitions.clear();
  }
}
