// hot
import { crc32c } from '@platformatic/kafka';
import type { ProducedRecord } from '../client.ts';

/** Everything before the first record.
 *  @shape baseOffset i64, batchLength i32, partitionLeaderEpoch i32, magic i8, crc u32, attributes i16,
 *         lastOffsetDelta i32, baseTimestamp i64, maxTimestamp i64, producerId i64, producerEpoch i16, baseSequence i32,
 *         count i32; all big-endian
 *  @source Apache Kafka, "Record Batch", message format v2 */
export const HEAD_BYTES = 61;
/** Offset and length, which the length does not count. */
export const LENGTH_END = 12;
export const CRC_AT = 17;
export const ATTRIBUTES_AT = 21;
const MAGIC = 2;
const NO_EPOCH = -1;
/** A record's own framing at most: five varints of 5 bytes, and three single bytes. */
const RECORD_OVERHEAD_BYTES_MAX = 28;

export interface BatchIdentity {
  readonly producerId: bigint;
  readonly producerEpoch: number;
  readonly sequence: number;
}

/** What compresses the records of a batch, and its number in the attributes. */
export interface BatchCompression {
  readonly attribute: number;
  compress(records: Buffer): Buffer | Promise<Buffer>;
}

/** Records of one partition as a record batch.
 *  @units nowMs since 1970 */
export async function encodeBatch(
  records: readonly ProducedRecord[],
  identity: BatchIdentity,
  nowMs: number,
  compression: BatchCompression | null,
): Promise<Buffer> {
  let batch = encodeRecords(records);
  if (compression !== null) {
    const compressed = await compression.compress(batch.subarray(HEAD_BYTES));
    const smaller = Buffer.allocUnsafe(HEAD_BYTES + compressed.length);
    smaller.set(compressed, HEAD_BYTES);
    batch = smaller;
  }
  const now = BigInt(nowMs);
  batch.writeBigInt64BE(0n, 0);
  batch.writeInt32BE(batch.length - LENGTH_END, 8);
  batch.writeInt32BE(NO_EPOCH, 12);
  batch.writeInt8(MAGIC, 16);
  batch.writeInt16BE(compression === null ? 0 : compression.attribute, ATTRIBUTES_AT);
  batch.writeInt32BE(records.length - 1, 23);
  batch.writeBigInt64BE(now, 27);
  batch.writeBigInt64BE(now, 35);
  batch.writeBigInt64BE(identity.producerId, 43);
  batch.writeInt16BE(identity.producerEpoch, 51);
  batch.writeInt32BE(identity.sequence, 53);
  batch.writeInt32BE(records.length, 57);
  batch.writeUInt32BE(crc32c(batch.subarray(ATTRIBUTES_AT)), CRC_AT);
  return batch;
}

/** The records, with room for the head before them. */
function encodeRecords(records: readonly ProducedRecord[]): Buffer {
  let sizeMax = HEAD_BYTES;
  for (const { key, value } of records) {
    sizeMax += RECORD_OVERHEAD_BYTES_MAX + value.length + (key === null ? 0 : key.length * 3);
  }
  const bytes = Buffer.allocUnsafeSlow(sizeMax);
  let at = HEAD_BYTES;
  for (let index = 0; index < records.length; index++) {
    const { key, value } = records[index] as ProducedRecord;
    const keySize = key === null ? 0 : Buffer.byteLength(key);
    // Of all that follows it: attributes, time and headers are one byte each.
    const size =
      3 +
      varintSize(index) +
      (key === null ? 1 : varintSize(keySize) + keySize) +
      varintSize(value.length) +
      value.length;
    at = writeVarint(bytes, at, size);
    bytes[at++] = 0;
    bytes[at++] = 0;
    at = writeVarint(bytes, at, index);
    if (key === null) {
      at = writeVarint(bytes, at, -1);
    } else {
      at = writeVarint(bytes, at, keySize);
      at += bytes.write(key, at);
    }
    at = writeVarint(bytes, at, value.length);
    bytes.set(value, at);
    at += value.length;
    bytes[at++] = 0;
  }
  return bytes.subarray(0, at);
}

/** Zigzag, seven bits a byte. */
function writeVarint(bytes: Buffer, start: number, value: number): number {
  let at = start;
  let rest = ((value << 1) ^ (value >> 31)) >>> 0;
  while (rest > 0x7f) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at++] = rest;
  return at;
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = ((value << 1) ^ (value >> 31)) >>> 0; rest > 0x7f; rest >>>= 7) size++;
  return size;
}
