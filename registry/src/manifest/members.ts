import { statementAnswer } from '../access/documents.ts';
import { sameJson } from '../audit/changed-fields.ts';
import { limitsAnswer, profileAnswer } from '../inventory/channel-answers.ts';
import type { ChannelState, GroupState, PolicyState, RoleState, ThingState } from './state.ts';

/** What is there, in the members of a manifest; references as ids. */
export type Members = Readonly<Record<string, unknown>>;

const shared = ({ name, metadata, tags }: Pick<GroupState, 'name' | 'metadata' | 'tags'>) => ({ name, metadata, tags });

export const groupMembers = (group: GroupState): Members => ({
  ...shared(group),
  description: group.description,
  enabled: group.enabled,
  parent: group.parent,
});
export const roleMembers = (role: RoleState): Members => ({
  ...shared(role),
  description: role.description,
  actions: role.actions,
});
export const channelMembers = (channel: ChannelState): Members => ({
  ...shared(channel),
  alias: channel.alias,
  group: channel.group,
  content_type: channel.contentType,
  profile: profileAnswer(channel.profile),
  limits: limitsAnswer(channel.limits),
  enabled: channel.enabled,
});
export const thingMembers = (thing: ThingState): Members => ({
  ...shared(thing),
  type: thing.type,
  external_id: thing.externalId,
  group: thing.group,
  gateway: thing.gateway,
  enabled: thing.enabled,
});
export const policyMembers = (policy: PolicyState): Members => ({
  ...shared(policy),
  description: policy.description,
  enabled: policy.enabled,
  statements: policy.statements.map(statementAnswer),
});

/** Those of the wanted members that are not so already. */
export const differing = (before: Members, wanted: Members): Members =>
  Object.fromEntries(
    Object.entries(wanted).filter(([name, value]) => value !== undefined && !sameJson(before[name] ?? null, value)),
  );

/** Where two values differ, as paths: `metadata.floor`. */
export function changedPaths(before: unknown, after: unknown, at: string): string[] {
  if (!isObject(before) || !isObject(after)) return sameJson(before, after) ? [] : [at];
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return names.flatMap((name) => changedPaths(before[name], after[name], `${at}.${name}`));
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
