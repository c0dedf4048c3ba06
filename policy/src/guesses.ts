import { networkOf } from '@millrace/core';

const NETWORKS_MAX = 10_000;
/** So many seconds' worth may come at once, as when all devices behind one address come back. */
const BURST_SECONDS = 10;

/** Slows who shows one unknown credential after the other: so many a second of each network, be it one address of IPv4
 *  or a /64 of IPv6. What is known already is not concerned.
 *  @holds of at most so many networks; the one that guessed longest ago is forgotten first */
export class Guesses {
  readonly #perSecond: number;
  readonly #now: () => number;
  readonly #networks = new Map<string, { count: number; atMs: number }>();

  /** @param perSecond 0: nobody is slowed */
  constructor(perSecond: number, now: () => number) {
    this.#perSecond = perSecond;
    this.#now = now;
  }

  /** Whether nothing new is looked up for this address now. */
  refuses(address: string): boolean {
    if (this.#perSecond === 0 || this.#networks.size === 0) return false;
    return this.#countOf(networkOf(address)) >= this.#perSecond * BURST_SECONDS;
  }

  failed(address: string): void {
    if (this.#perSecond === 0) return;
    const network = networkOf(address);
    const count = this.#countOf(network) + 1;
    this.#networks.delete(network);
    this.#networks.set(network, { count, atMs: this.#now() });
    if (this.#networks.size <= NETWORKS_MAX) return;
    const [oldest] = this.#networks.keys();
    if (oldest !== undefined) this.#networks.delete(oldest);
  }

  #countOf(network: string): number {
    const known = this.#networks.get(network);
    if (known === undefined) return 0;
    // A clock that steps back forgives nothing.
    const passedMs = Math.max(0, this.#now() - known.atMs);
    return Math.max(0, known.count - (passedMs / 1_000) * this.#perSecond);
  }
}
