import { randomUUID } from 'node:crypto';
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
import type { Admin, Kafka } from 'kafkajs';
import { type Appender, kafkaFault } from './appender.ts';
import { GroupMember } from './group.ts';
import { Intake } from './intake.ts';

export interface KafkaParts {
  readonly kafka: Kafka;
  readonly admin: Admin;
  readonly appender: Appender;
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
  #peeker: Promise<{ intake: Intake; end: () => Promise<void> }> | null = null;
  #peeking: Promise<unknown> = Promise.resolve();

  constructor(parts: KafkaParts, topic: string, partitionCount: number, recordBytesMax: number) {
    this.#parts = parts;
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
    this.#parts.appender.append(this.topic, partition, key, record, this.recordBytesMax, receipt);
  }

  refusalOf(bytes: number): LogError | null {
    return this.#parts.appender.refusalOf(bytes);
  }

  async consume(group: string, onLease: (lease: PartitionLease) => Promise<void>): Promise<Consumer> {
    const member = new GroupMember(this, this.#parts, group, onLease);
    this.members.add(member);
    try {
      await member.start();
    } catch (cause) {
      this.members.delete(member);
      throw kafkaFault(cause);
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
      const { intake, offsets, end } = await begun;
      try {
        const reads = new Map<number, Promise<{ partition: number; batch: LogBatch | null }>>();
        const read = async (partition: number): Promise<{ partition: number; batch: LogBatch | null }> => {
          try {
            const at = offsets.get(partition) ?? 0;
            return { partition, batch: await intake.read(partition, at, { bytesMax, waitMsMax: READ_MS }, signals) };
          } catch {
            // The throw-away group is between two generations.
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
        await end();
      }
    })();
  }

  async #beginFollow(
    partitions: readonly number[],
    from: 'tail' | ReadonlyMap<number, number>,
  ): Promise<{ intake: Intake; offsets: Map<number, number>; end: () => Promise<void> }> {
    const offsets = new Map<number, number>();
    const extents = await this.#extents();
    for (const partition of partitions) {
      const extent = extents.get(partition) ?? { earliest: 0, next: 0 };
      const asked = from === 'tail' ? extent.next : (from.get(partition) ?? extent.next);
      offsets.set(partition, Math.max(asked, extent.earliest));
    }
    const { intake, end } = await this.#throwAway('follow');
    return { intake, offsets, end };
  }

  /** A reader in a group of its own that commits nothing and is deleted at its end. */
  async #throwAway(purpose: string): Promise<{ intake: Intake; end: () => Promise<void> }> {
    const { kafka, admin, logger } = this.#parts;
    const group = `millrace-${purpose}-${randomUUID()}`;
    const intake = new Intake(kafka, this.topic, group, logger, { joined: () => {}, leaving: () => {} });
    const end = async (): Promise<void> => {
      await intake.stop().catch(() => {});
      await admin.deleteGroups([group]).catch(() => {});
    };
    try {
      await intake.start();
      await intake.joining;
    } catch (cause) {
      await end();
      throw kafkaFault(cause);
    }
    return { intake, end };
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
    this.#peeker ??= this.#throwAway('peek');
    try {
      const { intake } = await this.#peeker;
      // To the end of what was there, so that one look shows all of it that fits.
      const last = next - 1;
      const batch = await intake.read(partition, first, { bytesMax, last, waitMsMax: PEEK_MS_MAX }, [ending]);
      intake.rest(partition);
      return batch;
    } catch (cause) {
      await this.#endPeeker();
      throw kafkaFault(cause);
    }
  }

  async #endPeeker(): Promise<void> {
    const peeker = await this.#peeker?.catch(() => null);
    this.#peeker = null;
    await peeker?.end();
  }

  async extent(partition: number): Promise<{ readonly earliest: number; readonly next: number }> {
    const extent = (await this.#extents()).get(partition);
    if (extent === undefined) {
      throw new LogError('LOG_UNREACHABLE', 'never', { topic: this.topic, partition, problem: 'no such partition' });
    }
    return extent;
  }

  async #extents(): Promise<Map<number, { earliest: number; next: number }>> {
    try {
      const found = await this.#parts.admin.fetchTopicOffsets(this.topic);
      return new Map(
        found.map(({ partition, low, high }) => [partition, { earliest: Number(low), next: Number(high) }]),
      );
    } catch (cause) {
      throw kafkaFault(cause);
    }
  }

  async committed(group: string, partition: number): Promise<Committed> {
    try {
      const [found] = await this.#parts.admin.fetchOffsets({ groupId: group, topics: [this.topic] });
      const one = found?.partitions.find((each) => each.partition === partition);
      return { offset: Number(one?.offset ?? -1), metadata: one?.metadata ?? '' };
    } catch (cause) {
      throw kafkaFault(cause);
    }
  }

  async stop(): Promise<void> {
    await Promise.all([...[...this.members].map((member) => member.stop()), this.#endPeeker()]);
  }
}
