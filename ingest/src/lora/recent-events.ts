/** Events that were taken of late, by their keys, so that one which a network server tells again is told what became of
 *  it the first time. Two generations: when the young one is old or full, it becomes the old one.
 *  @holds at most `max` entries; an entry is known for `keptMs` at least unless there are more */
export class RecentEvents<T> {
  #young = new Map<string, T>();
  #old = new Map<string, T>();
  #turnAtMs: number;
  readonly #max: number;
  readonly #keptMs: number;
  readonly #nowMs: () => number;

  constructor(max: number, keptMs: number, nowMs: () => number = performance.now.bind(performance)) {
    this.#max = Math.floor(max / 2);
    this.#keptMs = keptMs;
    this.#nowMs = nowMs;
    this.#turnAtMs = nowMs() + keptMs;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: string): T | undefined {
    this.#turn();
    return this.#young.get(key) ?? this.#old.get(key);
  }

  add(key: string, value: T): void {
    if (this.#max === 0) return;
    this.#turn();
    this.#old.delete(key);
    this.#young.set(key, value);
  }

  delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  #turn(): void {
    const now = this.#nowMs();
    if (now < this.#turnAtMs && this.#young.size < this.#max) return;
    this.#old = now >= this.#turnAtMs + this.#keptMs ? new Map() : this.#young;
    this.#young = new Map();
    this.#turnAtMs = now + this.#keptMs;
  }
}
