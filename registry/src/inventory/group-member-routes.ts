import type { z } from '@hono/zod-openapi';
import { isUuid, roleActions } from '@millrace/core';
import { mustHold, mustHoldPoliciesOf } from '../access/holding.ts';
import { deleted } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { PageQuery, page } from '../http/schemas.ts';
import { channelAnswer } from './channel-answers.ts';
import type { GivenRole, GroupRole } from './group-roles.ts';
import type { Group } from './groups.ts';
import { branchOf, channelFor, groupFor, pageOf, thingFor } from './lookup.ts';
import { pageAnswer } from './page.ts';
import { removed } from './problems.ts';
import {
  BranchQuery,
  ChannelsPage,
  GroupRoleAnswer,
  GroupRoleBody,
  MembersAnswer,
  MembersBody,
  ThingsPage,
} from './schemas.ts';
import { thingsAnswer } from './thing-answers.ts';

const tag = 'groups';
const here = { id: example.group };
const byName = { order: 'name', direction: 'asc' } as const;

export const groupMemberRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/groups/{id}/things',
      tag,
      summary: 'Things in a group',
      query: BranchQuery,
      answers: { 200: { description: 'A page of things, in order of their names.', schema: ThingsPage } },
      examples: [{ name: 'also below', parameters: here, query: { below: 'true' }, status: 200 }],
    },
    async (call, plane) => {
      const group = await groupFor(call, plane, 'read');
      await permit(call, plane, group.org, 'things', 'things.list', { groups: branchOf(group) });
      const { below } = call.query;
      const query = { org: group.org, ...pageOf(call.query), ...byName, group: group.id, below };
      const { items, ...rest } = await plane.registry.things.list(query);
      return json(200, { ...rest, things: await thingsAnswer(call, plane, items) });
    },
  ),
  route(
    {
      method: 'get',
      path: '/groups/{id}/channels',
      tag,
      summary: 'Channels in a group',
      query: BranchQuery,
      answers: { 200: { description: 'A page of channels, in order of their names.', schema: ChannelsPage } },
      examples: [{ name: 'right in it', parameters: here, status: 200 }],
    },
    async (call, plane) => {
      const group = await groupFor(call, plane, 'read');
      await permit(call, plane, group.org, 'channels', 'channels.list', { groups: branchOf(group) });
      const { below } = call.query;
      const query = { org: group.org, ...pageOf(call.query), ...byName, group: group.id, below };
      return json(200, pageAnswer(await plane.registry.channels.list(query), 'channels', channelAnswer));
    },
  ),
  route(
    {
      method: 'post',
      path: '/groups/{id}/members',
      tag,
      summary: 'Put things and channels into a group, all or none',
      body: MembersBody,
      answers: {
        200: { description: 'How many came in; those that were there already do not count.', schema: MembersAnswer },
      },
      examples: [{ name: 'a thing', parameters: here, body: { thing_ids: [example.thing] }, status: 200 }],
    },
    async (call, plane) => {
      const group = await groupFor(call, plane, 'update');
      const { thing_ids: things = [], channel_ids: channels = [] } = call.body;
      const members = { things: distinct(things), channels: distinct(channels) };
      await permitMembers(call, plane, group, members, branchOf(group));
      return json(200, await plane.registry.groupMembers.put(group.org, group.id, members));
    },
  ),
  ...(['things', 'channels'] as const).flatMap((entity) => [
    route(
      {
        method: 'put' as const,
        path: `/groups/{id}/${entity}/{member}`,
        tag,
        summary: `Put a ${entity === 'things' ? 'thing' : 'channel'} into a group`,
        answers: { 204: { description: 'It is in the group, and in no other.' } },
        examples: [
          {
            name: 'put',
            parameters: { ...here, member: example[entity === 'things' ? 'thing' : 'channel'] },
            status: 204,
          },
        ],
      },
      async (call, plane) => {
        const group = await groupFor(call, plane, 'update');
        const members = await memberOf(call, plane, group, entity);
        await permitMembers(call, plane, group, members, branchOf(group));
        await plane.registry.groupMembers.put(group.org, group.id, members);
        return new Response(null, { status: 204 });
      },
    ),
    route(
      {
        method: 'delete' as const,
        path: `/groups/{id}/${entity}/{member}`,
        tag,
        summary: `Take a ${entity === 'things' ? 'thing' : 'channel'} out of a group`,
        answers: { 204: { description: 'It is not in the group.' } },
        examples: [
          {
            name: 'take',
            parameters: { ...here, member: example[entity === 'things' ? 'otherThing' : 'otherChannel'] },
            status: 204,
          },
        ],
      },
      async (call, plane) => {
        const group = await groupFor(call, plane, 'update');
        const members = await memberOf(call, plane, group, entity);
        await permitMembers(call, plane, group, members, []);
        await plane.registry.groupMembers.take(group.org, group.id, members);
        return new Response(null, { status: 204 });
      },
    ),
  ]),
  route(
    {
      method: 'get',
      path: '/groups/{id}/roles',
      tag,
      summary: 'Who has which role in a group',
      description: 'Those that they have in groups above it, or in the organisation, hold too and are told there.',
      query: PageQuery,
      answers: { 200: { description: 'A page of roles.', schema: page('roles', GroupRoleAnswer) } },
      examples: [{ name: 'of a group', parameters: here, status: 200 }],
    },
    async (call, plane) => {
      const group = await groupFor(call, plane, 'read');
      const { offset, limit } = pageOf(call.query);
      return json(200, pageAnswer(await plane.registry.groupRoles.list(group.id, offset, limit), 'roles', roleAnswer));
    },
  ),
  route(
    {
      method: 'put',
      path: '/groups/{id}/roles/{user}',
      tag,
      summary: 'Give somebody a role in a group and all below it',
      description: 'In place of the one that they have there. They must be a member of the organisation.',
      body: GroupRoleBody,
      answers: { 200: { description: 'The role.', schema: GroupRoleAnswer } },
      examples: [
        { name: 'a viewer', parameters: { ...here, user: example.member }, body: { role: 'viewer' }, status: 200 },
      ],
    },
    async (call, plane) => {
      const group = await groupFor(call, plane, 'update');
      const user = userId(call);
      const given = await givenRole(call, plane, group);
      await mustHoldOld(call, plane, group, user);
      return json(200, roleAnswer(await plane.registry.groupRoles.put(group, user, given)));
    },
  ),
  route(
    {
      method: 'delete',
      path: '/groups/{id}/roles/{user}',
      tag,
      summary: 'Take the role away that somebody has in a group',
      answers: removed,
      examples: [{ name: 'a member', parameters: { id: example.otherGroup, user: example.member }, status: 404 }],
    },
    async (call, plane) => {
      const group = await groupFor(call, plane, 'update');
      const user = userId(call);
      await mustHoldOld(call, plane, group, user);
      if (!(await plane.registry.groupRoles.remove(group, user))) throw notFound('role');
      return deleted(call);
    },
  ),
];

