import { orgRoles } from '@millrace/core';
import type { AttachmentKind } from '../access/attachments.ts';
import { wantedGroups } from './group-entries.ts';
import { type Matched, match } from './matching.ts';
import { Names } from './names.ts';
import { Problems, told } from './problems.ts';
import { readStatements } from './resources.ts';
import { type AttachInput, CONNECTIONS_MAX, ENTITIES_MAX, type ManifestInput, type ManifestKind } from './schemas.ts';
import type { AttachmentState, ConnectionState, State } from './state.ts';
import type { Tree } from './tree.ts';

/** An entity as the manifest has it: what is given of it, in the manifest's own members, references as ids. */
export interface Wanted<S> {
  readonly id: string;
  readonly path: string;
  readonly before: S | null;
  readonly members: Readonly<Record<string, unknown>>;
}
export interface WantedState {
  /** Those above stand before those below. */
  readonly groups: readonly Wanted<State['groups'][number]>[];
  readonly roles: readonly Wanted<State['roles'][number]>[];
  readonly channels: readonly Wanted<State['channels'][number]>[];
  readonly things: readonly Wanted<State['things'][number]>[];
  readonly policies: readonly Wanted<State['policies'][number]>[];
  readonly connections: ReadonlyMap<string, ConnectionState>;
  readonly attachments: ReadonlyMap<string, AttachmentState>;
  /** Things whose connections are told in full; null: all. */
  readonly connectedThings: ReadonlySet<string> | null;
  /** Policies whose attachments are told in full. */
  readonly attachedPolicies: ReadonlySet<string>;
  /** Of the groups as they shall be. */
  readonly tree: Tree;
}

export const pairKey = ({ thing, channel }: Pick<ConnectionState, 'thing' | 'channel'>): string =>
  `${thing} ${channel}`;
export const attachmentKey = ({ policy, kind, target }: AttachmentState): string => `${policy} ${kind} ${target}`;

const builtIn: ReadonlySet<string> = new Set(orgRoles);

/** What a manifest wants, all references found.
 *  @param pruned whether what is there and not named goes  @throws Refusal 422 that tells all that is wrong */
export function readManifest(manifest: ManifestInput, state: State, pruned: boolean): WantedState {
  const problems = new Problems();
  const stays = (kind: ManifestKind): boolean => !pruned || manifest[kind] === undefined;
  const { groups, tree, groupNames } = wantedGroups(manifest.groups ?? [], state.groups, stays('groups'), problems);
  const roles = match('roles', 'role', manifest.roles ?? [], state.roles, problems);
  const policies = match('policies', 'policy', manifest.policies ?? [], state.policies, problems);
  const channels = match('channels', 'channel', manifest.channels ?? [], state.channels, problems);
  const things = match('things', 'thing', manifest.things ?? [], state.things, problems);
  const count = groups.length + roles.length + policies.length + channels.length + things.length;
  if (count > ENTITIES_MAX) problems.add('manifest', `holds ${count} entities; at most ${ENTITIES_MAX}`);
  problems.refuse();

  const keptThings = state.things.filter((thing) => stays('things') || thing.machine);
  const roleNames = namesAfter('role', roles, stays('roles') ? state.roles : []);
  const thingNames = namesAfter('thing', things, keptThings);
  const channelNames = namesAfter('channel', channels, stays('channels') ? state.channels : [], ({ alias }) => alias);
  const appIds = new Set(
    merged(things, keptThings)
      .filter(({ type }) => type === 'app')
      .map(({ id }) => id),
  );
  const inGroup = (given: string | null | undefined, path: string): object =>
    given === undefined ? {} : { group: given === null ? null : groupNames.find(given, `${path}.group`, problems) };

  const wantedChannels = channels.map(({ id, path, before, entry: { id: _, group, ...rest } }) => ({
    id,
    path,
    before,
    members: { ...rest, ...inGroup(group, path) },
  }));
  const wantedThings = things.map(({ id, path, before, entry: { id: _, group, gateway, channels: __, ...rest } }) => ({
    id,
    path,
    before,
    members: {
      ...rest,
      ...inGroup(group, path),
      ...(gateway === undefined
        ? {}
        : { gateway: gateway === null ? null : thingNames.find(gateway, `${path}.gateway`, problems) }),
    },
  }));

  const connections = wantedConnections(manifest, things, { things: thingNames, channels: channelNames }, problems);
  const userNames = new Names(
    'member',
    state.members.map(({ id }) => id),
    state.members.map(({ id, email }) => [email, id]),
  );
  const targets = { thing: thingNames, app: thingNames, group: groupNames, role: roleNames, user: userNames };
  const attachments = wantedAttachments(policies, targets, appIds, problems);
  const nameable = { groups: groupNames, roles: roleNames, channels: channelNames, things: thingNames };
  const wantedPolicies = policies.map(({ entry: { id: _, attach: __, statements, ...members }, ...rest }) => ({
    ...rest,
    members: { ...members, statements: readStatements(statements, rest.path, nameable, problems) },
  }));
  problems.refuse();
  return {
    groups,
    tree,
    roles: roles.map(({ entry: { id: _, ...members }, ...rest }) => ({ ...rest, members })),
    channels: wantedChannels,
    things: wantedThings,
    policies: wantedPolicies,
    connections,
    attachments,
    connectedThings:
      manifest.connections === undefined
        ? new Set(things.filter(({ entry }) => entry.channels !== undefined).map(({ id }) => id))
        : null,
    attachedPolicies: new Set(policies.filter(({ entry }) => entry.attach !== undefined).map(({ id }) => id)),
  };
}

