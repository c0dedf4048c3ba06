// hot
/** Longest "remaining length" field.  @source MQTT 3.1.1 §2.2.3 */
const LENGTH_BYTES_MAX = 4;
const EMPTY = Buffer.alloc(0);

/** Finds packets in what comes of a socket.
 *  @holds what was handed out is never overwritten; of a packet that is not all there no more than twice of what came is
 *         held, and what came is moved a bounded number of times, however small the pieces are */
export class PacketStream {
  /** Holds the packet that `next` found. */
  bytes: Buffer = EMPTY;
  /** Of the packet that `next` found: its first byte, its body's first byte, and where it ends. */
  start = 0;
  body = 0;
  end = 0;
  /** Largest packet. */
  bytesMax: number;
  /** What came ends here: behind it there may be room. */
  #size = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  push(chunk: Buffer): void {
    const { start } = this;
    const rest = this.#size - start;
    if (rest === 0) {
      this.bytes = chunk;
      this.#size = chunk.length;
      this.start = 0;
      return;
    }
    if (this.bytes.length - this.#size < chunk.length) {
      const grown = Buffer.allocUnsafe(2 * (rest + chunk.length));
      this.bytes.copy(grown, 0, start, this.#size);
      this.bytes = grown;
      this.#size = rest;
      this.start = 0;
    }
    chunk.copy(this.bytes, this.#size);
    this.#size += chunk.length;
  }

  /** Looks at the next packet. `partial`: it is not all there; `too_large` is told as soon as its length is known. */
  next(): 'packet' | 'partial' | 'malformed' | 'too_large' {
    const { bytes, start } = this;
    const size = this.#size;
    let length = 0;
    let scale = 1;
    for (let at = start + 1; at < size; at++) {
      const byte = bytes[at] as number;
      length += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        const end = at + 1 + length;
        if (end - start > this.bytesMax) return 'too_large';
        if (end > size) return 'partial';
        this.body = at + 1;
        this.end = end;
        return 'packet';
      }
      if (at - start === LENGTH_BYTES_MAX) return 'malformed';
      scale *= 128;
    }
    return 'partial';
  }

  /** Goes beyond the packet that `next` found. */
  pass(): void {
    this.start = this.end;
    if (this.end === this.#size) this.clear();
  }

  clear(): void {
    this.bytes = EMPTY;
    this.start = 0;
    this.#size = 0;
  }
}
