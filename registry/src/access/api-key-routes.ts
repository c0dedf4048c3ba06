import { z } from '@hono/zod-openapi';
import { type ControlAction, isUuid, type Principal } from '@millrace/core';
import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { isMember, orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { id, metadata, PageQuery, page, StatusListQuery, shared, tags, text } from '../http/schemas.ts';
import { listOf } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import type { ApiKey, ApiKeyPatch } from './api-keys.ts';
import { ActionsSchema, ResourcesSchema } from './documents.ts';
import { mustBeInScope, scopeCovers } from './holding.ts';
import { gone, malformedMatch, mismatch, refused } from './schemas.ts';

const tag = 'keys';
const GRANTS_MAX = 50;
const SECONDS_MAX = 10 * 366 * 86_400;

const GrantBody = z
  .strictObject({
    actions: ActionsSchema,
    resources: ResourcesSchema.refine(
      (resources) => !resources.some((resource) => resource.includes('${')),
      'holds a variable, which can not stand here',
    ),
  })
  .openapi('Grant');
const NewKeyBody = z
  .strictObject({
    id: id.optional(),
    name: text(256).min(1),
    grants: z
      .array(GrantBody)
      .min(1)
      .max(GRANTS_MAX)
      .describe('What it may reach at most of what you may: actions on resources, as in a policy.'),
    expires_in: z
      .int()
      .min(1)
      .max(SECONDS_MAX)
      .optional()
      .describe('Seconds. Left out, as expires_at, it does not expire.'),
    expires_at: z.iso.datetime({ offset: true }).optional(),
    metadata: metadata.optional(),
    tags: tags.optional(),
  })
  .refine((body) => body.expires_in === undefined || body.expires_at === undefined, {
    message: 'is given beside expires_in',
    path: ['expires_at'],
  })
  .refine((body) => body.expires_at === undefined || Date.parse(body.expires_at) > Date.now(), {
    message: 'is over already',
    path: ['expires_at'],
  });
const KeyPatchBody = z.strictObject({
  name: text(256).min(1).optional(),
  enabled: z.boolean().optional(),
  metadata: metadata.optional(),
  tags: tags.optional(),
});
const KeyAnswer = z
  .object({
    ...shared,
    user: z.uuid(),
    grants: z.array(GrantBody),
    expires_at: z.iso.datetime().nullable(),
    last_used_at: z.iso.datetime().nullable(),
  })
  .openapi('ApiKey');
const MadeAnswer = KeyAnswer.extend({
  secret: z.string().describe('Shown this once: Authorization: Bearer <secret>.'),
}).openapi('NewApiKey');
const KeyListQuery = StatusListQuery.extend({
  user: z
    .union([z.literal('all'), z.uuid()])
    .optional()
    .describe('Whose: yours if left out; another member or all, if you may (keys.list).'),
});

const one = { description: 'The key, without its secret.', schema: KeyAnswer };
const changed = { 200: one, 400: malformedMatch, 412: mismatch };
const parameters = { id: example.apiKey };

export const apiKeyRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/keys',
      tag,
      summary: 'Make an API key',
      description:
        'It carries of your own rights in one organisation what its grants cover, never more, and ends with your membership.',
      query: PageQuery.pick({ org: true }),
      body: NewKeyBody,
      answers: {
        201: { description: 'The key and its secret.', schema: MadeAnswer },
        409: refused('The id is taken, or there are too many keys.'),
      },
      examples: [
        {
          name: 'read things for a day',
          body: {
            name: 'dashboard',
            grants: [{ actions: ['things.read', 'things.list'], resources: ['things*'] }],
            expires_in: 86_400,
          },
          status: 201,
        },
      ],
    },
    async (call, plane) => {
      const { id: user } = await call.user();
      const org = await orgOf(call, plane);
      const principal = await call.principal();
      if (!(await isMember(principal, plane, org))) throw notFound('organisation');
      mustReach(principal, 'keys.create', 'keys');
      const { expires_in, expires_at, grants, ...rest } = call.body;
      if (principal.scope !== null) mustBeInScope(principal.scope, org, grants);
      const now = plane.registry.access.now();
      const asked = expires_in === undefined ? momentOf(expires_at) : now + expires_in * 1_000;
      const expiresMs = await withinMaker(plane, principal, asked);
      const { key, secret } = await plane.registry.access.keys.create(org, user, { ...rest, grants, expiresMs });
      const headers = { location: `/keys/${key.id}`, 'cache-control': 'no-store', ...etag(key.version) };
      return json(201, { ...answer(key), secret }, headers);
    },
  ),
  route(
    {
      method: 'get',
      path: '/keys',
      tag,
      summary: 'List API keys',
      query: KeyListQuery,
      answers: { 200: { description: 'A page of keys.', schema: page('keys', KeyAnswer) } },
      examples: [
        { name: 'mine', status: 200 },
        { name: "everybody's", query: { user: 'all' }, status: 200 },
      ],
    },
    async (call, plane) => {
      const { id: me } = await call.user();
      const org = await orgOf(call, plane);
      const principal = await call.principal();
      const whose = call.query.user?.toLowerCase() ?? me;
      if (whose !== me) await permit(call, plane, org, 'keys', 'keys.list');
      else if (!(await isMember(principal, plane, org))) throw notFound('organisation');
      else mustReach(principal, 'keys.list', 'keys');
      const listed = await plane.registry.access.keys.list(listOf(org, call.query), whose === 'all' ? null : whose);
      return json(200, pageAnswer(listed, 'keys', answer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/keys/{id}',
      tag,
      summary: 'Get an API key',
      answers: { 200: one },
      examples: [{ name: 'by id', parameters, status: 200 }],
    },
    async (call, plane) => shown(await keyFor(call, plane, 'read')),
  ),
  route(
    {
      method: 'patch',
      path: '/keys/{id}',
      tag,
      summary: 'Change the name of an API key',
      description: 'What it may reach stays as it is: make another one.',
      body: KeyPatchBody,
      answers: changed,
      examples: [{ name: 'rename', parameters, body: { name: 'panel' }, status: 200 }],
    },
    (call, plane) => update(call, plane, call.body),
  ),
  ...(['enable', 'disable'] as const).map((verb) =>
    route(
      {
        method: 'post',
        path: `/keys/{id}/${verb}`,
        tag,
        summary: verb === 'enable' ? 'Let an API key in again' : 'Keep an API key out, at once',
        answers: changed,
        examples: [{ name: verb, parameters, status: 200 }],
      },
      (call, plane) => update(call, plane, { enabled: verb === 'enable' }),
    ),
  ),
  route(
    {
      method: 'delete',
      path: '/keys/{id}',
      tag,
      summary: 'Revoke an API key, at once',
      answers: { ...gone, 400: malformedMatch },
      examples: [{ name: 'by id', parameters, status: 204 }],
    },
    async (call, plane) => {
      const { id: key } = await keyFor(call, plane, 'delete');
      if (!(await plane.registry.access.keys.remove(key, expectedVersion(call)))) throw notFound('key');
      return deleted(call);
    },
  ),
];

/** Of a key of one's own its scope alone is asked: whoever may log in may look after their keys.  @throws Refusal 403 */
function mustReach({ scope }: Principal, action: ControlAction, object: string): void {
  if (scope !== null && !scopeCovers(scope.grants, action, object))
    throw new Refusal(403, `This key or token does not reach so far: ${action} on ${object}.`);
}

/** Whoever got hold of a key that ends makes none that does not.  @param asked ms since 1970; null: never
 *  @throws Refusal 403 */
async function withinMaker(plane: Plane, { scope }: Principal, asked: number | null): Promise<number | null> {
  const maker = scope === null ? null : await plane.registry.access.keys.get(scope.id);
  const endMs = maker?.expiresAt?.getTime() ?? null;
  if (endMs === null || (asked !== null && asked <= endMs)) return asked;
  if (asked === null) return endMs;
  throw new Refusal(403, 'A key makes no key that outlives it: leave the end out, or make it sooner.');
}

/** @throws Refusal 404, 403 */
async function keyFor(call: Call<unknown, unknown>, plane: Plane, verb: 'read' | 'update' | 'delete'): Promise<ApiKey> {
  const { id: asked = '' } = call.parameters;
  const principal = await call.principal();
  const key = isUuid(asked) ? await plane.registry.access.keys.get(asked) : null;
  if (key === null) throw notFound('key');
  const object = `keys/${key.id}`;
  const { subject, scope } = principal;
  const isOwn = subject.id === key.user && (await isMember(principal, plane, key.org));
  if (!isOwn) await permit(call, plane, key.org, object, `keys.${verb}`, { hidden: 'key' });
  // A key may always look at itself and give itself up.
  else if (scope?.id !== key.id || verb === 'update') mustReach(principal, `keys.${verb}`, object);
  return key;
}

async function update(call: Call<unknown, unknown>, plane: Plane, patch: ApiKeyPatch): Promise<Response> {
  const version = expectedVersion(call);
  const { id: asked } = await keyFor(call, plane, 'update');
  const key = await plane.registry.access.keys.update(asked, patch, version);
  if (key === null) throw notFound('key');
  return shown(key);
}

const momentOf = (text: string | undefined): number | null => (text === undefined ? null : Date.parse(text));
const shown = (key: ApiKey): Response => json(200, answer(key), etag(key.version));

const answer = (key: ApiKey) => ({
  id: key.id,
  org: key.org,
  user: key.user,
  name: key.name,
  grants: key.grants,
  enabled: key.enabled,
  metadata: key.metadata,
  tags: key.tags,
  expires_at: key.expiresAt?.toISOString() ?? null,
  last_used_at: key.lastUsedAt?.toISOString() ?? null,
  version: key.version,
  created_at: key.createdAt.toISOString(),
  updated_at: key.updatedAt.toISOString(),
});