interface Members {
  readonly things: readonly string[];
  readonly channels: readonly string[];
}
const distinct = (ids: readonly string[]): string[] => [...new Set(ids.map((id) => id.toLowerCase()))];

/** Every member of the organisation, and theirs to move who asks: from where it is, and to where it goes.
 *  @throws Refusal 404, 403 */
async function permitMembers(
  call: Call<unknown, unknown>,
  plane: Plane,
  { org }: Group,
  members: Members,
  to: readonly string[],
): Promise<void> {
  const { registry } = plane;
  const found = {
    things: await registry.things.many(members.things),
    channels: await registry.channels.many(members.channels, org),
  };
  for (const entity of ['things', 'channels'] as const) {
    const mine = found[entity].filter((each) => each.org === org);
    for (const { id, groups } of mine)
      for (const place of [groups, to])
        await permit(call, plane, org, `${entity}/${id}`, `${entity}.update`, { groups: place });
    if (mine.length < members[entity].length) throw notFound(entity.slice(0, -1));
  }
}

/** The one that the path names.  @throws Refusal 404, 403 */
async function memberOf(
  call: Call<unknown, unknown>,
  plane: Plane,
  { org }: Group,
  entity: 'things' | 'channels',
): Promise<Members> {
  const reference = call.parameters.member ?? '';
  const found = await (entity === 'things' ? thingFor : channelFor)(call, plane, 'read', reference);
  if (found.org !== org) throw notFound(entity.slice(0, -1));
  return { things: [], channels: [], [entity]: [found.id] };
}

/** What shall be given, by who has it.  @throws Refusal 403, 404 */
async function givenRole(
  call: Call<unknown, z.output<typeof GroupRoleBody>>,
  plane: Plane,
  group: Group,
): Promise<GivenRole> {
  const { role, role_id: id } = call.body;
  const given = role === undefined ? { customRole: id?.toLowerCase() ?? '' } : { role };
  const actions =
    'role' in given ? roleActions[given.role] : await plane.registry.groupRoles.actionsOf(group.org, given.customRole);
  if (actions === null) throw notFound('role');
  await mustHold(call, plane, group.org, [{ actions, resources: [`group:${group.id}/*`] }]);
  await mustHoldPoliciesOf(call, plane, group.org, 'role' in given ? given.role : given.customRole, group.id);
  return given;
}

/** Nobody takes away what they have not themselves: an editor does not depose an owner.  @throws Refusal 403 */
async function mustHoldOld(call: Call<unknown, unknown>, plane: Plane, group: Group, user: string): Promise<void> {
  const old = await plane.registry.groupRoles.get(group.id, user);
  if (old === null) return;
  const actions = old.role === null ? (old.actions ?? []) : roleActions[old.role];
  await mustHold(call, plane, group.org, [{ actions, resources: [`group:${group.id}/*`] }]);
}

/** @throws Refusal 404 */
function userId(call: Call<unknown, unknown>): string {
  const id = call.parameters.user ?? '';
  if (!isUuid(id)) throw notFound('user');
  return id.toLowerCase();
}

const roleAnswer = ({ userId, email, name, customRole, createdAt }: GroupRole) => ({
  user_id: userId,
  email,
  role: name,
  role_id: customRole,
  created_at: createdAt.toISOString(),
});
