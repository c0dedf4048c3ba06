import { z } from '@hono/zod-openapi';
import { example } from '../http/examples.ts';
import { json, noContent, type Route, route } from '../http/route.ts';
import { PageQuery, page } from '../http/schemas.ts';
import { ChannelAnswer, GroupAnswer, ThingAnswer } from '../inventory/schemas.ts';
import { type Accent, type Ask, translated } from './translation.ts';

const tag = 'classic dialect';
/** Users are members of organisations here, and have roles in groups. */
const kinds = ['things', 'channels'] as const;
const Members = z.strictObject({
  members: z.array(z.uuid()).min(1).max(1_000),
  type: z.enum(kinds).optional().describe('things if left out'),
});
const MembersQuery = z.object({
  type: z.enum(kinds).optional().describe('things if left out'),
  offset: PageQuery.shape.offset,
  limit: PageQuery.shape.limit,
});
const Groups = z.object({ total: z.int(), groups: z.array(GroupAnswer) });

export const groupAccents: readonly Accent[] = [
  {
    method: 'post',
    path: '/groups/{id}/members',
    body: Members.transform(({ members, type = 'things' }) =>
      type === 'things' ? { thing_ids: members } : { channel_ids: members },
    ),
  },
];

export const classicGroups = (ask: Ask): readonly Route[] => [
  route(
    {
      method: 'get',
      path: '/groups/{id}/parents',
      tag,
      summary: 'The groups above a group, the nearest first',
      answers: { 200: { description: 'The groups.', schema: Groups } },
      examples: [{ name: 'of a group', parameters: { id: example.otherGroup }, status: 200 }],
    },
    async (call, plane) => {
      const get = async (id: string | undefined): Promise<Record<string, unknown>> =>
        (await (
          await ask(call, plane, { method: 'get', path: '/groups/{id}', parameters: { id: id ?? '' } })
        ).json()) as Record<string, unknown>;
      const { ancestors } = await get(call.parameters.id);
      const groups: unknown[] = [];
      for (const id of [...(ancestors as string[])].reverse()) groups.push(await get(id));
      return json(200, { total: groups.length, groups });
    },
  ),
  translated(
    ask,
    {
      method: 'get',
      path: '/groups/{id}/members',
      tag,
      summary: 'What is in a group',
      query: MembersQuery,
      answers: {
        200: {
          description: 'A page of things or channels.',
          schema: page('members', z.union([ThingAnswer, ChannelAnswer])),
        },
      },
      examples: [
        { name: 'things', parameters: { id: example.group }, status: 200 },
        { name: 'channels', parameters: { id: example.group }, query: { type: 'channels' }, status: 200 },
      ],
    },
    ({ parameters, query: { type = 'things', offset, limit } }) => ({
      method: 'get',
      path: `/groups/{id}/${type}`,
      parameters,
      query: { offset, limit },
    }),
    ({ body: { things, channels, ...rest } }) => json(200, { ...rest, members: things ?? channels }),
  ),
  route(
    {
      method: 'delete',
      path: '/groups/{id}/members',
      tag,
      summary: 'Take things or channels out of a group',
      body: Members,
      answers: { 204: { description: 'They are out of it.' } },
      examples: [
        {
          name: 'a thing',
          parameters: { id: example.group },
          body: { members: [example.otherThing], type: 'things' },
          status: 204,
        },
      ],
    },
    async (call, plane) => {
      const { members, type = 'things' } = call.body;
      for (const member of members) {
        const parameters = { id: call.parameters.id ?? '', member };
        await ask(call, plane, { method: 'delete', path: `/groups/{id}/${type}/{member}`, parameters });
      }
      return noContent();
    },
  ),
  route(
    {
      method: 'get',
      path: '/members/{id}/groups',
      tag,
      summary: 'The group that a thing is in',
      answers: { 200: { description: 'One group, or none.', schema: Groups } },
      examples: [{ name: 'of a thing', parameters: { id: example.otherThing }, status: 200 }],
    },
    async (call, plane) => {
      const { id = '' } = call.parameters;
      const thing = (await (
        await ask(call, plane, { method: 'get', path: '/things/{id}', parameters: { id } })
      ).json()) as { group_id: string | null };
      if (thing.group_id === null) return json(200, { total: 0, groups: [] });
      const group = await ask(call, plane, {
        method: 'get',
        path: '/groups/{id}',
        parameters: { id: thing.group_id },
      });
      return json(200, { total: 1, groups: [await group.json()] });
    },
  ),
];
