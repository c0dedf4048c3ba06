// hot
import { networkOf } from '@millrace/core';

export interface FloodOptions {
  /** Bad datagrams that an address may send: malformed, or with credentials that nobody knows.  @units per second */
  readonly ratePerSecond: number;
  readonly burst: number;
  /** So long an address is ignored the first time; twice as long each time it goes on, up to the bound. */
  readonly holdMs: number;
  readonly holdMsMax: number;
  /** Good for so long, it begins anew. */
  readonly forgiveMs: number;
  /** Addresses that are remembered; the one that was good for longest is forgotten. */
  readonly addressesMax: number;
}

const DEFAULTS: FloodOptions = {
  ratePerSecond: 20,
  burst: 100,
  holdMs: 1_000,
  holdMsMax: 10_000,
  forgiveMs: 30_000,
  addressesMax: 16_384,
};

interface Sender {
  tokens: number;
  atMs: number;
  holds: number;
  heldUntilMs: number;
}

/** Ignores addresses that send nothing good, for seconds: a device behind the same address is back soon. Only who sent
 *  something bad is remembered, so what is good costs a look at a number.
 *  @units nowMs of a monotonic clock */
export class FloodLimiter {
  readonly #options: FloodOptions;
  /** In order of their last bad datagram. */
  readonly #senders = new Map<string, Sender>();
  /** Nobody is held after that. */
  #heldUntilMs = 0;
  /** Datagrams that were ignored. */
  ignored = 0;
  /** Times that an address was held. */
  holds = 0;

  constructor(options: Partial<FloodOptions> = {}) {
    this.#options = { ...DEFAULTS, ...options };
  }

  /** Addresses remembered. */
  get size(): number {
    return this.#senders.size;
  }

  /** Whether a datagram from there is not even looked at. */
  isIgnored(address: string, nowMs: number): boolean {
    if (nowMs >= this.#heldUntilMs) return false;
    const sender = this.#senders.get(networkOf(address));
    if (sender === undefined || nowMs >= sender.heldUntilMs) return false;
    this.ignored++;
    return true;
  }

  /** It sent something bad.  @param weight how bad: 1 for a malformed datagram */
  penalize(address: string, nowMs: number, weight = 1): void {
    const { ratePerSecond, burst, holdMs, holdMsMax, forgiveMs, addressesMax } = this.#options;
    const network = networkOf(address);
    let sender = this.#senders.get(network);
    if (sender === undefined) {
      sender = { tokens: burst, atMs: nowMs, holds: 0, heldUntilMs: 0 };
    } else {
      this.#senders.delete(network);
      // Some that are held may stand before it; they are few against all that come in a burst.
      if (nowMs - Math.max(sender.atMs, sender.heldUntilMs) > forgiveMs) sender.holds = 0;
      sender.tokens = Math.min(burst, sender.tokens + ((nowMs - sender.atMs) / 1_000) * ratePerSecond);
      sender.atMs = nowMs;
    }
    this.#senders.set(network, sender);
    if (this.#senders.size > addressesMax) this.#forgetFirst(nowMs);
    sender.tokens -= weight;
    if (sender.tokens >= 0 || nowMs < sender.heldUntilMs) return;
    sender.heldUntilMs = nowMs + Math.min(holdMsMax, holdMs * 2 ** Math.min(sender.holds, 16));
    sender.holds++;
    // It comes back with a little, not with all: going on is noticed at once.
    sender.tokens = Math.min(burst, ratePerSecond);
    this.holds++;
    if (sender.heldUntilMs > this.#heldUntilMs) this.#heldUntilMs = sender.heldUntilMs;
  }

  /** One that is not held, if it is among the first: a burst from made-up addresses sets nobody free. */
  #forgetFirst(nowMs: number): void {
    let first: string | undefined;
    let looked = 0;
    for (const [network, sender] of this.#senders) {
      first ??= network;
      if (nowMs >= sender.heldUntilMs) {
        this.#senders.delete(network);
        return;
      }
      if (++looked === 8) break;
    }
    if (first !== undefined) this.#senders.delete(first);
  }
}
