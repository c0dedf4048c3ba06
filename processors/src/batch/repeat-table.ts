import { hash, randomUUID } from 'node:crypto';

// hot

/** In 32-bit words. Head: slots, used slots, salt. A slot: hash (3), offset + 1 (2; 0: empty), reception (1). */
const HEAD_WORDS = 16;
const SLOT_WORDS = 6;
const SLOTS = 0;
const USED = 1;
const SALT = 2;
const SALT_WORDS = 9;
/** More than that is never used, or looking up would take long. */
const LOAD_MAX = 0.75;
const SLOTS_MIN = 1_024;

/** Of a key that was never seen. */
export const NOWHERE = -1;

/** The keys by which messages of one partition are recognised, with where each was last: a hash table in memory that
 *  threads share. One at a time uses it: who has the partition's batch.
 *  @holds 96 bits of a salted hash stand for a key: that two are taken for one is less likely than a fault of memory, and
 *         nobody can bring it about
 *  @units reception in s since 1970, modulo 2^32 */
export class RepeatTable {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Uint32Array;
  readonly #salt: string;
  readonly #key = new Uint32Array(3);

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Uint32Array(buffer);
    this.#salt = Buffer.from(buffer, SALT * 4, SALT_WORDS * 4).toString('latin1');
  }

  /** One with room for so many keys. */
  static create(keys: number, salt: string = randomUUID()): RepeatTable {
    const slots = Math.max(SLOTS_MIN, Math.ceil(keys / LOAD_MAX) + 1);
    const buffer = new SharedArrayBuffer((HEAD_WORDS + slots * SLOT_WORDS) * 4);
    new Uint32Array(buffer)[SLOTS] = slots;
    Buffer.from(buffer, SALT * 4, SALT_WORDS * 4).write(salt, 'latin1');
    return new RepeatTable(buffer);
  }

  /** Keys that it holds, those too that are too old to matter. */
  get used(): number {
    return this.#words[USED] as number;
  }

  hasRoom(keys: number): boolean {
    return this.used + keys <= (this.#words[SLOTS] as number) * LOAD_MAX;
  }

  /** The same with room for so many more keys, without what stands before an offset. */
  grown(keys: number, oldest: number): RepeatTable {
    const offsetMin = Math.max(0, oldest);
    const words = this.#words;
    const slots = words[SLOTS] as number;
    let live = 0;
    for (let slot = 0; slot < slots; slot++) if (offsetIn(words, slotAt(slot)) >= offsetMin) live++;
    // Half of what lives on top, so that this is not done each time.
    const table = RepeatTable.create(live + (live >>> 1) + keys, this.#salt);
    for (let slot = 0; slot < slots; slot++) {
      const at = slotAt(slot);
      const offset = offsetIn(words, at);
      if (offset < offsetMin) continue;
      table.#key.set(words.subarray(at, at + 3));
      table.put(table.#key, offset, words[at + 5] as number);
    }
    return table;
  }

  /** The words that stand for a key. */
  keyOf(publisher: string, channel: string, dedupKey: string): Uint32Array {
    const digest = hash('sha256', `${this.#salt}\n${publisher}\n${channel}\n${dedupKey}`, 'buffer');
    return new Uint32Array(digest.buffer.slice(digest.byteOffset, digest.byteOffset + 12));
  }

  /** Offset at which a key was last; NOWHERE if it was not.  @param seen `receivedS` of it is written there */
  find(key: Uint32Array, seen: { receivedS: number }): number {
    const words = this.#words;
    const at = this.#slotOf(key);
    if (words[at + 3] === 0 && words[at + 4] === 0) return NOWHERE;
    seen.receivedS = words[at + 5] as number;
    return offsetIn(words, at);
  }

  put(key: Uint32Array, offset: number, receivedS: number): void {
    const words = this.#words;
    const at = this.#slotOf(key);
    if (words[at + 3] === 0 && words[at + 4] === 0) {
      if (!this.hasRoom(1)) throw new RangeError('the table of repeated messages is full');
      words[USED] = this.used + 1;
      words.set(key, at);
    }
    const stored = offset + 1;
    words[at + 3] = stored;
    words[at + 4] = Math.floor(stored / 0x1_0000_0000);
    words[at + 5] = receivedS;
  }

  /** Of the key, or the empty one where it would go. @holds there is an empty one */
  #slotOf(key: Uint32Array): number {
    const words = this.#words;
    const slots = words[SLOTS] as number;
    const [first, second, third] = key;
    for (let slot = (first as number) % slots; ; slot = slot + 1 === slots ? 0 : slot + 1) {
      const at = slotAt(slot);
      if (words[at + 3] === 0 && words[at + 4] === 0) return at;
      if (words[at] === first && words[at + 1] === second && words[at + 2] === third) return at;
    }
  }
}

const slotAt = (slot: number): number => HEAD_WORDS + slot * SLOT_WORDS;

/** −1 of an empty slot. */
const offsetIn = (words: Uint32Array, at: number): number =>
  (words[at + 3] as number) + (words[at + 4] as number) * 0x1_0000_0000 - 1;
