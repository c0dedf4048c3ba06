import { brotliDecompress, gunzip, gunzipSync, inflate, inflateSync, type ZlibOptions } from 'node:zlib';
import type { ZstdInflater } from './zstd.ts';

/** How a body is encoded; 'unknown' is answered 415. */
export type Encoding = 'identity' | 'gzip' | 'deflate' | 'br' | 'zstd' | 'unknown';

export function encodingOf(contentEncoding: string | undefined): Encoding {
  switch (contentEncoding?.trim().toLowerCase()) {
    case undefined:
    case '':
    case 'identity':
      return 'identity';
    case 'gzip':
    case 'x-gzip':
      return 'gzip';
    case 'deflate':
      return 'deflate';
    case 'br':
      return 'br';
    case 'zstd':
      return 'zstd';
    default:
      return 'unknown';
  }
}

/** The decoded body, or why there is none. */
export type Decoded = Uint8Array | 'too_large' | 'malformed' | 'busy';

/** Compressed bodies up to this size are decoded in place: 16 KiB expand to the limit at most, in a few ms. */
const IN_PLACE_BYTES_MAX = 16_384;

/** Decodes request bodies, with the limit on what comes out, so a bomb costs no more than an honest body. */
export class BodyDecoder {
  readonly #bytesMax: number;
  readonly #zstd: ZstdInflater;

  constructor(bytesMax: number, zstd: ZstdInflater) {
    this.#bytesMax = bytesMax;
    this.#zstd = zstd;
  }

  decode(encoding: Encoding, body: Uint8Array): Decoded | Promise<Decoded> {
    if (encoding === 'identity') return body;
    if (encoding === 'zstd') return this.#zstd.inflate(body, this.#bytesMax);
    const options: ZlibOptions = { maxOutputLength: this.#bytesMax };
    if (encoding !== 'br' && body.length <= IN_PLACE_BYTES_MAX && this.#bytesMax <= 4_194_304) {
      try {
        return encoding === 'gzip' ? gunzipSync(body, options) : inflateSync(body, options);
      } catch (error) {
        return refusal(error);
      }
    }
    return new Promise((resolve) => {
      const done = (error: Error | null, result: Buffer): void => resolve(error === null ? result : refusal(error));
      if (encoding === 'gzip') gunzip(body, options, done);
      else if (encoding === 'deflate') inflate(body, options, done);
      else brotliDecompress(body, { maxOutputLength: this.#bytesMax }, done);
    });
  }
}

const refusal = (error: unknown): Decoded =>
  (error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE' ? 'too_large' : 'malformed';
