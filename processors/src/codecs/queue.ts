import { ProcessorsError } from '../errors.ts';

/** Lets so many in at a time; the others wait in order.
 *  Full means: refuse. Of one key only a quarter of the room may be taken, so that nobody's codec keeps out all others. */
export class RunQueue {
  readonly #waitingMax: number;
  readonly #keyWaitingMax: number;
  readonly #waiting: { readonly key: string; readonly enter: () => void }[] = [];
  readonly #perKey = new Map<string, number>();
  #free: number;

  constructor(places: number, waitingMax: number) {
    this.#free = places;
    this.#waitingMax = waitingMax;
    this.#keyWaitingMax = Math.max(1, Math.ceil(waitingMax / 4));
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** @throws ProcessorsError CODECS_BUSY */
  async enter(key: string): Promise<void> {
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    const ofKey = this.#perKey.get(key) ?? 0;
    if (this.#waiting.length >= this.#waitingMax || ofKey >= this.#keyWaitingMax)
      throw new ProcessorsError('CODECS_BUSY', 'later', { waiting: this.#waiting.length, ofCodec: ofKey });
    this.#perKey.set(key, ofKey + 1);
    await new Promise<void>((enter) => this.#waiting.push({ key, enter }));
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) {
      this.#free++;
      return;
    }
    const left = (this.#perKey.get(next.key) ?? 1) - 1;
    if (left === 0) this.#perKey.delete(next.key);
    else this.#perKey.set(next.key, left);
    next.enter();
  }
}
