import type { Decoded, Encoded } from '@millrace/core';

/** Deeper than that, nobody could read it. */
const DEPTH_MAX = 32;
const NOTES_MAX = 20;
const NOTE_CHARS_MAX = 500;
/** The largest payload that LoRaWAN carries is 242 bytes; others carry more. */
const ENCODED_BYTES_MAX = 4_096;

type Failed = Extract<Decoded, { kind: 'failed' }>;
const failed = (detail: string, logs: readonly string[]): Failed => ({ kind: 'failed', detail, logs });

/** What a decoder gave back, checked.
 *  @param json undefined: nothing that JSON can say */
export function decodedOf(json: string | undefined, logs: readonly string[]): Decoded {
  const answer = answerOf(json);
  if (answer === null) return failed('it gives back no object; { data: … } is wanted', logs);
  const errors = notes(answer.errors);
  if (errors.length > 0) return failed(errors.join('; '), logs);
  const { data } = answer;
  if (data === undefined || data === null) return failed('it gives back no data', logs);
  if (!isShallow(data, 0)) return failed(`its data is nested deeper than ${DEPTH_MAX}`, logs);
  return { kind: 'decoded', data, warnings: notes(answer.warnings), logs };
}

/** What an encoder gave back, checked. */
export function encodedOf(json: string | undefined, logs: readonly string[]): Encoded {
  const answer = answerOf(json);
  if (answer === null) return failed('it gives back no object; { bytes: […] } is wanted', logs);
  const errors = notes(answer.errors);
  if (errors.length > 0) return failed(errors.join('; '), logs);
  const { bytes, fPort = null } = answer;
  if (!Array.isArray(bytes)) return failed('it gives back no list of bytes', logs);
  if (bytes.length > ENCODED_BYTES_MAX) return failed(`it gives back more than ${ENCODED_BYTES_MAX} bytes`, logs);
  if (!bytes.every((byte) => Number.isInteger(byte) && byte >= -128 && byte <= 255))
    return failed('its bytes are not all integers from 0 to 255', logs);
  if (fPort !== null && !(Number.isInteger(fPort) && (fPort as number) >= 1 && (fPort as number) <= 255))
    return failed('its fPort is no integer from 1 to 255', logs);
  return {
    kind: 'encoded',
    bytes: Uint8Array.from(bytes as number[]),
    fPort: fPort as number | null,
    warnings: notes(answer.warnings),
    logs,
  };
}

function answerOf(json: string | undefined): Record<string, unknown> | null {
  const answer: unknown = json === undefined ? null : JSON.parse(json);
  return typeof answer === 'object' && answer !== null && !Array.isArray(answer)
    ? (answer as Record<string, unknown>)
    : null;
}

/** Sentences of a script. */
function notes(given: unknown): string[] {
  if (given === undefined || given === null) return [];
  return (Array.isArray(given) ? given : [given])
    .slice(0, NOTES_MAX)
    .map((note) => (typeof note === 'string' ? note : JSON.stringify(note)).slice(0, NOTE_CHARS_MAX));
}

/** Whether it is not nested too deeply; takes out what would be taken for a prototype further on. */
function isShallow(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (depth === DEPTH_MAX) return false;
  if (Object.hasOwn(value, '__proto__')) Reflect.deleteProperty(value, '__proto__');
  return Object.values(value).every((each) => isShallow(each, depth + 1));
}
