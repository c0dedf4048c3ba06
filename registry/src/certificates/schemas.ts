import { z } from '@hono/zod-openapi';
import type { Answer } from '../http/route.ts';
import { ListQuery, PageQuery, ProblemAnswer, text } from '../http/schemas.ts';
import { thingTypes } from '../inventory/things.ts';
import { certificateStatuses } from './issued.ts';
import { TTL_MS_MAX } from './issuers.ts';
import { keyTypes } from './keys.ts';
import { reasons } from './revocation-list.ts';

const TTL_SECONDS_MIN = 60;
const TTL_SECONDS_MAX = TTL_MS_MAX / 1_000;
const OVERLAP_SECONDS_MAX = 30 * 86_400;
const PEM_CHARACTERS_MAX = 16_384;
const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** Seconds, or a number with its unit, as `2400h`.  @units of the outcome: seconds */
const ttl = z
  .union([z.int(), z.string().regex(/^\d{1,9}[smhd]$/, 'must be a number of seconds, or one with s, m, h or d')])
  .transform((value) =>
    typeof value === 'number' ? value : Number(value.slice(0, -1)) * (UNIT_SECONDS[value.slice(-1)] ?? Number.NaN),
  )
  .refine(
    (seconds) => seconds >= TTL_SECONDS_MIN && seconds <= TTL_SECONDS_MAX,
    `must be from ${TTL_SECONDS_MIN} seconds to 825 days`,
  )
  .describe('How long it is good: seconds, or a number with s, m, h or d; 90 days if left out, 825 at most.');
const pem = (what: string) => z.string().max(PEM_CHARACTERS_MAX).describe(`${what}, PEM`);
const keyChoice = {
  key_type: z.enum(keyTypes).optional().describe('ec if left out.'),
  key_bits: z
    .union([z.literal(256), z.literal(384), z.literal(2_048), z.literal(3_072)])
    .optional()
    .describe('256 (as if left out) or 384 of ec, 2048 (as if left out) or 3072 of rsa.'),
};
const isFit = ({ key_type, key_bits }: { key_type?: string | undefined; key_bits?: number | undefined }): boolean =>
  key_bits === undefined || (key_type === 'rsa' ? key_bits >= 2_048 : key_type !== 'ed25519' && key_bits < 2_048);
const FIT = { message: 'does not go with the type of the key', path: ['key_bits'] };

export const IssueBody = z.strictObject({ thing_id: z.uuid(), ttl: ttl.optional(), ...keyChoice }).refine(isFit, FIT);
export const RequestBody = z.strictObject({
  thing_id: z.uuid(),
  csr: pem('Certification request (PKCS #10); its subject counts for nothing'),
  ttl: ttl.optional(),
});
export const RenewBody = z
  .strictObject({
    ttl: ttl.optional(),
    csr: pem('Certification request, also of the key that is in use; left out, a new key is made').optional(),
    ...keyChoice,
    overlap_seconds: z
      .int()
      .min(0)
      .max(OVERLAP_SECONDS_MAX)
      .optional()
      .describe('So long the old certificate stays good; a day if left out.'),
  })
  .refine(isFit, FIT);
export const RevokeBody = z.strictObject({ reason: z.enum(reasons).optional() });
export const IssuedListQuery = PageQuery.extend({
  thing_id: z.uuid().optional().describe('Those of this thing.'),
  status: z.enum(certificateStatuses).optional().describe('all if left out'),
  order: z.enum(['created', 'expires']).optional().describe('created if left out'),
  dir: ListQuery.shape.dir,
  cursor: ListQuery.shape.cursor,
});
export const AuthorityListQuery = PageQuery.extend({
  name: ListQuery.shape.name,
  order: ListQuery.shape.order,
  dir: ListQuery.shape.dir,
  cursor: ListQuery.shape.cursor,
});
export const RegistrationListQuery = AuthorityListQuery.omit({ org: true });
export const ThingCertificatesQuery = IssuedListQuery.omit({ org: true, thing_id: true });

const fingerprint = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .describe('SHA-256 of the DER, hex.');
const serial = z.string().regex(/^[0-9a-f]{32}$/);
export const CertificateAnswer = z
  .object({
    serial,
    thing_id: z.uuid(),
    org: z.uuid(),
    status: z.enum(['active', 'revoked', 'expired']),
    fingerprint,
    key_type: z.string(),
    certificate: z.string(),
    not_before: z.iso.datetime(),
    expires_at: z.iso.datetime(),
    superseded_at: z.iso.datetime().nullable().describe('It was renewed: it is good until then.'),
    successor: serial.nullable(),
    revoked_at: z.iso.datetime().nullable(),
    reason: z.enum(reasons).nullable(),
    created_at: z.iso.datetime(),
  })
  .openapi('IssuedCertificate');
export const NewCertificateAnswer = CertificateAnswer.extend({
  chain: z.string().describe('The authority that issued it, and its root, PEM.'),
  private_key: z.string().optional().describe('PKCS #8, PEM. Shown this once and kept nowhere; absent after a CSR.'),
  cert_serial: serial,
  client_cert: z.string().describe('As certificate, chain, private_key and expires_at; names of the classic dialect.'),
  client_key: z.string().optional(),
  issuing_ca: z.string(),
  private_key_type: z.string(),
  expiration: z.iso.datetime(),
}).openapi('NewCertificate');

const justInTime = {
  enabled: z.boolean(),
  group_id: z.uuid().nullable(),
  type: z.enum(thingTypes),
  channel_ids: z.array(z.uuid()).max(64),
  types: z
    .array(z.enum(['publish', 'subscribe']))
    .min(1)
    .max(2),
  name_from: z.enum(['cn', 'serial']),
};
const JustInTimeBody = z
  .strictObject(justInTime)
  .partial()
  .describe('Makes a thing of each certificate of the authority, the first time that it is shown over TLS.');
export const NewAuthorityBody = z.strictObject({
  name: text(1_024).optional(),
  certificate: pem('The authority'),
  proof: pem('A certificate that the authority issued to CN = the code of POST /certs/authorities/code'),
  jit: JustInTimeBody.nullable().optional(),
});
export const AuthorityPatchBody = z.strictObject({
  name: text(1_024).optional(),
  jit: JustInTimeBody.nullable().optional().describe('Replaced as a whole; null ends it.'),
});
export const AuthorityAnswer = z
  .object({
    id: z.uuid(),
    org: z.uuid(),
    name: z.string(),
    subject: z.string(),
    fingerprint,
    certificate: z.string(),
    not_before: z.iso.datetime(),
    expires_at: z.iso.datetime(),
    jit: z.object(justInTime).nullable(),
    version: z.int(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('CertificateAuthority');
export const CodeAnswer = z.object({ code: z.string(), expires_at: z.iso.datetime() }).openapi('RegistrationCode');
export const RegistrationAnswer = z
  .object({
    fingerprint,
    thing_id: z.uuid().nullable().describe('null when it has been deleted.'),
    name: z.string(),
    created_at: z.iso.datetime(),
  })
  .openapi('Registration');
export const CascadeQuery = z.object({
  cascade: z.enum(['true', 'false']).optional().describe('Deletes also what depends on it.'),
});

export const OrgQuery = PageQuery.pick({ org: true });
export const DeletedAnswer = z.object({ deleted: z.record(z.string(), z.int()) }).openapi('DeletedCertificates');

export const problemAnswer = (description: string): Answer => ({
  description,
  schema: ProblemAnswer,
  type: 'application/problem+json',
});
export const binaryAnswer = (description: string, type: string): Answer => ({
  description,
  schema: z.string().openapi({ format: 'binary' }),
  type,
});
