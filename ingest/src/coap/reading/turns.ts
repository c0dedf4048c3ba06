import { IngestError } from '../../error.ts';

/** Whoever waits is one of so many at least, and holds at most this part of the places. */
const PART = 16;
const PART_MIN = 64;

/** Lets a few in at a time: those who wait in turn, one of each, so that who asks much waits for itself alone.
 *  @holds full means: refused */
export class Turns {
  readonly #atOnceMax: number;
  readonly #waitingMax: number;
  readonly #waitingEachMax: number;
  /** By who waits; the first of them is next. */
  readonly #waiting = new Map<string, (() => void)[]>();
  #count = 0;
  #atOnce = 0;

  constructor(atOnceMax: number, waitingMax: number) {
    this.#atOnceMax = atOnceMax;
    this.#waitingMax = waitingMax;
    this.#waitingEachMax = Math.max(PART_MIN, Math.floor(waitingMax / PART));
  }

  /** @param who for whom: an id  @throws IngestError COAP_READERS_FULL (retry later), and what the work throws */
  async take<T>(who: string, work: () => Promise<T>): Promise<T> {
    if (this.#atOnce < this.#atOnceMax) this.#atOnce++;
    else {
      const queue = this.#waiting.get(who) ?? [];
      if (this.#count >= this.#waitingMax || queue.length >= this.#waitingEachMax) {
        throw new IngestError('COAP_READERS_FULL', 'later', { waiting: this.#count, own: queue.length });
      }
      this.#count++;
      this.#waiting.set(who, queue);
      // Whoever is done hands its turn on.
      await new Promise<void>((resolve) => queue.push(resolve));
    }
    try {
      return await work();
    } finally {
      const next = this.#next();
      if (next === undefined) this.#atOnce--;
      else next();
    }
  }

  #next(): (() => void) | undefined {
    for (const [who, queue] of this.#waiting) {
      const next = queue.shift();
      this.#waiting.delete(who);
      if (queue.length > 0) this.#waiting.set(who, queue);
      this.#count--;
      return next;
    }
    return undefined;
  }
}
