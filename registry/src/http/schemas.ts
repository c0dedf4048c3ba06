import { z } from '@hono/zod-openapi';
import { thingTypes } from '../inventory/things.ts';

const LONE_SURROGATE = /\p{Surrogate}/u;
const METADATA_BYTES_MAX = 64 * 1024;
const GIVEN_KEY_CHARACTERS_MIN = 8;

const text = (charactersMax: number) =>
  z
    .string()
    .max(charactersMax)
    // PostgreSQL keeps no U+0000.
    .refine((value) => !value.includes('\0') && !LONE_SURROGATE.test(value), 'holds a character that can not be kept');
const metadata = z
  .record(z.string(), z.unknown())
  .refine(
    (value) => Buffer.byteLength(JSON.stringify(value)) <= METADATA_BYTES_MAX,
    `is larger than ${METADATA_BYTES_MAX} bytes`,
  )
  .describe('Anything you like to keep with it, as a JSON object.');
const tags = z.array(text(128)).max(100);
const id = z.uuid().describe('Given ids must be UUIDs; left out, one is made.');
const key = text(256)
  .min(GIVEN_KEY_CHARACTERS_MIN)
  .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces');
/** As the ingress takes it in a path. */
const alias = text(128).regex(
  /^(?![0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$)[\p{L}\p{N}._~@:-]+$/iu,
  'must be no UUID and hold only letters, digits and . _ ~ @ : -',
);
const contentType = text(128).regex(/^[\w.+-]+\/[\w.+-]+$/, 'must be a media type without parameters');

export const NewThingBody = z.strictObject({
  id: id.optional(),
  key: key.optional().describe('Left out, a 256-bit random one is made.'),
  name: text(1_024).optional(),
  type: z.enum(thingTypes).optional(),
  enabled: z.boolean().optional(),
  metadata: metadata.optional(),
  tags: tags.optional(),
  external_id: text(256).min(1).nullable().optional(),
});
export const ThingPatchBody = NewThingBody.omit({ id: true, key: true });
export const KeyBody = z.strictObject({ key: key.optional() });
export const NewChannelBody = z.strictObject({
  id: id.optional(),
  name: text(1_024).optional(),
  alias: alias.nullable().optional().describe('May stand for the id; unique in the organisation.'),
  enabled: z.boolean().optional(),
  metadata: metadata.optional(),
  tags: tags.optional(),
  content_type: contentType.nullable().optional().describe('Of messages that name none.'),
});
export const ChannelPatchBody = NewChannelBody.omit({ id: true });
export const bulk = <S extends z.ZodType>(one: S) => z.array(one).min(1).max(1_000);

const references = z.array(text(128).min(1)).min(1).max(1_000);
export const ConnectBody = z
  .strictObject({
    channel_ids: references.describe('Ids or aliases.'),
    thing_ids: z.array(z.uuid()).min(1).max(1_000),
    types: z
      .array(z.enum(['publish', 'subscribe']))
      .min(1)
      .max(2)
      .optional()
      .describe('Both if left out.'),
  })
  .refine((body) => body.channel_ids.length * body.thing_ids.length <= 10_000, 'connects more than 10000 pairs');

export const CredentialsBody = z.strictObject({ email: z.string().max(320), password: z.string().max(1_024) });
export const NewUserBody = z.strictObject({
  email: z.email().max(320),
  password: text(256).min(8),
});
export const RefreshBody = z.strictObject({ refresh_token: z.string().max(256) });

const count = (max: number) =>
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
  tag: text(128).optional(),
  metadata: z
    .string()
    .max(8_192)
    .transform((value, context) => {
      try {
        return z.record(z.string(), z.unknown()).parse(JSON.parse(value));
      } catch {
        context.addIssue({ code: 'custom', message: 'must be a JSON object' });
        return z.NEVER;
      }
    })
    .optional()
    .describe('JSON object that the metadata must contain.'),
  order: z.enum(['created', 'updated', 'name', 'id']).optional().describe('created if left out'),
  dir: z.enum(['asc', 'desc']).optional().describe('desc if left out'),
});
export const ThingListQuery = ListQuery.extend({ type: z.enum(thingTypes).optional() });

const shared = {
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
export const ThingAnswer = z
  .object({
    ...shared,
    type: z.enum(thingTypes),
    external_id: z.string().nullable(),
    key: z.string().optional().describe('Only to who may update the thing.'),
  })
  .openapi('Thing');
export const ChannelAnswer = z
  .object({ ...shared, alias: z.string().nullable(), content_type: z.string().nullable() })
  .openapi('Channel');
export const ConnectedAnswer = z
  .object({ id: z.uuid(), name: z.string(), enabled: z.boolean(), types: z.array(z.enum(['publish', 'subscribe'])) })
  .openapi('Connected');
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
export const UserAnswer = z
  .object({
    id: z.uuid(),
    email: z.string(),
    admin: z.boolean(),
    created_at: z.iso.datetime(),
    orgs: z.array(z.object({ id: z.uuid(), name: z.string(), role: z.string() })).optional(),
  })
  .openapi('User');
export const ProblemAnswer = z
  .object({ type: z.string(), title: z.string(), status: z.int(), detail: z.string(), error: z.string() })
  .openapi('Problem');
export const page = (items: string, one: z.ZodType) =>
  z.object({ total: z.int(), offset: z.int(), limit: z.int(), [items]: z.array(one) });
