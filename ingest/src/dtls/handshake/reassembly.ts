import type { HandshakeFragment, HandshakeMessage } from './message.ts';

/** A message may come so far ahead of its turn. */
const AHEAD_MAX = 4;
const FRAGMENTS_MAX = 64;

interface Partial {
  readonly type: number;
  readonly body: Buffer;
  /** Of bytes that are there, ascending and apart: from, to. */
  ranges: (readonly [number, number])[];
}

/** Joins fragments into messages, in their order, whatever order they come in, overlapping or twice.
 *  @holds at most the next message and, ahead of it, as many bytes again: `bytesMax` each */
export class Reassembly {
  readonly #partials = new Map<number, Partial>();
  readonly #bytesMax: number;
  #next: number;

  /** @param next sequence of the first message */
  constructor(next: number, bytesMax: number) {
    this.#next = next;
    this.#bytesMax = bytesMax;
  }

  get next(): number {
    return this.#next;
  }

  /** What does not fit (too large, too far ahead, another message under the same number) is dropped. */
  add({ type, size, sequence, offset, bytes }: HandshakeFragment): void {
    if (sequence < this.#next || sequence > this.#next + AHEAD_MAX || size > this.#bytesMax) return;
    let partial = this.#partials.get(sequence);
    if (partial === undefined) {
      if (sequence > this.#next && this.#aheadBytes() + size > this.#bytesMax) return;
      partial = { type, body: Buffer.alloc(size), ranges: [] };
      this.#partials.set(sequence, partial);
    }
    if (partial.type !== type || partial.body.length !== size || partial.ranges.length >= FRAGMENTS_MAX) return;
    bytes.copy(partial.body, offset);
    partial.ranges = withRange(partial.ranges, offset, offset + bytes.length);
  }

  #aheadBytes(): number {
    let bytes = 0;
    for (const [sequence, { body }] of this.#partials) if (sequence > this.#next) bytes += body.length;
    return bytes;
  }

  /** The next message once it is whole. */
  take(): HandshakeMessage | null {
    const partial = this.#partials.get(this.#next);
    if (partial === undefined) return null;
    const [first] = partial.ranges;
    const whole =
      partial.body.length === 0 || (first !== undefined && first[0] === 0 && first[1] === partial.body.length);
    if (!whole) return null;
    this.#partials.delete(this.#next);
    return { type: partial.type, sequence: this.#next++, body: partial.body };
  }
}

function withRange(
  ranges: readonly (readonly [number, number])[],
  from: number,
  to: number,
): (readonly [number, number])[] {
  const joined: (readonly [number, number])[] = [];
  let [low, high] = [from, to];
  for (const range of ranges) {
    if (range[1] < low || range[0] > high) joined.push(range);
    else [low, high] = [Math.min(low, range[0]), Math.max(high, range[1])];
  }
  joined.push([low, high]);
  return joined.sort((a, b) => a[0] - b[0]);
}
