import { z } from '@hono/zod-openapi';
import { type Aggregation, aggregations, fills, protocolNames, seriesFields } from '@millrace/core';
import { Refusal } from '../http/refusal.ts';
import { issuesText } from '../http/route.ts';
import { metadata, text } from '../http/schemas.ts';
import { timeFormats } from '../http/time.ts';
import { INSTANT, isInstant, isTimeZone } from './instant.ts';
import { INTERVAL, parseInterval } from './interval.ts';

export const CHANNELS_MAX = 1_000;
export const PUBLISHERS_MAX = 10_000;
export const NAMES_MAX = 1_000;
export const POINTS_MAX = 1_000_000;
export const SERIES_MAX = 10_000;

const word = z
  .string()
  .max(1_024)
  .refine((value) => !value.includes('\0'), 'holds a character that can not be kept');
const words = (max: number) => z.array(word).max(max);
const things = z.array(z.uuid().transform((value) => value.toLowerCase())).max(PUBLISHERS_MAX);
const instant = z
  .union([z.string().max(64), z.number().transform(String)], `must be ${INSTANT}`)
  .refine(isInstant, `must be ${INSTANT}`);

const QUANTILE = /^p(\d{1,3}(?:\.\d{1,6})?)$/;
export const aggregation = z
  .string()
  .max(16)
  .transform((given) => given.toLowerCase())
  .refine(
    (name) =>
      (aggregations as readonly string[]).includes(name) || Number(QUANTILE.exec(name)?.[1] ?? Number.NaN) <= 100,
    `must be one of ${aggregations.join(', ')}, or a quantile as p50 or p99.9`,
  )
  .transform((name) => name as Aggregation);
export const interval = z
  .string()
  .max(32)
  .transform((given, context) => {
    const parsed = parseInterval(given);
    if (parsed !== null) return parsed;
    context.addIssue({ code: 'custom', message: `must be ${INTERVAL}` });
    return z.NEVER;
  });
export const timeZone = z
  .string()
  .max(64)
  .refine(isTimeZone, 'must be a name of the IANA database, as Europe/Berlin')
  .describe('IANA name: calendar intervals, and /d of relative times, are of this zone. UTC if left out.');

/** Things of the organisation by what they are, in the place of their ids. */
export const ThingSelector = z
  .strictObject({
    metadata: metadata.optional().describe('What their metadata must contain.'),
    tags: z.array(text(128)).max(100).optional().describe('Tags that they have all of.'),
    type: z.enum(['device', 'gateway', 'app']).optional(),
    group_id: z.uuid().optional().describe('In this group or below it.'),
  })
  .describe('Things of the organisation, resolved to publishers when the question is asked: 10,000 at most.');

/** Whose readings. */
const whose = {
  channels: words(CHANNELS_MAX)
    .optional()
    .describe('Ids or aliases. All of the organisation that you may read, if left out.'),
  publishers: words(PUBLISHERS_MAX).optional().describe('Ids of things or users that published.'),
  things: things.optional().describe('The same as publishers, of things.'),
  selector: ThingSelector.optional(),
  names: words(NAMES_MAX).optional().describe('Full names of readings.'),
  subtopics: words(NAMES_MAX).optional().describe('Exactly these subtopics; "" for readings without.'),
};

const queryFields = {
  ...whose,
  name_prefix: word.optional().describe('Beginning of the names.'),
  protocols: z.array(z.enum(protocolNames)).max(protocolNames.length).optional(),
  from: instant
    .optional()
    .describe(`From this time on: ${INSTANT}.`)
    .openapi({ type: ['string', 'number'] }),
  to: instant
    .optional()
    .describe('Before this time.')
    .openapi({ type: ['string', 'number'] }),
  v: z.number().optional().describe('Number to compare the value with.'),
  vs: word.optional().describe('Text to compare the string value with.'),
  vb: z.boolean().optional(),
  vd: z
    .string()
    .regex(/^[\w-]*={0,2}$/, 'must be base64url')
    .max(8_192)
    .optional()
    .describe('Data value, base64url.'),
  comparator: z
    .enum(['eq', 'lt', 'le', 'gt', 'ge', 'contains'])
    .optional()
    .describe('How v and vs compare: eq if left out; contains is for vs.'),
  aggregations: z
    .array(aggregation)
    .min(1)
    .max(16)
    .optional()
    .describe(`Any of ${aggregations.join(', ')}, p0 to p100. Readings as they are, if left out.`),
  interval: interval
    .optional()
    .describe(`Width of a bucket, ${INTERVAL}. One bucket for the whole range, if left out.`)
    .openapi({ type: 'string' }),
  time_zone: timeZone.optional(),
  fill: z.enum(fills).optional().describe('What buckets without readings are given: none if left out.'),
  across: z
    .array(z.enum(seriesFields))
    .max(seriesFields.length)
    .optional()
    .describe('Fields that series are brought together over: ["publisher"] gives one for all publishers of a name.'),
  unit: text(64).optional().describe('Unit that values are converted to, within their dimension.'),
  thin: z.int().min(3).max(100_000).optional().describe('Points of a series at most, by largest triangles.'),
  histogram: z
    .strictObject({ bins: z.int().min(1).max(1_000), min: z.number().optional(), max: z.number().optional() })
    .optional(),
  order: z.enum(['time', 'name']).optional().describe('Of rows: time if left out.'),
  dir: z.enum(['asc', 'desc']).optional().describe('asc if left out; desc gives the newest where limit cuts.'),
  limit: z
    .int()
    .min(1)
    .optional()
    .describe('Points of a series at most (10,000 if left out), or rows at most (all if left out).'),
  series_limit: z.int().min(1).max(SERIES_MAX).optional().describe('Series at most (1,000).'),
  rollups: z.enum(['auto', 'raw']).optional().describe('auto: rollups where they answer exactly.'),
  time: z.enum(timeFormats).optional().describe('How times are written: s if left out, to the microsecond.'),
};

