import { rangesOf } from '../http/negotiation.ts';
import { type Label, labels, METRIC } from './selector.ts';

/** A latest value, as the store's lines tell it.  @units time in ms since 1970 */
export type LatestLine = Readonly<Record<Exclude<Label, 'unit'>, string>> & {
  readonly unit?: string;
  readonly time: number | string;
  readonly value?: number | null;
  readonly bool_value?: boolean;
  readonly sum?: number;
};
export interface Sample {
  readonly labels: Readonly<Record<Label, string>>;
  readonly value: number;
  readonly timeMs: number;
}

/** What of a latest value is a number; truth is 1. null: text, data, or a number that JSON does not know. */
export function sampleOf(line: LatestLine): Sample | null {
  const { channel, publisher, name, subtopic, unit = '' } = line;
  const value = typeof line.bool_value === 'boolean' ? Number(line.bool_value) : line.value;
  if (typeof value !== 'number') return null;
  return { labels: { channel, publisher, name, subtopic, unit }, value, timeMs: Math.floor(Number(line.time)) };
}

export type Exposition = 'text' | 'openmetrics';
const TYPES: Readonly<Record<Exposition, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};
export const typeOf = (form: Exposition): string => TYPES[form];

/** By what Prometheus says it understands. */
export function expositionOf(accept: string | null): Exposition {
  const ranges = rangesOf(accept ?? '');
  const quality = (name: string): number => ranges.find((range) => range.name === name)?.quality ?? 0;
  const open = quality('application/openmetrics-text');
  return open > 0 && open >= quality('text/plain') ? 'openmetrics' : 'text';
}

/** Each series once.  @source Prometheus text format 0.0.4; OpenMetrics 1.0.0 */
export function exposed(samples: readonly Sample[], form: Exposition): string {
  const seen = new Set<string>();
  const lines = [`# HELP ${METRIC} Latest value of a series of readings.`, `# TYPE ${METRIC} gauge`];
  for (const { labels: given, value, timeMs } of samples) {
    const series = labels
      .filter((label) => given[label] !== '')
      .map((label) => `${label}="${escaped(given[label])}"`)
      .join(',');
    if (seen.has(series)) continue;
    seen.add(series);
    lines.push(`${METRIC}{${series}} ${value} ${form === 'text' ? timeMs : timeMs / 1_000}`);
  }
  if (form === 'openmetrics') lines.push('# EOF');
  return `${lines.join('\n')}\n`;
}

const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
