// hot
import type { AppendReceipt } from '@millrace/core';
import { frameBytes, KIND, RECORD_HEADER_BYTES } from './frame.ts';
import { Gather } from './gather.ts';
import type { Round, Sealed } from './round.ts';
import type { Segment, Span } from './segment.ts';

const GATHER_BYTES_MAX = 256 * 1024;
const GATHERS_POOLED_MAX = 16;

/** One partition of one topic: what is gathered, where its records lie, who waits.
 *  @holds offsets have no gaps: spans and their frames tile [earliest, next), unless a file is damaged
 *  @holds records below `next` are durable; `next` moves only after their round */
export class Partition {
  readonly topic: string;
  readonly topicId: number;
  readonly index: number;
  next: number;
  /** What each segment has of it, oldest first. */
  readonly spans: Span[] = [];
  /** The next offset to be given to a round. */
  #sealed: number;
  readonly #pool: Gather[];
  #gather: Gather | null = null;
  /** Full gathers that wait for their round, oldest first. */
  #full: Gather[] = [];
  readonly #waiters = new Set<() => void>();

  constructor(topic: string, topicId: number, index: number, next: number, pool: Gather[]) {
    this.topic = topic;
    this.topicId = topicId;
    this.index = index;
    this.next = next;
    this.#sealed = next;
    this.#pool = pool;
  }

  get earliest(): number {
    return this.spans[0]?.first ?? this.next;
  }

  /** What the next frame takes in a segment; 0 when nothing is gathered. */
  get frameBytes(): number {
    const gather = this.#full[0] ?? this.#gather;
    return gather === null ? 0 : frameBytes(gather.size);
  }

  /** A span that was there at the start. */
  restore(span: Span): void {
    this.spans.push(span);
    this.next = Math.max(this.next, span.end);
    this.#sealed = this.next;
  }

  /** A segment is removed: what it has is no more to be seen. */
  forget(segment: Segment): void {
    const at = this.spans.findIndex((span) => span.segment === segment);
    if (at >= 0) this.spans.splice(at, 1);
  }

  /** The span that should hold an offset: the last that begins at or before it. */
  spanOf(offset: number): Span | undefined {
    const { spans } = this;
    let low = 0;
    let high = spans.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((spans[middle] as Span).first <= offset) low = middle + 1;
      else high = middle;
    }
    return spans[low - 1];
  }

  /** Copies a record into the gather. */
  take(record: Uint8Array, receipt: AppendReceipt): void {
    let gather = this.#gather;
    if (gather === null || !gather.fits(record.length)) {
      if (gather !== null) this.#full.push(gather);
      gather = this.#take(RECORD_HEADER_BYTES + record.length);
      this.#gather = gather;
    }
    gather.add(record, receipt);
  }

  #take(bytes: number): Gather {
    if (bytes > GATHER_BYTES_MAX) return new Gather(bytes);
    return this.#pool.pop() ?? new Gather(GATHER_BYTES_MAX);
  }

  /** The oldest gather becomes a frame of the round.  @holds something is gathered, and it fits */
  seal(round: Round, timeMs: number): void {
    let gather = this.#full.shift();
    if (gather === undefined) {
      gather = this.#gather as Gather;
      this.#gather = null;
    }
    const { size, count, recordBytes, receipts } = gather;
    const first = this.#sealed;
    const position = round.place(KIND.records, gather.bytes.subarray(0, size), {
      topic: this.topicId,
      partition: this.index,
      first,
      count,
      timeMs,
    });
    this.#sealed = first + count;
    round.sealed.push({ partition: this, receipts, first, position, size, recordBytes, timeMs });
    this.#release(gather);
  }

  #release(gather: Gather): void {
    if (gather.bytes.length !== GATHER_BYTES_MAX || this.#pool.length >= GATHERS_POOLED_MAX) return;
    gather.reset();
    this.#pool.push(gather);
  }

  /** The sealed frame is durable: readers see it, receipts hear of it.
   *  @returns what receipts threw: they must not, and the others hear of it all the same */
  settle({ segment }: Round, { receipts, first, position, size, timeMs }: Sealed): unknown[] {
    const count = receipts.length;
    const frame = { first, count, position, size, bytes: frameBytes(size), timeMs };
    const span = segment.add(this.topicId, this.index, frame);
    if (span !== null) this.spans.push(span);
    this.next = first + count;
    this.#wake();
    const { index } = this;
    const thrown: unknown[] = [];
    for (let at = 0; at < count; ) {
      try {
        while (at < count) {
          const receipt = receipts[at] as AppendReceipt;
          receipt.appended(index, first + at++);
        }
      } catch (error) {
        thrown.push(error);
      }
    }
    return thrown;
  }

  /** The offsets of rounds that failed are given again.  @holds none is under way */
  giveBack(): void {
    this.#sealed = this.next;
  }

  /** Everything that is gathered and not sealed, to be refused. */
  abandon(): { receipts: AppendReceipt[]; recordBytes: number }[] {
    const gathers = this.#full;
    this.#full = [];
    if (this.#gather !== null) gathers.push(this.#gather);
    this.#gather = null;
    return gathers.map((gather) => {
      const { receipts, recordBytes } = gather;
      this.#release(gather);
      return { receipts, recordBytes };
    });
  }

  /** Calls back once when something was appended. */
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
