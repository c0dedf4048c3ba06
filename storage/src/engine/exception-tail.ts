import { extractErrorAtTheEndOfChunk } from '@clickhouse/client';

const MARKER = '\r\n__exception__\r\n';
/** What a server writes of its error at most. @units bytes */
const TAIL_BYTES_MAX = 65_536;

/** Passes on an answer up to where the server says, after bytes that were sent as good, that it failed.
 *  @param tag of the answer's own header `X-ClickHouse-Exception-Tag`: rows cannot know it
 *  @holds as many bytes back as may be the beginning of the server's words
 *  @throws what the server says there */
export async function* withoutException(answer: AsyncIterable<Uint8Array>, tag: string): AsyncGenerator<Uint8Array> {
  const mark = Buffer.from(`${MARKER}${tag}\r\n`, 'latin1');
  let held: Buffer = Buffer.alloc(0);
  let tail = -1;
  for await (const part of answer) {
    held = held.length === 0 ? Buffer.from(part.buffer, part.byteOffset, part.length) : Buffer.concat([held, part]);
    if (tail < 0) tail = held.indexOf(mark);
    if (tail >= 0) {
      if (held.length - tail > TAIL_BYTES_MAX) break;
      continue;
    }
    const sure = held.length - (mark.length - 1);
    if (sure > 0) {
      yield held.subarray(0, sure);
      held = held.subarray(sure);
    }
  }
  if (tail < 0) {
    if (held.length > 0) yield held;
    return;
  }
  if (tail > 0) yield held.subarray(0, tail);
  throw extractErrorAtTheEndOfChunk(held, tag);
}
