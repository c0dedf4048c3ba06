import { open, stat } from 'node:fs/promises';
import { Refusal } from '../http/refusal.ts';
import { streamOf } from '../http/streamed.ts';

export interface Stored {
  readonly path: string;
  readonly name: string;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
  readonly contentType: string;
}

const CHUNK_SIZE = 256 * 1024;

/** A file, or the one range of it that is asked for.
 *  @holds what the client does not take is not read  @throws Refusal 404 it is gone, 416 there is no such range
 *  @source RFC 9110 §14, RFC 9530 */
export async function fileAnswer(request: Request, stored: Stored): Promise<Response> {
  const { path, name, bytes, sha256, contentType } = stored;
  const etag = `"${sha256}"`;
  const headers = new Headers({
    'content-type': contentType,
    'content-disposition': `attachment; filename="${name}"`,
    'accept-ranges': 'bytes',
    etag,
    'repr-digest': `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`,
    // Its length and its parts are those of the file as it lies.
    'cache-control': 'private, no-transform',
    'x-content-type-options': 'nosniff',
  });
  if (request.headers.get('if-none-match') === etag) return new Response(null, { status: 304, headers });
  const range = rangeOf(request, bytes, etag);
  if (range === 'none')
    throw new Refusal(416, `There is no such range: the file has ${bytes} bytes.`, {
      'content-range': `bytes */${bytes}`,
    });
  await mustBeThere(path, bytes);
  const { from, to } = range ?? { from: 0, to: bytes };
  if (range !== null) headers.set('content-range', `bytes ${from}-${to - 1}/${bytes}`);
  headers.set('content-length', String(to - from));
  return new Response(streamOf(partsOf(path, from, to)), { status: range === null ? 200 : 206, headers });
}

/** @throws Refusal 404 */
async function mustBeThere(path: string, bytes: number): Promise<void> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return null;
  });
  if (found?.size !== bytes) throw new Refusal(404, 'The file is not there any more: ask for the export again.');
}

/** Opened only by who begins to read, and closed by whoever ends. */
async function* partsOf(path: string, from: number, to: number): AsyncGenerator<Uint8Array> {
  const file = await open(path, 'r');
  try {
    for (let at = from; at < to; ) {
      const { bytesRead, buffer } = await file.read(
        Buffer.allocUnsafe(Math.min(CHUNK_SIZE, to - at)),
        0,
        undefined,
        at,
      );
      if (bytesRead === 0) throw new Error('the file became shorter');
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/** @returns null: all of it; none: what can not be given.  @shape from inclusive, to exclusive */
function rangeOf(request: Request, bytes: number, etag: string): { from: number; to: number } | 'none' | null {
  const field = request.headers.get('range');
  const condition = request.headers.get('if-range');
  if (field === null || (condition !== null && condition !== etag)) return null;
  // Several ranges, units that we do not know, and any of an empty file count as not asked for.
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(field.replaceAll(' ', '')) ?? [];
  if ((first === '' && last === '') || bytes === 0) return null;
  if (first === '') return Number(last) === 0 ? 'none' : { from: Math.max(0, bytes - Number(last)), to: bytes };
  const from = Number(first);
  if (from >= bytes) return 'none';
  if (last === '') return { from, to: bytes };
  return Number(last) < from ? null : { from, to: Math.min(bytes, Number(last) + 1) };
}
