import type { z } from '@hono/zod-openapi';
import { isUuid, type MessageAction } from '@millrace/core';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, noContent, type Route, route } from '../http/route.ts';
import { ConnectBody, ConnectedAnswer, PageQuery, page } from '../http/schemas.ts';
import type { Connected } from './connections.ts';
import { channelFor, pageOf, thingFor } from './lookup.ts';

const tag = 'connections';
const BOTH: readonly MessageAction[] = ['publish', 'subscribe'];
const connected = { description: 'They are connected; a publish right after succeeds.' };

export const connectionRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/connect',
      tag,
      summary: 'Connect things with channels',
      body: ConnectBody,
      answers: { 200: connected },
    },
    async (call, plane) => {
      const { org, things, channels } = await pairs(call, plane, 'connections.create');
      const types = call.body.types ?? BOTH;
      await plane.registry.connections.connect(org, things, channels, types);
      return json(200, { channel_ids: channels, thing_ids: things, types });
    },
  ),
  route(
    {
      method: 'post',
      path: '/disconnect',
      tag,
      summary: 'Take publish, subscribe or both away',
      body: ConnectBody,
      answers: { 200: { description: 'They are disconnected; open sessions are cut.' } },
    },
    async (call, plane) => {
      const { org, things, channels } = await pairs(call, plane, 'connections.delete');
      const types = call.body.types ?? BOTH;
      await plane.registry.connections.disconnect(org, things, channels, types);
      return json(200, { channel_ids: channels, thing_ids: things, types });
    },
  ),
  route(
    {
      method: 'put',
      path: '/channels/{id}/things/{thing}',
      tag,
      summary: 'Connect one thing with one channel',
      answers: { 200: connected },
    },
    async (call, plane) => {
      const { org, thing, channel } = await pair(call, plane, 'connections.create');
      await plane.registry.connections.connect(org, [thing], [channel], BOTH);
      return json(200, { channel_ids: [channel], thing_ids: [thing], types: BOTH });
    },
  ),
  route(
    {
      method: 'delete',
      path: '/channels/{id}/things/{thing}',
      tag,
      summary: 'Disconnect one thing from one channel',
      answers: { 204: { description: 'They are not connected.' } },
    },
    async (call, plane) => {
      const { org, thing, channel } = await pair(call, plane, 'connections.delete');
      await plane.registry.connections.disconnect(org, [thing], [channel], BOTH);
      return noContent();
    },
  ),
  route(
    {
      method: 'get',
      path: '/things/{id}/channels',
      tag,
      summary: 'Channels that a thing is connected with',
      query: PageQuery,
      answers: { 200: { description: 'A page of channels.', schema: page('channels', ConnectedAnswer) } },
    },
    async (call, plane) => {
      const { offset, limit } = pageOf(call.query);
      const { items, ...rest } = await plane.registry.connections.channelsOf(
        await thingFor(call, plane, 'read'),
        offset,
        limit,
      );
      return json(200, { ...rest, channels: items.map(answer) });
    },
  ),
  route(
    {
      method: 'get',
      path: '/channels/{id}/things',
      tag,
      summary: 'Things that are connected with a channel',
      query: PageQuery,
      answers: { 200: { description: 'A page of things.', schema: page('things', ConnectedAnswer) } },
    },
    async (call, plane) => {
      const { offset, limit } = pageOf(call.query);
      const { items, ...rest } = await plane.registry.connections.thingsOf(
        await channelFor(call, plane, 'read'),
        offset,
        limit,
      );
      return json(200, { ...rest, things: items.map(answer) });
    },
  ),
];

type ConnectInput = z.output<typeof ConnectBody>;

/** Everything that a connect names, found and of one org.  @throws Refusal 404, 403 */
async function pairs(
  call: Call<unknown, ConnectInput>,
  plane: Plane,
  action: 'connections.create' | 'connections.delete',
): Promise<{ org: string; things: string[]; channels: string[] }> {
  await call.principal();
  const thingIds = [...new Set(call.body.thing_ids.map((id) => id.toLowerCase()))];
  const references = [...new Set(call.body.channel_ids.map((each) => (isUuid(each) ? each.toLowerCase() : each)))];
  const found = await plane.registry.things.many(thingIds);
  // Without a hint, the things say which org is meant: an administrator is no member of most.
  const [first] = found;
  const asked = new URL(call.request.url).searchParams.has('org') || first === undefined;
  const org = asked ? await orgOf(call, plane) : first.org;
  await permit(call, plane, org, 'connections', action, { hidden: 'thing' });
  if (found.length < thingIds.length || found.some((thing) => thing.org !== org)) throw notFound('thing');
  const channels = await plane.registry.channels.many(references, org);
  const byReference = new Set(
    channels.flatMap((channel) => [channel.id, ...(channel.alias === null ? [] : [channel.alias])]),
  );
  if (channels.some((channel) => channel.org !== org) || references.some((each) => !byReference.has(each)))
    throw notFound('channel');
  return { org, things: thingIds, channels: channels.map((channel) => channel.id) };
}

async function pair(
  call: Call<unknown, unknown>,
  plane: Plane,
  action: 'connections.create' | 'connections.delete',
): Promise<{ org: string; thing: string; channel: string }> {
  const channel = await channelFor(call, plane, 'read');
  const thing = await thingFor(call, plane, 'read', call.parameters.thing ?? '');
  if (thing.org !== channel.org) throw notFound('thing');
  await permit(call, plane, channel.org, 'connections', action);
  return { org: channel.org, thing: thing.id, channel: channel.id };
}

function answer({ id, name, enabled, publish, subscribe }: Connected) {
  return { id, name, enabled, types: BOTH.filter((type) => (type === 'publish' ? publish : subscribe)) };
}
