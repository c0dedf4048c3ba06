// hot
import { crc32c } from '@platformatic/kafka';
import { ATTRIBUTES_AT, CRC_AT, HEAD_BYTES, LENGTH_END } from './record-batch.ts';

const MAGIC = 2;
const COMPRESSION = 0b111;
const TRANSACTIONAL = 1 << 4;
const CONTROL = 1 << 5;
const ABORT = 0;
/** The least a record takes. */
const RECORD_BYTES_MIN = 7;

/** The records of one batch, where they lie.
 *  @shape starts and sizes of the values, in `bytes`; the offset of a record is base + its delta
 *  @holds a tombstone has size 0 */
export interface DecodedBatch {
  readonly bytes: Buffer;
  readonly base: number;
  readonly count: number;
  readonly starts: Int32Array;
  readonly sizes: Int32Array;
  readonly deltas: Int32Array;
}

/** A transaction whose records are not to be seen. */
export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: number;
}

export type Decompress = (compression: number, bytes: Buffer) => Buffer | Promise<Buffer>;

/** What a fetch brought of one partition, decoded batch by batch when it is asked for.
 *  @shape whole record batches, one after the other; the last may be cut off: it is not there yet
 *  @throws RangeError of what does not hold together  @source Apache Kafka, message format v2 */
export class RecordSet {
  /** After the last whole batch: where the next fetch goes on. 0 when there is no batch. */
  readonly next: number;
  readonly size: number;
  readonly #bytes: Buffer;
  readonly #aborted: readonly AbortedTransaction[];
  readonly #aborting = new Set<bigint>();
  #abortedHead = 0;
  #at = 0;

  constructor(bytes: Buffer, aborted: readonly AbortedTransaction[]) {
    this.#bytes = bytes;
    this.#aborted = aborted.toSorted((one, other) => one.firstOffset - other.firstOffset);
    let next = 0;
    let end = 0;
    while (bytes.length - end >= HEAD_BYTES) {
      const batchEnd = end + LENGTH_END + bytes.readInt32BE(end + 8);
      if (batchEnd > bytes.length || batchEnd < end + HEAD_BYTES) break;
      next = Number(bytes.readBigInt64BE(end)) + bytes.readInt32BE(end + 23) + 1;
      end = batchEnd;
    }
    this.next = next;
    this.size = end;
  }

  get done(): boolean {
    return this.#at >= this.size;
  }

  /** The next batch that has records to be seen, or null when there is none left. One call at a time. */
  async decode(decompress: Decompress): Promise<DecodedBatch | null> {
    const bytes = this.#bytes;
    while (this.#at < this.size) {
      const start = this.#at;
      const end = start + LENGTH_END + bytes.readInt32BE(start + 8);
      this.#at = end;
      if (bytes[start + 16] !== MAGIC)
        throw new RangeError(`record batches of format ${bytes[start + 16]} are not read`);
      if (crc32c(bytes.subarray(start + ATTRIBUTES_AT, end)) !== bytes.readUInt32BE(start + CRC_AT)) {
        throw new RangeError('a record batch is damaged');
      }
      const attributes = bytes.readInt16BE(start + ATTRIBUTES_AT);
      if (!this.#seen(start, attributes)) continue;
      const compression = attributes & COMPRESSION;
      const body = bytes.subarray(start + HEAD_BYTES, end);
      const base = Number(bytes.readBigInt64BE(start));
      const count = bytes.readInt32BE(start + 57);
      if (count === 0) continue;
      return decodeRecords(compression === 0 ? body : await decompress(compression, body), base, count);
    }
    return null;
  }

  /** Leaves out the markers of transactions, and the records of those that were given up. */
  #seen(start: number, attributes: number): boolean {
    if ((attributes & (TRANSACTIONAL | CONTROL)) === 0) return true;
    const bytes = this.#bytes;
    const base = Number(bytes.readBigInt64BE(start));
    const producerId = bytes.readBigInt64BE(start + 43);
    for (; this.#abortedHead < this.#aborted.length; this.#abortedHead++) {
      const one = this.#aborted[this.#abortedHead] as AbortedTransaction;
      if (one.firstOffset > base) break;
      this.#aborting.add(one.producerId);
    }
    if ((attributes & CONTROL) === 0) return !this.#aborting.has(producerId);
    // Its one record's key: version i16, type i16, after the length and four bytes of framing.
    const { starts } = decodeKeys(bytes.subarray(start + HEAD_BYTES));
    if (bytes.readInt16BE(start + HEAD_BYTES + starts + 2) === ABORT) this.#aborting.delete(producerId);
    return false;
  }
}

const cursor = { at: 0 };

function readVarint(bytes: Uint8Array): number {
  let value = 0;
  let shift = 0;
  let at = cursor.at;
  for (;;) {
    const byte = bytes[at++];
    if (byte === undefined || shift > 28) throw new RangeError('a record is cut off');
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
    shift += 7;
  }
  cursor.at = at;
  return (value >>> 1) ^ -(value & 1);
}

/** Times go up to 64 bits; nobody here looks at them. */
function skipVarlong(bytes: Uint8Array): void {
  while ((bytes[cursor.at++] ?? 0) >= 0x80);
}

/** Where the key of the first record starts. */
function decodeKeys(bytes: Uint8Array): { starts: number } {
  cursor.at = 0;
  readVarint(bytes);
  cursor.at++;
  skipVarlong(bytes);
  readVarint(bytes);
  readVarint(bytes);
  return { starts: cursor.at };
}

function decodeRecords(bytes: Buffer, base: number, count: number): DecodedBatch {
  if (count < 0 || count > bytes.length / RECORD_BYTES_MIN) throw new RangeError('a record batch is damaged');
  const starts = new Int32Array(count);
  const sizes = new Int32Array(count);
  const deltas = new Int32Array(count);
  let at = 0;
  for (let index = 0; index < count; index++) {
    cursor.at = at;
    const size = readVarint(bytes);
    const end = cursor.at + size;
    if (size < RECORD_BYTES_MIN - 1 || end > bytes.length) throw new RangeError('a record is cut off');
    cursor.at++;
    skipVarlong(bytes);
    deltas[index] = readVarint(bytes);
    const keySize = readVarint(bytes);
    if (keySize > 0) cursor.at += keySize;
    const valueSize = Math.max(0, readVarint(bytes));
    starts[index] = cursor.at;
    sizes[index] = valueSize;
    if (cursor.at + valueSize > end) throw new RangeError('a record is cut off');
    at = end;
  }
  return { bytes, base, count, starts, sizes, deltas };
}
