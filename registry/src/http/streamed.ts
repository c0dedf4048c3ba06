import type { AnswerBytes } from '@millrace/core';

export interface StreamedAnswerOptions {
  readonly contentType: string;
  /** Offered as a download under this name. */
  readonly fileName?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer on its way. What fails before the first byte is thrown and becomes a problem; what fails after it cuts the
 *  connection, so that nobody takes the part for the whole.
 *  @holds what the client does not take is not read; the client's leaving returns the iterator
 *  @throws what `bytes` throws before its first part */
export async function streamedAnswer(bytes: AnswerBytes, options: StreamedAnswerOptions): Promise<Response> {
  const iterator = bytes[Symbol.asyncIterator]();
  const first = await iterator.next();
  const headers = new Headers({ 'content-type': options.contentType, ...options.headers });
  if (options.fileName !== undefined) headers.set('content-disposition', attachment(options.fileName));
  headers.append('vary', 'Accept');
  if (first.done) return new Response('', { headers });
  return new Response(streamOf({ [Symbol.asyncIterator]: () => beginningWith(first, iterator) }), { headers });
}

/** A body that is read as it is taken, and not ahead.
 *  @param left told first that it is cancelled
 *  @holds cancelling it returns the iterator */
export function streamOf(parts: AsyncIterable<Uint8Array>, left?: () => Promise<unknown>): ReadableStream<Uint8Array> {
  const iterator = parts[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const part = await iterator.next();
        if (part.done) controller.close();
        else controller.enqueue(part.value);
      },
      async cancel() {
        await left?.();
        await iterator.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}

function beginningWith(first: IteratorResult<Uint8Array>, rest: AsyncIterator<Uint8Array>): AsyncIterator<Uint8Array> {
  let begun = false;
  return {
    next() {
      if (begun) return rest.next();
      begun = true;
      return Promise.resolve(first);
    },
    return: async () => (await rest.return?.()) ?? { done: true, value: undefined },
  };
}

/** @source RFC 6266, RFC 8187: plain ASCII for all, and the very name for who knows it */
function attachment(fileName: string): string {
  const plain = fileName.replace(/[^\x20-\x7e]|["\\/%]/g, '_');
  const exact = encodeURIComponent(fileName).replace(
    /['()*!]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return plain === fileName
    ? `attachment; filename="${plain}"`
    : `attachment; filename="${plain}"; filename*=UTF-8''${exact}`;
}
