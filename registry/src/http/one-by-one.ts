import { Refusal } from './refusal.ts';

/** Runs work that is dear one piece at a time; a bounded number may wait, more are refused with 503. */
export class OneByOne {
  readonly #waitingMax: number;
  readonly #full: string;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** @param full what those are told who may not wait any more */
  constructor(waitingMax: number, full = 'Too many look for messages that are not stored yet. Try again later.') {
    this.#waitingMax = waitingMax;
    this.#full = full;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= this.#waitingMax) {
      throw new Refusal(503, this.#full, { 'retry-after': '2' });
    }
    this.#waiting++;
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    try {
      return await result;
    } finally {
      this.#waiting--;
    }
  }
}
