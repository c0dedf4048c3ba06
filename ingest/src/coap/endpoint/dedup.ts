// hot
import { randomInt } from 'node:crypto';

/** Answers up to this size lie in the table itself. An acknowledgement with a token and two options fits. */
const INLINE_BYTES = 28;
const TOKEN_BYTES = 8;
/** @units ms; 32 bits of it wrap after 497 days */
const STAMP_MS = 10;

const Stage = { Working: 0, Inline: 1, Held: 2, Silent: 3, Lost: 4 } as const;

/** What is known of a message that came before: `Lost` was answered, but with what no longer has room. */
export type Repeat =
  | { readonly kind: 'working'; readonly owner: object }
  | { readonly kind: 'answered'; readonly datagram: Buffer }
  | { readonly kind: 'silent' }
  | { readonly kind: 'lost' };

const SILENT: Repeat = { kind: 'silent' };
const LOST: Repeat = { kind: 'lost' };

const keyOf = (peer: number, messageId: number, token: string): string => `${peer} ${messageId} ${token}`;

/** Remembers which messages of which peer were taken, and what they were answered. A ring of fixed memory: the oldest goes
 *  when it is full. One that is still worked on is never forgotten.
 *  @shape columns, found by a hash table with chains  @source RFC 7252 §4.5
 *
 *  Invariant: entries `#tail`…`#head`-1 are in use and each in exactly one chain; `seq % capacity` is its place. */
export class Dedup {
  readonly #capacity: number;
  readonly #lifetime: number;
  readonly #heldBytesMax: number;
  readonly #heads: Int32Array;
  readonly #next: Int32Array;
  readonly #peers: Float64Array;
  readonly #messageIds: Uint16Array;
  readonly #stamps: Uint32Array;
  readonly #stages: Uint8Array;
  readonly #tokenSizes: Uint8Array;
  readonly #tokens: Uint8Array;
  readonly #inlineSizes: Uint8Array;
  readonly #inline: Buffer;
  /** The owner while it is worked on, then its answer if that is large. */
  readonly #kept: (object | null)[];
  /** Sequence numbers of those with large answers, oldest first. */
  readonly #held: number[] = [];
  #heldAt = 0;
  #heldBytes = 0;
  /** Worked on for longer than the ring went round. */
  readonly #overtaken = new Map<string, object>();
  readonly #overtakenKeys = new Map<object, string>();
  readonly #seed = randomInt(1, 2 ** 31) | 1;
  #head = 0;
  #tail = 0;

  /** @param entriesMax rounded up to a power of two */
  constructor(entriesMax: number, heldBytesMax: number, lifetimeMs: number) {
    this.#capacity = 2 ** Math.ceil(Math.log2(Math.max(2, entriesMax)));
    const capacity = this.#capacity;
    this.#lifetime = Math.ceil(lifetimeMs / STAMP_MS);
    this.#heldBytesMax = heldBytesMax;
    this.#heads = new Int32Array(capacity).fill(-1);
    this.#next = new Int32Array(capacity);
    this.#peers = new Float64Array(capacity);
    this.#messageIds = new Uint16Array(capacity);
    this.#stamps = new Uint32Array(capacity);
    this.#stages = new Uint8Array(capacity);
    this.#tokenSizes = new Uint8Array(capacity);
    this.#tokens = new Uint8Array(capacity * TOKEN_BYTES);
    this.#inlineSizes = new Uint8Array(capacity);
    this.#inline = Buffer.from(new ArrayBuffer(capacity * INLINE_BYTES));
    this.#kept = new Array(capacity).fill(null);
  }

  get size(): number {
    return this.#head - this.#tail + this.#overtaken.size;
  }
  get heldBytes(): number {
    return this.#heldBytes;
  }

