import type { z } from '@hono/zod-openapi';
import { deleted, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { type Route, route } from '../http/route.ts';
import { checkVersion } from './change.ts';
import { thingFor } from './lookup.ts';
import { matched, removed } from './problems.ts';
import { KeyBody, ThingAnswer } from './schemas.ts';
import { oneThing } from './thing-answers.ts';

const tag = 'things';
const one = { description: 'The thing, with its new key.', schema: ThingAnswer };

export const thingKeyRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/things/{id}/key',
      tag,
      summary: 'Give a thing a new key',
      description:
        'Without an overlap the old key is void at once: what it opened is cut, and tokens that it was exchanged for are void. With one, both keys hold until it ends; a key from before that is void.',
      body: KeyBody,
      answers: { 200: one, ...matched },
      examples: [
        {
          name: 'with a day to change it',
          parameters: { id: example.otherThing },
          body: { overlap_seconds: 86_400 },
          status: 200,
        },
      ],
    },
    rotate,
  ),
  route(
    {
      method: 'patch',
      path: '/things/{id}/key',
      tag,
      summary: 'Give a thing a new key (classic dialect)',
      body: KeyBody,
      answers: { 200: one, ...matched },
      examples: [{ name: 'at once', parameters: { id: example.otherThing }, body: {}, status: 200 }],
    },
    rotate,
  ),
  route(
    {
      method: 'delete',
      path: '/things/{id}/key/previous',
      tag,
      summary: 'End the overlap: the key before this one is void at once',
      answers: removed,
      examples: [{ name: 'a thing', parameters: { id: example.thing }, status: 204 }],
    },
    async (call, plane) => {
      const thing = await thingFor(call, plane, 'update');
      checkVersion('thing', thing, expectedVersion(call));
      const { id } = thing;
      return deleted(call, { keys: (await plane.registry.thingKeys.endOverlap(id)) ? 1 : 0 });
    },
  ),
];

async function rotate(call: Call<unknown, z.output<typeof KeyBody>>, plane: Plane): Promise<Response> {
  const { id } = await thingFor(call, plane, 'update');
  const { key, overlap_seconds: overlapSeconds } = call.body;
  const rotated = await plane.registry.thingKeys.rotate(id, { key, overlapSeconds }, expectedVersion(call));
  if (rotated === null) throw notFound('thing');
  return oneThing(call, plane, 200, rotated.thing);
}
