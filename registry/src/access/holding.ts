import { type ControlAction, groupObject, isUuid, type PolicyRule } from '@millrace/core';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { actionCovers, actionsOverlap, objectCovers, objectsOverlap, readResource } from './covering.ts';

/** Rights, as patterns. */
export interface Rights {
  readonly actions: readonly string[];
  readonly resources: readonly string[];
}

const OBJECT = 2;
const ACTION = 3;
const EFFECT = 4;
const CONDITION = 5;

/** Nobody gives away more than they have: lets pass who holds all of these rights, on all of the resources, without a
 *  condition. In doubt, as where a deny of theirs may reach in, it refuses.
 *  @holds a pattern that is asked for as an object is allowed only by patterns that cover all of it
 *  @throws Refusal 403 that says which right is missing */
export async function mustHold(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  rights: readonly Rights[],
): Promise<void> {
  const principal = await call.principal();
  const { subject, scope } = principal;
  if (scope !== null) mustBeInScope(scope, org, rights);
  if (subject.kind === 'user' && subject.admin) return;
  const rules = await plane.registry.directory.rules(subject.id, org);
  const ancestors = await plane.registry.access.branches(
    org,
    rights.flatMap(({ resources }) => groupsOf(resources)),
  );
  for (const { actions, resources } of rights) {
    for (const action of actions) {
      for (const resource of resources) {
        if (holds(rules, action, resource, ancestors)) continue;
        plane.registry.audit.denied({
          principal,
          org,
          object: resource,
          action: action as ControlAction,
          reason: 'not_allowed',
          context: call.context,
        });
        throw new Refusal(403, `You can not give what you do not have: ${action} on ${resource}.`);
      }
    }
  }
}

/** The same of what the policies that are attached to a role allow: who is given the role is given that too.
 *  @param role a custom one's id, a built-in one's name  @param group where it is given; null: in the organisation
 *  @throws Refusal 403 */
export async function mustHoldPoliciesOf(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  role: string,
  group: string | null = null,
): Promise<void> {
  const { attachments, policies } = plane.registry.access;
  const attached = await policies.many(org, await attachments.policiesOf(org, { kind: 'role', target: role }));
  const allowing = attached
    .filter(({ enabled }) => enabled)
    .flatMap(({ statements }) => statements.filter(({ effect }) => effect === 'allow'));
  const placed = (resource: string): string =>
    group === null || resource.startsWith('group:') ? resource : groupObject(group, resource);
  await mustHold(
    call,
    plane,
    org,
    allowing.map(({ actions, resources }) => ({ actions, resources: resources.map(placed) })),
  );
}

/** What a credential may at most be used for.  @throws Refusal 403 */
export function mustBeInScope(
  scope: { readonly org: string | null; readonly grants: readonly Rights[] },
  org: string,
  rights: readonly Rights[],
): void {
  if (scope.org !== null && scope.org !== org) throw new Refusal(403, 'This key or token is for another organisation.');
  for (const { actions, resources } of rights) {
    for (const action of actions) {
      for (const resource of resources) {
        if (!scopeCovers(scope.grants, action, resource))
          throw new Refusal(403, `This key or token does not reach so far: ${action} on ${resource}.`);
      }
    }
  }
}

/** Whether some grant of a scope covers a right. Of a group it covers only what names the very same group. */
export function scopeCovers(grants: readonly Rights[], action: string, resource: string): boolean {
  const asked = readResource(resource);
  return grants.some(
    (grant) =>
      grant.actions.some((pattern) => actionCovers(pattern, action)) &&
      grant.resources.some((each) => {
        const { group, pattern } = readResource(each);
        return (group === null || group === asked.group) && objectCovers(pattern, asked.pattern);
      }),
  );
}

/** Whether rules surely give a right, whole. */
export function holds(
  rules: readonly PolicyRule[],
  action: string,
  resource: string,
  ancestors: ReadonlyMap<string, readonly string[]>,
): boolean {
  const asked = readResource(resource);
  const within = asked.group === null ? [] : (ancestors.get(asked.group) ?? []);
  let held = false;
  for (const { type, values } of rules) {
    if (type !== 'p') continue;
    const object = values[OBJECT] ?? '';
    const pattern = values[ACTION] ?? '';
    if (values[EFFECT] === 'deny') {
      if (actionsOverlap(pattern, action) && objectsOverlap(object, resource)) return false;
    } else if (!held && values[CONDITION] === '' && actionCovers(pattern, action)) {
      const rule = readResource(object);
      held = (rule.group === null || within.includes(rule.group)) && objectCovers(rule.pattern, asked.pattern);
    }
  }
  return held;
}

const groupsOf = (resources: readonly string[]): string[] =>
  resources.flatMap((resource) => {
    const { group } = readResource(resource);
    return group !== null && isUuid(group) ? [group] : [];
  });
