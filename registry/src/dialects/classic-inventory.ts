import { z } from '@hono/zod-openapi';
import type { Route } from '../http/route.ts';
import { json } from '../http/route.ts';
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
    },
    ({ body: { metadata: contained, ...rest } }) => ({
      method: 'get',
      path: '/things',
      query: { ...rest, metadata: contained === undefined ? undefined : JSON.stringify(contained) },
    }),
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
    },
    ({ body }) => ({ method: 'post', path: '/disconnect', body }),
    () => json(200, {}),
  ),
];
