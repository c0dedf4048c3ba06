import { z } from '@hono/zod-openapi';
import { isUuid, type MessageAction, type Principal } from '@millrace/core';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { count, PageQuery } from '../http/schemas.ts';
import { listOf } from '../inventory/lookup.ts';
import { namesOf, policiesIn, RuleAnswer, toldRules } from './sources.ts';

const CHANNELS_MAX = 100;

const AccessAnswer = z
  .object({
    org: z.uuid(),
    enabled: z.boolean().describe('Nobody who is disabled gets anywhere.'),
    administrator: z.boolean().describe('Of the whole installation: may do everything.'),
    rules: z
      .array(RuleAnswer)
      .describe('All that is said of it: by its connections, roles and policies. A deny overrides.'),
    total: z.int().describe('Channels of the organisation.'),
    offset: z.int(),
    limit: z.int(),
    channels: z
      .array(
        z.object({
          id: z.uuid(),
          name: z.string(),
          alias: z.string().nullable(),
          publish: z.boolean(),
          subscribe: z.boolean(),
        }),
      )
      .describe('What it may do there now, without a subtopic, over HTTP from your address. By name.'),
  })
  .openapi('Access');
const AccessQuery = PageQuery.extend({
  limit: count(CHANNELS_MAX)
    .pipe(z.number().min(1))
    .optional()
    .describe(`How many channels to give at most, 1 to ${CHANNELS_MAX} (10).`),
});

export const accessListRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/things/{id}/access',
      tag: 'things',
      summary: 'List what a thing may do',
      query: AccessQuery.omit({ org: true }),
      answers: { 200: { description: 'Its rules, and what they mean for a page of channels.', schema: AccessAnswer } },
      examples: [{ name: 'by id', parameters: { id: example.thing }, status: 200 }],
    },
    async (call, plane) => {
      await call.principal();
      const { id = '' } = call.parameters;
      const thing = isUuid(id) ? await plane.registry.directory.subject(id) : null;
      if (thing?.kind !== 'thing') throw notFound('thing');
      const object = `things/${thing.id}`;
      const { groups } = await plane.registry.access.placeOf(thing.org, object);
      await permit(call, plane, thing.org, object, 'things.read', { groups });
      return answer(call, plane, thing.org, thing.id);
    },
  ),
  route(
    {
      method: 'get',
      path: '/users/{id}/access',
      tag: 'users',
      summary: 'List what a member may do in an organisation',
      description: 'Everybody may ask about themselves; of others it needs members.read.',
      query: AccessQuery,
      answers: {
        200: { description: 'Their rules, and what they mean for a page of channels.', schema: AccessAnswer },
      },
      examples: [{ name: 'of a member', parameters: { id: example.member }, status: 200 }],
    },
    async (call, plane) => {
      const asker = await call.principal();
      const org = await orgOf(call, plane);
      const { id = '' } = call.parameters;
      // A key or an application is not told more of its owner than it is for.
      const isSelf = asker.subject.id === id.toLowerCase() && asker.scope === null;
      if (!isSelf) await permit(call, plane, org, 'members', 'members.read');
      const isMember =
        isUuid(id) && (await plane.registry.users.memberships(id)).some((membership) => membership.org === org);
      if (!isMember) throw notFound('user');
      return answer(call, plane, org, id.toLowerCase());
    },
  ),
];

type AccessCall = Call<{ offset?: number | undefined; limit?: number | undefined }, unknown>;

async function answer(call: AccessCall, plane: Plane, org: string, id: string): Promise<Response> {
  const { directory, access, channels } = plane.registry;
  const subject = await directory.subject(id);
  if (subject === null) throw notFound('subject');
  const limit = call.query.limit ?? 10;
  const asker = await call.principal();
  const [rules, seesChannels] = await Promise.all([
    directory.rules(id, org),
    plane.gate.allows(asker, org, 'channels', 'channels.list', call.context),
  ]);
  const policies = await access.policies.many(org, policiesIn(rules));
  const asked = { ...listOf(org, { ...call.query, limit }), order: 'name' as const, direction: 'asc' as const };
  const listed = seesChannels ? await channels.list(asked) : { total: 0, items: [] };
  const known = await plane.gate.identify({ kind: 'subject', id });
  const principal = known.kind === 'known' ? known.principal : null;
  const may = (action: MessageAction, channel: string): Promise<boolean> =>
    mayNow(call, plane, principal, action, channel);
  return json(200, {
    org,
    enabled: subject.enabled,
    administrator: subject.kind === 'user' && subject.admin,
    rules: toldRules(rules, namesOf(policies)),
    total: listed.total,
    offset: asked.offset,
    limit,
    channels: await Promise.all(
      listed.items.map(async ({ id: channel, name, alias }) => ({
        id: channel,
        name,
        alias,
        publish: await may('publish', channel),
        subscribe: await may('subscribe', channel),
      })),
    ),
  });
}

async function mayNow(
  call: AccessCall,
  plane: Plane,
  principal: Principal | null,
  action: MessageAction,
  channel: string,
): Promise<boolean> {
  if (principal === null) return false;
  return (await plane.gate.may(principal, action, channel, '', call.context)).kind === 'allow';
}
