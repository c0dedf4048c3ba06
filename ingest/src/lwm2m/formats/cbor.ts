import { isUtf8 } from 'node:buffer';
import { PayloadFault } from '../value.ts';

const DEPTH_MAX = 8;
const BREAK: unique symbol = Symbol('break');

/** What a map's keys are here: SenML's labels are integers. */
export type CborMap = Map<string | number, unknown>;

/** Reads one CBOR item: numbers, text, Buffers, booleans, null, arrays, and maps as Map.
 *  No size that the bytes declare is believed before the bytes are there.
 *  @throws PayloadFault  @source RFC 8949 */
export function readCbor(bytes: Buffer, itemsMax: number): unknown {
  const reader = new CborReader(bytes, itemsMax);
  const value = reader.item(0);
  if (value === BREAK || reader.at !== bytes.length) throw new PayloadFault('CBOR: more or less than one item');
  return value;
}

class CborReader {
  at = 0;
  #items = 0;
  readonly #bytes: Buffer;
  readonly #itemsMax: number;

  constructor(bytes: Buffer, itemsMax: number) {
    this.#bytes = bytes;
    this.#itemsMax = itemsMax;
  }

  item(depth: number): unknown {
    if (depth > DEPTH_MAX) throw new PayloadFault(`CBOR: deeper than ${DEPTH_MAX}`);
    if (++this.#items > this.#itemsMax) throw new PayloadFault(`CBOR: more than ${this.#itemsMax} items`);
    const head = this.#take(1)[0] as number;
    const major = head >> 5;
    const info = head & 31;
    if (major === 7) return this.#simple(info);
    if (info === 31) return this.#indefinite(major, depth);
    const argument = this.#argument(info);
    switch (major) {
      case 0:
        return argument;
      case 1:
        return -1 - argument;
      case 2:
        return this.#take(argument);
      case 3:
        return text(this.#take(argument));
      case 4: {
        const array: unknown[] = [];
        for (let index = 0; index < argument; index++) array.push(this.#inner(depth));
        return array;
      }
      case 5: {
        const map: CborMap = new Map();
        for (let index = 0; index < argument; index++) map.set(this.#key(depth), this.#inner(depth));
        return map;
      }
      default:
        return this.#tagged(argument, depth);
    }
  }

  #inner(depth: number): unknown {
    const value = this.item(depth + 1);
    if (value === BREAK) throw new PayloadFault('CBOR: a break in the wrong place');
    return value;
  }

  #key(depth: number): string | number {
    const key = this.#inner(depth);
    if (typeof key !== 'string' && typeof key !== 'number') throw new PayloadFault('CBOR: a key of another type');
    return key;
  }

  #indefinite(major: number, depth: number): unknown {
    const array: unknown[] = [];
    const map: CborMap = new Map();
    for (;;) {
      const value = this.item(depth + 1);
      if (value === BREAK) break;
      if (major === 5) {
        if (typeof value !== 'string' && typeof value !== 'number')
          throw new PayloadFault('CBOR: a key of another type');
        map.set(value, this.#inner(depth));
      } else array.push(value);
    }
    if (major === 4) return array;
    if (major === 5) return map;
    if (major === 2 && array.every(Buffer.isBuffer)) return Buffer.concat(array as Buffer[]);
    if (major === 3 && array.every((part) => typeof part === 'string')) return array.join('');
    throw new PayloadFault('CBOR: chunks of another type');
  }

  /** Numbers as bignums and decimal fractions; of other tags only what they enclose counts. */
  #tagged(tag: number, depth: number): unknown {
    const value = this.#inner(depth);
    if (tag === 2 || tag === 3) {
      if (!Buffer.isBuffer(value) || value.length > 64) throw new PayloadFault('CBOR: no bignum');
      const size = value.length === 0 ? 0 : Number(BigInt(`0x${value.toString('hex')}`));
      return tag === 2 ? size : -1 - size;
    }
    if (tag === 4 || tag === 5) {
      const [exponent, mantissa] = Array.isArray(value) ? value : [];
      if (typeof exponent !== 'number' || typeof mantissa !== 'number') throw new PayloadFault('CBOR: no fraction');
      return tag === 4 ? Number(`${mantissa}e${exponent}`) : mantissa * 2 ** exponent;
    }
    return value;
  }

  #simple(info: number): unknown {
    switch (info) {
      case 20:
        return false;
      case 21:
        return true;
      case 22:
      case 23:
        return null;
      case 25:
        return half(this.#take(2).readUInt16BE(0));
      case 26:
        return this.#take(4).readFloatBE(0);
      case 27:
        return this.#take(8).readDoubleBE(0);
      case 31:
        return BREAK;
      default:
        throw new PayloadFault('CBOR: a simple value that means nothing');
    }
  }

  #argument(info: number): number {
    if (info < 24) return info;
    if (info > 27) throw new PayloadFault('CBOR: a reserved size');
    const bytes = this.#take(1 << (info - 24));
    return bytes.length === 8 ? Number(bytes.readBigUInt64BE(0)) : bytes.readUIntBE(0, bytes.length);
  }

  #take(size: number): Buffer {
    const end = this.at + size;
    if (end > this.#bytes.length) throw new PayloadFault('CBOR: ends within an item');
    const taken = this.#bytes.subarray(this.at, end);
    this.at = end;
    return taken;
  }
}

function text(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw new PayloadFault('CBOR: text that is not UTF-8');
  return bytes.toString('utf8');
}

/** @source RFC 8949 appendix D */
function half(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1_023;
  const size =
    exponent === 0
      ? mantissa * 2 ** -24
      : exponent < 31
        ? (mantissa + 1_024) * 2 ** (exponent - 25)
        : mantissa === 0
          ? Number.POSITIVE_INFINITY
          : Number.NaN;
  return bits & 0x8000 ? -size : size;
}

/** Writes what `readCbor` reads. */
export function writeCbor(value: unknown): Buffer {
  if (value instanceof Map) {
    const parts = [head(5, value.size)];
    for (const [key, inner] of value) parts.push(writeCbor(key), writeCbor(inner));
    return Buffer.concat(parts);
  }
  if (Array.isArray(value)) return Buffer.concat([head(4, value.length), ...value.map(writeCbor)]);
  if (Buffer.isBuffer(value)) return Buffer.concat([head(2, value.length), value]);
  if (typeof value === 'string') {
    const bytes = Buffer.from(value, 'utf8');
    return Buffer.concat([head(3, bytes.length), bytes]);
  }
  if (typeof value === 'boolean') return Buffer.of(value ? 0xf5 : 0xf4);
  if (typeof value !== 'number') return Buffer.of(0xf6);
  if (Number.isSafeInteger(value)) return value < 0 ? head(1, -1 - value) : head(0, value);
  const bytes = Buffer.alloc(9);
  bytes[0] = 0xfb;
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

function head(major: number, argument: number): Buffer {
  if (argument < 24) return Buffer.of((major << 5) | argument);
  const power = argument < 0x100 ? 0 : argument < 0x1_0000 ? 1 : argument < 0x1_0000_0000 ? 2 : 3;
  const bytes = Buffer.alloc(1 + (1 << power));
  bytes[0] = (major << 5) | (24 + power);
  if (power === 3) bytes.writeBigUInt64BE(BigInt(argument), 1);
  else bytes.writeUIntBE(argument, 1, 1 << power);
  return bytes;
}
