import { median, spread } from './statistics.ts';

/** One figure over all rounds. */
export interface Figure {
  readonly unit: string;
  readonly median: number;
  /** (largest − smallest) / median. */
  readonly spread: number;
  /** One a round. */
  readonly values: readonly number[];
}
export type Figures = Readonly<Record<string, Figure>>;

/** Gathers figures by name, round by round.
 *  @shape names: <what>/<case>/<figure>, as `millrace/packs-10/readings_per_second` */
export class FigureCollector {
  readonly #figures = new Map<string, { unit: string; values: number[] }>();

  add(name: string, unit: string, value: number): void {
    const known = this.#figures.get(name);
    if (known === undefined) this.#figures.set(name, { unit, values: [value] });
    else known.values.push(value);
  }

  figures(): Figures {
    return Object.fromEntries(
      [...this.#figures].map(([name, { unit, values }]) => [
        name,
        { unit, median: rounded(median(values)), spread: rounded(spread(values)), values: values.map(rounded) },
      ]),
    );
  }
}

/** Four significant digits: more would be noise. */
function rounded(value: number): number {
  return Number.isFinite(value) ? Number(value.toPrecision(4)) : 0;
}
