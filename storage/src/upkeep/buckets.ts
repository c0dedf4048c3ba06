import type { Deletion, TimeSpan } from '@millrace/core';
import { instant, seriesConditions, timeConditions } from './selection.ts';

export const MINUTE_US = 60_000_000n;
export const HOUR_US = 3_600_000_000n;

/** Conditions on `rollups` for the buckets of a deletion's series that touch a span. */
export interface Buckets {
  readonly minutes: string;
  readonly hours: string;
  /** Last values that lie in the deletion, whatever the span. */
  readonly latest: string;
  readonly any: string;
  /** On `readings`: all that the minutes are made of. */
  readonly readings: string;
  /** On `latest_others`: the same of what is no number. */
  readonly others: string;
  /** On `readings`: all that may be the last in place of one that was deleted. Of readings after the deletion's end the
   *  last value is later than that, so it was not deleted. */
  readonly earlier: string;
}

/** @param span null: that of the deletion */
export function bucketsOf(deletion: Deletion, span: TimeSpan | null): Buckets {
  const series = seriesConditions(deletion);
  const { fromUs, toUs } = span ?? deletion;
  const touching = (width: bigint): TimeSpan => ({
    ...(fromUs === undefined ? {} : { fromUs: floor(fromUs, width) }),
    ...(toUs === undefined ? {} : { toUs: -floor(-toUs, width) }),
  });
  const within = (column: string, of: TimeSpan, more: readonly string[]): string =>
    [
      ...series,
      ...more,
      ...(of.fromUs === undefined ? [] : [`${column} >= ${instant(of.fromUs)}`]),
      ...(of.toUs === undefined ? [] : [`${column} < ${instant(of.toUs)}`]),
    ].join(' AND ');
  const minutes = within('bucket', touching(MINUTE_US), ['width = 60']);
  const hours = within('bucket', touching(HOUR_US), ['width = 3600']);
  const latest = [...series, 'width = 0', ...timeConditions('last_time', deletion)].join(' AND ');
  return {
    minutes,
    hours,
    latest,
    any: `(${minutes}) OR (${hours}) OR (${latest})`,
    readings: within('time', touching(MINUTE_US), ['isNotNull(value)']),
    earlier: [...series, ...timeConditions('time', deletion.toUs === undefined ? {} : { toUs: deletion.toUs })].join(
      ' AND ',
    ),
    others: [...series, ...timeConditions('time', deletion)].join(' AND '),
  };
}

/** Minutes that lie in the hours of the span, as hours are made of whole ones. */
export function minutesOfHours(deletion: Deletion, span: TimeSpan | null): string {
  const { fromUs, toUs } = span ?? deletion;
  return bucketsOf(deletion, {
    ...(fromUs === undefined ? {} : { fromUs: floor(fromUs, HOUR_US) }),
    ...(toUs === undefined ? {} : { toUs: -floor(-toUs, HOUR_US) }),
  }).minutes;
}

function floor(us: bigint, width: bigint): bigint {
  const rest = us % width;
  return us - (rest < 0n ? rest + width : rest);
}
