/** The sum over all samples of a metric in the Prometheus text format whose labels contain all of `labels`. */
export function metricSum(text: string, name: string, labels: Readonly<Record<string, string>> = {}): number {
  return metricValues(text, name, labels).reduce((sum, value) => sum + value, 0);
}

/** The samples themselves; none if the metric is not there. */
export function metricValues(text: string, name: string, labels: Readonly<Record<string, string>> = {}): number[] {
  const values: number[] = [];
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  for (const line of text.split('\n')) {
    if (!line.startsWith(name)) continue;
    const next = line[name.length];
    if (next !== ' ' && next !== '{') continue;
    const close = next === '{' ? line.lastIndexOf('}') : name.length - 1;
    const given = next === '{' ? line.slice(name.length + 1, close).split(',') : [];
    if (!wanted.every((pair) => given.includes(pair))) continue;
    const value = Number(line.slice(close + 2).split(' ')[0]);
    if (Number.isFinite(value)) values.push(value);
  }
  return values;
}
