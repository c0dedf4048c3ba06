import { IngestError } from '../../error.ts';

/** Lets a few in at a time, the others in the order in which they came.
 *  @holds full means: refused */
export class Turns {
  readonly #atOnceMax: number;
  readonly #waitingMax: number;
  readonly #waiting: (() => void)[] = [];
  #atOnce = 0;

  constructor(atOnceMax: number, waitingMax: number) {
    this.#atOnceMax = atOnceMax;
    this.#waitingMax = waitingMax;
  }

  /** @throws IngestError COAP_READERS_FULL (retry later), and what the work throws */
  async take<T>(work: () => Promise<T>): Promise<T> {
    if (this.#atOnce < this.#atOnceMax) this.#atOnce++;
    else {
      const waiting = this.#waiting.length;
      if (waiting >= this.#waitingMax) throw new IngestError('COAP_READERS_FULL', 'later', { waiting });
      // Whoever is done hands its turn on.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#atOnce--;
      else next();
    }
  }
}
