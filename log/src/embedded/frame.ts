// hot
import { crc32 } from './crc.ts';

/** What a segment file is made of after its own head.
 *  @shape u32 magic, u32 CRC-32 of all that follows, u32 size of the data, u32 salt of the segment, f64 round,
 *         f64 first offset, f64 ms since 1970, u32 count of records, u16 topic, u16 partition, u16 kind, u16 flags,
 *         u32 how far the last settled round lies before this one; then the data, and zeros up to a multiple of 8.
 *         All little-endian. The data of records: for each u32 size + bytes, as LogBatch wants them; of state: JSON
 *  @holds rounds rise within a segment; the frames of one round lie side by side, all but its last flagged `more` */
export const FRAME_HEADER_BYTES = 56;
export const RECORD_HEADER_BYTES = 4;
const MAGIC = 0x31_46_52_4d; // "MRF1"
const MAGIC_BYTES = Buffer.from('MRF1', 'latin1');
const CHECKED_FROM = 8;
const MORE = 1;

/** Records of one partition; changes of the small state; the whole of it, at the head of each segment. */
export const KIND = { records: 0, changes: 1, head: 2 } as const;

export interface FrameHeader {
  readonly kind: number;
  /** Another frame of this round follows. */
  readonly more: boolean;
  /** Of the data, in bytes. */
  readonly size: number;
  /** A number that was drawn for this segment and that nobody else knows: neither what an earlier use of the file left
   *  behind nor what looks like a frame inside a record is taken for one. */
  readonly salt: number;
  readonly round: number;
  /** The last round that was known to be durable when this one was written. */
  readonly settled: number;
  readonly first: number;
  readonly timeMs: number;
  readonly count: number;
  readonly topic: number;
  readonly partition: number;
}

/** What a frame with so much data takes in the file. */
export function frameBytes(dataSize: number): number {
  return (FRAME_HEADER_BYTES + dataSize + 7) & ~7;
}

/** Writes header, checksum and padding around data that is there already. */
export function sealFrame(bytes: Buffer, at: number, header: FrameHeader): void {
  const end = at + FRAME_HEADER_BYTES + header.size;
  bytes.writeUInt32LE(MAGIC, at);
  bytes.writeUInt32LE(header.size, at + 8);
  bytes.writeUInt32LE(header.salt, at + 12);
  bytes.writeDoubleLE(header.round, at + 16);
  bytes.writeDoubleLE(header.first, at + 24);
  bytes.writeDoubleLE(header.timeMs, at + 32);
  bytes.writeUInt32LE(header.count, at + 40);
  bytes.writeUInt16LE(header.topic, at + 44);
  bytes.writeUInt16LE(header.partition, at + 46);
  bytes.writeUInt16LE(header.kind, at + 48);
  bytes.writeUInt16LE(header.more ? MORE : 0, at + 50);
  bytes.writeUInt32LE(Math.min(header.round - header.settled, 0xffff_ffff), at + 52);
  for (let pad = end; pad < at + frameBytes(header.size); pad++) bytes[pad] = 0;
  bytes.writeUInt32LE(crc32(bytes.subarray(at + CHECKED_FROM, end)), at + 4);
}

/** @holds at + FRAME_HEADER_BYTES lies within bytes */
export function readHeader(bytes: Buffer, at: number): FrameHeader {
  const round = bytes.readDoubleLE(at + 16);
  return {
    size: bytes.readUInt32LE(at + 8),
    salt: bytes.readUInt32LE(at + 12),
    round,
    first: bytes.readDoubleLE(at + 24),
    timeMs: bytes.readDoubleLE(at + 32),
    count: bytes.readUInt32LE(at + 40),
    topic: bytes.readUInt16LE(at + 44),
    partition: bytes.readUInt16LE(at + 46),
    kind: bytes.readUInt16LE(at + 48),
    more: (bytes.readUInt16LE(at + 50) & MORE) !== 0,
    settled: round - bytes.readUInt32LE(at + 52),
  };
}

/** Whether a header of this segment seems to stand there, without a look at the checksum. */
export function seemsFrame(bytes: Buffer, at: number, salt: number): boolean {
  return (
    at + FRAME_HEADER_BYTES <= bytes.length && bytes.readUInt32LE(at) === MAGIC && bytes.readUInt32LE(at + 12) === salt
  );
}

/** What is wrong with a frame, or null.  @holds a good frame lies within [at, end) with all its data */
export function frameFault(bytes: Buffer, at: number, end: number, salt: number): string | null {
  if (at + FRAME_HEADER_BYTES > end || !seemsFrame(bytes, at, salt)) return 'no frame of this segment';
  const dataEnd = at + FRAME_HEADER_BYTES + bytes.readUInt32LE(at + 8);
  if (dataEnd > end) return 'longer than its segment';
  if (bytes.readUInt32LE(at + 4) !== crc32(bytes.subarray(at + CHECKED_FROM, dataEnd)))
    return 'checksum does not match';
  return null;
}

/** Where the next good frame of this segment begins at or behind `from`, or −1. */
export function nextFrame(bytes: Buffer, from: number, end: number, salt: number): number {
  for (let at = bytes.indexOf(MAGIC_BYTES, from); at >= 0 && at < end; at = bytes.indexOf(MAGIC_BYTES, at + 1)) {
    if (at % 8 === 0 && frameFault(bytes, at, end, salt) === null) return at;
  }
  return -1;
}

/** Of a frame that was checked. */
export function recordCount(bytes: Buffer, at: number): number {
  return readUint32(bytes, at + 40);
}

export function dataSize(bytes: Buffer, at: number): number {
  return readUint32(bytes, at + 8);
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
