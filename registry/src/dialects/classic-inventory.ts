import { z } from '@hono/zod-openapi';
import { uuidV7 } from '@millrace/core';
import { example } from '../http/examples.ts';
import { json, type Route, route } from '../http/route.ts';
import { ThingsPage } from '../inventory/schemas.ts';
import { metadata, references } from './schemas.ts';
import { type Accent, type Ask, translated } from './translation.ts';

const tag = 'classic dialect';
const Search = z.strictObject({
  name: z.string().max(1_024).optional(),
  metadata: metadata.optional(),
  tag: z.string().max(128).optional(),
  offset: z.int().min(0).max(999_999_999).optional(),
  limit: z.int().min(1).max(1_000).optional(),
  order: z.enum(['name', 'id', 'created', 'updated']).optional(),
  dir: z.enum(['asc', 'desc']).optional(),
});
const RIGHTS = { read: 'things.read', write: 'things.update', delete: 'things.delete' } as const;
const Share = z.strictObject({
  user_ids: z.array(z.uuid()).min(1).max(100),
  policies: z
    .array(z.enum(['read', 'write', 'delete']))
    .min(1)
    .max(3),
});
const Disconnect = z.strictObject({ channel_ids: references, thing_ids: z.array(z.uuid()).min(1).max(1_000) });

export const inventoryAccents: readonly Accent[] = [
  { method: 'get', path: '/things', parameters: { direction: 'dir' } },
  { method: 'get', path: '/channels', parameters: { direction: 'dir' } },
];

export const classicInventory = (ask: Ask): readonly Route[] => [
  translated(
    ask,
    {
      method: 'post',
      path: '/things/search',
      tag,
      summary: 'List things; what is looked for stands in the body',
      body: Search,
      answers: { 200: { description: 'A page of things.', schema: ThingsPage } },
      examples: [{ name: 'by metadata', body: { name: 'thermo', metadata: { floor: 2 }, limit: 5 }, status: 200 }],
    },
    ({ body: { metadata: contained, ...rest } }) => ({
      method: 'get',
      path: '/things',
      query: { ...rest, metadata: contained === undefined ? undefined : JSON.stringify(contained) },
    }),
  ),
  route(
    {
      method: 'post',
      path: '/things/{id}/share',
      tag,
      summary: 'Let members of the organisation read, write or delete a thing',
      description: 'Makes a policy, and attaches it to each of them.',
      body: Share,
      answers: { 200: { description: 'They may.', schema: z.object({}) } },
      examples: [
        {
          name: 'to read',
          parameters: { id: example.thing },
          body: { user_ids: [example.member], policies: ['read'] },
          status: 200,
        },
      ],
    },
    async (call, plane) => {
      const { id = '' } = call.parameters;
      await ask(call, plane, { method: 'get', path: '/things/{id}', parameters: { id } });
      const actions = [...new Set(call.body.policies)].map((right) => RIGHTS[right]);
      const made = await ask(call, plane, {
        method: 'post',
        path: '/policies',
        body: {
          name: `Share of thing ${id}, ${uuidV7()}`,
          statements: [{ effect: 'allow', actions, resources: [`things/${id}`] }],
        },
      });
      const policy = (await made.json()) as { id: string };
      try {
        for (const target of new Set(call.body.user_ids)) {
          const parameters = { id: policy.id, kind: 'user', target };
          await ask(call, plane, { method: 'put', path: '/policies/{id}/attachments/{kind}/{target}', parameters });
        }
      } catch (error) {
        // All or none.
        const undo = { method: 'delete', path: '/policies/{id}', parameters: { id: policy.id } } as const;
        await ask(call, plane, { ...undo, query: { cascade: true } });
        throw error;
      }
      return json(200, {});
    },
  ),
  translated(
    ask,
    {
      method: 'put',
      path: '/disconnect',
      tag,
      summary: 'Disconnect things from channels',
      body: Disconnect,
      answers: { 200: { description: 'They are disconnected.', schema: z.object({}) } },
      examples: [
        { name: 'one', body: { channel_ids: [example.otherChannel], thing_ids: [example.thing] }, status: 200 },
      ],
    },
    ({ body }) => ({ method: 'post', path: '/disconnect', body }),
    () => json(200, {}),
  ),
];
