import type { Principal } from '@millrace/core';

interface Bucket {
  tokens: number;
  atMs: number;
}

/** A token bucket for each client, forgotten with it.
 *  @units rate in messages a second; burst in messages */
export class RateLimit {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #buckets = new WeakMap<Principal, Bucket>();

  constructor(perSecond: number, burst: number) {
    this.#perMs = perSecond / 1_000;
    this.#burst = burst;
  }

  /** Takes `count` tokens. @returns 0, or the ms to wait until they are there (nothing is taken then);
   *  more than the burst waits for a full bucket and overdraws it */
  take(client: Principal, count: number, nowMs: number): number {
    if (this.#perMs === 0) return 0;
    let bucket = this.#buckets.get(client);
    if (bucket === undefined) {
      bucket = { tokens: this.#burst, atMs: nowMs };
      this.#buckets.set(client, bucket);
    }
    bucket.tokens = Math.min(this.#burst, bucket.tokens + Math.max(0, nowMs - bucket.atMs) * this.#perMs);
    bucket.atMs = nowMs;
    const needed = Math.min(count, this.#burst);
    if (bucket.tokens < needed) return Math.ceil((needed - bucket.tokens) / this.#perMs);
    bucket.tokens -= count;
    return 0;
  }

  /** What was taken was not used: something else refused the messages. */
  giveBack(client: Principal, count: number): void {
    const bucket = this.#buckets.get(client);
    if (bucket !== undefined) bucket.tokens = Math.min(this.#burst, bucket.tokens + count);
  }
}
