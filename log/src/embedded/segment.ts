// hot
import { closeSync, openSync } from 'node:fs';

/** A segment file begins with so much of its own: magic, version, sequence, size, salt, checksum. */
export const SEGMENT_HEADER_BYTES = 64;

/** Where the frames of one partition lie in one segment.
 *  @shape column by column, in order of offsets */
export class Frames {
  readonly firsts: number[] = [];
  readonly positions: number[] = [];
  readonly sizes: number[] = [];

  add(first: number, position: number, dataSize: number): void {
    this.firsts.push(first);
    this.positions.push(position);
    this.sizes.push(dataSize);
  }

  /** The last frame that begins at or before an offset, or −1. */
  holding(offset: number): number {
    const { firsts } = this;
    let low = 0;
    let high = firsts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((firsts[middle] as number) <= offset) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** What a segment has of one partition.  @holds `end` is the offset after its last record there */
export interface Span {
  readonly segment: Segment;
  readonly topic: number;
  readonly partition: number;
  readonly first: number;
  end: number;
  /** Frames with their headers. */
  bytes: number;
  /** When its last record was written. */
  timeMs: number;
  /** Null while it is not in memory. */
  frames: Frames | null;
}

export function spanKey(topic: number, partition: number): number {
  return topic * 65_536 + partition;
}

/** One file of the log: made in its full size beforehand, then filled from front to back by all partitions.
 *  @holds [0, end) is durable and does not change any more; readers see nothing beyond it */
export class Segment {
  readonly sequence: number;
  readonly path: string;
  readonly size: number;
  /** @see FrameHeader.salt */
  readonly salt: number;
  end = SEGMENT_HEADER_BYTES;
  readonly spans = new Map<number, Span>();
  /** The file's bytes while it is written and shortly after: who reads the tail never asks the disk. */
  mirror: Buffer | null = null;
  /** Writes go to its file: readers must not close that. */
  writing = false;
  #file = -1;

  constructor(sequence: number, path: string, size: number, salt: number) {
    this.sequence = sequence;
    this.path = path;
    this.size = size;
    this.salt = salt;
  }

  /** Opens the file, if it is not open.  @throws what the system says */
  file(flags: string | number = 'r'): number {
    if (this.#file < 0) this.#file = openSync(this.path, flags);
    return this.#file;
  }

  close(): void {
    if (this.#file < 0) return;
    closeSync(this.#file);
    this.#file = -1;
  }

  /** A frame of records became durable, or was found.
   *  @returns the span, if this is its first frame */
  add(
    topic: number,
    partition: number,
    frame: { first: number; count: number; position: number; size: number; bytes: number; timeMs: number },
  ): Span | null {
    const key = spanKey(topic, partition);
    const { first, count, position, size, bytes, timeMs } = frame;
    const known = this.spans.get(key);
    if (known !== undefined) {
      known.end = first + count;
      known.bytes += bytes;
      known.timeMs = Math.max(known.timeMs, timeMs);
      known.frames?.add(first, position, size);
      return null;
    }
    const frames = new Frames();
    frames.add(first, position, size);
    const span: Span = { segment: this, topic, partition, first, end: first + count, bytes, timeMs, frames };
    this.spans.set(key, span);
    return span;
  }
}
