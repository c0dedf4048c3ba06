/** Tries of one account from one address that are looked at together. */
const TRYING_MAX = 16;

/** Slows guessing of passwords: after some failures each further one doubles the wait.
 *  @holds at most `entriesMax` are remembered; the one that failed longest ago is forgotten first */
export class Throttle {
  readonly #free: number;
  readonly #waitMsMax: number;
  readonly #entriesMax: number;
  readonly #forgivenMs: number;
  readonly #trying = new Map<string, number>();
  readonly #failures = new Map<string, { count: number; untilMs: number; lastMs: number }>();

  /** @param free failures that cost nothing
   *  @param forgivenMs one failure is forgotten each time so long has gone by without another */
  constructor({ free = 5, waitMsMax = 300_000, entriesMax = 10_000, forgivenMs = Number.POSITIVE_INFINITY } = {}) {
    this.#forgivenMs = forgivenMs;
    this.#free = free;
    this.#waitMsMax = waitMsMax;
    this.#entriesMax = entriesMax;
  }

  /** Runs a try, so that many at once count too.  @returns what it gives, or null if too many run already */
  async attempt<T>(who: string, work: () => Promise<T>): Promise<T | null> {
    const running = this.#trying.get(who) ?? 0;
    if (running >= TRYING_MAX) return null;
    this.#trying.set(who, running + 1);
    try {
      return await work();
    } finally {
      const left = (this.#trying.get(who) ?? 1) - 1;
      if (left === 0) this.#trying.delete(who);
      else this.#trying.set(who, left);
    }
  }

  /** How long to wait before the next try, 0 if none. @param nowMs of a clock that never steps back */
  waitMs(who: string, nowMs: number): number {
    const entry = this.#failures.get(who);
    return entry === undefined ? 0 : Math.max(0, entry.untilMs - nowMs);
  }

  failed(who: string, nowMs: number): void {
    const before = this.#failures.get(who);
    const forgotten = before === undefined || nowMs - before.lastMs > this.#waitMsMax * 2;
    const count = forgotten
      ? 1
      : Math.max(0, before.count - Math.floor((nowMs - before.lastMs) / this.#forgivenMs)) + 1;
    const over = count - this.#free;
    const waitMs = over < 0 ? 0 : Math.min(this.#waitMsMax, 1_000 * 2 ** Math.min(over, 30));
    this.#failures.delete(who);
    this.#failures.set(who, { count, untilMs: nowMs + waitMs, lastMs: nowMs });
    if (this.#failures.size > this.#entriesMax) {
      const [oldest] = this.#failures.keys();
      if (oldest !== undefined) this.#failures.delete(oldest);
    }
  }

  succeeded(who: string): void {
    this.#failures.delete(who);
  }

  get size(): number {
    return this.#failures.size;
  }
}
