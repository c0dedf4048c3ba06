import { type Committed, type LogBatch, LogError, type PartitionLease, type ReadOptions } from '@millrace/core';
import type { KafkaMember } from './client.ts';
import type { KafkaParts, KafkaTopic } from './topic.ts';

const METADATA_BYTES_MAX = 4_096;
/** So long may a lease take to end before the next generation's begins anyway: its commits are fenced. */
const LET_GO_MS_MAX = 30_000;
/** A group that comes together again does not take as long. */
const ABSENT_MS_MAX = 30_000;

interface Held {
  readonly ending: AbortController;
  readonly done: Promise<void>;
}

/** A member of a Kafka consumer group.
 *  @holds a lease outlives a rebalance where the client can tell that the partition was nobody else's meanwhile; else it
 *         ends, and a new one begins once the old one has let go */
export class GroupMember {
  readonly group: string;
  readonly #topic: KafkaTopic;
  readonly #parts: KafkaParts;
  readonly #onLease: (lease: PartitionLease) => Promise<void>;
  readonly #intake: KafkaMember;
  readonly #held = new Map<number, Held>();
  /** Where the next read goes on without asking for the earliest offset. */
  readonly #checked = new Map<number, number>();
  /** Grows with each generation, so that a slow beginning knows that it is late. */
  #generation = 0;
  #stopping: Promise<void> | null = null;

  constructor(topic: KafkaTopic, parts: KafkaParts, group: string, onLease: (lease: PartitionLease) => Promise<void>) {
    this.#topic = topic;
    this.#parts = parts;
    this.group = group;
    this.#onLease = onLease;
    this.#intake = parts.client.member(topic.topic, group, {
      joined: (partitions, kept = []) => void this.#joined(partitions, kept),
      leaving: () => void this.#letGo([]),
    });
  }

  start(): Promise<void> {
    return this.#intake.start();
  }

  /** null while the group knows this member, or has known it a moment ago. */
  health(): string | null {
    const absentMs = performance.now() - this.#intake.heardMs;
    if (this.#stopping !== null || absentMs <= ABSENT_MS_MAX) return null;
    return `this node has been out of the group ${this.group} for ${Math.floor(absentMs / 1_000)} s and reads nothing: see that the brokers run, and that its user may join the group`;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    await this.#letGo([]);
    await this.#intake.stop().catch((error: unknown) => {
      this.#parts.logger.warn({ err: error, group: this.group }, 'a Kafka consumer did not leave in order');
    });
  }

  /** Ends all leases but some.  @returns when those who held them are done, or late */
  async #letGo(kept: readonly number[]): Promise<void> {
    this.#generation++;
    const leaving: Held[] = [];
    for (const [partition, held] of [...this.#held]) {
      if (kept.includes(partition) && !held.ending.signal.aborted) continue;
      this.#held.delete(partition);
      leaving.push(held);
      held.ending.abort();
    }
    if (leaving.length === 0) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, LET_GO_MS_MAX);
    });
    await Promise.race([Promise.all(leaving.map(({ done }) => done)), late]);
    clearTimeout(timer);
  }

  async #joined(partitions: readonly number[], kept: readonly number[]): Promise<void> {
    this.#parts.measures.rebalances.inc({ group: this.group });
    const gone = this.#letGo(kept);
    const fresh = partitions.filter((partition) => !this.#held.has(partition));
    const generation = this.#generation;
    await gone;
    for (;;) {
      if (generation !== this.#generation || this.#stopping !== null) return;
      try {
        const starts = await Promise.all(fresh.map((partition) => this.#begin(partition)));
        if (generation !== this.#generation || this.#stopping !== null) return;
        for (const { partition, committed } of starts) this.#grant(partition, committed);
        return;
      } catch (error) {
        this.#parts.logger.warn({ err: error, group: this.group }, 'the committed offsets could not be read yet');
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    }
  }

  async #begin(partition: number): Promise<{ partition: number; committed: Committed }> {
    const committed = await this.#topic.committed(this.group, partition);
    if (committed.offset >= 0) return { partition, committed };
    const { earliest } = await this.#topic.extent(partition);
    return { partition, committed: { offset: earliest, metadata: committed.metadata } };
  }

  #grant(partition: number, committed: Committed): void {
    const ending = new AbortController();
    const { signal } = ending;
    this.#checked.delete(partition);
    const lease: PartitionLease = {
      partition,
      committed,
      signal,
      read: (from, options) => this.#read(partition, from, options, signal),
      commit: (offset, metadata) => this.#commit(partition, offset, metadata, ending),
    };
    const run = async (): Promise<void> => {
      try {
        await this.#onLease(lease);
      } catch (error) {
        if (signal.aborted) return;
        this.#parts.logger.error({ err: error, group: this.group }, 'a log consumer failed and leaves its group');
        void this.stop();
      }
    };
    this.#held.set(partition, { ending, done: run() });
  }

  async #read(partition: number, from: number, options: ReadOptions, signal: AbortSignal): Promise<LogBatch | null> {
    if (signal.aborted) throw new LogError('LOG_FENCED', 'never', { partition });
    const signals = options.signal === undefined ? [signal] : [signal, options.signal];
    let first = from;
    if (this.#checked.get(partition) !== from) {
      // A client that asks for one that is gone loses time in finding out.
      first = Math.max(from, (await this.#topic.extent(partition)).earliest);
      if (signal.aborted) return null;
    }
    const batch = await this.#intake.read(partition, first, options, signals);
    this.#checked.set(partition, batch === null ? first : batch.last + 1);
    return batch;
  }

  async #commit(partition: number, offset: number, metadata: string, ending: AbortController): Promise<void> {
    if (ending.signal.aborted) throw new LogError('LOG_FENCED', 'never', { partition });
    if (Buffer.byteLength(metadata) > METADATA_BYTES_MAX) {
      throw new LogError('LOG_RECORD_TOO_LARGE', 'never', { metadataBytesMax: METADATA_BYTES_MAX });
    }
    const { group } = this;
    const { commits } = this.#parts.measures;
    try {
      await this.#intake.commit(partition, offset, metadata);
      commits.inc({ group, outcome: 'kept' });
    } catch (error) {
      const fenced = error instanceof LogError && error.code === 'LOG_FENCED';
      commits.inc({ group, outcome: fenced ? 'fenced' : 'failed' });
      if (fenced) ending.abort();
      throw error;
    }
  }
}
