import type { Questions, ReadingsSelection, Slice } from '@millrace/core';
import type { Asker } from '../read/asker.ts';
import { selectReadings } from './selection.ts';

/** Buckets of one look: each look makes slices so much finer. */
const BUCKETS_MAX = 1_024n;

interface Span {
  readonly fromUs: bigint;
  readonly toUs: bigint;
  readonly rows: number;
}

/** Cuts a selection into ranges of time of about as many rows: counts them in equal buckets, joins neighbours while they
 *  fit, and looks closer where one bucket alone has too many. */
export function createSlices(asker: Asker): Questions['slices'] {
  return async (selection, rowsMax, signal) => {
    const { where, parameters } = selectReadings(selection);
    const ns = 'toUnixTimestamp64Nano(readings.time)';
    const options = { org: selection.org, urgency: 'background', signal } as const;
    const [extent] = await asker.ask<{ rows: number; oldest: string; newest: string }>(
      'export',
      `SELECT toFloat64(count()) AS rows, toString(min(${floored(ns, '1000')})) AS oldest, toString(max(${floored(ns, '1000')})) AS newest
       FROM readings WHERE ${where.join(' AND ')}`,
      parameters,
      options,
    );
    const rows = Number(extent?.rows ?? 0);
    if (extent === undefined || rows === 0) return [];

    const finer = async (span: Span): Promise<Span[]> => {
      const widthUs = (span.toUs - span.fromUs + BUCKETS_MAX - 1n) / BUCKETS_MAX;
      if (span.rows <= rowsMax || span.toUs - span.fromUs <= 1n) return [span];
      const within = selectReadings({ ...selection, fromUs: span.fromUs, toUs: span.toUs });
      const buckets = await asker.ask<{ bucket: string; rows: number }>(
        'export',
        `SELECT toString(${floored(`(${ns} - {slice_from:Int64})`, '{slice_width:Int64}')}) AS bucket, toFloat64(count()) AS rows
         FROM readings WHERE ${within.where.join(' AND ')} GROUP BY bucket ORDER BY toInt64(bucket)`,
        {
          ...within.parameters,
          slice_from: String(span.fromUs * 1_000n),
          slice_width: String(widthUs * 1_000n),
        },
        options,
      );
      const spans: Span[] = [];
      for (const { bucket, rows: count } of buckets) {
        const fromUs = span.fromUs + BigInt(bucket) * widthUs;
        const toUs = fromUs + widthUs < span.toUs ? fromUs + widthUs : span.toUs;
        spans.push(...(await finer({ fromUs, toUs, rows: Number(count) })));
      }
      return spans;
    };
    const whole = { fromUs: BigInt(extent.oldest), toUs: BigInt(extent.newest) + 1n, rows };
    return withoutGaps(joined(await finer(whole), rowsMax), selection);
  };
}

/** Whole numbers below, also of negative ones. */
const floored = (number: string, divisor: string): string =>
  `intDiv(${number} - positiveModulo(${number}, ${divisor}), ${divisor})`;

function joined(spans: readonly Span[], rowsMax: number): Span[] {
  const result: Span[] = [];
  for (const span of spans) {
    const last = result.at(-1);
    if (last !== undefined && last.rows + span.rows <= rowsMax)
      result[result.length - 1] = { fromUs: last.fromUs, toUs: span.toUs, rows: last.rows + span.rows };
    else result.push(span);
  }
  return result;
}

/** Each begins where the one before ends, the first and the last where the selection does. */
function withoutGaps(spans: readonly Span[], { fromUs, toUs }: ReadingsSelection): Slice[] {
  return spans.map(({ fromUs: own, rows }, index) => {
    const next = spans[index + 1];
    const from = index === 0 ? fromUs : own;
    const to = next === undefined ? toUs : next.fromUs;
    return { rows, ...(from === undefined ? {} : { fromUs: from }), ...(to === undefined ? {} : { toUs: to }) };
  });
}
