import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { channelAnswer, channelPatch, newChannel, present } from './channel-answers.ts';
import type { Channel, ChannelPatch } from './channels.ts';
import { channelFor, listOf, permitMove, permitNew } from './lookup.ts';
import { pageAnswer } from './page.ts';
import { matched, removed } from './problems.ts';
import { reachOf } from './reach.ts';
import {
  ChannelAnswer,
  ChannelDeletionQuery,
  ChannelListQuery,
  ChannelPatchBody,
  ChannelsPage,
  NewChannelBody,
} from './schemas.ts';

const tag = 'channels';
const one = { description: 'The channel.', schema: ChannelAnswer };
const here = { id: example.channel };

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
      examples: [
        {
          name: 'JSON with a time of its own, kept for a month',
          body: {
            name: 'Hall',
            alias: 'hall',
            profile: {
              time_field: 'data.at',
              time_format: 'rfc3339',
              fields: ['temperature', 'env/*'],
              retention_days: 30,
            },
            limits: { messages_per_second: 10, payload_bytes_max: 65_536 },
          },
          status: 201,
        },
      ],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permitNew(call, plane, org, 'channels', [call.body]);
      const [made] = await plane.registry.channels.create(org, [newChannel(call.body)]);
      if (made === undefined) throw notFound('channel');
      return oneChannel(201, made, { response: 'created' }, { location: `/channels/${made.id}` });
    },
  ),
  route(
    {
      method: 'get',
      path: '/channels',
      tag,
      summary: 'List channels',
      description: 'Who has a role in groups only is given what lies in those.',
      query: ChannelListQuery,
      answers: { 200: { description: 'A page of channels.', schema: ChannelsPage } },
      examples: [{ name: 'by part of the name', query: { name: 'ha', limit: '5' }, status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      const within = (await reachOf(call, plane, org, 'channels')) ?? undefined;
      const { group, below } = call.query;
      const found = await plane.registry.channels.list({ ...listOf(org, call.query), group, below, within });
      return json(200, pageAnswer(found, 'channels', channelAnswer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/channels/{id}',
      tag,
      summary: 'Get a channel, by id or alias',
      answers: { 200: one },
      examples: [{ name: 'by id', parameters: here, status: 200 }],
    },
    async (call, plane) => oneChannel(200, await channelFor(call, plane, 'read')),
  ),
  route(
    {
      method: 'put',
      path: '/channels/{id}',
      tag,
      summary: 'Replace name and metadata of a channel',
      description: 'Other fields change only when they are given.',
      body: ChannelPatchBody,
      answers: { 200: one, ...matched },
      examples: [{ name: 'rename', parameters: here, body: { name: 'Hall' }, status: 200 }],
    },
    (call, plane) => update(call, plane, { name: '', metadata: {}, ...present(channelPatch(call.body)) }),
  ),
  route(
    {
      method: 'patch',
      path: '/channels/{id}',
      tag,
      summary: 'Change fields of a channel',
      description: 'profile and limits are replaced as a whole; retention holds also for what is stored already.',
      body: ChannelPatchBody,
      answers: { 200: one, ...matched },
      examples: [{ name: 'a limit', parameters: here, body: { limits: { messages_per_second: 5 } }, status: 200 }],
    },
    (call, plane) => update(call, plane, channelPatch(call.body)),
  ),
  route(
    {
      method: 'delete',
      path: '/channels/{id}',
      tag,
      summary: 'Delete a channel',
      description:
        'Its connections and retained messages go with it. What is stored of its messages stays for as long as it is kept, unless data=delete.',
      query: ChannelDeletionQuery,
      answers: removed,
      examples: [{ name: 'a channel', parameters: { id: example.otherChannel }, status: 204 }],
    },
    async (call, plane) => {
      const { id, org } = await channelFor(call, plane, 'delete');
      const withData = call.query.data === 'delete';
      if (withData) await permit(call, plane, org, 'deletions', 'deletions.create');
      const gone = withData
        ? await plane.registry.retention.removeChannel({ id, org }, expectedVersion(call))
        : await plane.registry.channels.remove(id, expectedVersion(call));
      if (gone === null) throw notFound('channel');
      return deleted(call, gone);
    },
  ),
  route(
    {
      method: 'post',
      path: '/channels/{id}/enable',
      tag,
      summary: 'Let messages in again',
      answers: { 200: one, ...matched },
      examples: [{ name: 'a channel', parameters: here, status: 200 }],
    },
    (call, plane) => update(call, plane, { enabled: true }),
  ),
  route(
    {
      method: 'post',
      path: '/channels/{id}/disable',
      tag,
      summary: 'Keep messages out, at once',
      answers: { 200: one, ...matched },
      examples: [{ name: 'a channel', parameters: { id: example.otherChannel }, status: 200 }],
    },
    (call, plane) => update(call, plane, { enabled: false }),
  ),
];

async function update(call: Call<unknown, unknown>, plane: Plane, patch: ChannelPatch): Promise<Response> {
  const channel = await channelFor(call, plane, 'update');
  await permitMove(call, plane, 'channels', channel, patch.groupId);
  const updated = await plane.registry.channels.update(channel.id, patch, expectedVersion(call));
  if (updated === null) throw notFound('channel');
  return oneChannel(200, updated);
}

const oneChannel = (status: number, channel: Channel, also: object = {}, headers: Record<string, string> = {}) =>
  json(status, { ...also, ...channelAnswer(channel) }, { ...etag(channel.version), ...headers });
