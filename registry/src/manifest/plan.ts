import {
  channelMembers,
  differing,
  groupMembers,
  type Members,
  policyMembers,
  roleMembers,
  thingMembers,
} from './members.ts';
import { Problems, told } from './problems.ts';
import type { ManifestInput } from './schemas.ts';
import type {
  AttachmentState,
  ChannelState,
  ConnectionState,
  GroupState,
  PolicyState,
  RoleState,
  State,
  ThingState,
} from './state.ts';
import { Tree } from './tree.ts';
import { attachmentKey, pairKey, readManifest, type Wanted, type WantedState } from './wanted.ts';

export interface Update<S> {
  readonly wanted: Wanted<S>;
  readonly before: S;
  /** Only what changes. */
  readonly members: Members;
}
export interface Difference<S> {
  readonly create: readonly Wanted<S>[];
  readonly update: readonly Update<S>[];
  readonly remove: readonly S[];
}
/** A connection that shall be so; allowing nothing, it goes. */
export interface Settled {
  readonly before: ConnectionState | null;
  readonly after: ConnectionState;
}
/** What must change for an organisation to be as its manifest says. Made from one state alone: the same state and
 *  manifest give the same plan. */
export interface Plan {
  readonly state: State;
  readonly wanted: WantedState;
  /** Of the groups as they are. */
  readonly before: Tree;
  readonly groups: Difference<GroupState>;
  readonly roles: Difference<RoleState>;
  readonly channels: Difference<ChannelState>;
  readonly things: Difference<ThingState>;
  readonly policies: Difference<PolicyState>;
  readonly connections: readonly Settled[];
  readonly attach: readonly AttachmentState[];
  readonly detach: readonly AttachmentState[];
  /** Of what the manifest names. */
  readonly unchanged: number;
}

/** @param digest of a key  @throws Refusal 422 that tells all that is wrong */
export function makePlan(manifest: ManifestInput, state: State, prune: boolean, digest: (key: string) => string): Plan {
  const wanted = readManifest(manifest, state, prune);
  const pruned = (kind: keyof ManifestInput): boolean => prune && manifest[kind] !== undefined;
  const groups = difference(wanted.groups, state.groups, pruned('groups'), groupMembers);
  const roles = difference(wanted.roles, state.roles, pruned('roles'), roleMembers);
  const channels = difference(wanted.channels, state.channels, pruned('channels'), channelMembers);
  const policies = difference(wanted.policies, state.policies, pruned('policies'), policyMembers);
  // Who an application is goes with the application, which no manifest tells of.
  const prunable = state.things.filter(({ machine }) => !machine);
  const things = difference(
    wanted.things,
    prunable,
    pruned('things'),
    thingMembers,
    (thing, { key, external_key }) => ({
      ...(typeof key === 'string' && digest(key) !== thing.keyDigest ? { key } : {}),
      ...(typeof external_key === 'string' && digest(external_key) !== thing.externalKeyDigest ? { external_key } : {}),
    }),
  );
  checkEmptied(groups.remove, wanted, state, { things: things.remove, channels: channels.remove });

  const connections = settle(wanted, state, prune, new Set([...things.remove, ...channels.remove].map(({ id }) => id)));
  const attached = new Set(state.attachments.map(attachmentKey));
  const attach = [...wanted.attachments].filter(([key]) => !attached.has(key)).map(([, attachment]) => attachment);
  const detach = state.attachments.filter(
    (each) => prune && wanted.attachedPolicies.has(each.policy) && !wanted.attachments.has(attachmentKey(each)),
  );
  const all = [groups, roles, channels, things, policies];
  const named = [wanted.groups, wanted.roles, wanted.channels, wanted.things, wanted.policies].flat().length;
  return {
    state,
    wanted,
    before: new Tree(state.groups),
    groups,
    roles,
    channels,
    things,
    policies,
    connections,
    attach,
    detach,
    unchanged:
      named -
      all.reduce((sum, { create, update }) => sum + create.length + update.length, 0) +
      (wanted.connections.size - connections.filter(({ after }) => after.publish || after.subscribe).length) +
      (wanted.attachments.size - attach.length),
  };
}

export const isEmpty = (plan: Plan): boolean =>
  plan.connections.length + plan.attach.length + plan.detach.length === 0 &&
  [plan.groups, plan.roles, plan.channels, plan.things, plan.policies].every(
    ({ create, update, remove }) => create.length + update.length + remove.length === 0,
  );

/** @param secrets what of the members that can not be read changes */
function difference<S extends { readonly id: string }>(
  wanted: readonly Wanted<S>[],
  existing: readonly S[],
  prune: boolean,
  membersOf: (existing: S) => Members,
  secrets: (existing: S, members: Members) => Members = () => ({}),
): Difference<S> {
  const create: Wanted<S>[] = [];
  const update: Update<S>[] = [];
  for (const each of wanted) {
    const { before, members } = each;
    if (before === null) {
      create.push(each);
      continue;
    }
    const { key: _, external_key: __, ...readable } = members;
    const changed = { ...differing(membersOf(before), readable), ...secrets(before, members) };
    if (Object.keys(changed).length > 0) update.push({ wanted: each, before, members: changed });
  }
  const named = new Set(wanted.map(({ id }) => id));
  return { create, update, remove: prune ? existing.filter(({ id }) => !named.has(id)) : [] };
}

/** What a group holds does not silently fall out of it.  @throws Refusal 422 */
function checkEmptied(
  gone: readonly GroupState[],
  wanted: WantedState,
  state: State,
  removed: { readonly things: readonly ThingState[]; readonly channels: readonly ChannelState[] },
): void {
  if (gone.length === 0) return;
  const problems = new Problems();
  const before = new Tree(state.groups);
  const goes = new Set(gone.map(({ id }) => id));
  for (const kind of ['things', 'channels'] as const) {
    const moved = new Map(
      (wanted[kind] as readonly Wanted<ThingState | ChannelState>[]).map(({ id, members }) => [id, members.group]),
    );
    const away = new Set(removed[kind].map(({ id }) => id));
    for (const { id, name, group } of state[kind]) {
      if (group === null || !goes.has(group) || away.has(id) || moved.get(id) !== undefined) continue;
      const what = `${kind.slice(0, -1)} ${told(name || id)}`;
      problems.add('groups', `${told(before.path(group))} would be deleted, but ${what} is in it`);
    }
  }
  problems.refuse();
}

function settle(wanted: WantedState, state: State, prune: boolean, gone: ReadonlySet<string>): Settled[] {
  const before = new Map(state.connections.map((each) => [pairKey(each), each]));
  const settled: Settled[] = [];
  for (const [key, after] of wanted.connections) {
    const was = before.get(key) ?? null;
    if (was?.publish !== after.publish || was.subscribe !== after.subscribe) settled.push({ before: was, after });
  }
  if (!prune) return settled;
  for (const [key, was] of before) {
    if (wanted.connections.has(key) || gone.has(was.thing) || gone.has(was.channel)) continue;
    if (wanted.connectedThings !== null && !wanted.connectedThings.has(was.thing)) continue;
    settled.push({ before: was, after: { ...was, publish: false, subscribe: false } });
  }
  return settled;
}
