/** A bounded memo: two generations, the older forgotten when the younger is full.
 *  What is asked for moves to the younger, so what is used at least once a generation stays.
 *  @holds never more than `countMax` entries */
export class Generations<K, V> {
  readonly #half: number;
  #young = new Map<K, V>();
  #old: Map<K, V> | null = null;

  constructor(countMax: number) {
    this.#half = Math.max(1, countMax >>> 1);
  }

  /** An upper bound: an entry may be in both. */
  get size(): number {
    return this.#young.size + (this.#old?.size ?? 0);
  }

  get(key: K): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    if (this.#old === null) return undefined;
    const old = this.#old.get(key);
    if (old !== undefined) {
      this.#old.delete(key);
      this.set(key, old);
    }
    return old;
  }

  set(key: K, value: V): void {
    if (this.#young.size >= this.#half && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }

  delete(key: K): void {
    this.#young.delete(key);
    this.#old?.delete(key);
  }

  clear(): void {
    if (this.#young.size > 0) this.#young = new Map();
    this.#old = null;
  }
}
