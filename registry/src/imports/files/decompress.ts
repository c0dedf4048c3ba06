import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { createGunzip } from 'node:zlib';
import { Decompress } from 'fzstd';
import { FileFault } from '../entries.ts';
import { ZstdFrames } from './zstd-frames.ts';

/** A file that unfolds to more than this many times its size is taken for a bomb, once it is as large as honest ones of
 *  a few MiB become. */
const RATIO_MAX = 1_000;
const HONEST_BYTES = 64 * 1_048_576;
/** What the zstd decoder is fed at once: blocks of four bytes unfold to 128 KiB each. */
const ZSTD_BYTES = 1_024;
/** After so long others have their turn of the loop. */
const TURN_MS = 20;

/** The bytes of a file that may be packed with gzip or zstd, as its first bytes say; of bounded size.
 *  @throws FileFault when it is broken or unfolds to too much */
export async function* decompressed(bytes: AsyncIterable<Uint8Array>, bytesMax: number): AsyncGenerator<Uint8Array> {
  const iterator = bytes[Symbol.asyncIterator]();
  let head: Uint8Array = new Uint8Array();
  while (head.length < 4) {
    const next = await iterator.next();
    if (next.done === true) break;
    head = head.length === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  let packed = 0;
  let unpacked = 0;
  const all = (async function* counted() {
    packed = head.length;
    if (head.length > 0) yield head;
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
      packed += next.value.length;
      yield next.value;
    }
  })();
  const told = (part: Uint8Array): Uint8Array => {
    unpacked += part.length;
    if (unpacked > bytesMax) throw new FileFault(`it unfolds to more than ${bytesMax} bytes`);
    if (unpacked > HONEST_BYTES && unpacked > packed * RATIO_MAX)
      throw new FileFault(`it unfolds to more than ${RATIO_MAX} times its size`);
    return part;
  };
  if (head[0] === 0x1f && head[1] === 0x8b) yield* gunzipped(all, told);
  else if (head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd) yield* unzstd(all, told);
  else yield* all;
}

async function* gunzipped(
  bytes: AsyncIterable<Uint8Array>,
  told: (part: Uint8Array) => Uint8Array,
): AsyncGenerator<Uint8Array> {
  const source = Readable.from(bytes, { objectMode: false });
  const gunzip = createGunzip({ chunkSize: 65_536 });
  source.on('error', (error) => gunzip.destroy(error));
  source.pipe(gunzip);
  try {
    for await (const part of gunzip) yield told(part as Uint8Array);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code.startsWith('Z_') || code === 'ERR_BUFFER_TOO_LARGE') throw new FileFault(`the gzip is broken (${code})`);
    throw error;
  } finally {
    source.destroy();
    gunzip.destroy();
  }
}

async function* unzstd(
  bytes: AsyncIterable<Uint8Array>,
  told: (part: Uint8Array) => Uint8Array,
): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let unpacked = 0;
  const frames = new ZstdFrames();
  const decoder = new Decompress((part) => {
    unpacked += part.length;
    parts.push(told(part).slice());
  });
  const decode = (part: Uint8Array, last: boolean): Uint8Array[] => {
    try {
      frames.look(part, unpacked);
      decoder.push(part, last);
    } catch (error) {
      throw error instanceof FileFault ? error : new FileFault('the zstd is broken');
    }
    const ready = parts;
    parts = [];
    return ready;
  };
  let turnMs = performance.now();
  for await (const chunk of bytes)
    for (let from = 0; from < chunk.length; from += ZSTD_BYTES) {
      yield* decode(chunk.slice(from, from + ZSTD_BYTES), false);
      if (performance.now() - turnMs < TURN_MS) continue;
      await setImmediate();
      turnMs = performance.now();
    }
  yield* decode(new Uint8Array(), true);
}
