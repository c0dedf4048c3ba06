import { z } from '@hono/zod-openapi';
import { PageQuery, page, text } from '../http/schemas.ts';
import { jobStatuses } from '../jobs/schemas.ts';
import { ReadingsQueryBody } from '../readings/schemas.ts';

export const exportFormats = ['csv', 'ndjson', 'parquet', 'arrow'] as const;
export type ExportFormat = (typeof exportFormats)[number];
export const exportCompressions = ['gzip', 'zstd'] as const;
export type ExportCompression = (typeof exportCompressions)[number];

const DAY_SECONDS = 86_400;
const KEPT_SECONDS_MAX = 28 * DAY_SECONDS;
export const KEPT_SECONDS = 7 * DAY_SECONDS;
const STATEMENT_CHARACTERS_MAX = 32_768;

const SqlQuestion = z.strictObject({
  query: z.string().min(1).max(STATEMENT_CHARACTERS_MAX).describe('One SELECT, as POST /sql takes it.'),
  parameters: z
    .record(
      z.string().max(64),
      z.union([
        z.string().max(8_192),
        z.number(),
        z.boolean(),
        z.null(),
        z.array(z.union([z.string().max(1_024), z.number()])).max(1_000),
      ]),
    )
    .optional(),
});
export type SqlQuestion = z.output<typeof SqlQuestion>;

export const NewExportBody = z
  .strictObject({
    query: ReadingsQueryBody.optional().describe('Readings, as POST /readings/query asks for them.'),
    sql: SqlQuestion.optional().describe('The answer of a statement, in the place of a query.'),
    format: z.enum(exportFormats),
    compression: z.enum(exportCompressions).optional().describe('Of csv, ndjson and arrow; Parquet is compressed.'),
    spreadsheet: z
      .boolean()
      .optional()
      .describe(
        'Of csv: text that begins with = + - @, a tab or a carriage return gets an apostrophe before it, so that no spreadsheet takes it for a formula.',
      ),
    name: text(200).min(1).optional().describe('What the files are called by; export if left out.'),
    destination: z
      .union([
        z.literal('download'),
        z.strictObject({
          s3: z.strictObject({
            prefix: z
              .string()
              .max(200)
              .regex(/^(?:[\w-][\w.-]*(?:\/[\w-][\w.-]*)*\/?)?$/, 'must be a path of letters, digits, ., _, - and /')
              .optional()
              .describe('Below <prefix of the platform>/<organisation>/.'),
          }),
        }),
      ])
      .optional()
      .describe('download if left out; or the bucket that the platform is configured with.'),
    expires_in: z
      .int()
      .min(60)
      .max(KEPT_SECONDS_MAX)
      .optional()
      .describe('Seconds that files for download are kept once all are made: 7 days if left out, 28 at most.'),
  })
  .superRefine((body, context) => {
    const wrong = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message });
    if ((body.query === undefined) === (body.sql === undefined)) wrong('query', 'give either query or sql');
    if (body.compression !== undefined && body.format === 'parquet')
      wrong('compression', 'Parquet is compressed already: leave it out');
    if (body.spreadsheet !== undefined && body.format !== 'csv') wrong('spreadsheet', 'is for csv');
  })
  .openapi('NewExport');
export type NewExportBody = z.output<typeof NewExportBody>;

export const ExportAnswer = z
  .object({
    id: z.uuid().describe('Also of its job.'),
    org: z.uuid(),
    name: z.string(),
    status: z.enum([...jobStatuses, 'expired']),
    reason: z.string().nullable().describe('Why it failed.'),
    query: z.record(z.string(), z.unknown()).optional(),
    sql: z.record(z.string(), z.unknown()).optional(),
    format: z.enum(exportFormats),
    compression: z.enum(exportCompressions).nullable(),
    destination: z.enum(['download', 's3']),
    left_out: z.int().describe('Channels of the organisation that are not in it, since you may not read them.'),
    rows: z.int().describe('That have been written.'),
    rows_total: z.int().describe('As counted when it began; 0 while or where it is not known.'),
    bytes: z.int(),
    created_by: z.string().nullable(),
    created_at: z.iso.datetime(),
    finished_at: z.iso.datetime().nullable(),
    expires_at: z.iso.datetime().nullable(),
    files: z.array(
      z.object({
        name: z.string(),
        bytes: z.int(),
        rows: z.int(),
        sha256: z.string().describe('Of the bytes of the file, hex.'),
        url: z.string().describe('Where it is: a path of this API, or s3://bucket/key.'),
        here: z.boolean().describe('Whether this node can give it.'),
      }),
    ),
  })
  .openapi('Export');
export const ExportListQuery = PageQuery;
export const ExportsPage = page('exports', ExportAnswer.omit({ files: true, bytes: true }));
