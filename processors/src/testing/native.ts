/** Reads a Native block back into rows, for tests: the inverse of core's Block#write for the column types in use.
 *  @shape data_value: base64url of its bytes */
export function readNative(bytes: Uint8Array): Record<string, unknown>[] {
  const reader = new NativeReader(bytes);
  const columnCount = reader.varint();
  const rowCount = reader.varint();
  const rows: Record<string, unknown>[] = Array.from({ length: rowCount }, () => ({}));
  for (let column = 0; column < columnCount; column++) {
    const name = reader.text();
    const type = reader.text();
    const values = name === 'data_value' ? reader.data(rowCount) : reader.column(type, rowCount);
    rows.forEach((row, index) => {
      row[name] = values[index];
    });
  }
  return rows;
}

class NativeReader {
  readonly #view: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  varint(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#view[this.#at++] as number;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  bytes(size: number): Buffer {
    this.#at += size;
    return this.#view.subarray(this.#at - size, this.#at);
  }

  text(): string {
    return this.bytes(this.varint()).toString('utf8');
  }

  data(count: number): string[] {
    return Array.from({ length: count }, () => this.bytes(this.varint()).toString('base64url'));
  }

  column(type: string, count: number): unknown[] {
    const nullable = /^Nullable\((.*)\)$/.exec(type);
    if (nullable !== null) {
      const nulls = [...this.bytes(count)];
      return this.column(nullable[1] ?? '', count).map((value, row) => (nulls[row] === 1 ? null : value));
    }
    if (type.startsWith('LowCardinality')) return this.#dictionary();
    return Array.from({ length: count }, () => this.#value(type));
  }

  #value(type: string): unknown {
    if (type === 'String') return this.text();
    if (type === 'UInt8') return this.bytes(1).readUInt8();
    if (type === 'Bool') return this.bytes(1).readUInt8() === 1;
    if (type === 'UInt16') return this.bytes(2).readUInt16LE();
    if (type === 'UInt32') return this.bytes(4).readUInt32LE();
    if (type === 'Float64') return this.bytes(8).readDoubleLE();
    if (type === 'UInt64') return Number(this.bytes(8).readBigUInt64LE());
    if (type === "DateTime('UTC')") return this.bytes(4).readUInt32LE();
    if (type.startsWith('DateTime64')) return this.bytes(8).readBigInt64LE();
    if (type === 'UUID') return Buffer.concat([this.bytes(8).toReversed(), this.bytes(8).toReversed()]).toString('hex');
    throw new RangeError(`no reader for ${type}`);
  }

  #dictionary(): string[] {
    this.bytes(8);
    const width = Number(this.bytes(8).readBigUInt64LE() & 0xffn);
    const keys = Array.from({ length: Number(this.bytes(8).readBigUInt64LE()) }, () => this.text());
    const count = Number(this.bytes(8).readBigUInt64LE());
    return Array.from({ length: count }, () => keys[this.bytes(1 << width).readUIntLE(0, 1 << width)] as string);
  }
}