type Entries<K extends 'things' | 'policies'> = readonly Matched<
  NonNullable<ManifestInput[K]>[number],
  State[K][number]
>[];

/** Those that things tell of their own, and those of the list. Types of one pair add up. */
function wantedConnections(
  manifest: ManifestInput,
  things: Entries<'things'>,
  names: Readonly<Record<'things' | 'channels', Names>>,
  problems: Problems,
): Map<string, ConnectionState> {
  const connections = new Map<string, ConnectionState>();
  const connect = (thing: string | null, channel: string | null, types: readonly string[] | undefined): void => {
    if (thing === null || channel === null) return;
    const key = pairKey({ thing, channel });
    const had = connections.get(key);
    connections.set(key, {
      thing,
      channel,
      publish: had?.publish === true || types === undefined || types.includes('publish'),
      subscribe: had?.subscribe === true || types === undefined || types.includes('subscribe'),
    });
  };
  for (const { id, path, entry } of things) {
    for (const [index, { channel, types }] of (entry.channels ?? []).entries())
      connect(id, names.channels.find(channel, `${path}.channels[${index}].channel`, problems), types);
  }
  let pairs = connections.size;
  if (pairs > CONNECTIONS_MAX) problems.add('things', `there are more than ${CONNECTIONS_MAX} connections`);
  for (const [at, entry] of (manifest.connections ?? []).entries()) {
    // Counted before it is multiplied out.
    pairs += entry.things.length * entry.channels.length;
    if (pairs > CONNECTIONS_MAX) {
      problems.add(`connections[${at}]`, `there are more than ${CONNECTIONS_MAX} connections`);
      break;
    }
    const ends = (kind: 'things' | 'channels'): (string | null)[] =>
      entry[kind].map((name, index) => names[kind].find(name, `connections[${at}].${kind}[${index}]`, problems));
    const channels = ends('channels');
    for (const thing of ends('things')) for (const channel of channels) connect(thing, channel, entry.types);
  }
  return connections;
}

/** @param apps things that are of that type */
function wantedAttachments(
  policies: Entries<'policies'>,
  names: Readonly<Record<AttachmentKind, Names>>,
  apps: ReadonlySet<string>,
  problems: Problems,
): Map<string, AttachmentState> {
  const targetOf = (entry: AttachInput, path: string): Omit<AttachmentState, 'policy'> | null => {
    const [[kind, name] = ['thing', ''] as const] = Object.entries(entry) as [AttachmentKind, string][];
    if (kind === 'role' && builtIn.has(name)) return { kind, target: name };
    const target = names[kind].find(kind === 'user' ? name.toLowerCase() : name, `${path}.${kind}`, problems);
    if (target !== null && kind === 'app' && !apps.has(target)) {
      problems.add(`${path}.app`, `${told(name)} is no thing of type app`);
      return null;
    }
    return target === null ? null : { kind, target };
  };
  const attachments = new Map<string, AttachmentState>();
  for (const { id, path, entry } of policies) {
    for (const [index, each] of (entry.attach ?? []).entries()) {
      const target = targetOf(each, `${path}.attach[${index}]`);
      if (target === null) continue;
      const attachment = { policy: id, ...target };
      attachments.set(attachmentKey(attachment), attachment);
    }
  }
  return attachments;
}

interface Named {
  readonly id: string;
  readonly name?: string | undefined;
  readonly alias?: string | null | undefined;
  readonly type?: string | undefined;
}

/** What there will be of a kind: those of the manifest, and those that it does not name, but that stay. */
function merged(
  matched: readonly {
    readonly id: string;
    readonly before: Named | null;
    readonly entry: Partial<Omit<Named, 'id'>>;
  }[],
  kept: readonly Named[],
): Named[] {
  const named = new Set(matched.map(({ id }) => id));
  return [
    ...matched.map(({ id, before, entry }) => ({ ...before, ...entry, id })),
    ...kept.filter(({ id }) => !named.has(id)),
  ];
}

function namesAfter(
  what: string,
  matched: Parameters<typeof merged>[0],
  kept: readonly Named[],
  alias?: (entry: Named) => string | null | undefined,
): Names {
  const all = merged(matched, kept);
  const named = (of: (entry: Named) => string | null | undefined): [string, string][] =>
    all.flatMap((entry) => {
      const name = of(entry) ?? '';
      return name === '' ? [] : [[name, entry.id] as [string, string]];
    });
  const lists = alias === undefined ? [] : [named(alias)];
  return new Names(
    what,
    all.map(({ id }) => id),
    ...lists,
    named(({ name }) => name),
  );
}
