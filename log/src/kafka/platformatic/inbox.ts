// hot
import type { LogBatch, LogError } from '@millrace/core';
import type { DecodedBatch, Decompress, RecordSet } from './record-set.ts';

const BUFFER_BYTES_MAX = 4 * 1024 * 1024;

/** A batch of which some may be read already. */
interface Slice {
  readonly batch: DecodedBatch;
  head: number;
}

/** What one partition has received and nobody has read yet.
 *  @holds bounded: nothing is fetched while `bytes` is `bytesMax` or more; batches are decoded when they are read */
export class Inbox {
  readonly partition: number;
  bytesMax = BUFFER_BYTES_MAX;
  /** The next offset to be fetched. */
  next = 0;
  #fault: LogError | null = null;
  wake: (() => void) | null = null;
  /** Grows with whatever a reader would want to be woken for. */
  events = 0;
  /** The next offset to be read, or null when nobody has read. */
  #at: number | null = null;
  #wanted = false;
  #sets: RecordSet[] = [];
  #setBytes = 0;
  #slices: Slice[] = [];
  #sliceBytes = 0;

  constructor(partition: number) {
    this.partition = partition;
  }

  get due(): boolean {
    return this.#wanted && this.#setBytes + this.#sliceBytes < this.bytesMax;
  }

  want(from: number, bytesMax: number): void {
    this.bytesMax = Math.max(BUFFER_BYTES_MAX, bytesMax);
    this.#wanted = true;
    if (this.#at === from) return;
    this.forget();
    this.#at = from;
    this.next = from;
  }

  rest(): void {
    this.#wanted = false;
  }

  /** Drops what was received; the next read says where it goes on. */
  forget(): void {
    this.#at = null;
    this.#sets = [];
    this.#setBytes = 0;
    this.#slices = [];
    this.#sliceBytes = 0;
  }

  /** @shape from: what was asked for; an answer to an older question is dropped */
  receive(from: number, set: RecordSet): void {
    if (from !== this.next || this.#at === null || set.size === 0) return;
    this.next = Math.max(from, set.next);
    this.#sets.push(set);
    this.#setBytes += set.size;
    this.#tell();
  }

  /** Nothing more comes; whoever reads next is told why. */
  fail(fault: LogError): void {
    this.forget();
    this.rest();
    this.#fault = fault;
    this.#tell();
  }

  takeFault(): LogError | null {
    const fault = this.#fault;
    this.#fault = null;
    return fault;
  }

  #tell(): void {
    this.events++;
    this.wake?.();
  }

  /** Decodes until there is as much to read as asked for, or no more there.
   *  @returns whether all that `last` and `bytesMax` ask for is there */
  async gather(bytesMax: number, last: number, decompress: Decompress): Promise<boolean> {
    while (this.#sliceBytes < bytesMax) {
      const [set] = this.#sets;
      if (set === undefined) return this.next > last;
      const batch = await set.decode(decompress);
      // Forgotten meanwhile.
      if (this.#sets[0] !== set) return false;
      if (batch !== null) this.#slice(batch);
      if (set.done) {
        this.#sets.shift();
        this.#setBytes -= set.size;
      }
    }
    return true;
  }

  get readable(): boolean {
    return this.#sliceBytes > 0;
  }

  /** @holds a batch starts at or before what is asked for, since Kafka gives whole ones */
  #slice(batch: DecodedBatch): void {
    const { base, count, deltas, sizes } = batch;
    const at = this.#at as number;
    let head = 0;
    while (head < count && base + (deltas[head] as number) < at) head++;
    if (head === count) return;
    for (let index = head; index < count; index++) this.#sliceBytes += 4 + (sizes[index] as number);
    this.#slices.push({ batch, head });
  }

  /** Records up to a size, but one at least, and none beyond `last`; null when there is none. */
  take(bytesMax: number, last: number): LogBatch | null {
    let size = 0;
    let count = 0;
    const ends: number[] = [];
    for (const { batch, head } of this.#slices) {
      const { base, deltas, sizes } = batch;
      let end = head;
      while (end < batch.count) {
        const frame = 4 + (sizes[end] as number);
        if (base + (deltas[end] as number) > last || (count > 0 && size + frame > bytesMax)) break;
        size += frame;
        count++;
        end++;
      }
      ends.push(end);
      if (end < batch.count) break;
    }
    if (count === 0) return null;
    const bytes = new Uint8Array(size);
    const offsets = new Float64Array(count);
    let at = 0;
    let found = 0;
    for (let which = 0; which < ends.length; which++) {
      const slice = this.#slices[which] as Slice;
      const { base, deltas, sizes, starts, bytes: source } = slice.batch;
      const end = ends[which] as number;
      for (let index = slice.head; index < end; index++) {
        const length = sizes[index] as number;
        const start = starts[index] as number;
        bytes[at] = length;
        bytes[at + 1] = length >>> 8;
        bytes[at + 2] = length >>> 16;
        bytes[at + 3] = length >>> 24;
        source.copy(bytes, at + 4, start, start + length);
        at += 4 + length;
        offsets[found++] = base + (deltas[index] as number);
      }
      slice.head = end;
    }
    this.#sliceBytes -= size;
    const read = this.#slices.findIndex(({ batch, head }) => head < batch.count);
    this.#slices.splice(0, read < 0 ? this.#slices.length : read);
    const first = offsets[0] as number;
    const end = offsets[count - 1] as number;
    this.#at = end + 1;
    const gapless = end - first + 1 === count;
    return { partition: this.partition, first, last: end, count, bytes, offsets: gapless ? null : offsets };
  }
}
