import { isUtf8 } from 'node:buffer';

// hot

/** The bytes are not one well-formed CBOR item within the bounds. */
export class CborFault extends Error {
  readonly tooDeep: boolean;
  constructor(message: string, tooDeep = false) {
    super(message);
    this.name = 'CborFault';
    this.tooDeep = tooDeep;
  }
}

/** A value under a tag that has no meaning here: no number, no text, so no field accepts it. */
export class Tagged {
  readonly tag: number;
  readonly value: unknown;
  constructor(tag: number, value: unknown) {
    this.tag = tag;
    this.value = value;
  }
}

const UNSIGNED = 0;
const NEGATIVE = 1;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const MAP = 5;

const INDEFINITE = -1;
const SELF_DESCRIBED = 55_799;
/** JavaScript encoders put it before a map whose keys are not all text. */
const MAP_WITH_ANY_KEYS = 259;
const BREAK: unique symbol = Symbol('break');

/** @source RFC 8949 §3.4.4 */
const BIGFLOAT = 5;

const DEPTH_MAX = 32;
/** Beyond this many digits a bignum or a decimal fraction is no measured value. */
const BIGNUM_SIZE_MAX = 128;

/** Decodes CBOR into what `JSON.parse` would give, byte strings as Uint8Array, integer keys by `labels`.
 *  No size that the bytes declare is believed before the bytes are there, so nothing is allocated in advance.
 *  @holds keys that are neither text nor known integers are left out, as is `__proto__`; undefined becomes null
 *  @source RFC 8949; numbers of tags 2, 3 and 4 become doubles (RFC 8428 §6) */
export class CborDecoder {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;
  #argument = 0;
  readonly #labels: ReadonlyMap<number, string> | null;

  /** @param labels names of integer keys; null: plain data, whose integer keys are written as text, and whose
   *         tags are passed over: a date is its text or its seconds, a UUID its bytes */
  constructor(labels: ReadonlyMap<number, string> | null = new Map()) {
    this.#labels = labels;
  }

  /** @throws CborFault */
  decode(bytes: Buffer): unknown {
    this.#bytes = bytes;
    this.#at = 0;
    this.#end = bytes.length;
    const value = this.#item(0);
    if (value === BREAK) throw new CborFault('a break outside of an indefinite item');
    if (this.#at !== this.#end) throw new CborFault(`${this.#end - this.#at} bytes follow the item`);
    return value;
  }

  #item(depth: number): unknown {
    if (depth > DEPTH_MAX) throw new CborFault(`nested deeper than ${DEPTH_MAX}`, true);
    if (this.#at >= this.#end) throw new CborFault('ends in the middle of an item');
    const head = this.#bytes[this.#at++] as number;
    const major = head >>> 5;
    if (major === 7) return this.#simple(head & 0x1f);
    this.#readArgument(head & 0x1f);
    const argument = this.#argument;
    switch (major) {
      case UNSIGNED:
        if (argument === INDEFINITE) throw new CborFault('an integer of indefinite size');
        return argument;
      case NEGATIVE:
        if (argument === INDEFINITE) throw new CborFault('an integer of indefinite size');
        return -1 - argument;
      case BYTES:
        return this.#chunks(BYTES, argument);
      case TEXT:
        return this.#text(argument);
      case ARRAY:
        return this.#array(argument, depth);
      case MAP:
        return this.#map(argument, depth);
      default:
        if (argument === INDEFINITE) throw new CborFault('a tag of indefinite size');
        return this.#tagged(argument, depth);
    }
  }

  /** The argument of an item's head; INDEFINITE for additional information 31. */
  #readArgument(info: number): void {
    if (info < 24) {
      this.#argument = info;
      return;
    }
    if (info === 31) {
      this.#argument = INDEFINITE;
      return;
    }
    if (info > 27) throw new CborFault(`reserved additional information ${info}`);
    const size = 1 << (info - 24);
    const at = this.#at;
    if (at + size > this.#end) throw new CborFault('ends in the middle of a head');
    const bytes = this.#bytes;
    this.#at = at + size;
    if (size === 1) this.#argument = bytes[at] as number;
    else if (size === 2) this.#argument = bytes.readUInt16BE(at);
    else if (size === 4) this.#argument = bytes.readUInt32BE(at);
    else this.#argument = bytes.readUInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);
  }

  #simple(info: number): unknown {
    const at = this.#at;
    const bytes = this.#bytes;
    switch (info) {
      case 20:
        return false;
      case 21:
        return true;
      case 22:
      case 23:
        return null;
      case 24:
        this.#need(1);
        this.#at += 1;
        if ((bytes[at] as number) < 32) throw new CborFault('a simple value in two bytes below 32');
        return new Tagged(-1, bytes[at]);
      case 25:
        this.#need(2);
        this.#at += 2;
        return halfFloat(bytes.readUInt16BE(at));
      case 26:
        this.#need(4);
        this.#at += 4;
        return bytes.readFloatBE(at);
      case 27:
        this.#need(8);
        this.#at += 8;
        return bytes.readDoubleBE(at);
      case 31:
        return BREAK;
      default:
        if (info < 20) return new Tagged(-1, info);
        throw new CborFault(`reserved simple value ${info}`);
    }
  }

