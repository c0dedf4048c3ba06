/** So long a count is trusted; other nodes add meanwhile. */
const COUNT_MS_MAX = 10_000;
const ENTRIES_MAX = 10_000;

/** Which orgs surely have room for more, so that their rows need not be counted each time.
 *  @holds a tenth of the limit is left to what other nodes add before the next count */
export class Room {
  readonly #slack: number;
  readonly #left = new Map<string, { rows: number; readonly countedMs: number }>();

  constructor(rowsMax: number) {
    this.#slack = rowsMax / 10;
  }

  /** Of these orgs the ones that may take `rows` without being counted. */
  sure(orgs: Iterable<string>, rows: number, nowMs: number): string[] {
    return [...new Set(orgs)].filter((org) => {
      const left = this.#left.get(org);
      return left !== undefined && nowMs - left.countedMs < COUNT_MS_MAX && left.rows > rows + this.#slack;
    });
  }

  /** @param left what a count gave before these rows were added; null: it was not counted */
  grown(org: string, rows: number, left: number | null, nowMs: number): void {
    const known = this.#left.get(org);
    if (left !== null) {
      if (this.#left.size >= ENTRIES_MAX) this.#left.clear();
      this.#left.set(org, { rows: left - rows, countedMs: nowMs });
    } else if (known !== undefined) {
      known.rows -= rows;
    }
  }
}
