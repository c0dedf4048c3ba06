import type { Rest } from '../millrace.ts';

/** What a metric without labels, or with just these, counts; 0 if it is not there. */
export async function counted(rest: Rest, metric: string): Promise<number> {
  const text = await (await rest.raw('GET', '/metrics')).text();
  const line = text.split('\n').find((each) => each.startsWith(`${metric} `));
  return line === undefined ? 0 : Number(line.slice(metric.length + 1));
}
