import type { FileHandle } from 'node:fs/promises';
import { parquetMetadata } from 'hyparquet';

/** Rows that a whole file of Parquet says it has.  @throws RangeError if it is none */
export async function parquetRows(file: FileHandle, size: number): Promise<number> {
  const tail = await read(file, size - 8, 8);
  const footer = tail.readUInt32LE(0) + 8;
  if (tail.toString('latin1', 4) !== 'PAR1' || footer > size) throw new RangeError('no Parquet');
  const bytes = await read(file, size - footer, footer);
  const { num_rows } = parquetMetadata(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + footer) as ArrayBuffer);
  return Number(num_rows);
}

async function read(file: FileHandle, position: number, size: number): Promise<Buffer> {
  const bytes = Buffer.alloc(size);
  const { bytesRead } = await file.read(bytes, 0, size, position);
  if (bytesRead !== size) throw new RangeError('the file ends too soon');
  return bytes;
}

const CONTINUES = 0xffff_ffff;
const RECORD_BATCH = 3;
/** Of a message's metadata. */
const HEAD_SIZE_MAX = 16 * 1024 * 1024;

/** Rows of a stream of Arrow, counted while it passes.
 *  @source Arrow columnar format, "IPC Streaming Format"; Message.fbs */
export class ArrowRows {
  rows = 0;
  #held = Buffer.alloc(0);
  /** Bytes of a body that are to come and say nothing of rows. */
  #skip = 0;

  pass(bytes: Uint8Array): void {
    let rest = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (this.#skip > 0) {
      const skipped = Math.min(this.#skip, rest.length);
      this.#skip -= skipped;
      rest = rest.subarray(skipped);
    }
    if (rest.length === 0) return;
    let held = this.#held.length === 0 ? rest : Buffer.concat([this.#held, rest]);
    for (;;) {
      if (held.length < 8) break;
      const size = held.readUInt32LE(0) === CONTINUES ? held.readInt32LE(4) : Number.NaN;
      if (!(size >= 0 && size <= HEAD_SIZE_MAX)) throw new RangeError('no stream of Arrow');
      if (size === 0 || held.length < 8 + size) break;
      const { rows, bodySize } = messageOf(held.subarray(8, 8 + size));
      this.rows += rows;
      const end = 8 + size + bodySize;
      this.#skip = Math.max(0, end - held.length);
      held = held.subarray(Math.min(end, held.length));
    }
    this.#held = Buffer.from(held);
  }
}

/** Reads two fields of a flatbuffer: Message is (version, header type, header, body length), RecordBatch begins with its
 *  length. */
function messageOf(bytes: Buffer): { rows: number; bodySize: number } {
  const field = (table: number, index: number): number | null => {
    const vtable = table - bytes.readInt32LE(table);
    const place = 4 + 2 * index;
    if (place >= bytes.readUInt16LE(vtable)) return null;
    const offset = bytes.readUInt16LE(vtable + place);
    return offset === 0 ? null : table + offset;
  };
  const message = bytes.readUInt32LE(0);
  const type = field(message, 1);
  const header = field(message, 2);
  const body = field(message, 3);
  const bodySize = body === null ? 0 : Number(bytes.readBigInt64LE(body));
  if (type === null || header === null || bytes.readUInt8(type) !== RECORD_BATCH) return { rows: 0, bodySize };
  const length = field(header + bytes.readUInt32LE(header), 0);
  return { rows: length === null ? 0 : Number(bytes.readBigInt64LE(length)), bodySize };
}
