import {
  type AppendReceipt,
  type Committed,
  type Consumer,
  type Log,
  type LogBatch,
  LogError,
  type PartitionLease,
} from '@millrace/core';
import type { EmbeddedEngine } from './engine.ts';
import { Group } from './group.ts';
import { appended, EmbeddedLease, Tail } from './lease.ts';
import type { Partition } from './partition.ts';
import { Scratch } from './reader.ts';
import type { Change } from './state.ts';

/** One topic of the embedded engine. */
export class EmbeddedTopic implements Log {
  readonly topic: string;
  readonly partitionCount: number;
  readonly recordBytesMax: number;
  readonly partitions: readonly Partition[];
  readonly #engine: EmbeddedEngine;
  readonly #groups = new Map<string, Group>();
  readonly #scratch = new Scratch();

  constructor(engine: EmbeddedEngine, topic: string, partitions: readonly Partition[]) {
    this.topic = topic;
    this.partitions = partitions;
    this.partitionCount = partitions.length;
    this.recordBytesMax = engine.recordBytesMax;
    this.#engine = engine;
  }

  get pendingBytes(): number {
    return this.#engine.pendingBytes;
  }

  append(partition: number, _key: string, record: Uint8Array, receipt: AppendReceipt): void {
    const to = this.partitions[partition];
    if (to === undefined) {
      receipt.refused(new LogError('LOG_UNREACHABLE', 'never', { topic: this.topic, partition }));
      return;
    }
    this.#engine.append(to, record, receipt);
  }

  refusalOf(bytes: number): LogError | null {
    return this.#engine.refusalOf(bytes);
  }

  async consume(group: string, onLease: (lease: PartitionLease) => Promise<void>): Promise<Consumer> {
    if (group === '' || group.includes('\0') || Buffer.byteLength(group) > 256) {
      throw new LogError('LOG_UNREACHABLE', 'never', { group, problem: 'a group has a name of 1 to 256 bytes' });
    }
    // Known from now on, so that retention waits for it.
    await this.#engine.change(
      this.partitions
        .filter(({ index }) => this.#committed(group, index) === undefined)
        .map(({ index }) => this.#change(group, index, NEVER)),
    );
    let members = this.#groups.get(group);
    if (members === undefined) {
      members = new Group(
        this.partitionCount,
        (partition, signal) => this.#lease(group, partition, signal),
        this.#engine.logger,
      );
      this.#groups.set(group, members);
    }
    return members.join(onLease);
  }

  #lease(group: string, partition: number, signal: AbortSignal): PartitionLease {
    const of = this.partitions[partition] as Partition;
    const stored = this.#committed(group, partition) ?? NEVER;
    const committed = stored.offset < 0 ? { offset: of.earliest, metadata: stored.metadata } : stored;
    return new EmbeddedLease(of, committed, signal, this.#tail(of), (next) =>
      this.#engine.change([this.#change(group, partition, next)]),
    );
  }

  #tail(of: Partition): Tail {
    return new Tail(of, this.#engine.reader, this.#scratch);
  }

  #committed(group: string, partition: number): Committed | undefined {
    return this.#engine.state.committed(this.topic, group, partition);
  }

  #change(group: string, partition: number, { offset, metadata }: Committed): Change {
    return { commit: { topic: this.topic, group, partition, offset, metadata } };
  }

  follow(
    partitions: readonly number[],
    from: 'tail' | ReadonlyMap<number, number>,
    options: { readonly bytesMax: number; readonly signal: AbortSignal },
  ): AsyncIterable<LogBatch> {
    const followed = partitions.map((index) => {
      const of = this.#partition(index);
      return {
        of,
        tail: this.#tail(of),
        offset: from === 'tail' ? of.next : (from.get(index) ?? of.next),
      };
    });
    const signals = [options.signal, this.#engine.ending];
    return (async function* () {
      const watched = followed.map(({ of }) => of);
      while (!signals.some((signal) => signal.aborted)) {
        let found = false;
        for (const one of followed) {
          const batch = one.tail.readNow(one.offset, options.bytesMax, Number.POSITIVE_INFINITY);
          if (batch === null) continue;
          one.offset = batch.last + 1;
          found = true;
          yield batch;
          if (signals.some((signal) => signal.aborted)) return;
        }
        if (!found) await appended(watched, Number.POSITIVE_INFINITY, signals);
      }
    })();
  }

  async peek(partition: number, from: number, options: { readonly bytesMax: number }): Promise<LogBatch | null> {
    const tail = this.#tail(this.#partition(partition));
    return tail.readNow(from, options.bytesMax, Number.POSITIVE_INFINITY);
  }

  async extent(partition: number): Promise<{ readonly earliest: number; readonly next: number }> {
    const { earliest, next } = this.#partition(partition);
    return { earliest, next };
  }

  async committed(group: string, partition: number): Promise<Committed> {
    return this.#committed(group, partition) ?? NEVER;
  }

  /** Ends all leases of this process. */
  async stop(): Promise<void> {
    await Promise.all([...this.#groups.values()].map((group) => group.stop()));
  }

  /** @throws LogError LOG_CLOSED: the files are closed */
  #partition(index: number): Partition {
    if (this.#engine.ending.aborted) throw new LogError('LOG_CLOSED', 'never', { topic: this.topic });
    const partition = this.partitions[index];
    if (partition === undefined) {
      throw new LogError('LOG_UNREACHABLE', 'never', {
        topic: this.topic,
        partition: index,
        problem: 'no such partition',
      });
    }
    return partition;
  }
}

const NEVER: Committed = { offset: -1, metadata: '' };
