import type { LogBatch } from '@millrace/core';

/** What two processes of one machine say to each other about the log.
 *
 *  @shape a frame: u32 LE size of what follows, u8 kind, body
 *    append    u16 topic, u16 partition, u32 count, then each record as a batch has it (u32 size, bytes)
 *    call      JSON: `Call`
 *    appended  for each run: u16 topic, u16 partition, u32 count, f64 first offset
 *    refused   u16 topic, u16 partition, u32 count, JSON: `Told`
 *    answer    JSON: { id, value } or { id, error }
 *    batch     u32 id, u32 partition, u32 count, u8 whether offsets follow, f64 first, f64 last, offsets, records
 *    event     JSON: `Event`
 *  @source ADR 0025 */
export const KIND = { append: 1, call: 2, appended: 3, refused: 4, answer: 5, batch: 6, event: 7 } as const;

/** Size and kind. */
export const HEAD_BYTES = 5;
export const APPEND_BYTES = HEAD_BYTES + 8;
export const RUN_BYTES = 16;
const BATCH_BYTES = 29;
/** A partner that says more is none of ours. */
const FRAME_BYTES_MAX = 1024 * 1024 * 1024;

/** An error of the log as it travels. */
export interface Told {
  readonly code: string;
  readonly retry: string;
  readonly facts: Readonly<Record<string, unknown>>;
}
export interface Call {
  readonly id: number;
  readonly op: string;
  readonly [argument: string]: unknown;
}
/** A lease began, or is over. */
export type Event =
  | {
      readonly event: 'lease';
      readonly consumer: number;
      readonly lease: number;
      readonly partition: number;
      readonly committed: { readonly offset: number; readonly metadata: string };
    }
  | { readonly event: 'over'; readonly lease: number };

/** Cuts what a socket gives into frames.
 *  @holds a frame is valid while it is taken: its bytes may lie in the chunk */
export class FrameReader {
  readonly #take: (kind: number, body: Buffer) => void;
  /** The beginning of a frame whose size is not known yet. */
  #head: Buffer = Buffer.alloc(0);
  #frame: Buffer | null = null;
  #filled = 0;

  constructor(take: (kind: number, body: Buffer) => void) {
    this.#take = take;
  }

  /** @throws RangeError what came is no frame */
  feed(chunk: Buffer): void {
    let rest = chunk;
    if (this.#frame !== null) rest = this.#fill(this.#frame, rest);
    else if (this.#head.length > 0) {
      rest = Buffer.concat([this.#head, rest]);
      this.#head = Buffer.alloc(0);
    }
    let at = 0;
    while (rest.length - at >= 4) {
      const size = rest.readUInt32LE(at);
      if (size < 1 || size > FRAME_BYTES_MAX) throw new RangeError(`a frame of ${size} bytes`);
      at += 4;
      if (rest.length - at < size) {
        this.#frame = Buffer.allocUnsafeSlow(size);
        this.#filled = rest.copy(this.#frame, 0, at);
        return;
      }
      this.#give(rest.subarray(at, at + size));
      at += size;
    }
    if (at < rest.length) this.#head = Buffer.from(rest.subarray(at));
  }

  /** @returns what is left of the chunk */
  #fill(frame: Buffer, chunk: Buffer): Buffer {
    const copied = chunk.copy(frame, this.#filled);
    this.#filled += copied;
    if (this.#filled < frame.length) return chunk.subarray(copied);
    this.#frame = null;
    this.#give(frame);
    return chunk.subarray(copied);
  }

  #give(frame: Buffer): void {
    this.#take(frame[0] as number, frame.subarray(1));
  }
}

export function jsonFrame(kind: number, value: unknown, prefix: Buffer = Buffer.alloc(0)): Buffer {
  const text = JSON.stringify(value);
  const size = prefix.length + Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(HEAD_BYTES + size);
  writeHead(frame, kind, size);
  prefix.copy(frame, HEAD_BYTES);
  frame.write(text, HEAD_BYTES + prefix.length);
  return frame;
}

export function writeHead(frame: Buffer, kind: number, bodySize: number): void {
  frame.writeUInt32LE(bodySize + 1, 0);
  frame[4] = kind;
}

/** The head of a batch's frame; the records follow it as they are. */
export function batchHead(id: number, batch: LogBatch): Buffer {
  const { offsets } = batch;
  const offsetBytes = offsets === null ? 0 : offsets.byteLength;
  const head = Buffer.allocUnsafe(HEAD_BYTES + BATCH_BYTES + offsetBytes);
  writeHead(head, KIND.batch, BATCH_BYTES + offsetBytes + batch.bytes.length);
  head.writeUInt32LE(id, 5);
  head.writeUInt32LE(batch.partition, 9);
  head.writeUInt32LE(batch.count, 13);
  head[17] = offsets === null ? 0 : 1;
  head.writeDoubleLE(batch.first, 18);
  head.writeDoubleLE(batch.last, 26);
  if (offsets !== null) head.set(new Uint8Array(offsets.buffer, offsets.byteOffset, offsetBytes), 34);
  return head;
}

/** @returns the batch in memory of its own, and whose answer it is */
export function readBatch(body: Buffer): { readonly id: number; readonly batch: LogBatch } {
  const count = body.readUInt32LE(8);
  let at = BATCH_BYTES;
  let offsets: Float64Array<ArrayBuffer> | null = null;
  if (body[12] === 1) {
    offsets = new Float64Array(new Uint8Array(body.subarray(at, at + count * 8)).buffer);
    at += count * 8;
  }
  return {
    id: body.readUInt32LE(0),
    batch: {
      partition: body.readUInt32LE(4),
      first: body.readDoubleLE(13),
      last: body.readDoubleLE(21),
      count,
      bytes: new Uint8Array(body.subarray(at)),
      offsets,
    },
  };
}
