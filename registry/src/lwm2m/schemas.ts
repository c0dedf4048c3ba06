import { z } from '@hono/zod-openapi';
import { count, ListQuery, page, text } from '../http/schemas.ts';
import { attributes, observablePath } from './arguments.ts';

const ENDPOINT_BYTES_MAX = 256;
const OBSERVED_MAX = 64;
const SERVERS_MAX = 8;
const WAIT_SECONDS_MAX = 60;

const endpoint = text(256)
  .min(1)
  .regex(/^[^\s/?#&]+$/, 'must hold no spaces, or any of / ? # &')
  .refine((value) => !/\p{Cc}/u.test(value), 'must hold no control characters')
  .refine((value) => Buffer.byteLength(value) <= ENDPOINT_BYTES_MAX, `is larger than ${ENDPOINT_BYTES_MAX} bytes`)
  .describe(
    'Endpoint name, as the device says it (ep); unique in the whole installation. An UUID can be the own id only.',
  );
const uri = text(255)
  .refine(isServerUri, 'must be coap://<host>[:<port>] or coaps://<host>[:<port>]')
  .describe('coap://… or coaps://…');
const secret = text(128).min(1);

const Server = z.strictObject({
  short_id: z.int().min(1).max(65_534).describe('Unique among them.'),
  uri,
  lifetime: z.int().min(1).max(4_294_967_295).optional().describe('Seconds (86400).'),
  binding: z
    .string()
    .regex(/^[UTSNMQ]{1,6}$/, 'must be letters of U, T, S, N, M, Q')
    .optional()
    .describe('U if left out; UQ: the device sleeps.'),
  identity: secret.optional().describe("For coaps; with key. The thing's own id if left out."),
  key: secret
    .optional()
    .describe("For coaps: never shown again, and to be given anew with every change. The thing's own if left out."),
});
export const AccountBody = z
  .strictObject({
    endpoint,
    security: z
      .enum(['dtls', 'none'])
      .optional()
      .describe('dtls: only as this thing (default); none: whoever knows the name can speak for it over plain CoAP.'),
    channel_id: z
      .uuid()
      .nullable()
      .optional()
      .describe('Where its readings go; left out: the one that it may publish to, if there is just one.'),
    observe: z
      .array(z.strictObject({ path: observablePath, attributes: attributes.optional() }))
      .max(OBSERVED_MAX)
      .refine(isUniqueBy('path'), 'names a path twice')
      .optional()
      .describe('Observed as soon as it has registered.'),
    bootstrap: z
      .strictObject({
        servers: z.array(Server).min(1).max(SERVERS_MAX).refine(isUniqueBy('short_id'), 'gives a short_id twice'),
      })
      .nullable()
      .optional()
      .describe('What it is told when it asks for its bootstrap.'),
  })
  .superRefine(({ security, bootstrap }, context) => {
    for (const [index, { uri: where, identity, key }] of (bootstrap?.servers ?? []).entries()) {
      const wrong = (member: string, message: string): void =>
        context.addIssue({ code: 'custom', path: ['bootstrap', 'servers', index, member], message });
      if ((identity === undefined) !== (key === undefined)) wrong('identity', 'give both identity and key, or none');
      if (!where.startsWith('coaps:') && key !== undefined) wrong('key', 'is for coaps');
      // Whoever knows the name would be told the key.
      if (where.startsWith('coaps:') && security === 'none') wrong('uri', 'coaps needs security dtls: its key is told');
    }
  });

export const AccountAnswer = z
  .object({
    thing_id: z.uuid(),
    endpoint: z.string(),
    security: z.enum(['dtls', 'none']),
    channel_id: z.uuid().nullable(),
    observe: z.array(z.object({ path: z.string(), attributes: z.string() })),
    bootstrap: z
      .object({
        servers: z.array(
          z.object({
            short_id: z.int(),
            uri: z.string(),
            lifetime: z.int(),
            binding: z.string(),
            identity: z.string().nullable(),
            key_set: z.boolean(),
          }),
        ),
      })
      .nullable(),
    version: z.int(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('Lwm2mAccount');

export const RegistrationAnswer = z
  .object({
    thing_id: z.uuid(),
    name: z.string().describe("The thing's."),
    endpoint: z.string(),
    lwm2m_version: z.string(),
    binding: z.string(),
    queue_mode: z.boolean().describe('It sleeps: it hears only shortly after it spoke.'),
    lifetime: z.number().describe('Seconds.'),
    objects: z.array(z.string()),
    formats: z.array(z.int()).describe('Content formats that it says it understands.'),
    address: z.string(),
    node: z.string(),
    secure: z.boolean(),
    registered_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
    expires_at: z.iso.datetime(),
  })
  .openapi('Lwm2mRegistration');
export const RegistrationsPage = page('registrations', RegistrationAnswer);
/** By the name, tags and metadata of the things; those that registered last come first. */
export const RegistrationListQuery = ListQuery.omit({ order: true });

export const WaitQuery = z.object({
  wait: count(WAIT_SECONDS_MAX).optional().describe('So many seconds is waited for the answer, 0 to 60 (10).'),
});
export const ResultAnswer = z
  .object({
    command_id: z.uuid(),
    code: z.string().optional().describe('As CoAP says it: 2.05.'),
    values: z
      .array(
        z.object({
          path: z.string(),
          value: z.unknown().describe('Bytes as { "base64": "…" }.'),
          unit: z.string().optional(),
          name: z.string().optional(),
          time: z.string().optional(),
        }),
      )
      .optional(),
    links: z.array(z.object({ path: z.string(), attributes: z.record(z.string(), z.string()) })).optional(),
    path: z.string().optional().describe('Of what was created.'),
  })
  .openapi('Lwm2mResult');

function isUniqueBy<K extends string>(member: K): (items: readonly Readonly<Record<K, unknown>>[]) => boolean {
  return (items) => new Set(items.map((item) => item[member])).size === items.length;
}

function isServerUri(text: string): boolean {
  if (!/^coaps?:\/\/[^\s/?#@]+$/.test(text)) return false;
  try {
    const { hostname, port } = new URL(text);
    return hostname !== '' && port !== '0';
  } catch {
    return false;
  }
}
