/** Where a chunked body stands. */
export type ChunkProgress = 'more' | 'done' | 'malformed' | 'too_large';

const LINE_BYTES_MAX = 256;
const TRAILER_BYTES_MAX = 8_192;

/** Takes a chunked body apart. Trailers are read over, chunk extensions too.
 *  @source RFC 9112 §7.1 */
export class ChunkReader {
  readonly #bytesMax: number;
  #part: 'size' | 'data' | 'data_end' | 'trailer' = 'size';
  #left = 0;
  #trailerBytes = 0;
  #size = 0;
  /** The first byte that was not consumed, after `read`. */
  at = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** @param take is given each piece of the body, a view */
  read(bytes: Buffer, from: number, take: (piece: Buffer) => boolean): ChunkProgress {
    this.at = from;
    for (;;) {
      if (this.#part === 'data') {
        const size = Math.min(this.#left, bytes.length - this.at);
        if (size > 0 && !take(bytes.subarray(this.at, this.at + size))) return 'too_large';
        this.at += size;
        this.#left -= size;
        if (this.#left > 0) return 'more';
        this.#part = 'data_end';
      }
      const end = bytes.indexOf('\r\n', this.at, 'latin1');
      if (end < 0) return bytes.length - this.at > LINE_BYTES_MAX ? 'malformed' : 'more';
      const size = end - this.at;
      if (this.#part === 'data_end') {
        if (size !== 0) return 'malformed';
        this.#part = 'size';
      } else if (this.#part === 'trailer') {
        this.#trailerBytes += size;
        if (this.#trailerBytes > TRAILER_BYTES_MAX) return 'malformed';
        if (size === 0) {
          this.at = end + 2;
          return 'done';
        }
      } else {
        const [, hex] =
          /^([0-9a-fA-F]{1,12})[ \t]*(?:;[\t\x20-\x7e]*)?$/.exec(bytes.toString('latin1', this.at, end)) ?? [];
        if (hex === undefined || size > LINE_BYTES_MAX) return 'malformed';
        this.#left = Number.parseInt(hex, 16);
        this.#size += this.#left;
        if (this.#size > this.#bytesMax) return 'too_large';
        this.#part = this.#left === 0 ? 'trailer' : 'data';
      }
      this.at = end + 2;
    }
  }
}
