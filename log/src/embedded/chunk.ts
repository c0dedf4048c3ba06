// hot
import zlib from 'node:zlib';
import type { AppendReceipt } from '@millrace/core';

/** What one put into the store carries: consecutive records of one partition, framed as LogBatch wants them.
 *  @shape u32 magic, u32 count, u32 CRC-32 of all that follows, u32 0, f64 ms since 1970, then per record u32 size + bytes.
 *         All little-endian. The key is the offset of the first record. */
export const CHUNK_HEADER_BYTES = 24;
export const FRAME_HEADER_BYTES = 4;
const MAGIC = 0x31_43_4c_4d; // "MLC1"

/** A chunk that is being gathered, with those who wait for it.
 *  @holds `bytes` is not touched between `seal` and the end of its commit */
export class Gather {
  bytes: Buffer;
  size = CHUNK_HEADER_BYTES;
  /** One for each record, in order. */
  receipts: AppendReceipt[] = [];

  constructor(bytesMax: number) {
    this.bytes = Buffer.allocUnsafeSlow(bytesMax);
  }

  get count(): number {
    return this.receipts.length;
  }

  /** The records alone. */
  get recordBytes(): number {
    return this.size - CHUNK_HEADER_BYTES - FRAME_HEADER_BYTES * this.receipts.length;
  }

  fits(recordSize: number): boolean {
    return this.size + FRAME_HEADER_BYTES + recordSize <= this.bytes.length;
  }

  /** Copies one record in.  @holds it fits */
  add(record: Uint8Array, receipt: AppendReceipt): void {
    const size = record.length;
    const bytes = this.bytes;
    const at = this.size;
    bytes[at] = size;
    bytes[at + 1] = size >>> 8;
    bytes[at + 2] = size >>> 16;
    bytes[at + 3] = size >>> 24;
    bytes.set(record, at + FRAME_HEADER_BYTES);
    this.size = at + FRAME_HEADER_BYTES + size;
    this.receipts.push(receipt);
  }

  /** Writes the header and gives the value to store. */
  seal(nowMs: number): Buffer {
    const bytes = this.bytes;
    bytes.writeUInt32LE(MAGIC, 0);
    bytes.writeUInt32LE(this.receipts.length, 4);
    bytes.writeUInt32LE(0, 12);
    bytes.writeDoubleLE(nowMs, 16);
    bytes.writeUInt32LE(crc32(bytes.subarray(12, this.size)), 8);
    return bytes.subarray(0, this.size);
  }

  reset(): void {
    this.size = CHUNK_HEADER_BYTES;
    this.receipts = [];
  }
}

/** What is wrong with a stored chunk, or null.  @holds all frames of a good chunk lie within it */
export function chunkFault(chunk: Uint8Array): string | null {
  if (chunk.length < CHUNK_HEADER_BYTES) return 'shorter than its header';
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
  if (view.getUint32(0, true) !== MAGIC) return 'no chunk of this format';
  if (view.getUint32(8, true) !== crc32(chunk.subarray(12))) return 'checksum does not match';
  return null;
}

export function chunkCount(chunk: Uint8Array): number {
  return readUint32(chunk, 4);
}

/** ms since 1970 at which it was written. */
export function chunkTimeMs(chunk: Uint8Array): number {
  return new DataView(chunk.buffer, chunk.byteOffset, chunk.length).getFloat64(16, true);
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

/** The key of a chunk: its first offset, big-endian so that keys sort as numbers do. */
export function chunkKey(offset: number): Buffer {
  const key = Buffer.allocUnsafe(8);
  key.writeUInt32BE(Math.floor(offset / 0x1_0000_0000), 0);
  key.writeUInt32BE(offset % 0x1_0000_0000, 4);
  return key;
}

export function keyOffset(key: Uint8Array): number {
  const view = new DataView(key.buffer, key.byteOffset, 8);
  return view.getUint32(0) * 0x1_0000_0000 + view.getUint32(4);
}

/** About what a value of this size takes in the store. */
export function storedBytes(valueSize: number): number {
  return valueSize < 2_000 ? valueSize + 32 : Math.ceil((valueSize + 16) / 4_096) * 4_096;
}

let table: Uint32Array | undefined;
/** CRC-32 for Node versions whose zlib lacks it. */
export function crc32Portable(bytes: Uint8Array): number {
  if (table === undefined) {
    table = new Uint32Array(256);
    for (let at = 0; at < 256; at++) {
      let value = at;
      for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
      table[at] = value;
    }
  }
  let crc = 0xffff_ffff;
  for (let at = 0; at < bytes.length; at++) {
    crc = (crc >>> 8) ^ (table[(crc ^ (bytes[at] as number)) & 0xff] as number);
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}

const native = zlib.crc32 as ((bytes: Uint8Array) => number) | undefined;
const crc32: (bytes: Uint8Array) => number = native ?? crc32Portable;
