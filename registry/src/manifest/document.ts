import { orgRoles, type PolicyStatement } from '@millrace/core';
import type { AttachmentKind } from '../access/attachments.ts';
import { typesOf } from './answer.ts';
import { channelMembers, groupMembers, type Members, policyMembers, roleMembers, thingMembers } from './members.ts';
import { gather, Names } from './names.ts';
import { withNames } from './resources.ts';
import type { ManifestKind } from './schemas.ts';
import type { GroupState, State, ThingState } from './state.ts';
import { Tree } from './tree.ts';

export interface DocumentOptions {
  readonly kinds: ReadonlySet<ManifestKind>;
  /** What may be told by name; of all else the ids are told. */
  readonly named: ReadonlySet<ManifestKind | 'members'>;
  /** With all ids, not only where names alone would not do. */
  readonly ids: boolean;
  /** Also what is as it would be if left out. */
  readonly full: boolean;
  /** The secrets of a thing, where they are asked for. */
  readonly secretsOf: ((thing: ThingState) => Members) | null;
}

/** What an entity is that is made without a word. */
const DEFAULTS: Members = {
  description: '',
  enabled: true,
  metadata: '{}',
  tags: '[]',
  alias: null,
  group: null,
  gateway: null,
  content_type: null,
  external_id: null,
  profile: '{}',
  limits: '{}',
  type: 'device',
};

/** An organisation as a manifest that changes nothing of it when it is applied.
 *  @holds things that are applications are no part of it: they are made and deleted as applications */
export function manifestOf(org: string, state: State, options: DocumentOptions): Members {
  const { kinds, named, ids, full, secretsOf } = options;
  const tree = new Tree(state.groups);
  const namesOf = (kind: 'channels' | 'things' | 'roles'): Names => {
    const all = named.has(kind) ? state[kind] : [];
    const byAlias = kind === 'channels' && named.has(kind) ? state.channels : [];
    return new Names(
      kind,
      [],
      byAlias.flatMap(({ id, alias }) => (alias === null ? [] : [[alias, id] as const])),
      all.map(({ id, name }) => [name, id] as const),
    );
  };
  const [channels, things, roles] = [namesOf('channels'), namesOf('things'), namesOf('roles')];
  const groups = new Names('group', [], named.has('groups') ? tree.paths() : []);
  const groupRef = (id: string): string => groups.reference(id, tree.path(id));
  const thingNames = new Map(state.things.map(({ id, name }) => [id, name]));
  const thingRef = (id: string): string => things.reference(id, thingNames.get(id) ?? null);
  const channelsById = new Map(state.channels.map((channel) => [channel.id, channel]));
  const channelRef = (id: string): string => {
    const { alias = null, name = null } = channelsById.get(id) ?? {};
    return channels.reference(id, alias, name);
  };

  const tidy = (id: string, { name, ...members }: Members, needsId: boolean): Members => ({
    ...(needsId || ids ? { id } : {}),
    ...(name === '' && !full ? {} : { name }),
    ...Object.fromEntries(
      Object.entries({
        ...members,
        ...(typeof members.group === 'string' ? { group: groupRef(members.group) } : {}),
        ...(typeof members.gateway === 'string' ? { gateway: thingRef(members.gateway) } : {}),
      }).filter(([member, value]) => full || !isDefault(member, value)),
    ),
  });
  const twins = (list: readonly { readonly name: string }[]): ((name: string) => boolean) => {
    const counts = new Map<string, number>();
    for (const { name } of list) counts.set(name, (counts.get(name) ?? 0) + 1);
    return (name) => (counts.get(name) ?? 0) > 1;
  };

  const below = new Map<string | null, GroupState[]>();
  for (const group of state.groups) gather(below, group.parent, group);
  const branch = (parent: string | null): Members[] => {
    const list = below.get(parent) ?? [];
    const isTwin = twins(list);
    return list.map((group) => {
      const { parent: _, ...members } = groupMembers(group);
      const inside = branch(group.id);
      return {
        ...tidy(group.id, members, group.name === '' || isTwin(group.name)),
        ...(inside.length > 0 ? { groups: inside } : {}),
      };
    });
  };

  const connected = new Map<string, Members[]>();
  for (const connection of kinds.has('connections') ? state.connections : [])
    gather(connected, connection.thing, { channel: channelRef(connection.channel), types: typesOf(connection) });
  const attached = new Map<string, Members[]>();
  const emails = new Map(named.has('members') ? state.members.map(({ id, email }) => [id, email]) : []);
  const roleNames = new Map(state.roles.map(({ id, name }) => [id, name]));
  const roleRef = (id: string): string => roles.reference(id, roleNames.get(id) ?? null);
  const targetRef: Readonly<Record<AttachmentKind, (target: string) => string>> = {
    thing: thingRef,
    app: thingRef,
    group: groupRef,
    role: (target) => ((orgRoles as readonly string[]).includes(target) ? target : roleRef(target)),
    user: (target) => emails.get(target) ?? target,
  };
  for (const { policy, kind, target } of state.attachments)
    gather(attached, policy, { [kind]: targetRef[kind](target) });

  const references = { groups: groupRef, roles: roleRef, channels: channelRef, things: thingRef };
  const inNames = ({ resources, ...rest }: PolicyStatement): PolicyStatement => ({
    ...rest,
    resources: resources.map((resource) => withNames(resource, (kind, id) => references[kind](id))),
  });
  const isTwinThing = twins(state.things);
  const isTwinChannel = twins(state.channels);
  const inThings = kinds.has('things');
  const listed = state.things.filter(({ machine }) => !machine);
  const told = new Set(inThings ? listed.map(({ id }) => id) : []);
  return {
    version: 1,
    org,
    ...(kinds.has('groups') ? { groups: branch(null) } : {}),
    ...(kinds.has('roles') ? { roles: state.roles.map((role) => tidy(role.id, roleMembers(role), false)) } : {}),
    ...(kinds.has('channels')
      ? {
          channels: state.channels.map((channel) =>
            tidy(
              channel.id,
              channelMembers(channel),
              isTwinChannel(channel.name) || (channel.name === '' && channel.alias === null),
            ),
          ),
        }
      : {}),
    ...(inThings
      ? {
          things: listed.map((thing) => {
            const channels = connected.get(thing.id);
            return {
              ...tidy(thing.id, thingMembers(thing), thing.name === '' || isTwinThing(thing.name)),
              ...(secretsOf === null ? {} : secretsOf(thing)),
              ...(channels === undefined ? {} : { channels }),
            };
          }),
        }
      : {}),
    // Also where things tell of their own: then it says that there are no more.
    ...(kinds.has('connections')
      ? {
          connections: state.connections
            .filter(({ thing }) => !told.has(thing))
            .map((connection) => ({
              things: [thingRef(connection.thing)],
              channels: [channelRef(connection.channel)],
              types: typesOf(connection),
            })),
        }
      : {}),
    ...(kinds.has('policies')
      ? {
          policies: state.policies.map((policy) => ({
            ...tidy(policy.id, policyMembers({ ...policy, statements: policy.statements.map(inNames) }), false),
            attach: attached.get(policy.id) ?? [],
          })),
        }
      : {}),
  };
}

function isDefault(member: string, value: unknown): boolean {
  if (!Object.hasOwn(DEFAULTS, member)) return false;
  const standard = DEFAULTS[member];
  return typeof value === 'object' && value !== null ? JSON.stringify(value) === standard : value === standard;
}
