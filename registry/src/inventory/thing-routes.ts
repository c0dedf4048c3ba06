import type { z } from '@hono/zod-openapi';
import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { orgOf } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { present } from './channel-answers.ts';
import { listOf, permitMove, permitNew, thingFor } from './lookup.ts';
import { matched, removed } from './problems.ts';
import { reachOf } from './reach.ts';
import {
  NewThingBody,
  ThingAnswer,
  ThingListQuery,
  ThingPatchBody,
  ThingPresenceAnswer,
  ThingsPage,
} from './schemas.ts';
import { madeAnswer, newThing, oneThing, presenceAnswer, thingPatch, thingsAnswer } from './thing-answers.ts';
import type { ThingPatch } from './things.ts';

const tag = 'things';
const one = { description: 'The thing.', schema: ThingAnswer };
const here = { id: example.thing };

export const thingRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/things',
      tag,
      summary: 'Make a thing',
      body: NewThingBody,
      answers: { 201: one },
      examples: [
        { name: 'a sensor', body: { name: 'Thermometer', tags: ['hall'], metadata: { floor: 2 } }, status: 201 },
        { name: 'in a group', body: { name: 'Lamp', group_id: example.group }, status: 201 },
      ],
    },
    make,
  ),
  route(
    {
      method: 'get',
      path: '/things',
      tag,
      summary: 'List things',
      description: 'Who has a role in groups only is given what lies in those.',
      query: ThingListQuery,
      answers: { 200: { description: 'A page of things.', schema: ThingsPage } },
      examples: [
        { name: 'all', status: 200 },
        { name: 'by tag and metadata', query: { tag: 'hall', metadata: '{"floor":2}', order: 'name' }, status: 200 },
      ],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      const within = (await reachOf(call, plane, org, 'things')) ?? undefined;
      const { type, group, below, gateway, online } = call.query;
      // What this node knows of who is there is in the table before it is asked.
      if (online !== undefined) await plane.registry.presence.flush();
      const { items, ...rest } = await plane.registry.things.list({
        ...listOf(org, call.query),
        type,
        group,
        below,
        gateway,
        online,
        within,
      });
      return json(200, { ...rest, things: await thingsAnswer(call, plane, items) });
    },
  ),
  route(
    {
      method: 'get',
      path: '/things/{id}',
      tag,
      summary: 'Get a thing',
      answers: { 200: one },
      examples: [{ name: 'a thing', parameters: here, status: 200 }],
    },
    async (call, plane) => oneThing(call, plane, 200, await thingFor(call, plane, 'read')),
  ),
  route(
    {
      method: 'get',
      path: '/things/{id}/presence',
      tag,
      summary: 'Whether a thing is connected, and when it was last heard of',
      answers: { 200: { description: 'Its presence.', schema: ThingPresenceAnswer } },
      examples: [{ name: 'a thing', parameters: here, status: 200 }],
    },
    async (call, plane) => {
      const { id } = await thingFor(call, plane, 'read');
      return json(200, presenceAnswer((await plane.registry.presence.of([id])).get(id)));
    },
  ),
  route(
    {
      method: 'put',
      path: '/things/{id}',
      tag,
      summary: 'Replace name and metadata of a thing',
      description: 'Other fields change only when they are given.',
      body: ThingPatchBody,
      answers: { 200: one, ...matched },
      examples: [{ name: 'rename', parameters: here, body: { name: 'Hall', metadata: { floor: 1 } }, status: 200 }],
    },
    (call, plane) => update(call, plane, { name: '', metadata: {}, ...present(thingPatch(call.body)) }),
  ),
  route(
    {
      method: 'patch',
      path: '/things/{id}',
      tag,
      summary: 'Change fields of a thing',
      body: ThingPatchBody,
      answers: { 200: one, ...matched },
      examples: [{ name: 'tags', parameters: here, body: { tags: ['hall', 'upstairs'] }, status: 200 }],
    },
    (call, plane) => update(call, plane, thingPatch(call.body)),
  ),
  route(
    {
      method: 'delete',
      path: '/things/{id}',
      tag,
      summary: 'Delete a thing',
      description: 'Its connections and certificates go with it; what it was the gateway of stays.',
      answers: removed,
      examples: [{ name: 'a thing', parameters: { id: example.otherThing }, status: 204 }],
    },
    async (call, plane) => {
      const { id } = await thingFor(call, plane, 'delete');
      const gone = await plane.registry.things.remove(id, expectedVersion(call));
      if (gone === null) throw notFound('thing');
      return deleted(call, gone);
    },
  ),
  route(
    {
      method: 'post',
      path: '/things/{id}/enable',
      tag,
      summary: 'Let a thing in again',
      answers: { 200: one, ...matched },
      examples: [{ name: 'a thing', parameters: here, status: 200 }],
    },
    (call, plane) => update(call, plane, { enabled: true }),
  ),
  route(
    {
      method: 'post',
      path: '/things/{id}/disable',
      tag,
      summary: 'Keep a thing out, at once',
      answers: { 200: one, ...matched },
      examples: [{ name: 'a thing', parameters: { id: example.otherThing }, status: 200 }],
    },
    (call, plane) => update(call, plane, { enabled: false }),
  ),
];

type ThingInput = z.output<typeof NewThingBody>;

async function make(call: Call<unknown, ThingInput>, plane: Plane): Promise<Response> {
  const org = await orgOf(call, plane);
  await permitNew(call, plane, org, 'things', [call.body]);
  const made = await plane.registry.things.create(org, [newThing(call.body)]);
  const [answer] = madeAnswer(plane, made);
  if (answer === undefined) throw notFound('thing');
  return json(201, answer, { ...etag(answer.version), location: `/things/${answer.id}` });
}

async function update(call: Call<unknown, unknown>, plane: Plane, patch: ThingPatch): Promise<Response> {
  const thing = await thingFor(call, plane, 'update');
  await permitMove(call, plane, 'things', thing, patch.groupId);
  const updated = await plane.registry.things.update(thing.id, patch, expectedVersion(call));
  if (updated === null) throw notFound('thing');
  return oneThing(call, plane, 200, updated);
}
