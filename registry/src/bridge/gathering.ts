import { RegistryError } from '../error.ts';

interface Waiting<T, R> {
  readonly item: T;
  readonly key: string;
  readonly resolve: (result: R) => void;
  readonly reject: (error: unknown) => void;
}

export interface GatheringOptions<T, R> {
  /** No two items of one key stand in one statement: the later waits for the next. */
  readonly key: (item: T) => string;
  /** @returns one result an item, in order; an Error is that item's alone */
  readonly run: (items: readonly T[]) => Promise<readonly (R | Error)[]>;
  readonly itemsMax: number;
  readonly waitingMax: number;
}

/** Makes one statement of what many ask for: one is under way at a time, and what comes meanwhile makes up the next.
 *  So a storm of requests costs as few statements as the database is slow. */
export class Gathering<T, R> {
  readonly #options: GatheringOptions<T, R>;
  #waiting: Waiting<T, R>[] = [];
  #scheduled = false;

  constructor(options: GatheringOptions<T, R>) {
    this.#options = options;
  }

  /** @throws RegistryError REGISTRY_UNREACHABLE when too many wait, and what the statement throws */
  add(item: T): Promise<R> {
    if (this.#waiting.length >= this.#options.waitingMax) {
      const facts = { waiting: this.#waiting.length };
      return Promise.reject(new RegistryError('REGISTRY_UNREACHABLE', 'later', facts));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, key: this.#options.key(item), resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      setImmediate(() => void this.#work());
    });
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#take();
      try {
        const results = await this.#options.run(batch.map(({ item }) => item));
        for (const [index, { resolve, reject }] of batch.entries()) {
          const result = results[index] as R | Error;
          if (result instanceof Error) reject(result);
          else resolve(result);
        }
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#scheduled = false;
  }

  #take(): Waiting<T, R>[] {
    const { itemsMax } = this.#options;
    const keys = new Set<string>();
    const batch: Waiting<T, R>[] = [];
    const rest: Waiting<T, R>[] = [];
    for (const each of this.#waiting) {
      if (batch.length < itemsMax && !keys.has(each.key)) {
        keys.add(each.key);
        batch.push(each);
      } else {
        rest.push(each);
      }
    }
    this.#waiting = rest;
    return batch;
  }
}
