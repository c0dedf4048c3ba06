import { z } from '@hono/zod-openapi';

const LONE_SURROGATE = /\p{Surrogate}/u;
/** U+0000 and lone surrogates, as JSON.stringify writes them. */
const UNKEPT = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/;
const METADATA_BYTES_MAX = 64 * 1024;
const METADATA_DEPTH_MAX = 64;

export const text = (charactersMax: number) =>
  z
    .string()
    .max(charactersMax)
    // PostgreSQL keeps no U+0000.
    .refine((value) => !value.includes('\0') && !LONE_SURROGATE.test(value), 'holds a character that can not be kept');
export const metadata = z
  .record(z.string(), z.unknown())
  .refine((value) => !isDeeper(value, METADATA_DEPTH_MAX), {
    message: `is nested deeper than ${METADATA_DEPTH_MAX} levels`,
    // What measures its size walks it by recursion.
    abort: true,
  })
  .refine(
    (value) => Buffer.byteLength(JSON.stringify(value)) <= METADATA_BYTES_MAX,
    `is larger than ${METADATA_BYTES_MAX} bytes`,
  )
  .describe('Anything you like to keep with it, as a JSON object.');
export const tags = z.array(text(128)).max(100);
export const id = z.uuid().describe('Given ids must be UUIDs; left out, one is made.');
export const bulk = <S extends z.ZodType>(one: S) => z.array(one).min(1).max(1_000);

export const count = (max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().max(max));
export const PageQuery = z.object({
  offset: count(999_999_999).optional().describe('How many to skip (0).'),
  limit: count(1_000).pipe(z.number().min(1)).optional().describe('How many to give at most, 1 to 1000 (10).'),
  org: z.uuid().optional().describe('The organisation, if you are a member of several.'),
});
export const ListQuery = PageQuery.extend({
  name: text(1_024).optional().describe('Part of the name, in any case.'),
  tag: text(128).optional().describe('A tag that it has.'),
  tags: text(2_048)
    .transform((value) => value.split(',').filter((tag) => tag !== ''))
    .optional()
    .describe('Tags that it has all of, separated by commas.'),
  metadata: z
    .string()
    .max(8_192)
    .transform((value, context) => {
      try {
        const parsed = z.record(z.string(), z.unknown()).parse(JSON.parse(value));
        // What can not be kept can not be looked for.
        if (!isDeeper(parsed, METADATA_DEPTH_MAX) && !UNKEPT.test(JSON.stringify(parsed))) return parsed;
        context.addIssue({ code: 'custom', message: 'holds what can not be kept' });
        return z.NEVER;
      } catch {
        context.addIssue({ code: 'custom', message: 'must be a JSON object' });
        return z.NEVER;
      }
    })
    .optional()
    .describe('JSON object that the metadata must contain.'),
  order: z.enum(['created', 'updated', 'name', 'id']).optional().describe('created if left out'),
  dir: z.enum(['asc', 'desc']).optional().describe('desc if left out'),
  cursor: z
    .string()
    .max(8_192)
    .optional()
    .describe('Where the page before ended, as its answer said: brings its order along, and offset counts from there.'),
});
/** Of what can be disabled. */
export const StatusListQuery = ListQuery.extend({
  status: z.enum(['enabled', 'disabled', 'all']).optional().describe('all if left out'),
});

/** What an answer about anything of an organisation has. */
export const shared = {
  id: z.uuid(),
  org: z.uuid(),
  name: z.string(),
  enabled: z.boolean(),
  metadata: z.record(z.string(), z.unknown()),
  tags: z.array(z.string()),
  version: z.int(),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
};
export const TokensAnswer = z
  .object({ token: z.string().describe('Access token, good for 15 minutes.'), refresh_token: z.string() })
  .openapi('Tokens');
export const TicketAnswer = z
  .object({ ticket: z.string(), expires_in: z.int().describe('Seconds.') })
  .openapi('Ticket');
export const CertificatesBody = z.strictObject({
  fingerprints: z
    .array(z.string().max(95))
    .max(64)
    .describe(
      'SHA-256 of certificates (DER), hex with or without colons, as `openssl x509 -fingerprint -sha256` shows.',
    ),
  authorities: z
    .array(z.string().max(16_384))
    .max(8)
    .describe('Certificates of authorities, one PEM each; what they issued to CN = id of the thing is let in.'),
});
export const CertificatesAnswer = z
  .object({ fingerprints: z.array(z.string()), authorities: z.array(z.string()) })
  .openapi('Certificates');
export const ProblemAnswer = z
  .object({ type: z.string(), title: z.string(), status: z.int(), detail: z.string(), error: z.string() })
  .openapi('Problem');
export const page = <S extends z.ZodType>(items: string, one: S) =>
  z.object({
    total: z.int(),
    offset: z.int(),
    limit: z.int(),
    [items]: z.array(one),
    cursor: z.string().optional().describe('Gives the next page; absent when this was the last.'),
  });

/** Without recursion: a client chooses how deep. */
export function isDeeper(value: unknown, depthMax: number): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > depthMax) return true;
    level = level.flatMap((each) => (typeof each === 'object' && each !== null ? Object.values(each) : []));
  }
  return false;
}
