import { StoreError } from '@millrace/core';

/** Lets so many through at a time and so many wait. Full means: refuse, at once.
 *  @holds first come, first served */
export class Turnstile {
  readonly name: string;
  readonly #runningMax: number;
  readonly #waitingMax: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #idle: (() => void)[] = [];

  constructor(name: string, runningMax: number, waitingMax: number) {
    this.name = name;
    this.#runningMax = runningMax;
    this.#waitingMax = waitingMax;
  }
  get running(): number {
    return this.#running;
  }
  /** @throws StoreError STORE_UNREACHABLE (retry later) when too many wait */
  async pass<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#runningMax) {
      if (this.#waiting.length >= this.#waitingMax)
        throw new StoreError('STORE_UNREACHABLE', 'later', { queue: this.name, waitingMax: this.#waitingMax });
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running++;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next !== undefined) next();
      else if (--this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }
  /** Resolves when nothing runs. */
  idle(): Promise<void> {
    return this.#running === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }
}