  #bucket(peer: number, messageId: number): number {
    let mixed = Math.imul((peer | 0) ^ Math.imul(messageId + 1, 0x9e3779b1), this.#seed);
    mixed ^= mixed >>> 15;
    return (Math.imul(mixed, 0x85ebca6b) >>> 7) & (this.#capacity - 1);
  }

  /** @param token within the datagram at 4…4+tokenSize
   *  @returns null if it is new */
  find(peer: number, messageId: number, datagram: Buffer, tokenSize: number, nowMs: number): Repeat | null {
    let place = this.#heads[this.#bucket(peer, messageId)] as number;
    for (; place >= 0; place = this.#next[place] as number) {
      if (this.#messageIds[place] !== messageId || this.#peers[place] !== peer) continue;
      if (this.#tokenSizes[place] !== tokenSize || !this.#sameToken(place, datagram, tokenSize)) continue;
      const stage = this.#stages[place];
      if (stage === Stage.Working) return { kind: 'working', owner: this.#kept[place] as object };
      if ((Math.floor(nowMs / STAMP_MS) - (this.#stamps[place] as number)) >>> 0 > this.#lifetime) return null;
      if (stage === Stage.Inline) {
        const start = place * INLINE_BYTES;
        return {
          kind: 'answered',
          datagram: Buffer.from(this.#inline.subarray(start, start + (this.#inlineSizes[place] as number))),
        };
      }
      if (stage === Stage.Held) return { kind: 'answered', datagram: this.#kept[place] as Buffer };
      return stage === Stage.Silent ? SILENT : LOST;
    }
    if (this.#overtaken.size > 0) {
      const owner = this.#overtaken.get(keyOf(peer, messageId, datagram.toString('latin1', 4, 4 + tokenSize)));
      if (owner !== undefined) return { kind: 'working', owner };
    }
    return null;
  }

  #sameToken(place: number, datagram: Buffer, tokenSize: number): boolean {
    const start = place * TOKEN_BYTES;
    for (let index = 0; index < tokenSize; index++)
      if (this.#tokens[start + index] !== datagram[4 + index]) return false;
    return true;
  }

  /** Takes a message that `find` did not know; `owner` works on it until `settle`.
   *  @returns its number, for `settle` */
  add(
    peer: number,
    messageId: number,
    datagram: Buffer,
    tokenSize: number,
    nowMs: number,
    owner: object | null,
  ): number {
    if (this.#head - this.#tail === this.#capacity) this.#evict();
    const number = this.#head++;
    const place = number & (this.#capacity - 1);
    this.#peers[place] = peer;
    this.#messageIds[place] = messageId;
    this.#stamps[place] = Math.floor(nowMs / STAMP_MS);
    this.#stages[place] = owner === null ? Stage.Silent : Stage.Working;
    this.#tokenSizes[place] = tokenSize;
    const start = place * TOKEN_BYTES;
    for (let index = 0; index < tokenSize; index++) this.#tokens[start + index] = datagram[4 + index] as number;
    this.#kept[place] = owner;
    const bucket = this.#bucket(peer, messageId);
    this.#next[place] = this.#heads[bucket] as number;
    this.#heads[bucket] = place;
    return number;
  }

  /** It was answered with these bytes (copied), or with none. */
  settle(number: number, owner: object | null, answer: Buffer | null): void {
    if (number < this.#tail) {
      const key = owner === null ? undefined : this.#overtakenKeys.get(owner);
      if (owner === null || key === undefined) return;
      this.#overtakenKeys.delete(owner);
      if (this.#overtaken.get(key) === owner) this.#overtaken.delete(key);
      return;
    }
    const place = number & (this.#capacity - 1);
    this.#letGo(place);
    if (answer === null) {
      this.#stages[place] = Stage.Silent;
    } else if (answer.length <= INLINE_BYTES) {
      this.#stages[place] = Stage.Inline;
      this.#inlineSizes[place] = answer.length;
      const start = place * INLINE_BYTES;
      for (let index = 0; index < answer.length; index++) this.#inline[start + index] = answer[index] as number;
    } else {
      // A copy of its own: the answer may be a slice of a slab that it would keep alive.
      const copy = Buffer.allocUnsafeSlow(answer.length);
      copy.set(answer);
      this.#stages[place] = Stage.Held;
      this.#kept[place] = copy;
      this.#heldBytes += copy.length;
      this.#held.push(number);
      this.#boundHeld();
    }
  }

  #boundHeld(): void {
    while (this.#heldBytes > this.#heldBytesMax && this.#heldAt < this.#held.length) {
      const number = this.#held[this.#heldAt++] as number;
      const place = number & (this.#capacity - 1);
      if (number < this.#tail || this.#stages[place] !== Stage.Held) continue;
      this.#letGo(place);
      this.#stages[place] = Stage.Lost;
    }
    if (this.#heldAt > 1_024 && this.#heldAt * 2 > this.#held.length) {
      this.#held.splice(0, this.#heldAt);
      this.#heldAt = 0;
    }
  }

  #letGo(place: number): void {
    if (this.#stages[place] === Stage.Held) this.#heldBytes -= (this.#kept[place] as Buffer).length;
    this.#kept[place] = null;
  }

  #evict(): void {
    const place = this.#tail & (this.#capacity - 1);
    const peer = this.#peers[place] as number;
    const messageId = this.#messageIds[place] as number;
    const bucket = this.#bucket(peer, messageId);
    let at = this.#heads[bucket] as number;
    const after = this.#next[place] as number;
    if (at === place) {
      this.#heads[bucket] = after;
    } else {
      while (this.#next[at] !== place) at = this.#next[at] as number;
      this.#next[at] = after;
    }
    const owner = this.#kept[place];
    if (this.#stages[place] === Stage.Working && owner !== null && owner !== undefined) {
      const start = place * TOKEN_BYTES;
      const token = Buffer.from(this.#tokens.subarray(start, start + (this.#tokenSizes[place] as number)));
      const key = keyOf(peer, messageId, token.toString('latin1'));
      this.#overtaken.set(key, owner);
      this.#overtakenKeys.set(owner, key);
    }
    this.#letGo(place);
    this.#tail++;
    // The queue of large answers follows, lest it grows where nothing large comes any more.
    if (this.#heldAt < this.#held.length && (this.#held[this.#heldAt] as number) < this.#tail) {
      this.#heldAt++;
      this.#boundHeld();
    }
  }
}
