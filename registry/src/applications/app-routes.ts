import { z } from '@hono/zod-openapi';
import { isUuid } from '@millrace/core';
import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { bulk, ProblemAnswer } from '../http/schemas.ts';
import { listOf } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import { DeletedAnswer } from '../inventory/schemas.ts';
import type { App, AppPatch, MadeApp, NewApp } from './apps.ts';
import { keepsSecret } from './kinds.ts';
import { redirectProblem } from './redirects.ts';
import {
  AppAnswer,
  AppListQuery,
  AppPatchBody,
  AppsAnswer,
  NewAppAnswer,
  NewAppBody,
  SecretAnswer,
  SecretBody,
} from './schemas.ts';

const tag = 'applications';
const one = { description: 'The application.', schema: AppAnswer };
const parameters = { id: example.application };
const machine = (name: string) => ({ name, kind: 'machine' }) as const;
const refused = (description: string) => ({ description, schema: ProblemAnswer, type: 'application/problem+json' });
const NO_STORE = { 'cache-control': 'no-store' };

export const appRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/apps',
      tag,
      summary: 'Make an application',
      description: 'Its id is its client_id. A machine becomes a thing of type app too, with the same id.',
      body: NewAppBody,
      answers: { 201: { description: 'The application, with its secret, told this once.', schema: NewAppAnswer } },
      examples: [
        { name: 'a machine', body: machine('Billing'), status: 201 },
        {
          name: 'a web application',
          body: {
            name: 'Dashboards',
            kind: 'web',
            redirect_uris: ['https://dashboards.example.org/callback'],
            scopes: ['openid', 'email', 'offline_access', 'things:read', 'messages:subscribe'],
          },
          status: 201,
        },
      ],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'apps', 'apps.create');
      const [made] = await plane.registry.applications.apps.create(org, [newApp(call.body)]);
      if (made === undefined) throw notFound('application');
      const headers = { location: `/apps/${made.app.id}`, ...etag(made.app.version), ...NO_STORE };
      return json(201, madeAnswer(made), headers);
    },
  ),
  route(
    {
      method: 'post',
      path: '/apps/bulk',
      tag,
      summary: 'Make up to 1000 applications, all or none',
      body: bulk(NewAppBody),
      answers: {
        201: {
          description: 'The applications with their secrets, in the order of the request.',
          schema: z.object({ apps: z.array(NewAppAnswer) }),
        },
      },
      examples: [{ name: 'two machines', body: [machine('Billing'), machine('Reports')], status: 201 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'apps', 'apps.create');
      const made = await plane.registry.applications.apps.create(org, call.body.map(newApp));
      return json(201, { apps: made.map(madeAnswer) }, NO_STORE);
    },
  ),
  route(
    {
      method: 'get',
      path: '/apps',
      tag,
      summary: 'List applications',
      query: AppListQuery,
      answers: { 200: { description: 'A page of applications.', schema: AppsAnswer } },
      examples: [{ name: 'all', status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'apps', 'apps.list');
      const listed = await plane.registry.applications.apps.list({ ...listOf(org, call.query), kind: call.query.kind });
      return json(200, pageAnswer(listed, 'apps', answer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/apps/{id}',
      tag,
      summary: 'Get an application',
      answers: { 200: one },
      examples: [{ name: 'one', parameters, status: 200 }],
    },
    async (call, plane) => shown(await appFor(call, plane, 'read')),
  ),
  ...(['patch', 'put'] as const).map((method) =>
    route(
      {
        method,
        path: '/apps/{id}',
        tag,
        summary: method === 'patch' ? 'Change fields of an application' : 'Change fields of an application, as PATCH',
        description: 'With If-Match only if it has not been changed since.',
        body: AppPatchBody,
        answers: { 200: one, 412: refused('It has been changed since.') },
        examples: [{ name: 'a description', parameters, body: { description: 'Ours' }, status: 200 }],
      },
      (call, plane) => update(call, plane, patchOf(call.body)),
    ),
  ),
  ...(['enable', 'disable'] as const).map((verb) =>
    route(
      {
        method: 'post',
        path: `/apps/{id}/${verb}`,
        tag,
        summary: verb === 'enable' ? 'Let an application in again' : 'Keep an application out, at once',
        answers: { 200: one },
        examples: [{ name: verb, parameters, status: 200 }],
      },
      (call, plane) => update(call, plane, { enabled: verb === 'enable' }),
    ),
  ),
  route(
    {
      method: 'post',
      path: '/apps/{id}/secret',
      tag,
      summary: 'Give an application a new secret',
      body: SecretBody,
      answers: {
        200: { description: 'The secret, told this once.', schema: SecretAnswer },
        409: refused('An application of this kind keeps no secret.'),
      },
      examples: [{ name: 'with an hour to change over', parameters, body: { overlap_seconds: 3600 }, status: 200 }],
    },
    async (call, plane) => {
      const app = await appFor(call, plane, 'update');
      if (!keepsSecret(app.kind)) throw new Refusal(409, `An application of kind ${app.kind} keeps no secret.`);
      const made = await plane.registry.applications.apps.rotateSecret(app.id, call.body.overlap_seconds ?? 0);
      if (made === null) throw notFound('application');
      const until = made.app.previousSecretUntil?.toISOString() ?? null;
      const told = { client_id: app.id, client_secret: made.secret, previous_secret_until: until };
      return json(200, told, { ...etag(made.app.version), ...NO_STORE });
    },
  ),
  route(
    {
      method: 'delete',
      path: '/apps/{id}',
      tag,
      summary: 'Delete an application',
      description: 'With what people granted it, and of a machine its thing, connections and attachments.',
      answers: {
        200: { description: 'It is gone; as Prefer: return=representation asks.', schema: DeletedAnswer },
        204: { description: 'It is gone; the header Deleted counts what went with it.' },
      },
      examples: [{ name: 'one', parameters: { id: example.application }, status: 204 }],
    },
    async (call, plane) => {
      const app = await appFor(call, plane, 'delete');
      const counts = await plane.registry.applications.apps.remove(app.id);
      if (counts === null) throw notFound('application');
      return deleted(call, counts);
    },
  ),
];

async function appFor(call: Call<unknown, unknown>, plane: Plane, verb: 'read' | 'update' | 'delete'): Promise<App> {
  await call.principal();
  const id = call.parameters.id ?? '';
  const app = isUuid(id) ? await plane.registry.applications.apps.get(id) : null;
  if (app === null) throw notFound('application');
  await permit(call, plane, app.org, `apps/${app.id}`, `apps.${verb}`, { hidden: 'application' });
  return app;
}

async function update(call: Call<unknown, unknown>, plane: Plane, patch: AppPatch): Promise<Response> {
  const app = await appFor(call, plane, 'update');
  const redirects = { redirect_uris: patch.redirectUris, post_logout_redirect_uris: patch.postLogoutRedirectUris };
  for (const [member, uris] of Object.entries(redirects)) {
    if (uris !== undefined && app.kind === 'machine' && uris.length > 0)
      throw new Refusal(422, `The body is wrong: ${member}: a machine is never redirected to.`);
    for (const [index, uri] of (uris ?? []).entries()) {
      const problem = redirectProblem(app.kind, uri);
      if (problem !== null) throw new Refusal(422, `The body is wrong: ${member}.${index}: ${problem}.`);
    }
  }
  if (app.kind !== 'machine' && patch.redirectUris?.length === 0)
    throw new Refusal(422, 'The body is wrong: redirect_uris: must name at least one.');
  const after = await plane.registry.applications.apps.update(app.id, patch, expectedVersion(call));
  if (after === null) throw notFound('application');
  return shown(after);
}

const shown = (app: App): Response => json(200, answer(app), etag(app.version));

function newApp({ id, kind, name, ...rest }: (typeof NewAppBody)['_output']): NewApp {
  return { ...patchOf(rest), id, kind, name };
}

const madeAnswer = ({ app, secret }: MadeApp) => ({
  ...answer(app),
  ...(secret === null ? {} : { client_secret: secret }),
});

function patchOf(body: (typeof AppPatchBody)['_output']): AppPatch {
  const { redirect_uris: redirectUris, post_logout_redirect_uris: postLogoutRedirectUris, ...rest } = body;
  return {
    ...rest,
    ...(redirectUris === undefined ? {} : { redirectUris }),
    ...(postLogoutRedirectUris === undefined ? {} : { postLogoutRedirectUris }),
  };
}

function answer(app: App) {
  return {
    id: app.id,
    client_id: app.id,
    org: app.org,
    name: app.name,
    description: app.description,
    kind: app.kind,
    redirect_uris: app.redirectUris,
    post_logout_redirect_uris: app.postLogoutRedirectUris,
    scopes: app.scopes,
    logo: app.logo,
    homepage: app.homepage,
    enabled: app.enabled,
    metadata: app.metadata,
    tags: app.tags,
    previous_secret_until: app.previousSecretUntil?.toISOString() ?? null,
    version: app.version,
    created_at: app.createdAt.toISOString(),
    updated_at: app.updatedAt.toISOString(),
  };
}