/** A question about many series: what POST /readings/query, exports and live questions are asked. */
export const ReadingsQueryBody = z
  .strictObject(queryFields)
  .superRefine((body, context) => {
    const wrong = (path: keyof typeof body, message: string): void => {
      if (body[path] !== undefined) context.addIssue({ code: 'custom', path: [path], message });
    };
    if (body.aggregations === undefined) {
      wrong('interval', 'needs aggregations: say which');
      wrong('fill', 'needs aggregations and an interval');
      wrong('across', 'needs aggregations');
      wrong('histogram', 'needs "histogram" among the aggregations');
    } else {
      wrong('thin', 'is for readings as they are: leave out aggregations, or thin');
      if (body.interval === undefined && body.fill !== 'none') wrong('fill', 'needs an interval');
      if (body.aggregations.includes('histogram') !== (body.histogram !== undefined))
        context.addIssue({
          code: 'custom',
          path: ['histogram'],
          message: 'and the aggregation "histogram" need each other: {"bins": 10}',
        });
    }
    if (body.comparator !== undefined && body.v === undefined && body.vs === undefined)
      wrong('comparator', 'needs v or vs');
    if (body.comparator === 'contains' && body.v !== undefined) wrong('comparator', 'contains is for vs, not for v');
    const { histogram } = body;
    if (histogram?.min !== undefined && histogram.max !== undefined && !(histogram.min < histogram.max))
      wrong('histogram', 'needs min < max');
  })
  .openapi('ReadingsQuery');
export type ReadingsQueryBody = z.output<typeof ReadingsQueryBody>;

/** Of the latest value of many series. */
export const LatestBody = z
  .strictObject({
    ...whose,
    limit: z.int().min(1).max(100_000).optional().describe('Series at most (1,000).'),
    cursor: z.string().min(1).max(8_192).optional().describe('From the page before.'),
    time: queryFields.time,
  })
  .openapi('LatestQuery');
export type LatestBody = z.output<typeof LatestBody>;
export type WhoseBody = Pick<LatestBody, keyof typeof whose>;

/** Fields that a query string writes as lists, parted by commas, as JSON, or as numbers and truth values. */
const LISTS = ['channels', 'publishers', 'things', 'names', 'subtopics', 'protocols', 'aggregations', 'across'];
const JSONS = ['selector', 'histogram', 'v', 'vb', 'thin', 'limit', 'series_limit'];

/** Of those whose own description does not come along. */
const MEANINGS: Readonly<Record<string, string>> = {
  selector: 'Things of the organisation, as {"metadata": {…}, "tags": […], "type": "device", "group_id": "…"}. JSON.',
  from: `From this time on: ${INSTANT}.`,
  to: 'Before this time.',
  vb: 'Truth value: true or false.',
  interval: `Width of a bucket, ${INTERVAL}. One bucket for the whole range, if left out.`,
  time_zone: 'IANA name: calendar intervals, and /d of relative times, are of this zone. UTC if left out.',
  histogram: 'Bounds and count of its bins, as {"bins": 10, "min": 0, "max": 1}. JSON.',
};

/** The same in a query string: lists parted by commas; selector and histogram as JSON. */
export const ReadingsParameters = z.object(
  Object.fromEntries(
    Object.entries(queryFields).map(([name, { description = MEANINGS[name] ?? '' }]) => {
      const form = LISTS.includes(name) ? 'Parted by commas. ' : '';
      return [name, z.string().max(8_192).optional().describe(`${form}${description}`)];
    }),
  ) as Record<keyof typeof queryFields, z.ZodOptional<z.ZodString>>,
);

/** What the parameters ask.  @throws Refusal 400 that names what is wrong */
export function queryOfParameters(parameters: z.output<typeof ReadingsParameters>): ReadingsQueryBody {
  const body: Record<string, unknown> = {};
  for (const [name, given] of Object.entries(parameters)) {
    if (given === undefined) continue;
    body[name] = LISTS.includes(name) ? given.split(',') : JSONS.includes(name) ? jsonOf(name, given) : given;
  }
  const result = ReadingsQueryBody.safeParse(body);
  if (result.success) return result.data;
  throw new Refusal(400, `The parameters are wrong: ${issuesText(result.error)}.`);
}

function jsonOf(name: string, given: string): unknown {
  try {
    return JSON.parse(given) as unknown;
  } catch {
    throw new Refusal(400, `The parameter "${name}" is wrong: it must be a JSON value, as 0, true or {"bins": 10}.`);
  }
}
