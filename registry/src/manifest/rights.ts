import type { ControlAction, PolicyStatement } from '@millrace/core';
import { mayReach } from '../access/attachment-routes.ts';
import { statementsOf } from '../access/documents.ts';
import { mustHold } from '../access/holding.ts';
import { mayPutInForce } from '../access/policy-lookup.ts';
import { permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { permitBoth } from '../inventory/connection-routes.ts';
import type { Difference, Plan } from './plan.ts';
import { kindsNamed, type NamedKind } from './resources.ts';
import type { ManifestInput, ManifestKind } from './schemas.ts';
import type { ChannelState, ConnectionState, PolicyState, ThingState } from './state.ts';

/** Lets pass who may list all that a manifest names or refers to.  @throws Refusal 403, 404 */
export async function permitReading(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  manifest: ManifestInput,
): Promise<void> {
  const { groups, roles, channels = [], things = [], connections, policies } = manifest;
  const attached = new Set(
    (policies ?? []).flatMap(({ attach }) => (attach ?? []).flatMap((each) => Object.keys(each))),
  );
  const called = new Set(
    (policies ?? []).flatMap(({ statements }) =>
      statements.flatMap(({ resources }) => resources.flatMap((resource) => kindsNamed(resource))),
    ),
  );
  const connects = connections !== undefined || things.some((thing) => thing.channels !== undefined);
  const reads: Readonly<Record<ManifestKind | 'members', boolean>> = {
    groups:
      groups !== undefined || attached.has('group') || [...channels, ...things].some(({ group }) => group != null),
    roles: roles !== undefined || attached.has('role'),
    channels: manifest.channels !== undefined || connects,
    things: manifest.things !== undefined || connections !== undefined || attached.has('thing') || attached.has('app'),
    connections: connects,
    policies: policies !== undefined,
    members: attached.has('user'),
  };
  for (const [kind, isRead] of Object.entries(reads) as [NamedKind, boolean][])
    if (isRead || called.has(kind))
      await permit(call, plane, org, kind, `${kind}.list` as ControlAction, { hidden: 'organisation' });
}

/** Lets pass who might make each change of a plan by itself. A place in the tree counts as it is and as it shall be.
 *  @throws Refusal 403, and 409 while the organisation is frozen */
export async function permitChanges(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  plan: Plan,
): Promise<void> {
  const asked = new Set<string>();
  const allow = async (object: string, action: ControlAction, groups: readonly string[] = []): Promise<void> => {
    const key = `${object} ${action} ${groups.join()}`;
    if (asked.has(key)) return;
    asked.add(key);
    await permit(call, plane, org, object, action, { groups });
  };
  const was = (group: string | null): readonly string[] => plan.before.branch(group);
  const willBe = (group: string | null): readonly string[] => plan.wanted.tree.branch(group);

  for (const { members } of plan.groups.create)
    await allow('groups', 'groups.create', willBe(members.parent as string | null));
  for (const { before, members } of plan.groups.update) {
    const object = `groups/${before.id}`;
    await allow(object, 'groups.update', was(before.id));
    if (members.parent === undefined) continue;
    // A move takes the right above it, where it comes from and where it goes: roles are inherited from there.
    await allow(object, 'groups.update', was(before.parent));
    await allow(object, 'groups.update', willBe(members.parent as string | null));
  }
  for (const { id } of plan.groups.remove) await allow(`groups/${id}`, 'groups.delete', was(id));

  const placed = async (kind: 'channels' | 'things', part: Difference<ChannelState | ThingState>): Promise<void> => {
    for (const { members } of part.create)
      await allow(kind, `${kind}.create`, willBe((members.group as string | null | undefined) ?? null));
    for (const { before, members } of part.update) {
      await allow(`${kind}/${before.id}`, `${kind}.update`, was(before.group));
      const to = members.group === undefined ? before.group : (members.group as string | null);
      await allow(`${kind}/${before.id}`, `${kind}.update`, willBe(to));
    }
    for (const { id, group } of part.remove) await allow(`${kind}/${id}`, `${kind}.delete`, was(group));
  };
  await placed('channels', plan.channels);
  await placed('things', plan.things);
  // Who an application is, is for who may change the application.
  for (const { before } of plan.things.update) if (before.machine) await allow(`apps/${before.id}`, 'apps.update');
  for (const { id, machine } of plan.things.remove) if (machine) await allow(`apps/${id}`, 'apps.delete');
  await permitConnections(call, plane, org, plan);

  if (plan.roles.create.length > 0) await allow('roles', 'roles.create');
  for (const { before } of plan.roles.update) await allow(`roles/${before.id}`, 'roles.update');
  for (const { id } of plan.roles.remove) await allow(`roles/${id}`, 'roles.delete');
  const given = [...plan.roles.create, ...plan.roles.update].flatMap(({ members: { actions } }) =>
    actions === undefined ? [] : [{ actions: actions as readonly string[], resources: ['*'] }],
  );
  if (given.length > 0) await mustHold(call, plane, org, given);

  if (plan.policies.create.length > 0) await allow('policies', 'policies.create');
  for (const { before } of plan.policies.update) await allow(`policies/${before.id}`, 'policies.update');
  for (const { id } of plan.policies.remove) await allow(`policies/${id}`, 'policies.delete');
  const existing = new Map(plan.state.policies.map((policy) => [policy.id, policy]));
  for (const { policy } of [...plan.attach, ...plan.detach])
    await allow(existing.has(policy) ? `policies/${policy}` : 'policies', 'policies.attach');
  for (const target of plan.attach) await mayReach(call, plane, org, target);
  const { coming, going } = force(plan, existing);
  if (coming.length + going.length > 0) await mayPutInForce(call, plane, org, coming, going);
}

/** @throws Refusal 403 */
async function permitConnections(call: Call<unknown, unknown>, plane: Plane, org: string, plan: Plan): Promise<void> {
  const more: ConnectionState[] = [];
  const less: ConnectionState[] = [];
  for (const { before, after } of plan.connections) {
    const [hadPublish, hadSubscribe] = [before?.publish === true, before?.subscribe === true];
    if ((after.publish && !hadPublish) || (after.subscribe && !hadSubscribe)) more.push(after);
    if ((!after.publish && hadPublish) || (!after.subscribe && hadSubscribe)) less.push(after);
  }
  const places = (kind: 'things' | 'channels'): ((id: string) => { groups: readonly string[] }[]) => {
    const before = new Map(plan.state[kind].map(({ id, group }) => [id, group]));
    const after = new Map(
      plan.wanted[kind].map(({ id, members: { group } }) => [id, group as string | null | undefined]),
    );
    return (id) => {
      const from = before.get(id);
      const to = after.get(id) ?? (after.get(id) === null ? null : (from ?? null));
      const willBe = { groups: plan.wanted.tree.branch(to) };
      return from === undefined ? [willBe] : [{ groups: plan.before.branch(from) }, willBe];
    };
  };
  const [thingPlaces, channelPlaces] = [places('things'), places('channels')];
  for (const [action, pairs] of [
    ['connections.create', more],
    ['connections.delete', less],
  ] as const) {
    if (pairs.length === 0) continue;
    const things = [...new Set(pairs.map(({ thing }) => thing))].flatMap(thingPlaces);
    const channels = [...new Set(pairs.map(({ channel }) => channel))].flatMap(channelPlaces);
    await permitBoth(call, plane, org, action, things, channels);
  }
}

/** What a plan brings into force by policies, and what it takes out. */
function force(
  plan: Plan,
  existing: ReadonlyMap<string, PolicyState>,
): { coming: PolicyStatement[]; going: PolicyStatement[] } {
  const attached = new Set(plan.state.attachments.map(({ policy }) => policy));
  const wanted = new Map(
    plan.wanted.policies.map(({ id, members: { statements } }) => [
      id,
      statementsOf(statements as Parameters<typeof statementsOf>[0]),
    ]),
  );
  const coming = plan.attach.flatMap(({ policy }) => wanted.get(policy) ?? []);
  const going: PolicyStatement[] = [];
  const inForce = (policy: PolicyState | undefined): readonly PolicyStatement[] =>
    policy?.enabled === true ? policy.statements : [];
  for (const { before, members } of plan.policies.update) {
    if (!attached.has(before.id) || (members.statements === undefined && members.enabled === undefined)) continue;
    if (((members.enabled as boolean | undefined) ?? before.enabled) === true)
      coming.push(...(wanted.get(before.id) ?? before.statements));
    going.push(...inForce(before));
  }
  for (const { policy } of plan.detach) going.push(...inForce(existing.get(policy)));
  for (const policy of plan.policies.remove) if (attached.has(policy.id)) going.push(...policy.statements);
  return { coming, going };
}
