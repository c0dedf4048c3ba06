import { type ControlAction, isUuid } from '@millrace/core';
import { isMember, orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import type { Channel } from './channels.ts';
import type { Group } from './groups.ts';
import { type ListQuery, parseCursor } from './page.ts';
import type { Thing } from './things.ts';

type Verb = 'read' | 'update' | 'delete';

/** @throws Refusal 404, 403 */
export async function thingFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: Verb,
  id = call.parameters.id ?? '',
): Promise<Thing> {
  const thing = await permittedThing(call, plane, `things.${verb}`, id);
  if (verb !== 'read') await permitMachine(call, plane, thing.org, thing.id, verb);
  return thing;
}

/** A thing with which somebody may do something, whatever the action is of.  @throws Refusal 404, 403 */
export async function permittedThing(
  call: Call<unknown, unknown>,
  plane: Plane,
  action: ControlAction,
  id: string,
): Promise<Thing> {
  await call.principal();
  const thing = isUuid(id) ? await plane.registry.things.get(id) : null;
  if (thing === null) throw notFound('thing');
  const { org, groups } = thing;
  await permit(call, plane, org, `things/${thing.id}`, action, { groups });
  return thing;
}

/** A thing that is who an application is belongs to the application: whoever can let themselves in as it acts with all
 *  that its policies give it, and past the scopes that its tokens are limited to.
 *  @throws Refusal 403 */
export async function permitMachine(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  thing: string,
  verb: 'update' | 'delete',
): Promise<void> {
  if (!(await plane.registry.applications.apps.machines([thing])).has(thing)) return;
  await permit(call, plane, org, `apps/${thing}`, `apps.${verb}`, { hidden: 'application' });
}

/** By id or alias.  @throws Refusal 404, 403 */
export async function channelFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: Verb,
  reference = call.parameters.id ?? '',
): Promise<Channel> {
  await call.principal();
  // No alias holds it, and PostgreSQL can not be asked for it.
  if (reference.includes('\0')) throw notFound('channel');
  const org = isUuid(reference) ? null : await orgOf(call, plane);
  const channel = await plane.registry.channels.get(reference, org);
  if (channel === null) throw notFound('channel');
  const { groups } = channel;
  await permit(call, plane, channel.org, `channels/${channel.id}`, `channels.${verb}`, { groups });
  return channel;
}

/** @throws Refusal 404, 403 */
export async function groupFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: Verb,
  id = call.parameters.id ?? '',
): Promise<Group> {
  await call.principal();
  const group = isUuid(id) ? await plane.registry.groups.get(id) : null;
  if (group === null) throw notFound('group');
  await permit(call, plane, group.org, `groups/${group.id}`, `groups.${verb}`, { groups: branchOf(group) });
  return group;
}

/** A group itself and those above it, as the gate asks for. */
export const branchOf = ({ ancestors, id }: Group): string[] => [...ancestors, id];

/** Where something shall be put: the group and those above it; none for the organisation itself.
 *  @throws Refusal 404 if it is no group of the org */
export async function placeOf(plane: Plane, org: string, group: string | null | undefined): Promise<readonly string[]> {
  if (group === null || group === undefined) return [];
  const found = await plane.registry.groups.get(group);
  if (found === null || found.org !== org) throw notFound('group');
  return branchOf(found);
}

/** Lets pass who may make such in each of the groups that are named.  @throws Refusal 403, 404 */
export async function permitNew(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  entity: 'things' | 'channels',
  bodies: readonly { readonly group_id?: string | null | undefined }[],
): Promise<void> {
  for (const place of new Set(bodies.map(({ group_id }) => group_id?.toLowerCase() ?? null))) {
    // Who is nothing here does not learn which groups there are.
    if (place !== null && !(await isMember(await call.principal(), plane, org))) throw notFound('organisation');
    const groups = await placeOf(plane, org, place);
    await permit(call, plane, org, entity, `${entity}.create`, { groups });
  }
}

/** A move takes the right where it goes, as it does where it comes from.
 *  @param to undefined: it stays  @throws Refusal 403, 404 */
export async function permitMove(
  call: Call<unknown, unknown>,
  plane: Plane,
  entity: 'things' | 'channels',
  { id, org, groupId }: { readonly id: string; readonly org: string; readonly groupId: string | null },
  to: string | null | undefined,
): Promise<void> {
  if (to === undefined || (to?.toLowerCase() ?? null) === groupId) return;
  await permit(call, plane, org, `${entity}/${id}`, `${entity}.update`, { groups: await placeOf(plane, org, to) });
}

/** What falls out of a group comes to lie in the organisation itself: to put it there takes the right there, as it does
 *  one by one. Else it would slip what holds in the groups above, that they are disabled or what is attached to them.
 *  @throws Refusal 403 */
export async function permitFalling(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  group: string,
): Promise<void> {
  const page = { org, group, below: true, offset: 0, limit: 1, order: 'created', direction: 'desc' } as const;
  for (const entity of ['things', 'channels'] as const) {
    const { total } = await plane.registry[entity].list(page);
    if (total > 0) await permit(call, plane, org, entity, `${entity}.update`);
  }
}

interface PageParameters {
  readonly offset?: number | undefined;
  readonly limit?: number | undefined;
}
export const pageOf = (query: PageParameters): { offset: number; limit: number } => ({
  offset: query.offset ?? 0,
  limit: query.limit ?? 10,
});

/** What `ListQuery` of http/schemas.ts asks for. A cursor brings its order along.
 *  @throws Refusal 400 for a cursor that is none, or one of another order than is asked for */
export function listOf(
  org: string,
  query: PageParameters &
    Pick<ListQuery, 'name' | 'tags' | 'metadata' | 'status'> & {
      tag?: string | undefined;
      cursor?: string | undefined;
      order?: ListQuery['order'] | undefined;
      dir?: 'asc' | 'desc' | undefined;
    },
): ListQuery {
  const { name, tag, tags = [], metadata, status } = query;
  const after = query.cursor === undefined ? undefined : parseCursor(query.cursor);
  const order = query.order ?? after?.order ?? 'created';
  const direction = query.dir ?? after?.direction ?? 'desc';
  if (after !== undefined && (after.order !== order || after.direction !== direction))
    throw new Refusal(400, 'The parameter "cursor" is wrong: it is of a list in another order.');
  return {
    org,
    ...pageOf(query),
    name,
    tags: tag === undefined ? tags : [...tags, tag],
    metadata,
    status,
    order,
    direction,
    after,
  };
}
