import { z } from '@hono/zod-openapi';
import { page, shared, text } from '../http/schemas.ts';

export const QUERY_SIZE_MAX = 65_536;
const PARAMETERS_MAX = 100;
const PARAMETER_SIZE_MAX = 65_536;

export const query = text(QUERY_SIZE_MAX)
  .min(1)
  .describe('One SELECT of ClickHouse’s SQL over the tables of GET /sql/schema, or EXPLAIN of one.');
const one = z.union([text(PARAMETER_SIZE_MAX), z.number(), z.boolean(), z.null()]);
const parameter = z.union([one, z.array(z.union([text(1_024), z.number()])).max(10_000)]);
export const parameters = z
  .record(z.string().regex(/^[A-Za-z_]\w{0,63}$/, 'must be a word'), parameter)
  .refine((value) => Object.keys(value).length <= PARAMETERS_MAX, `has more than ${PARAMETERS_MAX} members`)
  .describe('Values of {name:Type} in the statement. 64-bit integers and times are given as text.');
const timeout = z.number().positive().max(3_600).describe('Seconds that it may take, if fewer than your role allows.');
const format = z.enum(['json', 'ndjson', 'csv', 'arrow', 'parquet']).describe('In place of Accept.');

export const SqlBody = z.strictObject({
  query,
  parameters: parameters.optional(),
  timeout: timeout.optional(),
  format: format.optional(),
});
export const RunBody = SqlBody.omit({ query: true });

export const SqlAnswer = z
  .object({
    columns: z.array(z.object({ name: z.string(), type: z.string().describe('Of ClickHouse.') })),
    data: z
      .array(z.record(z.string(), z.unknown()))
      .describe('An object a row. 64-bit integers, decimals, nan and inf are text.'),
    rows: z.int(),
    statistics: z.object({ elapsed: z.number().describe('Seconds.'), bytes: z.int().describe('Of the answer.') }),
  })
  .openapi('SqlAnswer');

const column = z.object({ name: z.string(), type: z.string(), comment: z.string() });
export const SqlSchemaAnswer = z
  .object({
    tables: z.array(z.object({ name: z.string(), comment: z.string(), columns: z.array(column) })),
    functions: z
      .record(z.string(), z.array(z.string()))
      .describe('By group. Combinators as -If and -OrNull are allowed, too.'),
    limits: z.object({
      seconds: z.number(),
      memory_bytes: z.number(),
      rows_read: z.number(),
      result_rows: z.number(),
      result_bytes: z.number(),
    }),
  })
  .openapi('SqlSchema');

export const SavedQueryBody = z.strictObject({
  name: text(256).min(1),
  description: text(4_096).optional(),
  query,
  parameters: parameters.optional(),
});
const { metadata: _metadata, tags: _tags, enabled: _enabled, ...common } = shared;
export const SavedQueryAnswer = z
  .object({ ...common, description: z.string(), query: z.string(), parameters: z.record(z.string(), z.unknown()) })
  .openapi('SavedQuery');
export const SavedQueriesPage = page('queries', SavedQueryAnswer);
