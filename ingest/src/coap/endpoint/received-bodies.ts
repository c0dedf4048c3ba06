import type { EndpointCounts, EndpointOptions } from './options.ts';

interface Transfer {
  body: Buffer;
  size: number;
  szx: number;
  touchedMs: number;
}

export type BlockResult =
  | { readonly kind: 'more' }
  | { readonly kind: 'whole'; readonly body: Buffer }
  /** A block before it is missing. */
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'too_large' };

const MORE: BlockResult = { kind: 'more' };
const INCOMPLETE: BlockResult = { kind: 'incomplete' };
const TOO_LARGE: BlockResult = { kind: 'too_large' };
const FIRST_BYTES_MIN = 256;

/** Bodies that arrive in blocks. Those of which only the first block came are kept apart: a burst of them does not drop
 *  what is well under way. What is quiet for longest goes when it is full.  @source RFC 7959 §2.5 */
export class ReceivedBodies {
  readonly #begun = new Map<string, Transfer>();
  readonly #continued = new Map<string, Transfer>();
  readonly #options: EndpointOptions;
  readonly #counts: EndpointCounts;
  #bytes = 0;

  constructor(options: EndpointOptions, counts: EndpointCounts) {
    this.#options = options;
    this.#counts = counts;
  }

  get size(): number {
    return this.#begun.size + this.#continued.size;
  }
  get bytes(): number {
    return this.#bytes;
  }

  /** @param block1 the option's value  @param size1 what the client says that it will be; -1 if it does not
   *  @holds the payload is copied */
  take(key: string, block1: number, size1: number, payload: Buffer, nowMs: number): BlockResult {
    const { bodyBytesMax } = this.#options;
    const szx = block1 & 7;
    const more = (block1 & 8) !== 0;
    const blockBytes = 16 << szx;
    const offset = (block1 >> 4) * blockBytes;
    if (size1 > bodyBytesMax || offset + payload.length > bodyBytesMax) {
      this.drop(key);
      return TOO_LARGE;
    }
    // A last block may be shorter, no block longer.
    if (more ? payload.length !== blockBytes : payload.length > blockBytes) return INCOMPLETE;
    if (offset === 0) {
      this.drop(key);
      if (!more) return { kind: 'whole', body: payload };
      const transfer = { body: Buffer.allocUnsafeSlow(0), size: 0, szx, touchedMs: nowMs };
      this.#append(transfer, payload, Math.min(Math.max(FIRST_BYTES_MIN, 2 * blockBytes), bodyBytesMax));
      this.#begun.set(key, transfer);
      this.#counts.transfers++;
      this.#bound(this.#begun);
      return MORE;
    }
    const transfer = this.#continued.get(key) ?? this.#begun.get(key);
    if (transfer === undefined) return INCOMPLETE;
    transfer.touchedMs = nowMs;
    // The block that came last, once more in a message of its own.
    if (more && offset + blockBytes === transfer.size && transfer.szx === szx) return MORE;
    if (offset !== transfer.size) return INCOMPLETE;
    transfer.szx = szx;
    this.#append(
      transfer,
      payload,
      Math.min(Math.max(2 * transfer.body.length, offset + payload.length), bodyBytesMax),
    );
    if (more) {
      this.#begun.delete(key);
      this.#continued.delete(key);
      this.#continued.set(key, transfer);
      this.#bound(this.#continued);
      return MORE;
    }
    this.drop(key);
    return { kind: 'whole', body: transfer.body.subarray(0, transfer.size) };
  }

  #append(transfer: Transfer, payload: Buffer, capacity: number): void {
    if (transfer.size + payload.length > transfer.body.length) {
      const grown = Buffer.allocUnsafeSlow(capacity);
      grown.set(transfer.body.subarray(0, transfer.size));
      this.#bytes += grown.length - transfer.body.length;
      transfer.body = grown;
    }
    transfer.body.set(payload, transfer.size);
    transfer.size += payload.length;
  }

  /** The first of `grown` are the quietest. Where bytes are short, those that have only begun go first. */
  #bound(grown: Map<string, Transfer>): void {
    const { transfersMax, transferBytesMax } = this.#options;
    if (grown.size > transfersMax) this.#dropFirst(grown);
    while (this.#bytes > transferBytesMax && this.#dropFirst(this.#begun));
    while (this.#bytes > transferBytesMax && this.#dropFirst(this.#continued));
  }

  #dropFirst(transfers: Map<string, Transfer>): boolean {
    for (const key of transfers.keys()) {
      this.drop(key);
      return true;
    }
    return false;
  }

  drop(key: string): void {
    const transfer = this.#continued.get(key) ?? this.#begun.get(key);
    if (transfer === undefined) return;
    this.#begun.delete(key);
    this.#continued.delete(key);
    this.#bytes -= transfer.body.length;
    this.#counts.transfers--;
  }

  /** Drops what has been quiet for too long. */
  sweep(nowMs: number): void {
    for (const transfers of [this.#begun, this.#continued])
      for (const [key, { touchedMs }] of transfers)
        if (nowMs - touchedMs > this.#options.transferQuietMs) this.drop(key);
  }
}
