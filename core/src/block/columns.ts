// hot

/** Columns of a block in ClickHouse's Native layout: what a worker builds and the engine takes without parsing.
 *  Each column appends one value a row, grows by doubling, and writes itself once a block.
 *  @source docs/adr/0002-native-blocks.md; ClickHouse `NativeWriter`, `SerializationLowCardinality` */
export interface Column {
  readonly name: string;
  readonly type: string;
  readonly count: number;
  /** Nothing but defaults (NULL, ''): the block may leave the column out and the table fills it in. */
  readonly allDefault: boolean;
  /** Bytes that `write` takes at most. */
  readonly sizeMax: number;
  /** @returns the position after what was written */
  write(out: Buffer, at: number): number;
  clear(): void;
}

const ROWS_MIN = 1_024;

/** Writes an unsigned LEB128. */
export function writeVarint(out: Uint8Array, at: number, value: number): number {
  let next = at;
  let rest = value;
  while (rest >= 0x80) {
    out[next++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  out[next++] = rest;
  return next;
}

type NumberArray = Uint8Array | Uint16Array | Uint32Array | Float64Array;
type NumberArrayClass = new (count: number) => NumberArray;

/** Integers up to 32 bits, or doubles. */
export class NumberColumn implements Column {
  readonly name: string;
  readonly type: string;
  count = 0;
  #values: NumberArray;
  readonly #Values: NumberArrayClass;

  constructor(name: string, type: string, Values: NumberArrayClass) {
    this.name = name;
    this.type = type;
    this.#Values = Values;
    this.#values = new Values(ROWS_MIN);
  }
  get allDefault(): boolean {
    return false;
  }
  add(value: number): void {
    if (this.count === this.#values.length) {
      const larger = new this.#Values(this.count * 2);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.count++] = value;
  }
  get sizeMax(): number {
    return this.count * this.#values.BYTES_PER_ELEMENT;
  }
  write(out: Buffer, at: number): number {
    out.set(new Uint8Array(this.#values.buffer, 0, this.sizeMax), at);
    return at + this.sizeMax;
  }
  clear(): void {
    this.count = 0;
  }
}

/** Numbers that may be absent: a mask of nulls, then the values. */
export class NullableColumn implements Column {
  readonly name: string;
  readonly type: string;
  readonly #nulls = new NumberColumn('', '', Uint8Array);
  readonly #values: NumberColumn;
  #present = 0;

  constructor(name: string, type: string, Values: NumberArrayClass) {
    this.name = name;
    this.type = `Nullable(${type})`;
    this.#values = new NumberColumn('', '', Values);
  }
  get count(): number {
    return this.#values.count;
  }
  get allDefault(): boolean {
    return this.#present === 0;
  }
  add(value: number): void {
    this.#present++;
    this.#nulls.add(0);
    this.#values.add(value);
  }
  addNull(): void {
    this.#nulls.add(1);
    this.#values.add(0);
  }
  get sizeMax(): number {
    return this.#nulls.sizeMax + this.#values.sizeMax;
  }
  write(out: Buffer, at: number): number {
    return this.#values.write(out, this.#nulls.write(out, at));
  }
  clear(): void {
    this.#present = 0;
    this.#nulls.clear();
    this.#values.clear();
  }
}

/** 64-bit integers out of doubles that carry them exactly. */
export class Int64Column implements Column {
  readonly name: string;
  readonly type: string;
  readonly #words = new NumberColumn('', '', Uint32Array);

  constructor(name: string, type: string) {
    this.name = name;
    this.type = type;
  }
  get count(): number {
    return this.#words.count / 2;
  }
  get allDefault(): boolean {
    return false;
  }
  /** @holds Number.isSafeInteger(value) */
  add(value: number): void {
    const high = Math.floor(value / 0x1_0000_0000);
    this.#words.add(value - high * 0x1_0000_0000);
    this.#words.add(high);
  }
  /** Microseconds, kept as nanoseconds. @holds Number.isSafeInteger(us), |us| < 2^63 / 1000 */
  addMicroseconds(us: number): void {
    const high = Math.floor(us / 0x1_0000_0000);
    const lowNs = (us - high * 0x1_0000_0000) * 1_000;
    const carry = Math.floor(lowNs / 0x1_0000_0000);
    this.#words.add(lowNs - carry * 0x1_0000_0000);
    this.#words.add(high * 1_000 + carry);
  }
  get sizeMax(): number {
    return this.#words.sizeMax;
  }
  write(out: Buffer, at: number): number {
    return this.#words.write(out, at);
  }
  clear(): void {
    this.#words.clear();
  }
}

/** Text or bytes: varint size, then the bytes, a row. */
export class StringColumn implements Column {
  readonly name: string;
  readonly type = 'String';
  count = 0;
  #bytes = Buffer.allocUnsafe(4_096);
  #end = 0;

  constructor(name: string) {
    this.name = name;
  }
  get allDefault(): boolean {
    return this.#end === this.count;
  }
  addEmpty(): void {
    this.#reserve(1);
    this.#bytes[this.#end++] = 0;
    this.count++;
  }
  addText(text: string): void {
    if (text.length === 0) {
      this.addEmpty();
      return;
    }
    const size = Buffer.byteLength(text);
    this.#reserve(size + 5);
    this.#end = writeVarint(this.#bytes, this.#end, size);
    this.#end += this.#bytes.write(text, this.#end, size);
    this.count++;
  }
  addBytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length + 5);
    this.#end = writeVarint(this.#bytes, this.#end, bytes.length);
    this.#bytes.set(bytes, this.#end);
    this.#end += bytes.length;
    this.count++;
  }
  get sizeMax(): number {
    return this.#end;
  }
  write(out: Buffer, at: number): number {
    out.set(this.#bytes.subarray(0, this.#end), at);
    return at + this.#end;
  }
  clear(): void {
    this.count = 0;
    this.#end = 0;
  }
  #reserve(size: number): void {
    if (this.#end + size <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#end + size));
    larger.set(this.#bytes.subarray(0, this.#end));
    this.#bytes = larger;
  }
}

/** 16-byte UUIDs: the engine keeps each half little-endian. */
export class UuidColumn implements Column {
  readonly name: string;
  readonly type = 'UUID';
  readonly #bytes = new NumberColumn('', '', Uint8Array);

  constructor(name: string) {
    this.name = name;
  }
  get count(): number {
    return this.#bytes.count / 16;
  }
  get allDefault(): boolean {
    return false;
  }
  /** @shape 16 bytes at `at` */
  add(id: Uint8Array, at = 0): void {
    for (let index = 7; index >= 0; index--) this.#bytes.add(id[at + index] as number);
    for (let index = 15; index >= 8; index--) this.#bytes.add(id[at + index] as number);
  }
  get sizeMax(): number {
    return this.#bytes.sizeMax;
  }
  write(out: Buffer, at: number): number {
    return this.#bytes.write(out, at);
  }
  clear(): void {
    this.#bytes.clear();
  }
}

const DICTIONARY_VERSION = 1n;
/** The dictionary comes with the block instead of being shared with other blocks. */
const HAS_ADDITIONAL_KEYS = 1n << 9n;

/** Text with few distinct values: a dictionary and an index a row.
 *  `intern` a value once, then `addIndex` for each row that has it. */
export class LowCardinalityColumn implements Column {
  readonly name: string;
  readonly type = 'LowCardinality(String)';
  readonly #indexes = new NumberColumn('', '', Uint32Array);
  readonly #keys = new StringColumn('');
  readonly #known = new Map<string, number>();
  readonly #texts: string[] = [''];
  #rows = new Uint32Array(0);

  constructor(name: string) {
    this.name = name;
    this.clear();
  }
  get count(): number {
    return this.#indexes.count;
  }
  get allDefault(): boolean {
    return this.#keys.count === 1;
  }
  /** The index of a value in this block's dictionary; 0 is ''. Void after `clear`. */
  intern(text: string): number {
    let index = this.#known.get(text);
    if (index === undefined) {
      index = this.#keys.count;
      this.#keys.addText(text);
      this.#known.set(text, index);
      this.#texts.push(text);
    }
    return index;
  }
  /** The value of an index that `intern` gave. */
  textOf(index: number): string {
    return this.#texts[index] as string;
  }
  addIndex(index: number): void {
    this.#indexes.add(index);
  }
  addText(text: string): void {
    this.#indexes.add(this.intern(text));
  }
  get sizeMax(): number {
    return 32 + this.#keys.sizeMax + this.#indexes.sizeMax;
  }
  write(out: Buffer, start: number): number {
    const keyCount = this.#keys.count;
    const width = keyCount <= 0x100 ? 0 : keyCount <= 0x1_0000 ? 1 : 2;
    let at = out.writeBigUInt64LE(DICTIONARY_VERSION, start);
    at = out.writeBigUInt64LE(BigInt(width) | HAS_ADDITIONAL_KEYS, at);
    at = out.writeBigUInt64LE(BigInt(keyCount), at);
    at = this.#keys.write(out, at);
    const count = this.count;
    at = out.writeBigUInt64LE(BigInt(count), at);
    if (this.#rows.length < count) this.#rows = new Uint32Array(count);
    this.#indexes.write(Buffer.from(this.#rows.buffer), 0);
    const rows = this.#rows;
    if (width === 2) return this.#indexes.write(out, at);
    if (width === 1) {
      for (let row = 0; row < count; row++) {
        const index = rows[row] as number;
        out[at++] = index;
        out[at++] = index >>> 8;
      }
      return at;
    }
    for (let row = 0; row < count; row++) out[at++] = rows[row] as number;
    return at;
  }
  clear(): void {
    this.#indexes.clear();
    this.#keys.clear();
    this.#known.clear();
    this.#texts.length = 1;
    this.#keys.addEmpty();
    this.#known.set('', 0);
  }
}

/** 2106-01-01: of what does not expire.  @units s since 1970 */
export const EXPIRES_NEVER = Date.UTC(2106, 0) / 1_000;

/** When rows may go. Most never do, and then there is no column. */
export class ExpiresColumn implements Column {
  readonly name: string;
  readonly type = "DateTime('UTC')";
  count = 0;
  #values = new Uint32Array(0);
  #some = false;

  constructor(name: string) {
    this.name = name;
  }
  get allDefault(): boolean {
    return !this.#some;
  }
  /** @units expires in s since 1970  @param rows that share it */
  add(expires: number, rows = 1): void {
    const end = this.count + rows;
    if (rows > 0 && (this.#some || expires !== EXPIRES_NEVER)) {
      if (end > this.#values.length) {
        const larger = new Uint32Array(Math.max(ROWS_MIN, end * 2));
        if (this.#some) larger.set(this.#values);
        this.#values = larger;
      }
      if (!this.#some) this.#values.fill(EXPIRES_NEVER, 0, this.count);
      this.#values.fill(expires, this.count, end);
      this.#some = true;
    }
    this.count = end;
  }
  get sizeMax(): number {
    return this.count * 4;
  }
  write(out: Buffer, at: number): number {
    out.set(new Uint8Array(this.#values.buffer, 0, this.sizeMax), at);
    return at + this.sizeMax;
  }
  clear(): void {
    this.count = 0;
    this.#some = false;
  }
}
