import { networkOf } from '@millrace/core';

const NETWORKS_MAX = 10_000;
/** So many seconds' worth may come at once, as when all devices behind one address come back. */
const BURST_SECONDS = 10;

/** A leaking count for each network: one address of IPv4, or a /64 of IPv6.
 *  @holds of at most 10,000 networks; the one that was counted longest ago is forgotten first */
class Leaking {
  readonly #perSecond: number;
  readonly #networks = new Map<string, { count: number; atMs: number }>();

  /** @param perSecond 0: no limit */
  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  isFull(network: string, nowMs: number): boolean {
    if (this.#perSecond === 0) return false;
    // There is room for one more only once a whole one has leaked out.
    return this.#countOf(network, nowMs) + 1 > this.#perSecond * BURST_SECONDS;
  }

  count(network: string, nowMs: number): void {
    if (this.#perSecond === 0) return;
    // Never more than full: who stops is back within seconds, however much there was.
    const count = Math.min(this.#countOf(network, nowMs) + 1, this.#perSecond * BURST_SECONDS);
    this.#networks.delete(network);
    this.#networks.set(network, { count, atMs: nowMs });
    if (this.#networks.size <= NETWORKS_MAX) return;
    const [oldest] = this.#networks.keys();
    if (oldest !== undefined) this.#networks.delete(oldest);
  }

  #countOf(network: string, nowMs: number): number {
    const known = this.#networks.get(network);
    if (known === undefined) return 0;
    // A clock that steps back forgives nothing.
    return Math.max(0, known.count - (Math.max(0, nowMs - known.atMs) / 1_000) * this.#perSecond);
  }
}

/** How many handshakes somebody may begin, have under way and fail. */
export class AddressLimits {
  readonly #begun: Leaking;
  readonly #failed: Leaking;
  readonly #underWay = new Map<string, number>();
  readonly #underWayMax: number;

  constructor(limits: { perSecond: number; failuresPerSecond: number; underWayMax: number }) {
    this.#begun = new Leaking(limits.perSecond);
    this.#failed = new Leaking(limits.failuresPerSecond);
    this.#underWayMax = limits.underWayMax;
  }

  /** Counts one more, unless it is too many.  @returns whether it may begin */
  begin(address: string, nowMs: number): boolean {
    const network = networkOf(address);
    const underWay = this.#underWay.get(network) ?? 0;
    if (underWay >= this.#underWayMax) return false;
    if (this.#failed.isFull(network, nowMs) || this.#begun.isFull(network, nowMs)) return false;
    this.#begun.count(network, nowMs);
    this.#underWay.set(network, underWay + 1);
    return true;
  }

  /** Whether too many keys were wrong to look at one more now: also of those that began together. */
  mayTry(address: string, nowMs: number): boolean {
    return !this.#failed.isFull(networkOf(address), nowMs);
  }

  /** @param guessed with a key that is none: counted against the address */
  end(address: string, guessed: boolean, nowMs: number): void {
    const network = networkOf(address);
    const underWay = (this.#underWay.get(network) ?? 1) - 1;
    if (underWay === 0) this.#underWay.delete(network);
    else this.#underWay.set(network, underWay);
    if (guessed) this.#failed.count(network, nowMs);
  }
}
