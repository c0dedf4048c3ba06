import type { Asking } from '../http/identity.ts';
import type { Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { reachOf } from '../inventory/reach.ts';
import type { Scope } from './question.ts';
import { readableChannels } from './rights.ts';
import { PUBLISHERS_MAX, type WhoseBody } from './schemas.ts';

/** Whose readings a query is about, once rights are judged.
 *  @shape leftOut: channels of the organisation that are not among them, where none were named */
export interface ResolvedScope extends Scope {
  readonly leftOut: number;
}

/** Judges the channels of a query and finds the publishers that its selector means. Publishers give no rights: whatever
 *  is asked of them lies in the channels.
 *  @param org of aliases, and where no channel is named  @throws Refusal 404, 403, 422 */
export async function resolveScope(
  asking: Asking,
  plane: Plane,
  whose: WhoseBody,
  org: () => Promise<string>,
): Promise<ResolvedScope> {
  const { channels, subtopics } = whose;
  const readable = await readableChannels(asking, plane, { channels, subtopics, org });
  const publishers = await publishersOf(asking, plane, whose, readable.org);
  return { ...readable, ...(publishers === undefined ? {} : { publishers }), nowMs: asking.context.nowMs };
}

async function publishersOf(
  asking: Asking,
  plane: Plane,
  { publishers, things, selector }: WhoseBody,
  org: string,
): Promise<readonly string[] | undefined> {
  if (publishers === undefined && things === undefined && selector === undefined) return undefined;
  const named = new Set([...(publishers ?? []), ...(things ?? [])]);
  if (selector !== undefined) {
    // Whose metadata says what is not for everybody who may read a channel.
    const within = (await reachOf(asking, plane, org, 'things')) ?? undefined;
    const { metadata, tags, type, group_id: group } = selector;
    const { ids, total } = await plane.registry.things.ids({
      org,
      offset: 0,
      limit: PUBLISHERS_MAX,
      order: 'id',
      direction: 'asc',
      metadata,
      tags,
      type,
      ...(group === undefined ? {} : { group: group.toLowerCase(), below: true }),
      within,
    });
    if (total > PUBLISHERS_MAX)
      throw new Refusal(422, `The selector means ${total} things, more than ${PUBLISHERS_MAX}: narrow it.`);
    for (const id of ids) named.add(id);
  }
  if (named.size > PUBLISHERS_MAX)
    throw new Refusal(422, `These are ${named.size} publishers, more than ${PUBLISHERS_MAX}: ask in parts.`);
  return [...named];
}
