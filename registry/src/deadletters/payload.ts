import { createHash } from 'node:crypto';
import { DEAD_BASES_LOST, type DeadLetter } from '@millrace/core';
import { Refusal } from '../http/refusal.ts';

/** What is put on the log for a dead letter. */
export interface Replayed {
  readonly payload: Uint8Array;
  readonly contentType: string;
}
/** What whoever replays wants instead. */
export interface Edit {
  readonly payload?: unknown;
  readonly encoding?: 'utf8' | 'base64' | undefined;
  readonly content_type?: string | undefined;
}

const SENML = 'application/senml+json';
const PAYLOAD_BYTES_MAX = 16 * 1024 * 1024;

/** What a letter is replayed as, edited or as it is. A record is replayed alone, in a pack of its own.
 *  @throws Refusal 409 where it can not be replayed as it is, 422 */
export function replayOf(letter: DeadLetter, edit: Edit = {}): Replayed {
  if (edit.payload !== undefined) return edited(letter, edit);
  if (edit.encoding !== undefined) throw new Refusal(422, 'The body is wrong: encoding is of a payload.');
  if (FOREIGN.has(letter.reason))
    throw new Refusal(
      409,
      'What a network server sent is no message that could be replayed: put the cause right and have it sent again, or give the payload that shall be published.',
    );
  const own = letter.index === null ? whole(letter) : record(letter);
  return edit.content_type === undefined ? own : { ...own, contentType: edit.content_type };
}

/** Told by the ingress: the payload is an event of a network server. */
const FOREIGN: ReadonlySet<string> = new Set(['unknown_device', 'unknown_application', 'codec_failed', 'bad_event']);

const whole = ({ payload, contentType }: DeadLetter): Replayed => ({ payload, contentType });

function record(letter: DeadLetter): Replayed {
  const value = parsed(letter);
  if (letter.detail.endsWith(DEAD_BASES_LOST))
    throw new Refusal(
      409,
      'The record was kept without the base fields of its pack: give the payload that shall be published.',
    );
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Refusal(409, 'This part of a message says nothing alone: give the payload that shall be published.');
  return isSenml(letter, value) ? { payload: Buffer.from(JSON.stringify([value])), contentType: SENML } : whole(letter);
}

function isSenml({ contentType }: DeadLetter, value: object): boolean {
  if (/^application\/(senml|sensml)[+]/i.test(contentType)) return true;
  const { n, bn } = value as { n?: unknown; bn?: unknown };
  return typeof n === 'string' || typeof bn === 'string';
}

function parsed({ payload }: Pick<DeadLetter, 'payload'>): unknown {
  try {
    return JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch {
    return undefined;
  }
}

function edited(letter: DeadLetter, { payload, encoding = 'utf8', content_type: type }: Edit): Replayed {
  const contentType = type ?? (letter.index === null ? letter.contentType : SENML);
  // One record, mended, is a pack of its own, also where it comes as text.
  const packed = (value: unknown): boolean =>
    letter.index !== null && contentType === SENML && typeof value === 'object' && !Array.isArray(value);
  if (typeof payload === 'string') {
    const bytes = Buffer.from(payload, encoding);
    if (encoding === 'base64' && bytes.toString('base64').replace(/=+$/, '') !== payload.replace(/=+$/, ''))
      throw new Refusal(422, 'The body is wrong: payload: is no base64.');
    return bounded({ payload: packed(parsed({ payload: bytes })) ? Buffer.from(`[${bytes}]`) : bytes, contentType });
  }
  if (encoding !== 'utf8') throw new Refusal(422, 'The body is wrong: payload: base64 is a text.');
  return bounded({ payload: Buffer.from(JSON.stringify(packed(payload) ? [payload] : payload)), contentType });
}

function bounded(replayed: Replayed): Replayed {
  if (replayed.payload.length === 0) throw new Refusal(422, 'The body is wrong: payload: is empty.');
  if (replayed.payload.length > PAYLOAD_BYTES_MAX) throw new Refusal(413, 'The payload is too large.');
  return replayed;
}

/** Tells replays of one letter apart. */
export const digestOf = ({ payload, contentType }: Replayed): string =>
  createHash('sha256').update(contentType).update('\0').update(payload).digest('hex');
