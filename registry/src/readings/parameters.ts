import { z } from '@hono/zod-openapi';
import { fills, protocolNames, type ReadingsQuery } from '@millrace/core';
import { Refusal } from '../http/refusal.ts';
import { count, PageQuery } from '../http/schemas.ts';
import { timeFormats } from '../http/time.ts';
import { INSTANT, isInstant, parseInstantUs } from './instant.ts';
import { aggregation, interval, type ReadingsQueryBody, timeZone } from './schemas.ts';

const PAGE_MAX = 1_000;

const instant = z.string().max(64).refine(isInstant, `must be ${INSTANT}`);
const word = z
  .string()
  .max(1_024)
  .refine((text) => !text.includes('\0'), 'holds a character that can not be kept');

/** Parameters of the classic dialect, and what we have beside. */
export const MessagesQuery = PageQuery.extend({
  limit: z
    .union([z.literal('all'), count(999_999_999).pipe(z.number().min(1))], 'must be a whole number, or all')
    .optional()
    .describe('How many to give at most: 1 to 1000 of a page (10); any, or all, of a streamed format (all).')
    .openapi({ type: 'string' }),
  cursor: z.string().min(1).max(4_096).optional().describe('From the page before; takes the place of offset.'),
  name: word.optional().describe('Full name of the reading.'),
  subtopic: word.optional().describe('Exactly this subtopic, its segments parted by slashes.'),
  publisher: word.optional().describe('Id of the thing or user that published.'),
  protocol: z.enum(protocolNames).optional().describe('By which the message came.'),
  from: instant.optional().describe(`From this time on: ${INSTANT}.`),
  to: instant.optional().describe('Before this time.'),
  v: z
    .string()
    .regex(/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/, 'must be a number')
    .transform(Number)
    .pipe(z.number())
    .optional()
    .describe('Number to compare the value with.'),
  vs: word.optional().describe('Text to compare the string value with.'),
  vb: z.enum(['true', 'false']).optional().describe('Truth value.'),
  vd: z
    .string()
    .regex(/^[\w-]*={0,2}$/, 'must be base64url')
    .max(8_192)
    .optional()
    .describe('Data value, base64url.'),
  comparator: z
    .enum(['eq', 'lt', 'le', 'gt', 'ge', 'contains'])
    .optional()
    .describe('How v and vs compare: eq if left out; lt means value < v; contains is for vs.'),
  order: z.enum(['time', 'name']).optional().describe('time if left out'),
  dir: z.enum(['asc', 'desc']).optional().describe('desc for time and asc for name if left out'),
  aggregation: aggregation
    .refine((name) => name !== 'histogram', 'must give one number: POST /readings/query has histograms')
    .optional()
    .describe('As MAX, MIN, SUM, COUNT, AVG, first, last, median, p95, in any case: one value a bucket and series.')
    .openapi({ type: 'string' }),
  interval: interval
    .optional()
    .describe('Width of a bucket, as 5m or "1 hour". One bucket for all, if left out.')
    .openapi({ type: 'string' }),
  time_zone: timeZone.optional(),
  fill: z.enum(fills).optional().describe('What buckets without readings are given: none if left out.'),
  format: z
    .enum(['json', 'messages', 'ndjson', 'csv', 'arrow', 'parquet'])
    .optional()
    .describe('In the place of Accept. messages is json.'),
  time: z.enum(timeFormats).optional().describe('How times are written: s if left out, to the microsecond.'),
  total: z.enum(['exact', 'estimate']).optional().describe('Counting exactly costs a full read; estimate if left out.'),
}).superRefine(({ aggregation: aggregated, interval: width, fill, comparator, v }, context) => {
  const wrong = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message });
  if (aggregated === undefined && width !== undefined) wrong('interval', 'it needs an aggregation');
  if (aggregated === undefined && fill !== undefined) wrong('fill', 'it needs an aggregation');
  if (comparator === 'contains' && v !== undefined) wrong('comparator', 'contains is for vs, not for v');
});
export type MessagesParameters = z.output<typeof MessagesQuery>;

/** Of a page.  @throws Refusal 400 */
export function pageLimit({ limit = 10 }: Pick<MessagesParameters, 'limit'>): number {
  if (limit !== 'all' && limit <= PAGE_MAX) return limit;
  throw new Refusal(
    400,
    `The parameter "limit" is wrong: a page has ${PAGE_MAX} at most; format=ndjson, csv, arrow and parquet give any number.`,
  );
}

const direction = ({ dir, order }: MessagesParameters): 'asc' | 'desc' => dir ?? (order === 'name' ? 'asc' : 'desc');

const given = <K extends string, V>(key: K, value: V | undefined): { [Key in K]?: V } =>
  (value === undefined ? {} : { [key]: value }) as { [Key in K]?: V };

/** What the store is asked for a page.  @throws Refusal 400 */
export function readingsQuery(
  parameters: MessagesParameters,
  org: string,
  channel: string,
  nowMs: number,
): ReadingsQuery {
  const { comparator = 'eq', order = 'time', time_zone: zone = 'UTC' } = parameters;
  const at = (edge: 'from' | 'to'): bigint | undefined => {
    const text = parameters[edge];
    if (text === undefined) return undefined;
    const us = parseInstantUs(text, { nowMs, timeZone: zone, edge });
    if (us === null) throw new Refusal(400, `The parameter "${edge}" is wrong: it lies beyond what a calendar holds.`);
    return us;
  };
  return {
    org,
    channel,
    offset: parameters.cursor === undefined ? (parameters.offset ?? 0) : 0,
    limit: pageLimit(parameters),
    order,
    direction: direction(parameters),
    total: parameters.total ?? 'estimate',
    ...given('cursor', parameters.cursor),
    ...given('name', parameters.name),
    ...given('subtopic', parameters.subtopic),
    ...given('publisher', parameters.publisher),
    ...given('protocol', parameters.protocol),
    ...given('fromUs', at('from')),
    ...given('toUs', at('to')),
    ...given(
      'value',
      parameters.v === undefined || comparator === 'contains' ? undefined : { comparator, operand: parameters.v },
    ),
    ...given('stringValue', parameters.vs === undefined ? undefined : { comparator, operand: parameters.vs }),
    ...given('boolValue', parameters.vb === undefined ? undefined : parameters.vb === 'true'),
    ...given('dataValue', parameters.vd?.replace(/=+$/, '')),
  };
}

/** The same as a query of many series, for what a page is not: buckets, and streams.
 *  @throws Refusal 400 for offset, cursor and total, which are of pages */
export function bodyOf(parameters: MessagesParameters, limit: number | undefined): ReadingsQueryBody {
  const { order, name, subtopic, publisher, protocol } = parameters;
  return {
    ...given('names', name === undefined ? undefined : [name]),
    ...given('subtopics', subtopic === undefined ? undefined : [subtopic]),
    ...given('publishers', publisher === undefined ? undefined : [publisher]),
    ...given('protocols', protocol === undefined ? undefined : [protocol]),
    ...given('from', parameters.from),
    ...given('to', parameters.to),
    ...given('v', parameters.v),
    ...given('vs', parameters.vs),
    ...given('vb', parameters.vb === undefined ? undefined : parameters.vb === 'true'),
    ...given('vd', parameters.vd),
    ...given('comparator', parameters.comparator),
    ...given('aggregations', parameters.aggregation === undefined ? undefined : [parameters.aggregation]),
    ...given('interval', parameters.interval),
    ...given('time_zone', parameters.time_zone),
    ...given('fill', parameters.fill),
    ...given('order', order),
    dir: direction(parameters),
    ...given('limit', limit),
  };
}
