import type { z } from '@hono/zod-openapi';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, noContent, type Route, route } from '../http/route.ts';
import { bulk, ChannelAnswer, ChannelPatchBody, ListQuery, NewChannelBody, page } from '../http/schemas.ts';
import type { Channel, ChannelPatch } from './channels.ts';
import { channelFor, listOf } from './lookup.ts';

const tag = 'channels';
const one = { description: 'The channel.', schema: ChannelAnswer };

export const channelRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/channels',
      tag,
      summary: 'Make a channel',
      body: NewChannelBody,
      answers: {
        201: {
          description: 'The channel, and {"response":"created"} as the first dialect has it.',
          schema: ChannelAnswer,
        },
      },
    },
    async (call, plane) => {
      const [made] = await create(call, plane, [call.body]);
      if (made === undefined) throw notFound('channel');
      return json(201, { response: 'created', ...made }, { location: `/channels/${made.id}` });
    },
  ),
  route(
    {
      method: 'post',
      path: '/channels/bulk',
      tag,
      summary: 'Make up to 1000 channels, all or none',
      body: bulk(NewChannelBody),
      answers: { 201: { description: 'The channels, in the order of the request.' } },
    },
    async (call, plane) => json(201, { channels: await create(call, plane, call.body) }),
  ),
  route(
    {
      method: 'get',
      path: '/channels',
      tag,
      summary: 'List channels',
      query: ListQuery,
      answers: { 200: { description: 'A page of channels.', schema: page('channels', ChannelAnswer) } },
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'channels', 'channels.list');
      const { items, ...rest } = await plane.registry.channels.list(listOf(org, call.query));
      return json(200, { ...rest, channels: items.map(answer) });
    },
  ),
  route(
    { method: 'get', path: '/channels/{id}', tag, summary: 'Get a channel, by id or alias', answers: { 200: one } },
    async (call, plane) => json(200, answer(await channelFor(call, plane, 'read'))),
  ),
  route(
    {
      method: 'put',
      path: '/channels/{id}',
      tag,
      summary: 'Replace name and metadata of a channel',
      description: 'Other fields change only when they are given.',
      body: ChannelPatchBody,
      answers: { 200: one },
    },
    (call, plane) => update(call, plane, { name: '', metadata: {}, ...patchOf(call.body) }),
  ),
  route(
    {
      method: 'patch',
      path: '/channels/{id}',
      tag,
      summary: 'Change fields of a channel',
      body: ChannelPatchBody,
      answers: { 200: one },
    },
    (call, plane) => update(call, plane, patchOf(call.body)),
  ),
  route(
    {
      method: 'delete',
      path: '/channels/{id}',
      tag,
      summary: 'Delete a channel',
      answers: { 204: { description: 'It is gone.' } },
    },
    async (call, plane) => {
      const channel = await channelFor(call, plane, 'delete');
      if (!(await plane.registry.channels.remove(channel.id))) throw notFound('channel');
      return noContent();
    },
  ),
  route(
    { method: 'post', path: '/channels/{id}/enable', tag, summary: 'Let messages in again', answers: { 200: one } },
    (call, plane) => update(call, plane, { enabled: true }),
  ),
  route(
    {
      method: 'post',
      path: '/channels/{id}/disable',
      tag,
      summary: 'Keep messages out, at once',
      answers: { 200: one },
    },
    (call, plane) => update(call, plane, { enabled: false }),
  ),
];

type ChannelInput = z.output<typeof NewChannelBody>;

async function create(
  call: Call<unknown, unknown>,
  plane: Plane,
  bodies: readonly ChannelInput[],
): Promise<ReturnType<typeof answer>[]> {
  const org = await orgOf(call, plane);
  await permit(call, plane, org, 'channels', 'channels.create');
  const channels = bodies.map(({ content_type, ...rest }) => ({ ...rest, contentType: content_type }));
  return (await plane.registry.channels.create(org, channels)).map(answer);
}

async function update(call: Call<unknown, unknown>, plane: Plane, patch: ChannelPatch): Promise<Response> {
  const { id } = await channelFor(call, plane, 'update');
  const channel = await plane.registry.channels.update(id, patch);
  if (channel === null) throw notFound('channel');
  return json(200, answer(channel));
}

const patchOf = ({ content_type, ...rest }: z.output<typeof ChannelPatchBody>): ChannelPatch =>
  content_type === undefined ? rest : { ...rest, contentType: content_type };

function answer(channel: Channel) {
  return {
    id: channel.id,
    org: channel.org,
    name: channel.name,
    alias: channel.alias,
    enabled: channel.enabled,
    metadata: channel.metadata,
    tags: channel.tags,
    content_type: channel.contentType,
    version: channel.version,
    created_at: channel.createdAt.toISOString(),
    updated_at: channel.updatedAt.toISOString(),
  };
}
