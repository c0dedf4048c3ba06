import {
  type AppendReceipt,
  type Committed,
  type Consumer,
  type Log,
  type LogBatch,
  LogError,
  type Logger,
  type PartitionLease,
} from '@millrace/core';
import type { Measures } from '../measures.ts';
import type { Appender } from './appender.ts';
import type { Extent, KafkaClient, KafkaReader } from './client.ts';
import { GroupMember } from './group.ts';
import { type Seat, Tail } from './tail.ts';
import type { Watch } from './watch.ts';

export interface KafkaParts {
  readonly client: KafkaClient;
  readonly appender: Appender;
  readonly watch: Watch;
  readonly measures: Measures;
  readonly logger: Logger;
  readonly ending: AbortSignal;
}

const PEEK_MS_MAX = 10_000;
const READ_MS = 1_000;

/** One topic of the Kafka engine. */
export class KafkaTopic implements Log {
  readonly topic: string;
  readonly partitionCount: number;
  readonly recordBytesMax: number;
  readonly members = new Set<GroupMember>();
  readonly #parts: KafkaParts;
  readonly #tail: Tail;
  #peeker: Promise<KafkaReader> | null = null;
  #peeking: Promise<unknown> = Promise.resolve();

  constructor(parts: KafkaParts, topic: string, partitionCount: number, recordBytesMax: number) {
    this.#parts = parts;
    this.#tail = new Tail(() => parts.client.reader(topic));
    this.topic = topic;
    this.partitionCount = partitionCount;
    this.recordBytesMax = recordBytesMax;
  }

  get pendingBytes(): number {
    return this.#parts.appender.pendingBytes;
  }

  append(partition: number, key: string, record: Uint8Array, receipt: AppendReceipt): void {
    if (!(partition >= 0 && partition < this.partitionCount)) {
      receipt.refused(new LogError('LOG_UNREACHABLE', 'never', { topic: this.topic, partition }));
      return;
    }
    const full = this.#parts.watch.refusalOf(this.topic, partition);
    if (full !== null) {
      this.#parts.appender.refuse(receipt, 'full_log', full);
      return;
    }
    this.#parts.appender.append(this.topic, partition, key, record, this.recordBytesMax, receipt);
  }

  refusalOf(bytes: number): LogError | null {
    return this.#parts.watch.refusalOfAll(this.topic) ?? this.#parts.appender.refusalOf(bytes);
  }

  async consume(group: string, onLease: (lease: PartitionLease) => Promise<void>): Promise<Consumer> {
    const member = new GroupMember(this, this.#parts, group, onLease);
    this.members.add(member);
    try {
      await member.start();
    } catch (error) {
      this.members.delete(member);
      throw error;
    }
    return {
      stop: async () => {
        await member.stop();
        this.members.delete(member);
      },
    };
  }

  follow(
    partitions: readonly number[],
    from: 'tail' | ReadonlyMap<number, number>,
    options: { readonly bytesMax: number; readonly signal: AbortSignal },
  ): AsyncIterable<LogBatch> {
    const signals = [options.signal, this.#parts.ending];
    // The tail is that of the call, not of the first step of whoever iterates.
    const begun = this.#beginFollow(partitions, from);
    begun.catch(() => {});
    const { bytesMax } = options;
    return (async function* () {
      const { seats, offsets } = await begun;
      try {
        const reads = new Map<number, Promise<{ partition: number; batch: LogBatch | null }>>();
        const read = async (partition: number): Promise<{ partition: number; batch: LogBatch | null }> => {
          try {
            const at = offsets.get(partition) ?? 0;
            const seat = seats.get(partition) as Seat;
            return { partition, batch: await seat.read(at, { bytesMax, waitMsMax: READ_MS }, signals) };
          } catch {
            // The reader has lost its broker, and comes back by itself.
            await new Promise((resolve) => setTimeout(resolve, 50));
            return { partition, batch: null };
          }
        };
        while (!signals.some((signal) => signal.aborted)) {
          for (const partition of partitions) if (!reads.has(partition)) reads.set(partition, read(partition));
          const { partition, batch } = await Promise.race(reads.values());
          reads.delete(partition);
          if (batch === null) continue;
          offsets.set(partition, batch.last + 1);
          yield batch;
        }
      } finally {
        await Promise.all([...seats.values()].map((seat) => seat.leave()));
      }
    })();
  }

  async #beginFollow(
    partitions: readonly number[],
    from: 'tail' | ReadonlyMap<number, number>,
  ): Promise<{ seats: ReadonlyMap<number, Seat>; offsets: Map<number, number> }> {
    const offsets = new Map<number, number>();
    const extents = await this.#extents();
    for (const partition of partitions) {
      const extent = extents.get(partition) ?? { earliest: 0, next: 0 };
      const asked = from === 'tail' ? extent.next : (from.get(partition) ?? extent.next);
      offsets.set(partition, Math.max(asked, extent.earliest));
    }
    const taken = await Promise.allSettled(partitions.map((partition) => this.#tail.take(partition)));
    const fault = taken.find((one) => one.status === 'rejected');
    const seats = taken.map((one) => (one.status === 'fulfilled' ? one.value : null));
    if (fault !== undefined) {
      await Promise.all(seats.map((seat) => seat?.leave()));
      throw fault.reason;
    }
    return { seats: new Map(partitions.map((partition, index) => [partition, seats[index] as Seat])), offsets };
  }

  peek(partition: number, from: number, options: { readonly bytesMax: number }): Promise<LogBatch | null> {
    const turn = this.#peeking.then(() => this.#peek(partition, from, options.bytesMax));
    this.#peeking = turn.catch(() => {});
    return turn;
  }

  async #peek(partition: number, from: number, bytesMax: number): Promise<LogBatch | null> {
    const { earliest, next } = await this.extent(partition);
    const first = Math.max(from, earliest);
    if (first >= next) return null;
    const { ending } = this.#parts;
    this.#peeker ??= this.#parts.client.reader(this.topic);
    try {
      const reader = await this.#peeker;
      // To the end of what was there, so that one look shows all of it that fits.
      const last = next - 1;
      const batch = await reader.read(partition, first, { bytesMax, last, waitMsMax: PEEK_MS_MAX }, [ending]);
      reader.rest(partition);
      return batch;
    } catch (error) {
      await this.#endPeeker();
      throw error;
    }
  }

  async #endPeeker(): Promise<void> {
    const peeker = await this.#peeker?.catch(() => null);
    this.#peeker = null;
    await peeker?.stop();
  }

  async extent(partition: number): Promise<Extent> {
    const extent = (await this.#extents()).get(partition);
    if (extent === undefined) {
      throw new LogError('LOG_UNREACHABLE', 'never', { topic: this.topic, partition, problem: 'no such partition' });
    }
    return extent;
  }

  #extents(): Promise<ReadonlyMap<number, Extent>> {
    return this.#parts.client.admin.extents(this.topic);
  }

  async committed(group: string, partition: number): Promise<Committed> {
    const committed = await this.#parts.client.admin.committed(group, this.topic);
    return committed.get(partition) ?? { offset: -1, metadata: '' };
  }

  /** Why some member reads nothing. */
  health(): string | null {
    for (const member of this.members) {
      const trouble = member.health();
      if (trouble !== null) return `${this.topic}: ${trouble}`;
    }
    return null;
  }

  async stop(): Promise<void> {
    await Promise.all([...[...this.members].map((member) => member.stop()), this.#endPeeker()]);
  }
}
