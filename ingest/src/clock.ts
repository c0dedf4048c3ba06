/** Wall-clock time that does not jump about: it runs on the monotonic clock and is brought back to the wall clock by
 *  `adjust`, which the owner calls about once a second.
 *  @holds steps of up to a second are made up for 5 ms a call and time never runs backward meanwhile; larger ones
 *         (a clock that was plainly wrong) are followed at once
 *  @units µs since 1970 */
export class WallClock {
  readonly #wallMs: () => number;
  readonly #monotonicMs: () => number;
  #offsetUs: number;
  #lastUs = 0;

  constructor(wallMs: () => number = Date.now, monotonicMs: () => number = performance.now.bind(performance)) {
    this.#wallMs = wallMs;
    this.#monotonicMs = monotonicMs;
    this.#offsetUs = wallMs() * 1_000 - monotonicMs() * 1_000;
  }

  nowUs(): number {
    const now = Math.floor(this.#offsetUs + this.#monotonicMs() * 1_000);
    if (now > this.#lastUs) this.#lastUs = now;
    return this.#lastUs;
  }

  adjust(): void {
    const driftUs = this.#wallMs() * 1_000 - (this.#offsetUs + this.#monotonicMs() * 1_000);
    if (Math.abs(driftUs) > 1_000_000) {
      this.#offsetUs += driftUs;
      this.#lastUs = 0;
    } else if (Math.abs(driftUs) > 1_000) {
      this.#offsetUs += Math.max(-5_000, Math.min(5_000, driftUs));
    }
  }
}
