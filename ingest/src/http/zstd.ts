import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import * as zlib from 'node:zlib';
import type { Decoded } from './encoding.ts';

/** Windows beyond this need not be supported.  @source RFC 8878 §3.1.1.1.2 */
const WINDOW_BYTES_MAX = 8_388_608;
/** Bodies that may wait for the thread at once; further ones are refused as busy (503). */
const WAITING_MAX = 256;
/** A body of any honest kind takes some ms; a crafted one could keep the decoder for minutes. */
const INFLATE_MS_MAX = 1_000;

/** What the thread runs. Text, since a thread's entry can't be TypeScript where the rest runs from source. */
const THREAD = `
const { parentPort, workerData } = require('node:worker_threads');
const { Decompress } = require(workerData);
const TOO_LARGE = {};
parentPort.on('message', ({ body, bytesMax }) => {
  const parts = [];
  let size = 0;
  try {
    const stream = new Decompress((part) => {
      size += part.length;
      if (size > bytesMax) throw TOO_LARGE;
      parts.push(part.slice());
    });
    stream.push(body, true);
    parentPort.postMessage(new Uint8Array(Buffer.concat(parts, size)));
  } catch (error) {
    parentPort.postMessage(error === TOO_LARGE ? 'too_large' : 'malformed');
  }
});
`;

type NativeZstd = (
  body: Uint8Array,
  options: { maxOutputLength: number },
  callback: (error: Error | null, result: Buffer) => void,
) => void;

interface Waiting {
  readonly body: Uint8Array;
  readonly bytesMax: number;
  readonly resolve: (decoded: Decoded) => void;
}

/** Decodes Zstandard: by Node itself where it can (22.15 and later), else in JavaScript on a thread of its own, which is
 *  ended when a body takes too long, so that a crafted one never stalls the event loop. */
export class ZstdInflater {
  #worker: Worker | null = null;
  readonly #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  readonly #native = (zlib as { zstdDecompress?: NativeZstd }).zstdDecompress;

  inflate(body: Uint8Array, bytesMax: number): Promise<Decoded> | Decoded {
    if (!framesAreModest(body, bytesMax)) return 'malformed';
    const native = this.#native;
    if (native !== undefined) {
      return new Promise((resolve) => {
        native(body, { maxOutputLength: bytesMax }, (error, result) => {
          if (error === null) resolve(result);
          else resolve((error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE' ? 'too_large' : 'malformed');
        });
      });
    }
    if (this.#waiting.length >= WAITING_MAX) return 'busy';
    return new Promise((resolve) => {
      // A copy: a view of a larger buffer would be cloned with all of it.
      this.#waiting.push({ body: new Uint8Array(body), bytesMax, resolve });
      if (this.#waiting.length === 1) this.#next();
    });
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    const worker = this.#worker;
    this.#worker = null;
    for (const waiting of this.#waiting.splice(0)) waiting.resolve('busy');
    await worker?.terminate();
  }

  #next(): void {
    const [first] = this.#waiting;
    if (first === undefined) {
      this.#worker?.unref();
      return;
    }
    this.#worker ??= this.#open();
    this.#worker.ref();
    this.#timer = setTimeout(() => this.#replace(), INFLATE_MS_MAX);
    this.#worker.postMessage({ body: first.body, bytesMax: first.bytesMax });
  }

  #open(): Worker {
    const workerData = createRequire(import.meta.url).resolve('fzstd');
    const worker = new Worker(THREAD, { eval: true, workerData });
    worker.on('message', (decoded: Decoded) => {
      if (worker === this.#worker) this.#answer(decoded);
    });
    worker.on('error', () => {
      if (worker === this.#worker) this.#replace();
    });
    return worker;
  }

  /** Gives up on the body under way, together with the thread that is at it. */
  #replace(): void {
    const worker = this.#worker;
    this.#worker = null;
    worker?.terminate().catch(() => {});
    this.#answer('malformed');
  }

  #answer(decoded: Decoded): void {
    clearTimeout(this.#timer);
    this.#waiting.shift()?.resolve(decoded);
    this.#next();
  }
}

/** Walks frames and blocks without decoding: true if all are whole and no window is larger than a decoder must take.
 *  @source RFC 8878 §3.1.1 */
export function framesAreModest(body: Uint8Array, bytesMax: number): boolean {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  let at = 0;
  while (at < body.length) {
    if (at + 6 > body.length) return false;
    const magic = view.getUint32(at, true);
    if (magic >>> 4 === 0x184d2a5) {
      if (at + 8 > body.length) return false;
      at += 8 + view.getUint32(at + 4, true);
      continue;
    }
    if (magic !== 0xfd2fb528) return false;
    const flags = body[at + 4] as number;
    const single = (flags & 0x20) !== 0;
    const sizeBytes = flags >> 6 === 0 ? (single ? 1 : 0) : 1 << (flags >> 6);
    const dictionaryBytes = [0, 1, 2, 4][flags & 3] as number;
    at += 5;
    if (!single) {
      const descriptor = body[at++] as number;
      const base = 2 ** (10 + (descriptor >> 3));
      if (base + (base / 8) * (descriptor & 7) > WINDOW_BYTES_MAX) return false;
    }
    at += dictionaryBytes;
    if (at + sizeBytes > body.length) return false;
    if (single && contentSize(view, at, sizeBytes) > Math.max(bytesMax, WINDOW_BYTES_MAX)) return false;
    at += sizeBytes;
    for (let last = false; !last; ) {
      if (at + 3 > body.length) return false;
      const header = (body[at] as number) | ((body[at + 1] as number) << 8) | ((body[at + 2] as number) << 16);
      last = (header & 1) === 1;
      at += 3 + (((header >> 1) & 3) === 1 ? 1 : header >>> 3);
    }
    if ((flags & 4) !== 0) at += 4;
  }
  return at === body.length && body.length > 0;
}

function contentSize(view: DataView, at: number, sizeBytes: number): number {
  if (sizeBytes === 1) return view.getUint8(at);
  if (sizeBytes === 2) return view.getUint16(at, true) + 256;
  if (sizeBytes === 4) return view.getUint32(at, true);
  return Number(view.getBigUint64(at, true));
}
