import { isUuid, type UserRecord } from '@millrace/core';
import { deleted } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import type { Call } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { PageQuery } from '../http/schemas.ts';
import { DeletedAnswer } from '../inventory/schemas.ts';
import type { Grant } from './grants.ts';
import { GrantsAnswer, ScopesAnswer } from './schemas.ts';
import { scopeMeanings } from './scopes.ts';

const tag = 'applications';

export const grantRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/users/me/grants',
      tag,
      summary: 'Which applications may act for you',
      query: PageQuery.omit({ org: true }),
      answers: { 200: { description: 'A page of grants.', schema: GrantsAnswer } },
      examples: [{ name: 'all', status: 200 }],
    },
    async (call, plane) => {
      const { id } = await inPerson(call);
      const { offset = 0, limit = 10 } = call.query;
      const { total, grants } = await plane.registry.applications.grants.list(id, { offset, limit });
      return json(200, { total, offset, limit, grants: grants.map(answer) });
    },
  ),
  route(
    {
      method: 'delete',
      path: '/users/me/grants/{id}',
      tag,
      summary: 'Withdraw what you let an application do, at once',
      answers: {
        200: { description: 'It may no more; as Prefer: return=representation asks.', schema: DeletedAnswer },
        204: { description: 'It may no more.' },
      },
      examples: [{ name: 'one that was never given', parameters: { id: example.otherThing }, status: 404 }],
    },
    async (call, plane) => {
      const user = await inPerson(call);
      const id = call.parameters.id ?? '';
      if (!isUuid(id) || !(await plane.registry.applications.grants.withdraw(user.id, id))) throw notFound('grant');
      return deleted(call);
    },
  ),
  route(
    {
      method: 'get',
      path: '/oauth/scopes',
      tag,
      summary: 'The scopes that applications may ask for',
      open: true,
      answers: { 200: { description: 'All scopes, and what they open.', schema: ScopesAnswer } },
      examples: [{ name: 'all', status: 200 }],
    },
    () => json(200, { scopes }, { 'cache-control': 'public, max-age=300' }),
  ),
];

const scopes = scopeMeanings.map(({ scope, words, grants }) => ({
  scope,
  words,
  actions: grants.flatMap(({ actions }) => actions),
}));

/** What an application may do for somebody is not for applications to change, nor for keys.  @throws Refusal 401, 403 */
async function inPerson(call: Call<unknown, unknown>): Promise<UserRecord> {
  const { scope } = await call.principal();
  const user = await call.user();
  if (scope !== null) throw new Refusal(403, 'Only a user who is logged in may ask for this; no application or key.');
  return user;
}

const answer = ({ id, app, org, scopes: granted, createdAt, expiresAt }: Grant) => ({
  id,
  app: { id: app.id, name: app.name, org_name: app.orgName, logo: app.logo },
  org,
  scopes: granted,
  created_at: createdAt.toISOString(),
  expires_at: expiresAt.toISOString(),
});
