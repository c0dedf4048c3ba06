// hot
import type { AppendReceipt } from '@millrace/core';
import { CHUNK_HEADER_BYTES, chunkKey, chunkTimeMs, Gather, keyOffset, storedBytes } from './chunk.ts';
import { Chunks } from './chunks.ts';
import type { Change, Table } from './store.ts';

/** Neighbouring chunks that retention removes together.  @holds `end` is the offset after its last record */
export interface Segment {
  readonly first: number;
  end: number;
  bytes: number;
  chunks: number;
  /** When its last record was written. */
  timeMs: number;
}

export interface PartitionLimits {
  /** A chunk takes no further record beyond this. */
  readonly chunkBytesMax: number;
  readonly segmentBytesMax: number;
}
const SEGMENT_CHUNKS_MAX = 4_096;

/** What a round writes for one partition, and what becomes of it. */
export interface Sealed {
  readonly gather: Gather;
  readonly first: number;
  readonly end: number;
  readonly stored: number;
  readonly timeMs: number;
  readonly rolls: boolean;
}

/** One partition of one topic: what is gathered, what is stored, who waits.
 *  @holds offsets have no gaps: chunk keys and counts tile [earliest, next)
 *  @holds records below `next` are durable; `next` moves only after their commit */
export class Partition {
  readonly topic: string;
  readonly index: number;
  readonly chunks: Chunks;
  earliest = 0;
  next = 0;
  /** Closed segments, oldest first, and the open one behind them. */
  readonly segments: Segment[] = [];
  readonly #table: Table;
  readonly #segmentTable: Table;
  readonly #limits: PartitionLimits;
  readonly #pool: Gather[];
  #gather: Gather | null = null;
  /** Full gathers that wait for their round, oldest first. */
  #full: Gather[] = [];
  readonly #waiters = new Set<() => void>();

  constructor(
    topic: string,
    index: number,
    tables: { chunks: Table; segments: Table },
    limits: PartitionLimits,
    pool: Gather[],
  ) {
    this.topic = topic;
    this.index = index;
    this.#table = tables.chunks;
    this.#segmentTable = tables.segments;
    this.#limits = limits;
    this.#pool = pool;
    this.chunks = new Chunks(topic, index, tables.chunks);
    this.reload();
  }

  /** Takes what the store says: at the start, and after a failed commit of which the outcome is not known. */
  reload(): void {
    this.segments.length = 0;
    const first = this.chunks.firstKey();
    const last = this.chunks.lastKey();
    if (first === null || last === null) return;
    this.earliest = first;
    this.next = last + this.chunks.countAt(last);
    for (const { key, value } of this.#segmentTable.getRange()) {
      const segment = decodeSegment(keyOffset(key), value);
      if (segment.end > first && segment.end <= last) this.segments.push(segment);
    }
    this.segments.push(this.#openSegment(this.segments.at(-1)?.end ?? first));
  }

  #openSegment(first: number): Segment {
    const segment: Segment = { first, end: this.next, bytes: 0, chunks: 0, timeMs: 0 };
    for (const { key, value } of this.#table.getRange({ start: chunkKey(first) })) {
      if (keyOffset(key) < first) continue;
      segment.bytes += storedBytes(value.length);
      segment.chunks++;
      segment.timeMs = Math.max(segment.timeMs, chunkTimeMs(value));
    }
    return segment;
  }

  get bytes(): number {
    let bytes = 0;
    for (const segment of this.segments) bytes += segment.bytes;
    return bytes;
  }

  get gathered(): boolean {
    return this.#gather !== null;
  }

  /** Copies a record into the gather. */
  take(record: Uint8Array, receipt: AppendReceipt): void {
    let gather = this.#gather;
    if (gather === null || !gather.fits(record.length)) {
      if (gather !== null) this.#full.push(gather);
      gather = this.#take(record.length);
      this.#gather = gather;
    }
    gather.add(record, receipt);
  }

  #take(recordSize: number): Gather {
    const bytes = CHUNK_HEADER_BYTES + 4 + recordSize;
    if (bytes > this.#limits.chunkBytesMax) return new Gather(bytes);
    return this.#pool.pop() ?? new Gather(this.#limits.chunkBytesMax);
  }

