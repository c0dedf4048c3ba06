import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createBrotliCompress, createGzip, constants as zlib } from 'node:zlib';
import { compress } from '@mongodb-js/zstd';
import { rangesOf } from './negotiation.ts';
import { streamOf } from './streamed.ts';

type Parts = AsyncIterable<Uint8Array>;
type Part = IteratorResult<Uint8Array>;

/** Of equals the first. Each takes other threads' time, not this one's. */
export const CODINGS: Readonly<Record<string, (parts: Parts) => Parts>> = {
  zstd: zstdFrames,
  gzip: (parts) => through(parts, createGzip({ level: 1 })),
  br: (parts) => through(parts, createBrotliCompress({ params: { [zlib.BROTLI_PARAM_QUALITY]: 1 } })),
};
/** Below it nothing is gained. @units bytes */
const CODED_BYTES_MIN = 1_024;
/** So much goes into one frame. @units bytes */
const FRAME_BYTES = 512 * 1_024;
/** What is worth it. Events must leave at once; Parquet, images and archives are compressed as they are. */
const TYPES =
  /^(?:text\/(?!event-stream)|application\/(?:json|x-ndjson|[a-z0-9.-]+\+json|vnd\.apache\.arrow\.stream|openmetrics-text|xml)(?:;|$))/;

/** The answer in a coding that the request takes, where that is worth it. Who answers `Cache-Control: no-transform` keeps
 *  the bytes as they come, and when.
 *  @source RFC 9110 §12.5.3 */
export function coded(request: Request, response: Response): Response {
  const { body, status, statusText } = response;
  if (body === null || status === 206 || response.headers.has('content-encoding')) return response;
  const length = response.headers.get('content-length');
  if (length !== null && Number(length) < CODED_BYTES_MIN) return response;
  if (!TYPES.test(response.headers.get('content-type') ?? '')) return response;
  if (response.headers.get('cache-control')?.includes('no-transform')) return response;
  // Those of a response may be immutable.
  const headers = new Headers(response.headers);
  headers.append('vary', 'Accept-Encoding');
  const coding = request.method === 'HEAD' ? null : codingOf(request.headers.get('accept-encoding'));
  if (coding === null) return new Response(body, { status, statusText, headers });
  headers.set('content-encoding', coding);
  headers.delete('content-length');
  // Who leaves is heard by the answer itself: a coding that has not begun, or waits for it, hears nothing.
  const reader = body.getReader();
  const ended = async (): Promise<Part> => {
    await reader.cancel();
    return { done: true, value: undefined };
  };
  const plain = { [Symbol.asyncIterator]: () => ({ next: () => reader.read() as Promise<Part>, return: ended }) };
  const parts = CODINGS[coding]?.(plain) ?? plain;
  return new Response(streamOf(parts, ended), { status, statusText, headers });
}

/** @returns null: as it is */
export function codingOf(field: string | null): string | null {
  if (field === null) return null;
  const ranges = rangesOf(field);
  let best: string | null = null;
  let bestQuality = 0;
  for (const coding of Object.keys(CODINGS)) {
    const named = ranges.find(({ name }) => name === coding || name === `x-${coding}`);
    const quality = (named ?? ranges.find(({ name }) => name === '*'))?.quality ?? 0;
    if (quality > bestQuality) {
      best = coding;
      bestQuality = quality;
    }
  }
  return best;
}

async function* through(parts: Parts, transform: ReturnType<typeof createGzip>): AsyncGenerator<Uint8Array> {
  const source = Readable.from(parts);
  // What fails in the source destroys the transform, which says so to whoever reads it.
  pipeline(source, transform).catch(() => {});
  try {
    yield* transform as AsyncIterable<Uint8Array>;
  } finally {
    source.destroy();
  }
}

/** One frame after the other: any reader of Zstandard takes them as one.  @source RFC 8878 §3 */
async function* zstdFrames(parts: Parts): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = [];
  let size = 0;
  for await (const part of parts) {
    held.push(part);
    size += part.length;
    if (size < FRAME_BYTES) continue;
    yield await compress(Buffer.concat(held), 1);
    held = [];
    size = 0;
  }
  if (size > 0) yield await compress(Buffer.concat(held), 1);
}
