import { deepEqual, equal, ok } from 'node:assert/strict';
import type { Series, SeriesAnswer, SeriesPoint } from '@millrace/core';

export const TIMES = ['s', 'ms', 'us', 'ns', 'rfc3339'] as const;
type Time = (typeof TIMES)[number];

/** Holds what the engine wrote of an answer to the answer: all but the last bits, and what JSON does not know. */
export function saysTheSame(
  text: SeriesAnswer<string | readonly SeriesPoint[]>,
  answer: SeriesAnswer,
  time: Time,
): void {
  const labels = ({ points: _, ...rest }: Series<unknown>): unknown => rest;
  deepEqual([text.columns, text.cut, text.used], [answer.columns, answer.cut, answer.used]);
  deepEqual(text.series.map(labels), answer.series.map(labels));
  for (const [index, { points }] of text.series.entries()) {
    if (typeof points !== 'string') continue;
    const wanted = answer.series[index]?.points ?? [];
    // A double does not hold ns.
    const told = JSON.parse(`[${points.replaceAll(/\[(-?\d+),/g, '["$1",')}]`) as (string | number | null)[][];
    deepEqual(
      told.map(([at]) => String(at)),
      wanted.map(({ timeNs }) => written(BigInt(timeNs), time)),
    );
    for (const [at, [, ...values]] of told.entries())
      for (const [column, value] of values.entries()) {
        const exact = wanted[at]?.values[column];
        if (typeof exact !== 'number' || !Number.isFinite(exact)) equal(value, null);
        else ok(Math.abs(Number(value) - exact) <= 1e-9 * largest(answer, column), `${value}, wanted ${exact}`);
      }
  }
}

/** Sums of the same in another order differ by so much of the largest. */
function largest({ series }: SeriesAnswer, column: number): number {
  const values = series.flatMap(({ points }) => points.map((point) => Math.abs(Number(point.values[column] ?? 0))));
  return values.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, value) : most), 1);
}

function written(ns: bigint, time: Time): string {
  const floored = (by: bigint): bigint => (ns - (((ns % by) + by) % by)) / by;
  if (time === 'ns') return String(ns);
  if (time === 'us') return String(floored(1_000n));
  if (time === 'ms') return String(floored(1_000_000n));
  if (time === 's') return String(Number(floored(1_000n)) / 1e6);
  const fraction = String(ns - floored(1_000_000_000n) * 1_000_000_000n).padStart(9, '0');
  const rest = fraction.replace(/0+$/, '');
  return `${new Date(Number(floored(1_000_000n))).toISOString().slice(0, 19)}${rest === '' ? '' : `.${rest}`}Z`;
}
