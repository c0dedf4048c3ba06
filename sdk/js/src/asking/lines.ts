import { MillraceConnectionError } from '../error.ts';
import type { Json } from '../schema.ts';

const LINE_CHARACTERS_MAX = 64 * 1024 * 1024;

/** Rows of an answer in NDJSON, as they come: what is not taken is not read from the connection.
 *  @throws MillraceConnectionError CLOSED when it broke off: what ends well is whole */
export async function* rowsOf<Row = Json>(response: Response): AsyncGenerator<Row, void, undefined> {
  const reader = (response.body as ReadableStream<Uint8Array> | null)?.getReader();
  if (reader === undefined) return;
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause: unknown) => {
        if ((cause as Error).name === 'AbortError') throw cause;
        throw new MillraceConnectionError('CLOSED', response.url, 'The answer broke off.', { cause });
      });
      const lines = (rest + (done ? decoder.decode() : decoder.decode(value, { stream: true }))).split('\n');
      rest = done ? '' : (lines.pop() ?? '');
      if (rest.length > LINE_CHARACTERS_MAX)
        throw new MillraceConnectionError('UNINTELLIGIBLE', response.url, 'A row of the answer is too large.');
      for (const line of lines) if (line !== '') yield parsed<Row>(line, response.url);
      if (done) return;
    }
  } finally {
    // Also when the reader leaves the loop.
    await reader.cancel().catch(() => undefined);
  }
}

function parsed<Row>(line: string, url: string): Row {
  try {
    return JSON.parse(line) as Row;
  } catch (cause) {
    throw new MillraceConnectionError('UNINTELLIGIBLE', url, 'A row of the answer is no JSON.', { cause });
  }
}
