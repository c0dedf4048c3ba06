import { fileURLToPath } from 'node:url';
import type { Figures } from '../figures.ts';
import type { Machine } from '../report.ts';

/** What `bench road --coap` writes to bench/results. */
export interface CoapReport {
  readonly format: 1;
  readonly benchmark: 'road-coap';
  readonly date: string;
  readonly machine: Machine;
  readonly settings: {
    readonly rounds: number;
    readonly seconds: number;
    readonly clients: number;
    readonly channels: number;
    readonly observers: number;
    readonly pinned: boolean;
    readonly environment: Readonly<Record<string, string>>;
  };
  readonly figures: Figures;
  readonly targets: readonly CoapTarget[];
}
export interface CoapTarget {
  readonly name: string;
  readonly unit: string;
  readonly atLeast: boolean;
  readonly bound: number;
  /** null: not measured. */
  readonly value: number | null;
  readonly reached: boolean | null;
}

/** What the figures are held against. */
export function judgeCoap(figures: Figures): CoapTarget[] {
  const value = (name: string): number | null => figures[name]?.median ?? null;
  const ratio = (own: string, other: string): number | null => {
    const [a, b] = [value(own), value(other)];
    return a === null || b === null || b === 0 ? null : a / b;
  };
  const target = (name: string, unit: string, found: number | null, atLeast: boolean, bound: number): CoapTarget => ({
    name,
    unit,
    atLeast,
    bound,
    value: found === null ? null : Number(found.toPrecision(4)),
    reached: found === null ? null : atLeast ? found >= bound : found <= bound,
  });
  const whole = value('millrace/observe/missing') === 0 && value('millrace/observe/duplicates') === 0;
  return [
    target(
      'confirmable POST/s, durable and authorised, to the bare parse and acknowledgement',
      '×',
      ratio('millrace/publish/requests_per_second', 'floor/publish/requests_per_second'),
      true,
      0.3,
    ),
    target(
      'notifications/s to 1,000 observers, each once',
      '/s',
      whole ? value('millrace/observe/delivered_per_second') : null,
      true,
      // What is due, less the rounding of the last round.
      19_500,
    ),
    target('RSS under load above idle', 'MiB', value('millrace/load/memory_above_idle'), false, 400),
    target(
      "CoAPS to CoAP, requests for each second of the server's CPU",
      '×',
      ratio('millrace/secure/requests_per_core_second', 'millrace/publish/requests_per_core_second'),
      true,
      0.5,
    ),
    target(
      "PSK handshakes for each second of the server's CPU",
      '/s',
      value('millrace/handshakes/per_core_second'),
      true,
      4_000,
    ),
    target('memory, last third of the soak to the first', '×', value('millrace/soak/rss_ratio'), false, 1.1),
  ];
}

export function coapResultFile(date: string): string {
  return fileURLToPath(new URL(`../../results/${date.slice(0, 10)}-road-coap.json`, import.meta.url));
}
