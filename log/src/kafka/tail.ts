import { type LogBatch, LogError, type ReadOptions } from '@millrace/core';
import type { KafkaReader } from './client.ts';

/** A partition that somebody reads by a reader that others use too. */
export interface Seat {
  read(from: number, options: Omit<ReadOptions, 'signal'>, signals: readonly AbortSignal[]): Promise<LogBatch | null>;
  /** Nothing more is fetched of it. */
  leave(): Promise<void>;
}

interface Shared {
  readonly reader: Promise<KafkaReader>;
  readonly taken: Set<number>;
}

/** All who follow partitions of a topic in this process, by as few readers as can be: one reads each partition at one
 *  place only, so who follows one that is taken gets the next reader. A reader costs a consumer group of its own with
 *  some clients; partitions that nobody follows are not fetched.
 *  Bounds: as many readers as follow the same partition at the same time */
export class Tail {
  readonly #open: () => Promise<KafkaReader>;
  readonly #shared = new Set<Shared>();

  constructor(open: () => Promise<KafkaReader>) {
    this.#open = open;
  }

  /** @throws LogError when no reader can be had */
  async take(partition: number): Promise<Seat> {
    let shared = [...this.#shared].find(({ taken }) => !taken.has(partition));
    if (shared === undefined) {
      shared = { reader: this.#open(), taken: new Set() };
      this.#shared.add(shared);
    }
    const { reader, taken } = shared;
    taken.add(partition);
    const leave = async (): Promise<void> => {
      if (!taken.delete(partition)) return;
      const isLast = taken.size === 0 && this.#shared.delete(shared);
      const open = await reader.catch(() => null);
      if (!taken.has(partition)) open?.rest(partition);
      if (isLast) await open?.stop();
    };
    try {
      const open = await reader;
      return { read: (from, options, signals) => open.read(partition, from, options, signals), leave };
    } catch (error) {
      this.#shared.delete(shared);
      await leave();
      throw error instanceof LogError ? error : new LogError('LOG_UNREACHABLE', 'later', {}, { cause: error });
    }
  }
}
