import { Registry } from '@millrace/core';

/** Metrics of this process together with those of others, which bear a label that tells them apart. */
export class GatheredMetrics extends Registry {
  /** Texts of the others. */
  others: () => Promise<readonly string[]> = async () => [];

  override async metrics(): Promise<string> {
    const [own, others] = await Promise.all([super.metrics(), this.others()]);
    return others.length === 0 ? own : mergeMetrics([own, ...others]);
  }
}

/** One text of several: a family stands together, under the first one's description.
 *  @source Prometheus text format 0.0.4: "all lines for a given metric must be provided as one single group" */
export function mergeMetrics(texts: readonly string[]): string {
  const families = new Map<string, string[]>();
  for (const text of texts) {
    let lines: string[] = [];
    let known = false;
    for (const line of text.split('\n')) {
      if (line === '') continue;
      if (line.startsWith('# HELP ')) {
        const name = line.split(' ', 3)[2] as string;
        const family = families.get(name);
        known = family !== undefined;
        lines = family ?? [];
        families.set(name, lines);
      }
      if (known && line.startsWith('#')) continue;
      lines.push(line);
    }
  }
  return `${[...families.values()].map((lines) => lines.join('\n')).join('\n\n')}\n`;
}
