import type { z } from '@hono/zod-openapi';
import { etag } from '../http/entity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { json } from '../http/route.ts';
import type { ThingPresence } from './presence.ts';
import type { NewThingBody, ThingPatchBody } from './schemas.ts';
import type { NewThing, Thing, ThingPatch } from './things.ts';

/** What only who may update a thing is shown. */
interface Secrets {
  readonly key: string;
  readonly externalKey: string | null;
}

const NEVER_SEEN: ThingPresence = { online: false, onlineSince: null, lastSeen: null, protocol: null, address: null };

export const presenceAnswer = (presence: ThingPresence = NEVER_SEEN) => ({
  online: presence.online,
  online_since: presence.onlineSince?.toISOString() ?? null,
  last_seen: presence.lastSeen?.toISOString() ?? null,
  protocol: presence.protocol,
  address: presence.address,
});

export function thingAnswer(thing: Thing, presence: ThingPresence | undefined, secrets: Secrets | null) {
  const { previousKeyUntil: until } = thing;
  return {
    id: thing.id,
    org: thing.org,
    name: thing.name,
    ...(secrets === null ? {} : { key: secrets.key }),
    ...(secrets === null || until === null || until.getTime() <= Date.now()
      ? {}
      : { previous_key_until: until.toISOString() }),
    type: thing.type,
    enabled: thing.enabled,
    metadata: thing.metadata,
    tags: thing.tags,
    external_id: thing.externalId,
    ...(secrets?.externalKey == null ? {} : { external_key: secrets.externalKey }),
    group_id: thing.groupId,
    gateway: thing.gateway,
    presence: presenceAnswer(presence),
    version: thing.version,
    created_at: thing.createdAt.toISOString(),
    updated_at: thing.updatedAt.toISOString(),
  };
}

const secretsOf = ({ registry }: Plane, thing: Thing): Secrets => ({
  key: registry.things.key(thing),
  externalKey: registry.things.externalKey(thing),
});

/** Things as who asks may see them: with their keys where they might change them anyway; that of an application where
 *  they might change the application. */
export async function thingsAnswer(
  call: Call<unknown, unknown>,
  plane: Plane,
  things: readonly Thing[],
): Promise<ReturnType<typeof thingAnswer>[]> {
  const principal = await call.principal();
  const ids = things.map(({ id }) => id);
  const [presence, machines] = await Promise.all([
    plane.registry.presence.of(ids),
    plane.registry.applications.apps.machines(ids),
  ]);
  const answers: ReturnType<typeof thingAnswer>[] = [];
  for (const thing of things) {
    const { id, org, groups } = thing;
    const mayUpdate =
      (await plane.gate.allows(principal, org, `things/${id}`, 'things.update', call.context, groups)) &&
      (!machines.has(id) || (await plane.gate.allows(principal, org, `apps/${id}`, 'apps.update', call.context)));
    const secrets = mayUpdate ? secretsOf(plane, thing) : null;
    answers.push(thingAnswer(thing, presence.get(id), secrets));
  }
  return answers;
}

/** @param also members beside the thing's own, and headers */
export async function oneThing(
  call: Call<unknown, unknown>,
  plane: Plane,
  status: number,
  thing: Thing,
  also: { readonly body?: object; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<Response> {
  const [answer] = await thingsAnswer(call, plane, [thing]);
  return json(status, { ...also.body, ...answer }, { ...etag(thing.version), ...also.headers });
}

/** Things that were just made, to who made them: they are shown each key once, whatever else they may. */
export const madeAnswer = (plane: Plane, made: readonly { readonly thing: Thing; readonly key: string }[]) =>
  made.map(({ thing, key }) =>
    thingAnswer(thing, undefined, { key, externalKey: plane.registry.things.externalKey(thing) }),
  );

export const newThing = ({
  external_id,
  external_key,
  group_id,
  ...rest
}: z.output<typeof NewThingBody>): NewThing => ({
  ...rest,
  externalId: external_id,
  externalKey: external_key,
  groupId: group_id,
});

export const thingPatch = ({
  external_id,
  external_key,
  group_id,
  ...rest
}: z.output<typeof ThingPatchBody>): ThingPatch => ({
  ...rest,
  externalId: external_id,
  externalKey: external_key,
  groupId: group_id,
});
