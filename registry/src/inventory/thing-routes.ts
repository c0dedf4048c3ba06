import type { z } from '@hono/zod-openapi';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, noContent, type Route, route } from '../http/route.ts';
import { bulk, KeyBody, NewThingBody, page, ThingAnswer, ThingListQuery, ThingPatchBody } from '../http/schemas.ts';
import { listOf, thingFor } from './lookup.ts';
import type { Thing, ThingPatch } from './things.ts';

const tag = 'things';
const one = { description: 'The thing.', schema: ThingAnswer };

export const thingRoutes: readonly Route[] = [
  route(
    { method: 'post', path: '/things', tag, summary: 'Make a thing', body: NewThingBody, answers: { 201: one } },
    async (call, plane) => {
      const [made] = await create(call, plane, [call.body]);
      if (made === undefined) throw notFound('thing');
      return json(201, made, { location: `/things/${made.id}` });
    },
  ),
  route(
    {
      method: 'post',
      path: '/devices',
      tag,
      summary: 'Make a thing (first dialect)',
      body: NewThingBody,
      answers: { 201: { description: 'The thing, and {"response":"created"}.', schema: ThingAnswer } },
    },
    async (call, plane) => {
      const [made] = await create(call, plane, [call.body]);
      if (made === undefined) throw notFound('thing');
      return json(201, { response: 'created', ...made }, { location: `/things/${made.id}` });
    },
  ),
  route(
    {
      method: 'post',
      path: '/things/bulk',
      tag,
      summary: 'Make up to 1000 things, all or none',
      body: bulk(NewThingBody),
      answers: { 201: { description: 'The things, in the order of the request.' } },
    },
    async (call, plane) => json(201, { things: await create(call, plane, call.body) }),
  ),
  route(
    {
      method: 'get',
      path: '/things',
      tag,
      summary: 'List things',
      query: ThingListQuery,
      answers: { 200: { description: 'A page of things.', schema: page('things', ThingAnswer) } },
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'things', 'things.list');
      const { items, ...rest } = await plane.registry.things.list({
        ...listOf(org, call.query),
        type: call.query.type,
      });
      const withKeys = await plane.gate.allows(await call.principal(), org, 'things', 'things.update', call.context);
      return json(200, {
        ...rest,
        things: items.map((thing) => answer(thing, withKeys ? plane.registry.things.key(thing) : undefined)),
      });
    },
  ),
  route(
    { method: 'get', path: '/things/{id}', tag, summary: 'Get a thing', answers: { 200: one } },
    async (call, plane) => shown(call, plane, await thingFor(call, plane, 'read')),
  ),
  route(
    {
      method: 'put',
      path: '/things/{id}',
      tag,
      summary: 'Replace name and metadata of a thing',
      description: 'Other fields change only when they are given.',
      body: ThingPatchBody,
      answers: { 200: one },
    },
    (call, plane) => update(call, plane, { name: '', metadata: {}, ...patchOf(call.body) }),
  ),
  route(
    {
      method: 'patch',
      path: '/things/{id}',
      tag,
      summary: 'Change fields of a thing',
      body: ThingPatchBody,
      answers: { 200: one },
    },
    (call, plane) => update(call, plane, patchOf(call.body)),
  ),
  route(
    {
      method: 'delete',
      path: '/things/{id}',
      tag,
      summary: 'Delete a thing',
      answers: { 204: { description: 'It is gone.' } },
    },
    async (call, plane) => {
      const thing = await thingFor(call, plane, 'delete');
      if (!(await plane.registry.things.remove(thing.id))) throw notFound('thing');
      return noContent();
    },
  ),
  route(
    { method: 'post', path: '/things/{id}/enable', tag, summary: 'Let a thing in again', answers: { 200: one } },
    (call, plane) => update(call, plane, { enabled: true }),
  ),
  route(
    { method: 'post', path: '/things/{id}/disable', tag, summary: 'Keep a thing out, at once', answers: { 200: one } },
    (call, plane) => update(call, plane, { enabled: false }),
  ),
  route(
    {
      method: 'patch',
      path: '/things/{id}/key',
      tag,
      summary: 'Give a thing a new key; the old one is void at once',
      body: KeyBody,
      answers: { 200: one },
    },
    async (call, plane) => {
      const { id } = await thingFor(call, plane, 'update');
      const rotated = await plane.registry.things.rotateKey(id, call.body.key);
      if (rotated === null) throw notFound('thing');
      return json(200, answer(rotated.thing, rotated.key));
    },
  ),
];

type ThingInput = z.output<typeof NewThingBody>;

async function create(
  call: Call<unknown, unknown>,
  plane: Plane,
  bodies: readonly ThingInput[],
): Promise<ReturnType<typeof answer>[]> {
  const org = await orgOf(call, plane);
  await permit(call, plane, org, 'things', 'things.create');
  const made = await plane.registry.things.create(
    org,
    bodies.map(({ external_id, ...rest }) => ({ ...rest, externalId: external_id })),
  );
  return made.map(({ thing, key }) => answer(thing, key));
}

async function update(call: Call<unknown, unknown>, plane: Plane, patch: ThingPatch): Promise<Response> {
  const { id } = await thingFor(call, plane, 'update');
  const thing = await plane.registry.things.update(id, patch);
  if (thing === null) throw notFound('thing');
  return json(200, answer(thing, plane.registry.things.key(thing)));
}

/** With its key, if the asker may change it anyway. */
async function shown(call: Call<unknown, unknown>, plane: Plane, thing: Thing): Promise<Response> {
  const withKey = await plane.gate.allows(
    await call.principal(),
    thing.org,
    `things/${thing.id}`,
    'things.update',
    call.context,
  );
  return json(200, answer(thing, withKey ? plane.registry.things.key(thing) : undefined));
}

const patchOf = ({ external_id, ...rest }: z.output<typeof ThingPatchBody>): ThingPatch =>
  external_id === undefined ? rest : { ...rest, externalId: external_id };

function answer(thing: Thing, key: string | undefined) {
  return {
    id: thing.id,
    org: thing.org,
    name: thing.name,
    ...(key === undefined ? {} : { key }),
    type: thing.type,
    enabled: thing.enabled,
    metadata: thing.metadata,
    tags: thing.tags,
    external_id: thing.externalId,
    version: thing.version,
    created_at: thing.createdAt.toISOString(),
    updated_at: thing.updatedAt.toISOString(),
  };
}
