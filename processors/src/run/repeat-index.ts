import type { LogBatch } from '@millrace/core';
import { RepeatTable } from '../batch/repeat-table.ts';
import type { RepeatWindow } from '../batch/task.ts';

/** Bytes of the log that are read back at a time. */
const PART_BYTES_MAX = 4 * 1_024 * 1_024;

export interface RepeatIndexOptions {
  readonly window: RepeatWindow;
  /** Records from an offset on, up to another (inclusive); null if none is kept. */
  readonly read: (from: number, last: number, bytesMax: number) => Promise<LogBatch | null>;
  /** Puts the keys of a part of the log, up to its `last`, into a table. Takes the bytes. */
  readonly learn: (part: LogBatch, table: SharedArrayBuffer) => Promise<void>;
}

/** What of one partition may be repeated: all that stands in a window before the offset that it is at. It is nothing of
 *  its own: it is made by reading the log back, when it is first needed, and moves on with the batches.
 *  @holds it is at one offset, and of use only for the batch that begins there */
export class RepeatIndex {
  readonly #options: RepeatIndexOptions;
  #table: RepeatTable | null = null;
  #next = 0;

  constructor(options: RepeatIndexOptions) {
    this.#options = options;
  }

  /** The table for a batch of so many records at most; null: it must be built first, if anything in the batch needs it. */
  tableFor(first: number, count: number): SharedArrayBuffer | null {
    if (this.#table === null || this.#next !== first) {
      this.forget();
      return null;
    }
    this.#makeRoom(count);
    return this.#table.buffer;
  }

  /** Reads back what stands before an offset.
   *  @param kept the first offset from there on at which there is a record
   *  @throws what reading and learning throw: it is to be built again then */
  async build(first: number, kept: number): Promise<void> {
    const { window, read, learn } = this.#options;
    this.#table = RepeatTable.create(0);
    this.#next = Math.max(0, first - window.recordsMax);
    try {
      while (this.#next < first) {
        const part = await read(this.#next, kept, PART_BYTES_MAX);
        if (part === null || part.first >= first) break;
        this.#makeRoom(part.count);
        await learn({ ...part, last: Math.min(part.last, first - 1) }, this.#table.buffer);
        this.#next = part.last + 1;
      }
    } catch (error) {
      this.forget();
      throw error;
    }
    this.#next = first;
  }

  /** A batch is done: all up to this offset is known. */
  passed(last: number): void {
    if (this.#table !== null) this.#next = last + 1;
  }

  /** The log has nothing between two offsets. */
  skipped(from: number, to: number): void {
    if (this.#next === from) this.#next = to;
  }

  /** What it has is not to be relied on, or not needed any more. */
  forget(): void {
    this.#table = null;
  }

  #makeRoom(keys: number): void {
    const table = this.#table as RepeatTable;
    if (!table.hasRoom(keys)) this.#table = table.grown(keys, this.#next - this.#options.window.recordsMax);
  }
}
