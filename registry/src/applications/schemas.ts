import { z } from '@hono/zod-openapi';
import { id, metadata, page, StatusListQuery, shared, tags, text } from '../http/schemas.ts';
import { appKinds } from './kinds.ts';
import { redirectProblem } from './redirects.ts';
import { scopeNames } from './scopes.ts';

const OVERLAP_SECONDS_MAX = 7 * 86_400;
const REDIRECTS_MAX = 32;

const scope = z.enum(scopeNames as [string, ...string[]]);
const redirects = z
  .array(text(2_048).min(1))
  .max(REDIRECTS_MAX)
  .refine((uris) => new Set(uris).size === uris.length, 'names one twice');
const webUrl = text(2_048).pipe(z.url({ protocol: /^https?$/ }));

const given = {
  name: text(256).min(1),
  description: text(4_096).optional(),
  redirect_uris: redirects
    .optional()
    .describe('Where people are sent back to, compared exactly; of native programs a port on the loopback may differ.'),
  post_logout_redirect_uris: redirects.optional(),
  scopes: z
    .array(scope)
    .max(scopeNames.length)
    .optional()
    .describe(
      'What it may ask for at most (GET /oauth/scopes). Left out: openid, profile, email and offline_access; of a machine none, which means: all that its policies and connections give it.',
    ),
  logo: webUrl.nullable().optional(),
  homepage: webUrl.nullable().optional(),
  enabled: z.boolean().optional(),
  metadata: metadata.optional(),
  tags: tags.optional(),
};

export const NewAppBody = z
  .strictObject({
    id: id.optional(),
    kind: z
      .enum(appKinds)
      .describe(
        'machine: acts for itself (client credentials), as a thing of the same id. web: runs on a server and keeps a secret. browser, native: keep none; all but machines act for people (authorization code with PKCE).',
      ),
    ...given,
  })
  .superRefine((body, context) => {
    const machine = body.kind === 'machine';
    const uris = body.redirect_uris ?? [];
    if (!machine && uris.length === 0)
      context.addIssue({ code: 'custom', path: ['redirect_uris'], message: 'must name at least one' });
    if (machine && (uris.length > 0 || (body.post_logout_redirect_uris ?? []).length > 0))
      context.addIssue({ code: 'custom', path: ['redirect_uris'], message: 'a machine is never redirected to' });
    for (const member of ['redirect_uris', 'post_logout_redirect_uris'] as const)
      for (const [index, uri] of (body[member] ?? []).entries()) {
        const message = redirectProblem(body.kind, uri);
        if (message !== null) context.addIssue({ code: 'custom', path: [member, index], message });
      }
  });
/** Redirects are checked against the kind, which the application has already. */
export const AppPatchBody = z.strictObject({ ...given, name: given.name.optional() });
export const SecretBody = z.strictObject({
  overlap_seconds: z
    .int()
    .min(0)
    .max(OVERLAP_SECONDS_MAX)
    .optional()
    .describe('So long the old secret holds beside the new one (0).'),
});
export const AppListQuery = StatusListQuery.extend({ kind: z.enum(appKinds).optional().describe('All if left out.') });

export const AppAnswer = z
  .object({
    ...shared,
    client_id: z.uuid().describe('The same as id.'),
    description: z.string(),
    kind: z.enum(appKinds),
    redirect_uris: z.array(z.string()),
    post_logout_redirect_uris: z.array(z.string()),
    scopes: z.array(z.string()),
    logo: z.string().nullable(),
    homepage: z.string().nullable(),
    previous_secret_until: z.iso.datetime().nullable().describe('Until then the secret before the last holds too.'),
  })
  .openapi('App');
export const NewAppAnswer = AppAnswer.extend({
  client_secret: z.string().optional().describe('Shown this once. Absent where the kind keeps none.'),
}).openapi('NewApp');
export const AppsAnswer = page('apps', AppAnswer);
export const SecretAnswer = z
  .object({
    client_id: z.uuid(),
    client_secret: z.string().describe('Shown this once.'),
    previous_secret_until: z.iso.datetime().nullable(),
  })
  .openapi('AppSecret');

export const GrantAnswer = z
  .object({
    id: z.uuid(),
    app: z.object({ id: z.uuid(), name: z.string(), org_name: z.string(), logo: z.string().nullable() }),
    org: z.uuid().nullable().describe('Where it is good for; null: only to know who you are.'),
    scopes: z.array(z.string()),
    created_at: z.iso.datetime(),
    expires_at: z.iso.datetime(),
  })
  .openapi('Grant');
export const GrantsAnswer = page('grants', GrantAnswer).omit({ cursor: true });
export const ScopesAnswer = z.object({
  scopes: z.array(
    z.object({ scope: z.string(), words: z.string(), actions: z.array(z.string()) }).openapi('ScopeMeaning'),
  ),
});

export const LoginCodeBody = z.strictObject({
  code: z.string().min(1).max(256),
  code_verifier: z.string().min(43).max(128).optional().describe('Needed where the login was begun with a challenge.'),
});
export const OutsideLoginQuery = z.object({
  redirect: text(512).optional().describe('Where the code goes: a page below /ui/, or http on the loopback.'),
  code_challenge: z
    .string()
    .regex(/^[A-Za-z0-9_-]{43}$/, 'must be the SHA-256 of the verifier, base64url')
    .optional()
    .describe('PKCE, S256; needed with redirect.'),
  interaction: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/)
    .optional()
    .describe('The authorization that goes on afterwards.'),
});
export const OutsideCallbackQuery = z.object({
  code: z.string().max(8_192).optional().describe('Of that provider.'),
  state: z.string().max(1_024).optional().describe('Which login it belongs to.'),
  error: z.string().max(256).optional().describe('Why that provider refused.'),
  error_description: z.string().max(2_048).optional().describe('The same in its words.'),
  iss: z.string().max(2_048).optional().describe('Who that provider is (RFC 9207).'),
});
export const ProvidersAnswer = z
  .object({ providers: z.array(z.object({ name: z.string(), url: z.string() })) })
  .openapi('LoginProviders');
