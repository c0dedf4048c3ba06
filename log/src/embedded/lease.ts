import { type Committed, type LogBatch, LogError, type PartitionLease, type ReadOptions } from '@millrace/core';
import type { Partition } from './partition.ts';
import { PartitionReader, type Scratch, type SegmentReader } from './reader.ts';

export const METADATA_BYTES_MAX = 4_096;

/** A reader of one partition that waits for what is not there yet. */
export class Tail {
  readonly #partition: Partition;
  readonly #reader: PartitionReader;
  readonly #scratch: Scratch;

  constructor(partition: Partition, reader: SegmentReader, scratch: Scratch) {
    this.#partition = partition;
    this.#reader = new PartitionReader(partition, reader);
    this.#scratch = scratch;
  }

  /** What is there now, or null. */
  readNow(from: number, bytesMax: number, last: number): LogBatch | null {
    const first = Math.max(from, this.#partition.earliest);
    const end = Math.min(last, this.#partition.next - 1);
    return first > end ? null : this.#reader.read(first, end, bytesMax, this.#scratch);
  }
}

export class EmbeddedLease implements PartitionLease {
  readonly partition: number;
  readonly committed: Committed;
  readonly signal: AbortSignal;
  readonly #of: Partition;
  readonly #tail: Tail;
  readonly #commit: (committed: Committed) => Promise<void>;

  constructor(
    of: Partition,
    committed: Committed,
    signal: AbortSignal,
    tail: Tail,
    commit: (committed: Committed) => Promise<void>,
  ) {
    this.partition = of.index;
    this.committed = committed;
    this.signal = signal;
    this.#of = of;
    this.#tail = tail;
    this.#commit = commit;
  }

  async read(from: number, options: ReadOptions): Promise<LogBatch | null> {
    this.#fence();
    const { bytesMax, waitMsMax, last = Number.POSITIVE_INFINITY } = options;
    const signals = options.signal === undefined ? [this.signal] : [this.signal, options.signal];
    const end = performance.now() + waitMsMax;
    for (;;) {
      const batch = this.#tail.readNow(from, bytesMax, last);
      if (batch !== null) return batch;
      const left = end - performance.now();
      if (left <= 0 || signals.some((signal) => signal.aborted)) return null;
      await appended([this.#of], left, signals);
    }
  }

  async commit(offset: number, metadata: string): Promise<void> {
    this.#fence();
    if (Buffer.byteLength(metadata) > METADATA_BYTES_MAX) {
      throw new LogError('LOG_RECORD_TOO_LARGE', 'never', { metadataBytesMax: METADATA_BYTES_MAX });
    }
    await this.#commit({ offset, metadata });
  }

  #fence(): void {
    if (this.signal.aborted) throw new LogError('LOG_FENCED', 'never', { partition: this.partition });
  }
}

/** Resolves when one of the partitions grew, a signal aborted, or the time is over. */
export function appended(
  partitions: readonly Partition[],
  waitMs: number,
  signals: readonly AbortSignal[],
): Promise<void> {
  return new Promise((resolve) => {
    const undo: (() => void)[] = [];
    const wake = (): void => {
      for (const step of undo) step();
      resolve();
    };
    if (Number.isFinite(waitMs)) {
      const timer = setTimeout(wake, Math.min(waitMs, 2 ** 31 - 1));
      undo.push(() => clearTimeout(timer));
    }
    for (const partition of partitions) undo.push(partition.onAppend(wake));
    for (const signal of signals) {
      signal.addEventListener('abort', wake, { once: true });
      undo.push(() => signal.removeEventListener('abort', wake));
    }
  });
}
