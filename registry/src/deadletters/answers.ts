import type { DeadLetter } from '@millrace/core';
import { explain } from '../fate/reasons.ts';
import { receivedText } from '../http/messages.ts';
import { keyOf } from './letters.ts';
import { type Closed, letterId } from './states.ts';

export type Encoding = 'utf8' | 'base64' | 'hex';

/** A letter as it is answered. */
export function letterAnswer(letter: DeadLetter, closed: Closed | null, asked?: Encoding) {
  const bytes = Buffer.from(letter.payload.buffer, letter.payload.byteOffset, letter.payload.length);
  const truncated = bytes.length < letter.size;
  const text = asked === undefined || asked === 'utf8' ? textOf(bytes, truncated) : null;
  const encoding: Encoding = text !== null ? 'utf8' : asked === 'hex' ? 'hex' : 'base64';
  return {
    id: letterId(keyOf(letter)),
    message: letter.message,
    org: letter.org,
    channel: letter.channel,
    subtopic: letter.subtopic,
    publisher: letter.publisher,
    protocol: letter.protocol,
    content_type: letter.contentType,
    received: receivedText(letter.receivedUs),
    index: letter.index,
    reason: letter.reason,
    detail: letter.detail === '' ? explain(letter.reason) : letter.detail,
    payload: text ?? bytes.toString(encoding),
    encoding,
    size: letter.size,
    truncated,
    state: closed?.state ?? 'open',
    state_at: closed?.at.toISOString() ?? null,
    state_by: closed?.by ?? null,
    replays: closed?.replays ?? [],
    log: { partition: letter.partition, offset: letter.offset },
  };
}

/** @param cut in the midst of a character, perhaps  @returns null if it is no UTF-8 */
function textOf(bytes: Buffer, cut: boolean): string | null {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  for (let less = 0; less <= (cut ? 3 : 0); less++) {
    try {
      return decoder.decode(bytes.subarray(0, Math.max(0, bytes.length - less)));
    } catch {
      // Perhaps the last character is not whole.
    }
  }
  return null;
}

const NEAR_CHARACTERS = 30;
/** It is read some twenty times. */
const SEARCHED_CHARACTERS_MAX = 256 * 1024;

/** A payload as JSON, or why it is none and where.  @returns nothing where it is not meant to be JSON */
export function inspected(letter: DeadLetter): { json?: unknown; json_error?: object } {
  const bytes = Buffer.from(letter.payload.buffer, letter.payload.byteOffset, letter.payload.length);
  const text = textOf(bytes, false);
  const isMeant = /json/i.test(letter.contentType) || letter.index !== null || letter.reason === 'malformed_json';
  if (text === null) return isMeant ? { json_error: { message: 'The payload is no UTF-8.' } } : {};
  try {
    return { json: JSON.parse(text) as unknown };
  } catch (error) {
    return isMeant ? { json_error: placeOf(text, error instanceof Error ? error.message : '') } : {};
  }
}

/** Where a text ends to be JSON.  @shape position: in characters, from 0; line and column from 1 */
export function placeOf(text: string, message: string): Record<string, unknown> {
  // What is quoted of the payload stands in `near`.
  const said = message.replace(/ in JSON at position.*$| at position.*$|, (?:"|\.\.\.).*$/s, '');
  if (text.length > SEARCHED_CHARACTERS_MAX) return { message: said };
  // A beginning that holds the fault is broken, a shorter one is only not whole.
  let [whole, broken] = [0, text.length + 1];
  while (broken - whole > 1) {
    const middle = (whole + broken) >>> 1;
    if (isBroken(text.slice(0, middle))) broken = middle;
    else whole = middle;
  }
  const position = broken - 1;
  const before = text.slice(0, position);
  return {
    message: said,
    position,
    line: before.split('\n').length,
    column: position - (before.lastIndexOf('\n') + 1) + 1,
    near: text.slice(Math.max(0, position - NEAR_CHARACTERS), position + NEAR_CHARACTERS),
  };
}

/** The engine does not tell the place of all faults, but whether it came to the end. */
function isBroken(text: string): boolean {
  try {
    JSON.parse(text);
    return false;
  } catch (error) {
    const message = error instanceof Error ? error.message : '';
    if (/end of JSON|Unterminated/i.test(message)) return false;
    const [, told] = /at position (\d+)/.exec(message) ?? [];
    return told === undefined || Number(told) < text.length;
  }
}
