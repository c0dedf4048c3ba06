import { z } from '@hono/zod-openapi';
import { protocolNames, type ReadingsQuery } from '@millrace/core';
import { PageQuery } from './schemas.ts';
import { parseTimeUs, timeFormats } from './time.ts';

const time = z
  .string()
  .max(64)
  .transform((text, context) => {
    const us = parseTimeUs(text);
    if (us !== null) return us;
    context.addIssue({ code: 'custom', message: 'must be seconds since 1970 or an RFC 3339 time' });
    return z.NEVER;
  });
const word = z
  .string()
  .max(1_024)
  .refine((text) => !text.includes('\0'), 'holds a character that can not be kept');

export const MessagesQuery = PageQuery.omit({ org: true }).extend({
  cursor: z.string().min(1).max(4_096).optional().describe('From the page before; takes the place of offset.'),
  name: word.optional().describe('Full name of the reading.'),
  subtopic: word.optional().describe('Exactly this subtopic, its segments parted by dots.'),
  publisher: word.optional().describe('Id of the thing or user that published.'),
  protocol: z.enum(protocolNames).optional().describe('By which the message came.'),
  from: time.optional().describe('From this time on: seconds since 1970, or RFC 3339.').openapi({ type: 'string' }),
  to: time.optional().describe('Before this time.').openapi({ type: 'string' }),
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
    .enum(['eq', 'lt', 'le', 'gt', 'ge'])
    .optional()
    .describe('How v and vs compare: eq if left out; lt means value < v.'),
  order: z.enum(['time', 'name']).optional().describe('time if left out'),
  dir: z.enum(['asc', 'desc']).optional().describe('desc for time and asc for name if left out'),
  time: z.enum(timeFormats).optional().describe('How times are written: s if left out, to the microsecond.'),
  total: z.enum(['exact', 'estimate']).optional().describe('Counting exactly costs a full read; estimate if left out.'),
});
type Parameters = z.output<typeof MessagesQuery>;

/** What the store is asked. */
export function readingsQuery(parameters: Parameters, org: string, channel: string): ReadingsQuery {
  const { comparator = 'eq', order = 'time' } = parameters;
  const given = <K extends string, V>(key: K, value: V | undefined): { [Key in K]?: V } =>
    (value === undefined ? {} : { [key]: value }) as { [Key in K]?: V };
  return {
    org,
    channel,
    offset: parameters.cursor === undefined ? (parameters.offset ?? 0) : 0,
    limit: parameters.limit ?? 10,
    order,
    direction: parameters.dir ?? (order === 'time' ? 'desc' : 'asc'),
    total: parameters.total ?? 'estimate',
    ...given('cursor', parameters.cursor),
    ...given('name', parameters.name),
    ...given('subtopic', parameters.subtopic),
    ...given('publisher', parameters.publisher),
    ...given('protocol', parameters.protocol),
    ...given('fromUs', parameters.from),
    ...given('toUs', parameters.to),
    ...given('value', parameters.v === undefined ? undefined : { comparator, operand: parameters.v }),
    ...given('stringValue', parameters.vs === undefined ? undefined : { comparator, operand: parameters.vs }),
    ...given('boolValue', parameters.vb === undefined ? undefined : parameters.vb === 'true'),
    ...given('dataValue', parameters.vd?.replace(/=+$/, '')),
  };
}
