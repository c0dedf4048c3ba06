// hot

/** A memo of two generations: what was asked for since the last turn, and what was asked for before it. When the young one
 *  is full, the old one is forgotten and the young one is old. So it is bounded, and a hit costs no reordering.
 *  @units bytes: as the owner weighs entries */
export class Generations<K, V> {
  readonly #entriesMax: number;
  readonly #bytesMax: number;
  readonly #weigh: (key: K, value: V) => number;
  /** Hears of entries that are forgotten for want of room. */
  readonly #forgotten: ((value: V) => void) | null;
  #young = new Map<K, V>();
  #old = new Map<K, V>();
  #bytes = 0;

  /** @param limits of both generations together */
  constructor(
    limits: { readonly entries: number; readonly bytes?: number },
    weigh: (key: K, value: V) => number = () => 0,
    forgotten: ((value: V) => void) | null = null,
  ) {
    this.#entriesMax = Math.max(1, Math.floor(limits.entries / 2));
    this.#bytesMax = (limits.bytes ?? Number.POSITIVE_INFINITY) / 2;
    this.#weigh = weigh;
    this.#forgotten = forgotten;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: K): V | undefined {
    const found = this.#young.get(key);
    if (found !== undefined) return found;
    const old = this.#old.get(key);
    if (old === undefined) return undefined;
    this.#old.delete(key);
    this.set(key, old);
    return old;
  }

  set(key: K, value: V): void {
    this.#old.delete(key);
    const before = this.#young.get(key);
    if (before !== undefined) this.#bytes -= this.#weigh(key, before);
    else if (this.#young.size >= this.#entriesMax) this.#turn();
    this.#young.set(key, value);
    this.#bytes += this.#weigh(key, value);
    if (this.#bytes > this.#bytesMax && this.#young.size > 1) this.#turn(key, value);
  }

  delete(key: K): void {
    const young = this.#young.get(key);
    if (young !== undefined) this.#bytes -= this.#weigh(key, young);
    this.#young.delete(key);
    this.#old.delete(key);
  }

  *values(): IterableIterator<V> {
    yield* this.#young.values();
    yield* this.#old.values();
  }

  /** @param key with `value`: stays young */
  #turn(key?: K, value?: V): void {
    const gone = this.#old;
    if (key !== undefined) this.#young.delete(key);
    this.#old = this.#young;
    this.#young = new Map();
    this.#bytes = 0;
    if (key !== undefined) {
      this.#young.set(key, value as V);
      this.#bytes = this.#weigh(key, value as V);
    }
    if (this.#forgotten !== null) for (const each of gone.values()) this.#forgotten(each);
  }
}
