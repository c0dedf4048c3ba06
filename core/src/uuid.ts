import { randomFillSync } from 'node:crypto';

// hot
const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Random bytes are drawn for this many ids at once. */
const POOL_IDS = 1_024;
const pool = new Uint8Array(POOL_IDS * 8);
let poolAt = pool.length;
let lastMs = 0;
let sequence = 0;

/** Writes a new UUIDv7 into `out` at `at`.
 *  @holds ids of one process strictly increase, also when the clock steps back: 48 bits of ms, a 12-bit counter
 *         in `rand_a` (the millisecond moves on when it is exhausted), 62 random bits
 *  @source RFC 9562 §5.7, §6.2 method 1 */
export function writeUuidV7(out: Uint8Array, at: number, nowMs: number): void {
  if (nowMs > lastMs) {
    lastMs = nowMs;
    sequence = 0;
  } else if (++sequence > 0xfff) {
    lastMs += 1;
    sequence = 0;
  }
  if (poolAt === pool.length) {
    randomFillSync(pool);
    poolAt = 0;
  }
  const high = Math.floor(lastMs / 0x1_0000);
  out[at] = high >>> 24;
  out[at + 1] = high >>> 16;
  out[at + 2] = high >>> 8;
  out[at + 3] = high;
  out[at + 4] = lastMs >>> 8;
  out[at + 5] = lastMs;
  out[at + 6] = 0x70 | (sequence >>> 8);
  out[at + 7] = sequence;
  for (let index = 8; index < 16; index++) out[at + index] = pool[poolAt++] as number;
  out[at + 8] = 0x80 | ((out[at + 8] as number) & 0x3f);
}

/** The 36-character text of 16 bytes. */
export function uuidText(bytes: Uint8Array, at = 0): string {
  const hex = (index: number): string => HEX[bytes[at + index] as number] as string;
  return `${hex(0)}${hex(1)}${hex(2)}${hex(3)}-${hex(4)}${hex(5)}-${hex(6)}${hex(7)}-${hex(8)}${hex(9)}-${hex(10)}${hex(11)}${hex(12)}${hex(13)}${hex(14)}${hex(15)}`;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
export const isUuid = (text: string): boolean => UUID.test(text);

/** The 16 bytes of a UUID's text, or null if it is none. */
export function parseUuid(text: string): Uint8Array | null {
  return isUuid(text) ? new Uint8Array(Buffer.from(text.replaceAll('-', ''), 'hex')) : null;
}

/** A new UUIDv7 as text. */
export function uuidV7(nowMs: number = Date.now()): string {
  const bytes = new Uint8Array(16);
  writeUuidV7(bytes, 0, nowMs);
  return uuidText(bytes);
}
