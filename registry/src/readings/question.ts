import type { ReadingsSelection, RowsQuestion, SeriesQuestion } from '@millrace/core';
import { Refusal } from '../http/refusal.ts';
import { parseInstantUs } from './instant.ts';
import { POINTS_MAX, type ReadingsQueryBody } from './schemas.ts';

/** What a query comes down to: rows of readings as they are, or series. */
export type Question =
  | { readonly kind: 'rows'; readonly question: RowsQuestion }
  | { readonly kind: 'series'; readonly question: SeriesQuestion };

/** Whose readings, once rights were judged and selectors resolved. */
export interface Scope {
  readonly org: string;
  /** Ids of those that who asks may read. */
  readonly channels: readonly string[];
  /** Of `publishers`, `things` and `selector` together; undefined: anybody. */
  readonly publishers?: readonly string[];
  /** Relative times count from here: one instant for both ends. */
  readonly nowMs: number;
}

const POINTS = 10_000;
const SERIES = 1_000;

/** Whether it asks for series in whatever form; else its rows may be had as they are. */
export const isOfSeries = ({ aggregations, thin, unit }: ReadingsQueryBody): boolean =>
  aggregations !== undefined || thin !== undefined || unit !== undefined;

/** The question that a query asks.  @param asSeries also readings as they are, as JSON answers them
 *  @throws Refusal 422 when its range is none */
export function questionOf(body: ReadingsQueryBody, scope: Scope, asSeries = isOfSeries(body)): Question {
  const selection = selectionOf(body, scope);
  const direction = body.dir ?? 'asc';
  if (!asSeries) {
    const { order = 'time', limit } = body;
    return {
      kind: 'rows',
      question: { ...selection, order, direction, ...(limit === undefined ? {} : { limit }) },
    };
  }
  const { interval, unit, thin, histogram, limit = POINTS } = body;
  if (limit > POINTS_MAX) throw new Refusal(422, `The question is wrong: limit: must be 1 to ${POINTS_MAX} of series.`);
  return {
    kind: 'series',
    question: {
      ...selection,
      aggregations: body.aggregations ?? [],
      ...(interval === undefined ? {} : { interval }),
      timeZone: body.time_zone ?? 'UTC',
      fill: body.fill ?? 'none',
      across: body.across ?? [],
      ...(unit === undefined ? {} : { unit }),
      ...(thin === undefined ? {} : { thin }),
      ...(histogram === undefined
        ? {}
        : {
            histogram: {
              bins: histogram.bins,
              ...(histogram.min === undefined ? {} : { min: histogram.min }),
              ...(histogram.max === undefined ? {} : { max: histogram.max }),
            },
          }),
      direction,
      limit,
      seriesMax: body.series_limit ?? SERIES,
      rollups: body.rollups ?? 'auto',
    },
  };
}

function selectionOf(body: ReadingsQueryBody, { org, channels, publishers, nowMs }: Scope): ReadingsSelection {
  const at = (edge: 'from' | 'to'): bigint | undefined => {
    const text = body[edge];
    if (text === undefined) return undefined;
    const us = parseInstantUs(text, { nowMs, timeZone: body.time_zone ?? 'UTC', edge });
    if (us === null) throw new Refusal(422, `The question is wrong: ${edge}: lies beyond what a calendar holds.`);
    return us;
  };
  const fromUs = at('from');
  const toUs = at('to');
  if (fromUs !== undefined && toUs !== undefined && fromUs > toUs)
    throw new Refusal(422, 'The question is wrong: from: must not be after to.');
  const { v, vs, vb, vd, comparator = 'eq' } = body;
  return {
    org,
    channels,
    ...(publishers === undefined ? {} : { publishers }),
    ...(body.names === undefined ? {} : { names: body.names }),
    ...(body.name_prefix === undefined ? {} : { namePrefix: body.name_prefix }),
    ...(body.subtopics === undefined ? {} : { subtopics: body.subtopics }),
    ...(body.protocols === undefined ? {} : { protocols: body.protocols }),
    ...(fromUs === undefined ? {} : { fromUs }),
    ...(toUs === undefined ? {} : { toUs }),
    ...(v === undefined || comparator === 'contains' ? {} : { value: { comparator, operand: v } }),
    ...(vs === undefined ? {} : { stringValue: { comparator, operand: vs } }),
    ...(vb === undefined ? {} : { boolValue: vb }),
    ...(vd === undefined ? {} : { dataValue: vd.replace(/=+$/, '') }),
  };
}
