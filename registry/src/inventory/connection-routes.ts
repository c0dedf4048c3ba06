import type { z } from '@hono/zod-openapi';
import { isUuid, type MessageAction } from '@millrace/core';
import { example } from '../http/examples.ts';
import { isMember, orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, noContent, type Route, route } from '../http/route.ts';
import { page } from '../http/schemas.ts';
import { refuseFrozen } from '../people/frozen.ts';
import type { Channel } from './channels.ts';
import type { Connected, Connection } from './connections.ts';
import { channelFor, pageOf, thingFor } from './lookup.ts';
import { pageAnswer } from './page.ts';
import {
  ConnectAnswer,
  ConnectBody,
  ConnectedAnswer,
  ConnectedQuery,
  ConnectionAnswer,
  ConnectionListQuery,
} from './schemas.ts';
import type { Thing } from './things.ts';

const tag = 'connections';
const BOTH: readonly MessageAction[] = ['publish', 'subscribe'];
const connected = { description: 'They are connected; a publish right after succeeds.', schema: ConnectAnswer };
const both = { channel_ids: [example.channel], thing_ids: [example.otherThing] };

export const connectionRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/connect',
      tag,
      summary: 'Connect things with channels',
      body: ConnectBody,
      answers: { 200: connected },
      examples: [{ name: 'to publish and subscribe', body: both, status: 200 }],
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
      answers: { 200: { description: 'They are disconnected; what was open on them is cut.', schema: ConnectAnswer } },
      examples: [
        {
          name: 'take publishing away',
          body: { channel_ids: [example.otherChannel], thing_ids: [example.thing], types: ['publish'] },
          status: 200,
        },
      ],
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
      method: 'get',
      path: '/connections',
      tag,
      summary: 'List connections',
      query: ConnectionListQuery,
      answers: {
        200: { description: 'A page of connections, newest first.', schema: page('connections', ConnectionAnswer) },
      },
      examples: [{ name: 'of a thing', query: { thing: example.thing }, status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'connections', 'connections.list');
      const { thing, channel } = call.query;
      const found = await plane.registry.connections.list({ org, ...pageOf(call.query), thing, channel });
      return json(200, pageAnswer(found, 'connections', connection));
    },
  ),
  route(
    {
      method: 'put',
      path: '/channels/{id}/things/{thing}',
      tag,
      summary: 'Connect one thing with one channel',
      answers: { 200: connected },
      examples: [
        {
          name: 'publish and subscribe',
          parameters: { id: example.channel, thing: example.otherThing },
          status: 200,
        },
      ],
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
      examples: [{ name: 'a pair', parameters: { id: example.otherChannel, thing: example.thing }, status: 204 }],
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
      query: ConnectedQuery,
      answers: { 200: { description: 'A page of channels.', schema: page('channels', ConnectedAnswer) } },
      examples: [{ name: 'of a thing', parameters: { id: example.thing }, status: 200 }],
    },
    async (call, plane) => {
      const { offset, limit } = pageOf(call.query);
      const { connections } = plane.registry;
      const thing = await thingFor(call, plane, 'read');
      const apart = call.query.disconnected === true;
      if (apart) await permit(call, plane, thing.org, 'channels', 'channels.list');
      const { items, ...rest } = await (apart
        ? connections.channelsWithout(thing, offset, limit)
        : connections.channelsOf(thing, offset, limit));
      return json(200, { ...rest, channels: items.map(answer) });
    },
  ),
  route(
    {
      method: 'get',
      path: '/channels/{id}/things',
      tag,
      summary: 'Things that are connected with a channel',
      query: ConnectedQuery,
      answers: { 200: { description: 'A page of things.', schema: page('things', ConnectedAnswer) } },
      examples: [{ name: 'of a channel', parameters: { id: example.channel }, status: 200 }],
    },
    async (call, plane) => {
      const { offset, limit } = pageOf(call.query);
      const { connections } = plane.registry;
      const channel = await channelFor(call, plane, 'read');
      const apart = call.query.disconnected === true;
      if (apart) await permit(call, plane, channel.org, 'things', 'things.list');
      const { items, ...rest } = await (apart
        ? connections.thingsWithout(channel, offset, limit)
        : connections.thingsOf(channel, offset, limit));
      return json(200, { ...rest, things: items.map(answer) });
    },
  ),
];

type ConnectInput = z.output<typeof ConnectBody>;
type Action = 'connections.create' | 'connections.delete';

/** Everything that a connect names, found and of one org.  @throws Refusal 404, 403 */
async function pairs(
  call: Call<unknown, ConnectInput>,
  plane: Plane,
  action: Action,
): Promise<{ org: string; things: string[]; channels: string[] }> {
  await call.principal();
  const thingIds = [...new Set(call.body.thing_ids.map((id) => id.toLowerCase()))];
  const references = [...new Set(call.body.channel_ids.map((each) => (isUuid(each) ? each.toLowerCase() : each)))];
  const found = await plane.registry.things.many(thingIds);
  // Without a hint, the things say which org is meant: an administrator is no member of most. To others what is not
  // theirs is as what is not there.
  const [first] = found;
  const asked =
    new URL(call.request.url).searchParams.has('org') ||
    first === undefined ||
    !(await isMember(await call.principal(), plane, first.org));
  const org = asked ? await orgOf(call, plane) : first.org;
  const things = found.filter((thing) => thing.org === org);
  const channels = (await plane.registry.channels.many(references, org)).filter((channel) => channel.org === org);
  await permitBoth(call, plane, org, action, things, channels);
  if (things.length < thingIds.length) throw notFound('thing');
  const byReference = new Set(
    channels.flatMap((channel) => [channel.id, ...(channel.alias === null ? [] : [channel.alias])]),
  );
  if (references.some((each) => !byReference.has(each))) throw notFound('channel');
  return { org, things: thingIds, channels: channels.map((channel) => channel.id) };
}

/** Who may connect in all of the organisation may; else it takes the right at each end.
 *  @throws Refusal 404, 403, and 409 while the organisation is frozen */
export async function permitBoth(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  action: Action,
  things: readonly Pick<Thing, 'groups'>[],
  channels: readonly Pick<Channel, 'groups'>[],
): Promise<void> {
  if (await plane.gate.allows(await call.principal(), org, 'connections', action, call.context))
    return refuseFrozen(plane.registry.orgs, org, action);
  const places = new Map([...things, ...channels].map(({ groups }) => [groups.at(-1) ?? '', groups]));
  if (places.size === 0) places.set('', []);
  for (const groups of places.values())
    await permit(call, plane, org, 'connections', action, { hidden: 'thing', groups });
}

async function pair(
  call: Call<unknown, unknown>,
  plane: Plane,
  action: Action,
): Promise<{ org: string; thing: string; channel: string }> {
  const channel = await channelFor(call, plane, 'read');
  const thing = await thingFor(call, plane, 'read', call.parameters.thing ?? '');
  if (thing.org !== channel.org) throw notFound('thing');
  await permitBoth(call, plane, channel.org, action, [thing], [channel]);
  return { org: channel.org, thing: thing.id, channel: channel.id };
}

const typesOf = ({ publish, subscribe }: { publish: boolean; subscribe: boolean }): MessageAction[] =>
  BOTH.filter((type) => (type === 'publish' ? publish : subscribe));

const answer = ({ id, name, enabled, ...may }: Connected) => ({ id, name, enabled, types: typesOf(may) });

const connection = ({ thing, channel, createdAt, ...may }: Connection) => ({
  thing_id: thing,
  channel_id: channel,
  types: typesOf(may),
  created_at: createdAt.toISOString(),
});
