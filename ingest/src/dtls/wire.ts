/** Reads what a peer sent. Every read is checked: what is short throws, and whoever called drops the message.
 *  @throws MalformedError */
export class WireReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }
  get left(): number {
    return this.#bytes.length - this.#offset;
  }
  /** A view. */
  take(count: number): Buffer {
    const from = this.#offset;
    if (count > this.#bytes.length - from) throw new MalformedError();
    this.#offset = from + count;
    return this.#bytes.subarray(from, from + count);
  }
  u8(): number {
    return this.take(1).readUInt8(0);
  }
  u16(): number {
    return this.take(2).readUInt16BE(0);
  }
  u24(): number {
    return this.take(3).readUIntBE(0, 3);
  }
  /** Vectors with a length of one, two or three bytes before them. */
  vector8(): Buffer {
    return this.take(this.u8());
  }
  vector16(): Buffer {
    return this.take(this.u16());
  }
  vector24(): Buffer {
    return this.take(this.u24());
  }
  /** @throws MalformedError if anything follows */
  end(): void {
    if (this.left > 0) throw new MalformedError();
  }
}

/** Bytes that break the grammar: dropped where they are read, never a fault. */
export class MalformedError extends Error {
  constructor() {
    super('malformed');
    this.name = 'MalformedError';
  }
}

export const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
export const u24 = (value: number): Buffer => Buffer.from([value >> 16, (value >> 8) & 255, value & 255]);
export const vector8 = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([bytes.length]), bytes]);
export const vector16 = (bytes: Buffer): Buffer => Buffer.concat([u16(bytes.length), bytes]);
export const vector24 = (bytes: Buffer): Buffer => Buffer.concat([u24(bytes.length), bytes]);

/** A copy for what is kept for days: Node's small buffers are slices of 8 KiB, all of which one slice keeps. */
export function ownCopy(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}
