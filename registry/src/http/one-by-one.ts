import { Refusal } from './refusal.ts';

/** Runs work that is dear one piece at a time; a bounded number may wait, more are refused with 503. */
export class OneByOne {
  readonly #waitingMax: number;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(waitingMax: number) {
    this.#waitingMax = waitingMax;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= this.#waitingMax) {
      throw new Refusal(503, 'Too many look for messages that are not stored yet. Try again later.', {
        'retry-after': '2',
      });
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
