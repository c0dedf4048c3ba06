import { z } from '@hono/zod-openapi';
import { example } from '../http/examples.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { type Answer, type Route, type RouteExample, route } from '../http/route.ts';
import { ProblemAnswer } from '../http/schemas.ts';
import { countDown, networkOf } from '../people/logins.ts';

const tag = 'oauth';
const BODY_BYTES_MAX = 64 * 1024;

const OauthError = z.object({ error: z.string(), error_description: z.string().optional() }).openapi('OauthError');
const TokenAnswer = z
  .object({
    access_token: z.string(),
    token_type: z.literal('Bearer'),
    expires_in: z.int().describe('Seconds.'),
    scope: z.string().optional(),
    refresh_token: z.string().optional(),
    id_token: z.string().optional(),
  })
  .openapi('OauthTokens');
const IntrospectionAnswer = z
  .object({
    active: z.boolean(),
    sub: z.string().optional().describe('The user who agreed.'),
    client_id: z.string().optional(),
    org: z.string().optional().describe('The organisation that it is good for.'),
    scope: z.string().optional(),
    exp: z.int().optional(),
    iat: z.int().optional(),
    iss: z.string().optional(),
    token_type: z.string().optional(),
  })
  .openapi('OauthIntrospection');
const UserinfoAnswer = z
  .object({
    sub: z.uuid(),
    email: z.string().optional(),
    email_verified: z.boolean().optional(),
    name: z.string().optional(),
    picture: z.string().optional(),
  })
  .openapi('OauthUserinfo');
const MetadataAnswer = z.looseObject({ issuer: z.string(), jwks_uri: z.string() }).openapi('OauthMetadata');
const JwksAnswer = z.object({ keys: z.array(z.looseObject({ kty: z.string() })) }).openapi('OauthJwks');

const client = { client_id: example.application, client_secret: example.applicationSecret };
const clientMembers = {
  client_id: z.string().optional().describe('Unless it is said by Basic.'),
  client_secret: z.string().optional(),
};
const TokenForm = z.object({
  grant_type: z.enum(['client_credentials', 'authorization_code', 'refresh_token']),
  scope: z.string().optional(),
  code: z.string().optional(),
  redirect_uri: z.string().optional(),
  code_verifier: z.string().optional(),
  refresh_token: z.string().optional(),
  ...clientMembers,
});
const TokenToAskForm = z.object({ token: z.string(), token_type_hint: z.string().optional(), ...clientMembers });

const wrong: Answer = { description: 'As RFC 6749 §5.2 says.', schema: OauthError };
const page: Answer = { description: 'A page for people.', type: 'text/html', schema: z.string() };
const away: Answer = {
  description: 'The registry does not answer; try again after Retry-After.',
  schema: ProblemAnswer,
  type: 'application/problem+json',
};
const answers = (right: Answer): Record<number, Answer> => ({
  200: right,
  400: wrong,
  401: wrong,
  413: { ...away, description: 'The form is too large.' },
  503: away,
});
const pages: Record<number, Answer> = {
  200: page,
  303: { description: 'On to a page, or back to the application.' },
  400: page,
  413: { ...away, description: 'The form is too large.' },
  429: { ...away, description: 'Too many requests; try again after Retry-After.' },
  503: away,
};

interface Endpoint {
  readonly methods: readonly ('get' | 'post' | 'options')[];
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  readonly answers?: Record<number, Answer>;
  readonly form?: z.ZodObject;
  readonly examples?: readonly RouteExample[];
  /** What begins something that is kept until somebody comes back. */
  readonly begins?: true;
}

