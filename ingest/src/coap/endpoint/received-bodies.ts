import type { EndpointCounts, EndpointOptions } from './options.ts';

/** What bodies of one network hold. Keys: the one that was quiet for longest first. */
interface Share {
  readonly network: string;
  readonly keys: Set<string>;
  bytes: number;
}

interface Transfer {
  readonly share: Share;
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
/** One network holds no more than this part of the transfers, and of their bytes. */
const NETWORK_PART = 4;

/** Bodies that arrive in blocks. Those of which only the first block came are kept apart: a burst of them does not drop
 *  what is well under way. What is quiet for longest goes when it is full, of those of one network first where it has
 *  its part: nobody has to show a credential before the last block.  @source RFC 7959 §2.5 */
export class ReceivedBodies {
  readonly #begun = new Map<string, Transfer>();
  readonly #continued = new Map<string, Transfer>();
  readonly #options: EndpointOptions;
  readonly #counts: EndpointCounts;
  readonly #shares = new Map<string, Share>();
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

  /** @param network of whom it comes from  @param block1 the option's value
   *  @param size1 what the client says that it will be; -1 if it does not  @holds the payload is copied */
  take(key: string, network: string, block1: number, size1: number, payload: Buffer, nowMs: number): BlockResult {
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
      const share = this.#shares.get(network) ?? { network, keys: new Set<string>(), bytes: 0 };
      this.#shares.set(network, share);
      share.keys.add(key);
      const transfer = { share, body: Buffer.allocUnsafeSlow(0), size: 0, szx, touchedMs: nowMs };
      this.#append(transfer, payload, Math.min(Math.max(FIRST_BYTES_MIN, 2 * blockBytes), bodyBytesMax));
      this.#begun.set(key, transfer);
      this.#counts.transfers++;
      this.#bound(this.#begun, share);
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
      transfer.share.keys.delete(key);
      transfer.share.keys.add(key);
      this.#bound(this.#continued, transfer.share);
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
      transfer.share.bytes += grown.length - transfer.body.length;
      transfer.body = grown;
    }
    transfer.body.set(payload, transfer.size);
    transfer.size += payload.length;
  }

  /** The first of `grown` are the quietest. Where bytes are short, those that have only begun go first. */
  #bound(grown: Map<string, Transfer>, share: Share): void {
    const { transfersMax, transferBytesMax } = this.#options;
    for (const key of share.keys) {
      const isWithin = share.keys.size <= transfersMax / NETWORK_PART && share.bytes <= transferBytesMax / NETWORK_PART;
      // One body of any size is let be.
      if (isWithin || share.keys.size === 1) break;
      this.drop(key);
    }
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
    const { share } = transfer;
    share.keys.delete(key);
    share.bytes -= transfer.body.length;
    if (share.keys.size === 0) this.#shares.delete(share.network);
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
