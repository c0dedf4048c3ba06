import { isUuid } from '@millrace/core';
import { type Asking, isMember, permit } from '../http/identity.ts';
import type { Plane } from '../http/plane.ts';
import { branchOf } from './lookup.ts';

const GROUP = /^group:([^/]+)\//;
const OBJECT = 2;
/** Groups that a list is put together from. */
const GROUPS_MAX = 1_000;

/** What of an organisation who asks may list: null for all of it, else the groups that they have the right in, by a
 *  role there, a policy, or what their key is for.
 *  @throws Refusal 403 to members who may list nothing, 404 to all others */
export async function reachOf(
  call: Asking,
  plane: Plane,
  org: string,
  entity: 'things' | 'channels' | 'groups',
): Promise<readonly string[] | null> {
  const principal = await call.principal();
  const { gate, registry } = plane;
  const action = `${entity}.list` as const;
  if (await gate.allows(principal, org, entity, action, call.context)) return null;
  if (principal.subject.kind === 'user' && (await isMember(principal, plane, org))) {
    const rules = await registry.directory.rules(principal.subject.id, org);
    const objects = [
      ...rules.map(({ values }) => values[OBJECT] ?? ''),
      ...(principal.scope?.grants.flatMap(({ resources }) => resources) ?? []),
    ];
    const named = new Set(objects.map((object) => GROUP.exec(object)?.[1] ?? '').filter(isUuid));
    const groups = await registry.groups.many([...named].slice(0, GROUPS_MAX), org);
    const mine: string[] = [];
    for (const group of groups)
      if (await gate.allows(principal, org, entity, action, call.context, branchOf(group))) mine.push(group.id);
    if (mine.length > 0) return mine;
  }
  await permit(call, plane, org, entity, action);
  return null;
}
