/** SenML of an exact size, in which one number of a fixed width can be replaced: when the message was due.
 *  @units µs since the generator began, plus DUE_BASE, so that its width never changes */
const DUE_BASE = 1_000_000_000_000;
const DUE_DIGITS = 13;
const HEAD = '[{"bn":"urn:dev:mac:0024befffe804ff1:","n":"temp","u":"Cel","v":21.5},{"n":"due","v":';
const FILLER = '},{"n":"note","vs":"';
const TAIL = '"}]';
const DUE_AT = HEAD.length;
const SIZE_MIN = HEAD.length + DUE_DIGITS + FILLER.length + TAIL.length;

/** @throws RangeError below the size of its fixed parts */
export function textPayload(size: number): Buffer {
  if (size < SIZE_MIN) throw new RangeError(`a payload has at least ${SIZE_MIN} bytes`);
  return Buffer.from(`${HEAD}${DUE_BASE}${FILLER}${'x'.repeat(size - SIZE_MIN)}${TAIL}`);
}

/** Writes when it is due into a packet that ends with such a payload.  @units us: µs since the generator began */
export function stampDue(packet: Buffer, payloadSize: number, us: number): void {
  packet.write(String(DUE_BASE + Math.round(us)), packet.length - payloadSize + DUE_AT, 'latin1');
}

/** @returns µs since the generator began */
export function dueOf(bytes: Buffer, payloadStart: number): number {
  let value = 0;
  const start = payloadStart + DUE_AT;
  for (let at = start; at < start + DUE_DIGITS; at++) value = value * 10 + ((bytes[at] as number) - 48);
  return value - DUE_BASE;
}
