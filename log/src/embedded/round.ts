// hot
import { fdatasync, write } from 'node:fs';
import type { AppendReceipt, LogError } from '@millrace/core';
import { FRAME_HEADER_BYTES, type FrameHeader, frameBytes, sealFrame } from './frame.ts';
import type { Partition } from './partition.ts';
import type { Segment } from './segment.ts';
import type { Change } from './state.ts';

/** A few changes of the small state, and who waits for them. */
export interface Request {
  readonly changes: readonly Change[];
  readonly resolve: () => void;
  readonly reject: (error: LogError) => void;
}

/** What a round writes for one partition, and who waits for it. */
export interface Sealed {
  readonly partition: Partition;
  readonly receipts: AppendReceipt[];
  readonly first: number;
  readonly position: number;
  readonly size: number;
  readonly recordBytes: number;
  readonly timeMs: number;
}

interface Placed {
  readonly at: number;
  readonly header: Omit<FrameHeader, 'more'>;
}

/** Frames that are written together, side by side.
 *  @holds the segment's mirror has their bytes from `place` on; between `seal` and the end they do not change */
export class Round {
  readonly segment: Segment;
  readonly number: number;
  readonly settled: number;
  readonly start: number;
  end: number;
  readonly begunMs = performance.now();
  readonly sealed: Sealed[] = [];
  requests: readonly Request[] = [];
  done = false;
  error: unknown = null;
  readonly #frames: Placed[] = [];

  constructor(segment: Segment, start: number, number: number, settled: number) {
    this.segment = segment;
    this.start = start;
    this.end = start;
    this.number = number;
    this.settled = settled;
  }

  /** Copies data behind what is there.  @holds it fits  @returns the position of its frame */
  place(
    kind: number,
    data: Uint8Array,
    records: { topic: number; partition: number; first: number; count: number; timeMs: number },
  ): number {
    const at = this.end;
    (this.segment.mirror as Buffer).set(data, at + FRAME_HEADER_BYTES);
    const { number: round, settled } = this;
    const { salt } = this.segment;
    this.#frames.push({ at, header: { ...records, kind, size: data.length, salt, round, settled } });
    this.end = at + frameBytes(data.length);
    return at;
  }

  seal(): void {
    const mirror = this.segment.mirror as Buffer;
    const last = this.#frames.length - 1;
    for (const [index, { at, header }] of this.#frames.entries()) {
      sealFrame(mirror, at, { ...header, more: index < last });
    }
  }
}

/** Writes all of it, and syncs if told so; tells once how that went. */
export function writeThrough(
  file: number,
  bytes: Buffer,
  start: number,
  end: number,
  syncs: boolean,
  told: (error: unknown) => void,
): void {
  write(file, bytes, start, end - start, start, (error, written) => {
    if (error !== null) told(error);
    else if (written === 0) told(Object.assign(new Error('nothing was written'), { code: 'EIO' }));
    else if (written < end - start) writeThrough(file, bytes, start + written, end, syncs, told);
    else if (syncs) fdatasync(file, told);
    else told(null);
  });
}