/** What the provider answers. Bodies are forms (application/x-www-form-urlencoded), as OAuth has them. */
const endpoints: readonly Endpoint[] = [
  {
    methods: ['get'],
    path: '/oauth/authorize',
    summary: 'Ask people to let an application in: for browsers',
    description:
      'Authorization code with PKCE (S256): client_id, redirect_uri, response_type=code, scope, state, code_challenge, code_challenge_method=S256, nonce, prompt. A refresh token needs the scope offline_access and prompt=consent.',
    answers: pages,
    examples: [
      {
        name: 'a web application',
        as: 'nobody',
        query: {
          client_id: example.webApplication,
          redirect_uri: 'https://dashboards.example.org/callback',
          response_type: 'code',
          scope: 'openid email',
          code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
          code_challenge_method: 'S256',
        },
        status: 303,
      },
    ],
    begins: true,
  },
  {
    methods: ['post'],
    path: '/oauth/token',
    summary: 'Get tokens',
    description:
      'A form: grant_type=client_credentials (scope), authorization_code (code, redirect_uri, code_verifier) or refresh_token (refresh_token). Applications with a secret say it by Basic, or as client_id and client_secret. Access tokens are shown as Authorization: Bearer.',
    form: TokenForm,
    examples: [
      { name: 'for a machine', as: 'nobody', body: { grant_type: 'client_credentials', ...client }, status: 200 },
    ],
    answers: answers({ description: 'Tokens.', schema: TokenAnswer }),
  },
  {
    methods: ['post'],
    path: '/oauth/introspect',
    summary: 'What a token is good for',
    form: TokenToAskForm,
    examples: [{ name: 'an unknown one', as: 'nobody', body: { token: 'unknown', ...client }, status: 200 }],
    description:
      'A form: token. For applications with a secret: of their own tokens, and of those that are good for their organisation.',
    answers: answers({
      description: 'What it is good for; active is false for all others.',
      schema: IntrospectionAnswer,
    }),
  },
  {
    methods: ['post'],
    path: '/oauth/revoke',
    summary: 'End a token, at once',
    form: TokenToAskForm,
    examples: [{ name: 'one', as: 'nobody', body: { token: 'unknown', ...client }, status: 200 }],
    description: 'A form: token. With a refresh token all that was granted ends.',
    answers: answers({ description: 'It is good for nothing, if it ever was.' }),
  },
  {
    methods: ['get', 'post'],
    path: '/oauth/userinfo',
    summary: 'Who the user is',
    examples: [{ name: 'with a token for something else', status: 401 }],
    description: 'With an access token whose scope holds openid.',
    answers: { ...answers({ description: 'What the scopes allow.', schema: UserinfoAnswer }), 403: wrong },
  },
  {
    methods: ['get'],
    path: '/oauth/jwks',
    summary: 'Public keys that ID tokens are checked with',
    examples: [{ name: 'all', as: 'nobody', status: 200 }],
    answers: {
      200: { description: 'A JSON Web Key Set.', schema: JwksAnswer, type: 'application/jwk-set+json' },
      503: away,
    },
  },
  {
    methods: ['get'],
    path: '/.well-known/openid-configuration',
    examples: [{ name: 'all', as: 'nobody', status: 200 }],
    summary: 'What the OpenID Connect provider can do, and where',
    answers: { 200: { description: 'Its metadata.', schema: MetadataAnswer }, 503: away },
  },
  {
    methods: ['get'],
    path: '/.well-known/oauth-authorization-server',
    examples: [{ name: 'all', as: 'nobody', status: 200 }],
    summary: 'What the OAuth 2.0 provider can do, and where',
    answers: { 200: { description: 'Its metadata.', schema: MetadataAnswer }, 503: away },
  },
  {
    methods: ['get'],
    path: '/oauth/logout',
    summary: 'Log out: for browsers',
    examples: [{ name: 'ask', as: 'nobody', status: 200 }],
    description: 'id_token_hint, client_id, post_logout_redirect_uri, state.',
    answers: pages,
  },
];
/** Steps of the pages, and questions of browsers before they ask from another site. */
const inner: readonly Endpoint[] = [
  { methods: ['get'], path: '/oauth/authorize/{uid}', summary: 'Go on after a page' },
  { methods: ['get'], path: '/oauth/interaction/{uid}', summary: 'A page: who are you, do you agree' },
  { methods: ['get'], path: '/oauth/interaction/{uid}/outside', summary: 'Back from another provider' },
  { methods: ['post'], path: '/oauth/interaction/{uid}/login', summary: 'The answer of a page' },
  { methods: ['post'], path: '/oauth/interaction/{uid}/consent', summary: 'The answer of a page' },
  { methods: ['post'], path: '/oauth/interaction/{uid}/abort', summary: 'The answer of a page' },
  { methods: ['post'], path: '/oauth/logout/confirm', summary: 'The answer of a page' },
  { methods: ['get'], path: '/oauth/logout/success', summary: 'A page' },
  { methods: ['options'], path: '/oauth/token', summary: 'CORS' },
  { methods: ['options'], path: '/oauth/introspect', summary: 'CORS' },
  { methods: ['options'], path: '/oauth/revoke', summary: 'CORS' },
  { methods: ['options'], path: '/oauth/userinfo', summary: 'CORS' },
  { methods: ['options'], path: '/oauth/jwks', summary: 'CORS' },
  { methods: ['options'], path: '/.well-known/openid-configuration', summary: 'CORS' },
  { methods: ['options'], path: '/.well-known/oauth-authorization-server', summary: 'CORS' },
];

export const oauthRoutes: readonly Route[] = [...told(endpoints), ...told(inner, true)];

function told(all: readonly Endpoint[], hidden = false): Route[] {
  return all.flatMap(({ methods, path, summary, description, answers: known, form, examples, begins }) =>
    methods.map((method) =>
      route(
        {
          method,
          path,
          tag,
          summary,
          open: true,
          answers: known ?? pages,
          ...(description === undefined ? {} : { description }),
          ...(form === undefined ? {} : { ownBody: { type: 'application/x-www-form-urlencoded', schema: form } }),
          ...(examples === undefined ? {} : { examples }),
          ...(hidden ? { hidden } : {}),
        },
        (call, plane) => passOn(call, plane, begins === true),
      ),
    ),
  );
}

async function passOn(call: Call<unknown, unknown>, plane: Plane, begins: boolean): Promise<Response> {
  const { applications } = plane.registry;
  if (begins) countDown(applications.starting, networkOf(call.peer.remoteAddress));
  return applications.answer(call, plane, await readBody(call.request));
}

/** @throws Refusal 413 */
async function readBody(request: Request): Promise<Uint8Array> {
  if (request.body === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new Refusal(413, `The body is larger than ${BODY_BYTES_MAX} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