  #need(size: number): void {
    if (this.#at + size > this.#end) throw new CborFault('ends in the middle of an item');
  }

  /** A string of bytes or text, as a view where it is in one piece. */
  #chunks(major: number, size: number): Buffer {
    if (size !== INDEFINITE) {
      this.#need(size);
      const view = this.#bytes.subarray(this.#at, this.#at + size);
      this.#at += size;
      return view;
    }
    const chunks: Buffer[] = [];
    for (;;) {
      this.#need(1);
      const head = this.#bytes[this.#at++] as number;
      if (head === 0xff) return Buffer.concat(chunks);
      if (head >>> 5 !== major) throw new CborFault('a chunk of another type in an indefinite string');
      this.#readArgument(head & 0x1f);
      if (this.#argument === INDEFINITE) throw new CborFault('an indefinite chunk in an indefinite string');
      chunks.push(this.#chunks(major, this.#argument));
    }
  }

  #text(size: number): string {
    const bytes = this.#chunks(TEXT, size);
    const text = bytes.toString('utf8');
    if (text.includes('\ufffd') && !isUtf8(bytes)) throw new CborFault('text that is not UTF-8');
    return text;
  }

  #array(count: number, depth: number): unknown[] {
    if (count !== INDEFINITE) this.#need(count);
    const items: unknown[] = [];
    for (let index = 0; index !== count; index++) {
      const item = this.#item(depth + 1);
      if (item === BREAK) {
        if (count === INDEFINITE) return items;
        throw new CborFault('a break in a definite array');
      }
      items.push(item);
    }
    return items;
  }

  #map(count: number, depth: number): Record<string, unknown> {
    if (count !== INDEFINITE) this.#need(count * 2);
    const record: Record<string, unknown> = {};
    for (let index = 0; index !== count; index++) {
      const key = this.#item(depth + 1);
      if (key === BREAK) {
        if (count === INDEFINITE) return record;
        throw new CborFault('a break in a definite map');
      }
      const value = this.#item(depth + 1);
      if (value === BREAK) throw new CborFault('a key without a value');
      const label = typeof key !== 'number' ? key : this.#labels === null ? String(key) : this.#labels.get(key);
      if (typeof label === 'string' && label !== '__proto__')
        record[label] = value instanceof Bignum ? Number(value.integer) : value;
    }
    return record;
  }

  #tagged(tag: number, depth: number): unknown {
    const value = this.#item(depth + 1);
    if (value === BREAK) throw new CborFault('a tag without a value');
    if (tag === SELF_DESCRIBED || tag === MAP_WITH_ANY_KEYS) return value;
    if ((tag === 2 || tag === 3) && value instanceof Uint8Array && value.length <= BIGNUM_SIZE_MAX) {
      const integer = BigInt(`0x0${Buffer.from(value).toString('hex')}`);
      return new Bignum(tag === 2 ? integer : -1n - integer);
    }
    if (tag === 4 && Array.isArray(value) && value.length === 2) {
      const [exponent, mantissa] = value as [unknown, unknown];
      const digits = mantissa instanceof Bignum ? mantissa.integer : mantissa;
      if (Number.isSafeInteger(exponent) && (typeof digits === 'bigint' || Number.isInteger(digits)))
        return Number(`${digits === 0 ? 0 : BigInt(digits as number | bigint)}e${exponent}`);
    }
    if (this.#labels !== null) return new Tagged(tag, value);
    if (tag === BIGFLOAT && Array.isArray(value) && value.length === 2) {
      const [exponent, mantissa] = value as [unknown, unknown];
      const digits = mantissa instanceof Bignum ? Number(mantissa.integer) : mantissa;
      if (Number.isSafeInteger(exponent) && typeof digits === 'number') return digits * 2 ** (exponent as number);
    }
    return value;
  }
}

/** Kept exact until it is known what for: a decimal fraction's mantissa, or a number of its own. */
export class Bignum {
  readonly integer: bigint;
  constructor(integer: bigint) {
    this.integer = integer;
  }
}

function halfFloat(half: number): number {
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  const size =
    exponent === 0
      ? fraction * 2 ** -24
      : exponent === 31
        ? fraction === 0
          ? Number.POSITIVE_INFINITY
          : Number.NaN
        : (1_024 + fraction) * 2 ** (exponent - 25);
  return half & 0x8000 ? -size : size;
}