  /** The oldest gather becomes a chunk of the next round. At most one a round: two might be split over two commits of
   *  which only the second succeeds, and that would leave a gap. */
  seal(nowMs: number, changes: Change[]): Sealed | null {
    let gather = this.#full.shift();
    if (gather === undefined) {
      if (this.#gather === null) return null;
      gather = this.#gather;
      this.#gather = null;
    }
    const open = this.segments.at(-1);
    const timeMs = Math.max(nowMs, open?.timeMs ?? 0);
    const value = gather.seal(timeMs);
    const stored = storedBytes(value.length);
    const rolls =
      open === undefined ||
      (open.chunks > 0 && (open.bytes + stored > this.#limits.segmentBytesMax || open.chunks >= SEGMENT_CHUNKS_MAX));
    changes.push({ table: this.#table, key: chunkKey(this.next), value });
    if (rolls && open !== undefined) {
      changes.push({ table: this.#segmentTable, key: chunkKey(open.first), value: encodeSegment(open) });
    }
    return { gather, first: this.next, end: this.next + gather.count, stored, timeMs, rolls };
  }

  /** The sealed chunk is durable: readers see it, receipts hear of it.
   *  @returns what receipts threw: they must not, and the others hear of it all the same */
  settle({ gather, first, end, stored, timeMs, rolls }: Sealed): unknown[] {
    let open = this.segments.at(-1);
    if (open === undefined || rolls) {
      open = { first, end, bytes: 0, chunks: 0, timeMs };
      this.segments.push(open);
    }
    open.end = end;
    open.bytes += stored;
    open.chunks++;
    open.timeMs = timeMs;
    if (this.segments.length === 1 && open.chunks === 1) this.earliest = first;
    this.next = end;
    const receipts = gather.receipts;
    this.release(gather);
    this.#wake();
    const { index } = this;
    const thrown: unknown[] = [];
    for (let at = 0; at < receipts.length; ) {
      try {
        while (at < receipts.length) {
          const receipt = receipts[at] as AppendReceipt;
          receipt.appended(index, first + at++);
        }
      } catch (error) {
        thrown.push(error);
      }
    }
    return thrown;
  }

  /** Gives a gather's memory back. */
  release(gather: Gather): void {
    if (gather.bytes.length !== this.#limits.chunkBytesMax || this.#pool.length >= 16) return;
    gather.reset();
    this.#pool.push(gather);
  }

  /** Everything that is gathered and not sealed, to be refused. */
  abandon(): Gather[] {
    const gathers = this.#full;
    this.#full = [];
    if (this.#gather !== null) gathers.push(this.#gather);
    this.#gather = null;
    return gathers;
  }

  /** The changes that remove the oldest segment.  @holds never the one with the last record: `next` is known by it */
  removalOf(segment: Segment): Change[] {
    const changes: Change[] = [];
    const end = chunkKey(segment.end);
    for (const key of this.#table.getKeys({ end })) changes.push({ table: this.#table, key, value: null });
    changes.push({ table: this.#segmentTable, key: chunkKey(segment.first), value: null });
    return changes;
  }

  /** Takes the oldest segment from the readers' sight. */
  hide(segment: Segment): void {
    this.segments.shift();
    this.earliest = segment.end;
  }

  /** It could not be removed.  @holds a reload in between may have brought it back already */
  unhide(segment: Segment): void {
    if (this.earliest !== segment.end) return;
    this.segments.unshift(segment);
    this.earliest = segment.first;
  }

  /** Calls back once when something was appended, or at `wakeAll`. */
  onAppend(wake: () => void): () => void {
    this.#waiters.add(wake);
    return () => this.#waiters.delete(wake);
  }

  #wake(): void {
    if (this.#waiters.size === 0) return;
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of waiters) wake();
  }
}

function encodeSegment(segment: Segment): Buffer {
  return Buffer.from(Float64Array.of(segment.end, segment.bytes, segment.chunks, segment.timeMs).buffer);
}

function decodeSegment(first: number, value: Buffer): Segment {
  return {
    first,
    end: value.readDoubleLE(0),
    bytes: value.readDoubleLE(8),
    chunks: value.readDoubleLE(16),
    timeMs: value.readDoubleLE(24),
  };
}
