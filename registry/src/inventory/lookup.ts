import { isUuid } from '@millrace/core';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import type { Channel } from './channels.ts';
import type { ListQuery } from './page.ts';
import type { Thing } from './things.ts';

type Verb = 'read' | 'update' | 'delete';

/** @throws Refusal 404, 403 */
export async function thingFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: Verb,
  id = call.parameters.id ?? '',
): Promise<Thing> {
  await call.principal();
  const thing = isUuid(id) ? await plane.registry.things.get(id) : null;
  if (thing === null) throw notFound('thing');
  await permit(call, plane, thing.org, `things/${thing.id}`, `things.${verb}`);
  return thing;
}

/** By id or alias.  @throws Refusal 404, 403 */
export async function channelFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: Verb,
  reference = call.parameters.id ?? '',
): Promise<Channel> {
  await call.principal();
  const org = isUuid(reference) ? null : await orgOf(call, plane);
  const channel = await plane.registry.channels.get(reference, org);
  if (channel === null) throw notFound('channel');
  await permit(call, plane, channel.org, `channels/${channel.id}`, `channels.${verb}`);
  return channel;
}

interface PageParameters {
  readonly offset?: number | undefined;
  readonly limit?: number | undefined;
}
export const pageOf = (query: PageParameters): { offset: number; limit: number } => ({
  offset: query.offset ?? 0,
  limit: query.limit ?? 10,
});

export function listOf(
  org: string,
  query: PageParameters &
    Pick<ListQuery, 'name' | 'tag' | 'metadata'> & {
      order?: ListQuery['order'] | undefined;
      dir?: 'asc' | 'desc' | undefined;
    },
): ListQuery {
  const { name, tag, metadata } = query;
  return {
    org,
    ...pageOf(query),
    name,
    tag,
    metadata,
    order: query.order ?? 'created',
    direction: query.dir ?? 'desc',
  };
}
