import { compressSync, uncompressSync } from 'snappy';
import { admit, snappySize } from './unpacking.ts';

/** What Java's snappy streams, and so most clients of Kafka, put before their blocks; librdkafka and others put nothing.
 *  @shape magic, i32 BE version, i32 BE oldest compatible version; then for each block i32 BE size, the block
 *  @source xerial snappy-java, SnappyCodec */
const HEADER = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
const MAGIC_BYTES = 8;
const BLOCK_BYTES = 32 * 1024;

export function compressSnappy(plain: Buffer): Buffer {
  const parts: Buffer[] = [HEADER];
  for (let at = 0; at < plain.length; at += BLOCK_BYTES) {
    const block = compressSync(plain.subarray(at, at + BLOCK_BYTES));
    const size = Buffer.allocUnsafe(4);
    size.writeInt32BE(block.length);
    parts.push(size, block);
  }
  return Buffer.concat(parts);
}

/** @throws RangeError when the blocks do not end where they say, or unpack to too much */
export function uncompressSnappy(packed: Buffer): Buffer {
  const framed =
    packed.length >= HEADER.length && packed.subarray(0, MAGIC_BYTES).equals(HEADER.subarray(0, MAGIC_BYTES));
  if (!framed) return uncompressBlock(packed, 0);
  const parts: Buffer[] = [];
  let unpacked = 0;
  for (let at = HEADER.length; at < packed.length; ) {
    const size = packed.readInt32BE(at);
    if (size < 0 || at + 4 + size > packed.length) throw new RangeError('a block of snappy is cut off');
    const block = uncompressBlock(packed.subarray(at + 4, at + 4 + size), unpacked);
    parts.push(block);
    unpacked += block.length;
    at += 4 + size;
  }
  return Buffer.concat(parts);
}

function uncompressBlock(block: Buffer, before: number): Buffer {
  admit(before + snappySize(block));
  return uncompressSync(block) as Buffer;
}
