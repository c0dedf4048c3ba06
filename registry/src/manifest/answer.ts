import type { z } from '@hono/zod-openapi';
import {
  changedPaths,
  channelMembers,
  groupMembers,
  type Members,
  policyMembers,
  roleMembers,
  thingMembers,
} from './members.ts';
import type { Difference, Plan } from './plan.ts';
import type { PlanAnswer } from './schemas.ts';
import type { AttachmentState, ConnectionState } from './state.ts';
import type { Tree } from './tree.ts';

type Answer = z.output<typeof PlanAnswer>;
type Change = Answer['changes'][number];

/** A plan as people read it: in names, without keys.
 *  @param done whether it was carried out: then what was made has its id */
export function planAnswer(plan: Plan, version: string, done: boolean): Answer {
  const { state, wanted } = plan;
  const named = <S extends { readonly id: string; readonly name: string }>(
    existing: readonly S[],
    of: readonly { readonly id: string; readonly members: Members }[],
  ): ReadonlyMap<string, string> =>
    new Map([
      ...existing.map(({ id, name }) => [id, name || id] as const),
      ...of.flatMap(({ id, members: { name } }) => (name === undefined ? [] : [[id, String(name) || id] as const])),
    ]);
  const things = named(state.things, wanted.things);
  const channels = named(state.channels, wanted.channels);
  const roles = named(state.roles, wanted.roles);
  const policies = named(state.policies, wanted.policies);
  const users = new Map(state.members.map(({ id, email }) => [id, email]));

  const shown = ({ key: _, external_key: __, ...members }: Members, tree: Tree): Members => {
    const told: Record<string, unknown> = { ...members };
    for (const member of ['group', 'parent'])
      if (typeof members[member] === 'string') told[member] = tree.path(members[member]);
    if (typeof members.gateway === 'string') told.gateway = things.get(members.gateway) ?? members.gateway;
    return told;
  };
  const changesOf = <S extends { readonly id: string; readonly name: string }>(
    kind: Change['kind'],
    { create, update, remove }: Difference<S>,
    membersOf: (existing: S) => Members,
    nameOf: (id: string, before: boolean) => string,
  ): { made: Change[]; gone: Change[] } => ({
    made: [
      ...create.map(({ id, members }) => ({
        action: 'create' as const,
        kind,
        name: nameOf(id, false),
        ...(done ? { id } : {}),
        after: shown(members, wanted.tree),
        fields: [],
      })),
      ...update.map(({ before, members }) => {
        const was = membersOf(before);
        const names = Object.keys(members);
        return {
          action: 'update' as const,
          kind,
          name: nameOf(before.id, false),
          id: before.id,
          before: shown(Object.fromEntries(names.map((name) => [name, was[name]])), plan.before),
          after: shown(members, wanted.tree),
          fields: names.flatMap((name) => changedPaths(was[name], members[name], name)),
        };
      }),
    ],
    gone: remove.map((each) => ({
      action: 'delete' as const,
      kind,
      name: nameOf(each.id, true),
      id: each.id,
      before: shown(membersOf(each), plan.before),
      fields: [],
    })),
  });
  const nameIn = (names: ReadonlyMap<string, string>) => (id: string) => names.get(id) || id;
  const parts = [
    changesOf('group', plan.groups, groupMembers, (id, before) => (before ? plan.before : wanted.tree).path(id)),
    changesOf('role', plan.roles, roleMembers, nameIn(roles)),
    changesOf('channel', plan.channels, channelMembers, nameIn(channels)),
    changesOf('thing', plan.things, thingMembers, nameIn(things)),
    changesOf('policy', plan.policies, policyMembers, nameIn(policies)),
  ];

  const pairName = ({ thing, channel }: ConnectionState): string =>
    `${things.get(thing) || thing} → ${channels.get(channel) || channel}`;
  const connections = plan.connections.map(({ before, after }): Change => {
    const goes = !after.publish && !after.subscribe;
    return {
      action: before === null ? 'create' : goes ? 'delete' : 'update',
      kind: 'connection',
      name: pairName(after),
      ...(before === null ? {} : { before: { types: typesOf(before) } }),
      ...(goes ? {} : { after: { types: typesOf(after) } }),
      fields: before === null || goes ? [] : ['types'],
    };
  });
  const targetName = ({ kind, target }: AttachmentState, tree: Tree): string => {
    if (kind === 'group') return tree.path(target);
    return { thing: things, app: things, role: roles, user: users }[kind].get(target) ?? target;
  };
  const attachments = (list: readonly AttachmentState[], action: 'create' | 'delete', tree: Tree): Change[] =>
    list.map((each) => ({
      action,
      kind: 'attachment',
      name: `${policies.get(each.policy) || each.policy} → ${each.kind} ${targetName(each, tree)}`,
      fields: [],
    }));
  const changes = [
    ...parts.flatMap(({ made }) => made),
    ...connections,
    ...attachments(plan.attach, 'create', wanted.tree),
    ...attachments(plan.detach, 'delete', plan.before),
    ...parts.toReversed().flatMap(({ gone }) => gone),
  ];
  const count = (action: Change['action']): number => changes.filter((change) => change.action === action).length;
  return {
    changes,
    summary: { create: count('create'), update: count('update'), delete: count('delete'), unchanged: plan.unchanged },
    version,
  };
}

export const typesOf = ({ publish, subscribe }: ConnectionState): ('publish' | 'subscribe')[] => [
  ...(publish ? (['publish'] as const) : []),
  ...(subscribe ? (['subscribe'] as const) : []),
];
