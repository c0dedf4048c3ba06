const BATCH_MAX = 500;

interface Waiting<T> {
  readonly resolve: (rows: readonly T[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Joins single questions into few statements: one is under way, and what is asked meanwhile goes with the next.
 *  @holds whoever asks, it takes one connection */
export class Batched<T> {
  readonly #ask: (keys: readonly string[]) => Promise<ReadonlyMap<string, readonly T[]>>;
  #waiting = new Map<string, Waiting<T>[]>();
  #asking = false;

  /** @param ask what belongs to each of the keys; nothing to those that it leaves out */
  constructor(ask: (keys: readonly string[]) => Promise<ReadonlyMap<string, readonly T[]>>) {
    this.#ask = ask;
  }

  get(key: string): Promise<readonly T[]> {
    return new Promise((resolve, reject) => {
      const others = this.#waiting.get(key);
      if (others === undefined) this.#waiting.set(key, [{ resolve, reject }]);
      else others.push({ resolve, reject });
      if (!this.#asking) void this.#work();
    });
  }

  async #work(): Promise<void> {
    this.#asking = true;
    // All that is asked in this turn goes together.
    await Promise.resolve();
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting].slice(0, BATCH_MAX);
      for (const [key] of batch) this.#waiting.delete(key);
      try {
        const found = await this.#ask(batch.map(([key]) => key));
        for (const [key, askers] of batch) for (const { resolve } of askers) resolve(found.get(key) ?? []);
      } catch (error) {
        for (const [, askers] of batch) for (const { reject } of askers) reject(error);
      }
    }
    this.#asking = false;
  }
}
