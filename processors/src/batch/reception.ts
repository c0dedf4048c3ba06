import type { EnvelopeReader } from '@millrace/core';

// hot

/** Reception outside of 2000–2199 is no clock's: the envelope is refused, or it would open a month of its own. */
const RECEIVED_US_MIN = Date.UTC(2000, 0) * 1_000;
const RECEIVED_US_MAX = Date.UTC(2200, 0) * 1_000;

export const isPlausible = (receivedUs: number): boolean =>
  receivedUs >= RECEIVED_US_MIN && receivedUs < RECEIVED_US_MAX;

/** Reception of the first message that can be opened: what can't be takes its month, at every try the same. */
export function firstReceived(view: Buffer, envelope: EnvelopeReader): number | null {
  for (let at = 0; at < view.length; ) {
    const end = at + 4 + view.readUInt32LE(at);
    if (envelope.open(view, at + 4, end) && isPlausible(envelope.receivedUs)) return envelope.receivedUs;
    at = end;
  }
  return null;
}

/** Start (inclusive) and end (exclusive) of the month, UTC. */
export function monthOf(us: number): [startUs: number, endUs: number] {
  const date = new Date(us / 1_000);
  const year = date.getUTCFullYear();
  const month = date.getUTCMonth();
  return [Date.UTC(year, month) * 1_000, Date.UTC(year, month + 1) * 1_000];
}
