import type { Commit } from '../run/ledger.ts';

/** Tables, in the order in which they are written. */
export const READINGS = 0;
export const MESSAGES = 1;
export const DEAD_LETTERS = 2;
export const MESSAGE_LOG = 3;
export const TABLE_NAMES = ['readings', 'messages', 'dead_letters', 'message_log'] as const;

/** A record on the log.
 *  @shape tables: a bit for each table that it has a row in */
export interface ModelRecord {
  readonly offset: number;
  readonly month: number;
  readonly tables: number;
  /** The table that will never take it; −1 for none. */
  readonly refusedBy: number;
  /** No worker survives it. */
  readonly poison: boolean;
  /** A worker failed on it alone, twice: it may be a dead letter. */
  unlucky: boolean;
  /** The log lost it before all was written. */
  gone: boolean;
}

/** One partition and what the group knows of it. */
export class ModelPartition {
  readonly index: number;
  readonly records: ModelRecord[] = [];
  /** The next offset to be given. */
  end = 0;
  /** Index of the first record that is kept. */
  earliest = 0;
  committed: Commit = { offset: 0, metadata: '' };
  /** Grows when the partition is assigned; commits under another are refused. */
  epoch = 0;
  owner = -1;
  /** The owner has not begun yet. */
  granted = false;
  /** Records before this index are seen to be stored. */
  checked = 0;

  constructor(index: number) {
    this.index = index;
  }

  append(record: ModelRecord): void {
    this.records.push(record);
    this.end = record.offset + 1;
  }

  /** Index of the first record at an offset or after it. */
  at(offset: number): number {
    const { records } = this;
    let low = 0;
    let high = records.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((records[middle] as ModelRecord).offset < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
