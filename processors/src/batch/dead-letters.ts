import { DEAD_LETTER_HEADER, DEAD_REASONS, type DeadReason, type EnvelopeReader } from '@millrace/core';
import { Bignum } from '../cbor/decode.ts';
import type { Refusal } from '../senml/resolve.ts';

/** Why the ingress could make no message of it; null: it is one. The ingress is believed as to that, not as to the name
 *  of the reason: it is a label and a column. */
export function toldDead(envelope: EnvelopeReader): Refusal | null {
  for (const [name, value] of envelope.headers) {
    if (name !== DEAD_LETTER_HEADER) continue;
    const space = value.indexOf(' ');
    const reason = space === -1 ? value : value.slice(0, space);
    const detail = (space === -1 ? '' : value.slice(space + 1)).slice(0, DETAIL_SIZE_MAX);
    return DEAD_REASON_NAMES.has(reason)
      ? { reason: reason as DeadReason, detail }
      : { reason: 'bad_event', detail: value.slice(0, DETAIL_SIZE_MAX) };
  }
  return null;
}
const DEAD_REASON_NAMES: ReadonlySet<string> = new Set(DEAD_REASONS);
/** Characters that a dead letter says of itself. */
const DETAIL_SIZE_MAX = 1_024;

/** A dead record as JSON; undefined if it is nested more deeply than can be written, which parsing it can be. */
export function shownAsJson(record: unknown): string | undefined {
  try {
    return JSON.stringify(record, showBytes) as string | undefined;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Bytes as base64url, large integers as text: what JSON has no way to say. */
function showBytes(this: unknown, key: string, value: unknown): unknown {
  // Buffer#toJSON has run already: look at what it was called on.
  const given = (this as Record<string, unknown>)[key];
  if (given instanceof Uint8Array)
    return Buffer.from(given.buffer, given.byteOffset, given.length).toString('base64url');
  return value instanceof Bignum ? String(value.integer) : value;
}
