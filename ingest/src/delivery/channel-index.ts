import type { EnvelopeReader } from '@millrace/core';

// hot

/** Bits of a block's filter for each channel in it: with three probes, one in 200 tells of a channel that is not there. */
const BITS_PER_CHANNEL = 16;
/** What a block costs beside its bits. */
const BLOCK_OVERHEAD_BYTES = 120;

/** A hash of a channel's or organisation's id, for `ChannelIndex`. */
export function channelHash(id: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < id.length; index++) hash = Math.imul(hash ^ id.charCodeAt(index), 0x01000193);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}

/** Which channels occur in which block of one partition, as far as somebody has read it; so that who catches up skips
 *  what holds nothing for it.
 *  @holds never says no where there is one; at most `bytesMax`, then the oldest blocks are forgotten */
export class ChannelIndex {
  /** Offsets of one block. */
  readonly blockOffsets: number;
  readonly #bytesMax: number;
  readonly #blocks = new Map<number, Uint32Array>();
  #bytes = 0;

  constructor(bytesMax: number, blockOffsets: number) {
    this.#bytesMax = bytesMax;
    this.blockOffsets = blockOffsets;
  }

  blockOf(offset: number): number {
    return Math.floor(offset / this.blockOffsets);
  }

  get bytes(): number {
    return this.#bytes;
  }

  has(block: number): boolean {
    return this.#blocks.has(block);
  }

  /** @param hash of a channel's or organisation's id  @returns true also where it is not known */
  mayHold(block: number, hash: number): boolean {
    const bits = this.#blocks.get(block);
    if (bits === undefined) return true;
    const mask = bits.length * 32 - 1;
    const step = (hash >>> 17) | (hash << 15) | 1;
    return isSet(bits, hash & mask) && isSet(bits, (hash + step) & mask) && isSet(bits, (hash + step + step) & mask);
  }

  put(block: number, ids: ReadonlySet<string>): void {
    if (this.#blocks.has(block)) return;
    let words = 2;
    while (words * 32 < ids.size * BITS_PER_CHANNEL) words *= 2;
    const size = words * 4 + BLOCK_OVERHEAD_BYTES;
    if (size > this.#bytesMax) return;
    const bits = new Uint32Array(words);
    const mask = words * 32 - 1;
    for (const id of ids) {
      const hash = channelHash(id);
      const step = (hash >>> 17) | (hash << 15) | 1;
      set(bits, hash & mask);
      set(bits, (hash + step) & mask);
      set(bits, (hash + step + step) & mask);
    }
    this.#blocks.set(block, bits);
    this.#bytes += size;
    for (const [oldest, { byteLength }] of this.#blocks) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#blocks.delete(oldest);
      this.#bytes -= byteLength + BLOCK_OVERHEAD_BYTES;
    }
  }
}

const isSet = (bits: Uint32Array, bit: number): boolean => (((bits[bit >>> 5] as number) >>> (bit & 31)) & 1) === 1;
const set = (bits: Uint32Array, bit: number): void => {
  bits[bit >>> 5] = (bits[bit >>> 5] as number) | (1 << (bit & 31));
};

/** What one reader, going upward through a partition, tells the index.
 *  @holds a block is told only if all of it was read, from its first offset to its last */
export class ChannelNotes {
  readonly #index: ChannelIndex;
  #ids = new Set<string>();
  /** All from here to `#next` was read. */
  #start = 0;
  #next = -1;
  #block = -1;
  #wanted = false;

  constructor(index: ChannelIndex) {
    this.#index = index;
  }

  /** What comes next are the records from `offset` on, all of them. */
  begin(offset: number): void {
    if (offset === this.#next) return;
    this.#start = offset;
    this.#open(this.#index.blockOf(offset));
  }

  note(offset: number, channel: string, reader: EnvelopeReader): void {
    if (offset >= (this.#block + 1) * this.#index.blockOffsets) {
      this.#close();
      this.#open(this.#index.blockOf(offset));
    }
    if (!this.#wanted || this.#ids.has(channel)) return;
    this.#ids.add(channel);
    this.#ids.add(reader.org);
  }

  /** All before `offset` was read. */
  end(offset: number): void {
    this.#next = offset;
    const block = this.#index.blockOf(offset);
    if (block === this.#block) return;
    this.#close();
    this.#open(block);
  }

  /** It was not read to the end. */
  breakOff(): void {
    this.#next = -1;
  }

  #open(block: number): void {
    this.#block = block;
    this.#wanted = this.#start <= block * this.#index.blockOffsets && !this.#index.has(block);
    this.#ids.clear();
  }

  #close(): void {
    if (this.#wanted) this.#index.put(this.#block, this.#ids);
  }
}
