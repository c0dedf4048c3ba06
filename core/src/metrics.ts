import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What a room counts with. Passed in, never imported: one registry a process, made by `app`.
 *  @holds names start with `millrace_` and end in a unit or `_total`; labels come from closed unions */
export interface Metrics {
  readonly registry: Registry;
  counter<L extends string>(name: MetricName, help: string, labels?: readonly L[]): Counter<L>;
  gauge<L extends string>(
    name: MetricName,
    help: string,
    labels?: readonly L[],
    collect?: (gauge: Gauge<L>) => void | Promise<void>,
  ): Gauge<L>;
  histogram<L extends string>(
    name: MetricName,
    help: string,
    buckets: readonly number[],
    labels?: readonly L[],
  ): Histogram<L>;
}
export type MetricName = `millrace_${string}`;

/** Metrics over a registry of their own. Asking twice for a name gives the same metric. */
export function createMetrics(registry: Registry = new Registry()): Metrics {
  const known = <M>(name: string): M | undefined => registry.getSingleMetric(name) as M | undefined;
  return {
    registry,
    counter<L extends string>(name: MetricName, help: string, labels: readonly L[] = []) {
      return known<Counter<L>>(name) ?? new Counter<L>({ name, help, labelNames: [...labels], registers: [registry] });
    },
    gauge<L extends string>(
      name: MetricName,
      help: string,
      labels: readonly L[] = [],
      collect?: (gauge: Gauge<L>) => void | Promise<void>,
    ) {
      const found = known<Gauge<L>>(name);
      if (found !== undefined) return found;
      const gauge: Gauge<L> = new Gauge<L>({
        name,
        help,
        labelNames: [...labels],
        registers: [registry],
        ...(collect === undefined ? {} : { collect: () => collect(gauge) }),
      });
      return gauge;
    },
    histogram<L extends string>(name: MetricName, help: string, buckets: readonly number[], labels: readonly L[] = []) {
      return (
        known<Histogram<L>>(name) ??
        new Histogram<L>({ name, help, buckets: [...buckets], labelNames: [...labels], registers: [registry] })
      );
    },
  };
}

/** Adds what the process itself uses: CPU, memory, garbage collection, delay of the event loop. */
export function measureProcess(metrics: Metrics): void {
  collectDefaultMetrics({ register: metrics.registry, prefix: 'millrace_' });
}
