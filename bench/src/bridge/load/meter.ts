import type { Histogram } from '../../load/histogram.ts';
import type { Quantiles } from './plan.ts';

/** @units histogram µs, quantiles ms */
export const quantiles = (histogram: Histogram): Quantiles => ({
  p50: histogram.quantile(0.5) / 1_000,
  p99: histogram.quantile(0.99) / 1_000,
  max: histogram.max / 1_000,
});

/** The cores that this process has taken since. */
export class CpuMeter {
  readonly #cpu = process.cpuUsage();
  readonly #start = performance.now();

  cores(): number {
    const { user, system } = process.cpuUsage(this.#cpu);
    return (user + system) / 1_000 / (performance.now() - this.#start);
  }
}
