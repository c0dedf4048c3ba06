import { type Condition, Protocol, type RequestContext } from '@millrace/core';
import type { Asker, Question, World, WorldGroup } from './world.ts';

/** Chooses, always the same from the same seed. */
export class Choice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 inclusive to 1 exclusive.  @source Mulberry32, Tommy Ettinger 2017 */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  below(count: number): number {
    return Math.floor(this.next() * count);
  }
  chance(probability: number): boolean {
    return this.next() < probability;
  }
  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
  some<T>(list: readonly T[], probability: number): T[] {
    return list.filter(() => this.chance(probability));
  }
  times<T>(countMax: number, make: (index: number) => T): T[] {
    return Array.from({ length: this.below(countMax + 1) }, (_, index) => make(index));
  }
}

const ORGS = ['o0', 'o1', 'o2'];
const variable = (name: string): string => `\${${name}}`;
const SUBTOPICS = [
  '',
  'a',
  'a/b',
  'a/b/c',
  'secret',
  'secret/door',
  'o0-t0',
  'north',
  'u0@example.org',
  '*',
  'a*',
  '+',
  'b//c',
];
export const START_MS = Date.UTC(2026, 0, 5, 7, 59, 59);
const MOMENTS = [0, 500, 999, 1_000, 1_500, 2_000, 60_000, 86_400_000, 5 * 86_400_000 + 3_600_000];
const METADATA = [{}, { site: 'north' }, { site: 'south', floor: 3 }, { site: 'a/b' }, { site: '*' }, { site: '' }];
const ACTIONS = [
  'things.read',
  'things.update',
  'things.create',
  'channels.read',
  'channels.delete',
  'groups.update',
  'policies.read',
  'members.create',
  'orgs.delete',
] as const;
const ACTION_PATTERNS = [...ACTIONS, 'publish', 'subscribe', '*', '*.*', 'things.*', '*.read', 'channels.*'];

export class RandomWorlds {
  readonly #choice: Choice;

  constructor(choice: Choice) {
    this.#choice = choice;
  }

  world(): World {
    const choice = this.#choice;
    const groups = ORGS.flatMap((org) => this.#groups(org));
    const groupIn = (org: string): string | null =>
      choice.chance(0.7) ? choice.of(groups.filter((each) => each.org === org)).id : null;
    const channels = ORGS.flatMap((org) =>
      ['c0', 'c1', 'c2'].map((name, index) => ({
        id: `${org}-${name}`,
        org,
        // The same alias in each organisation.
        alias: index === 0 ? 'room' : null,
        group: groupIn(org),
        enabled: choice.chance(0.95),
      })),
    );
    const roles = ORGS.map((org) => ({ id: `${org}-r`, org, actions: this.#actions() }));
    const things = ORGS.flatMap((org) =>
      ['t0', 't1'].map((name) => ({
        id: `${org}-${name}`,
        org,
        group: groupIn(org),
        enabled: choice.chance(0.95),
        metadata: choice.of(METADATA),
        connections: choice
          .some(channels, 0.3)
          .map(({ id }) => ({ channel: id, publish: choice.chance(0.7), subscribe: choice.chance(0.5) })),
      })),
    );
    const users = ['u0', 'u1', 'u2', 'root'].map((id) => ({
      id,
      email: choice.chance(0.2) ? 'a/b@example.org' : `${id}@example.org`,
      admin: id === 'root',
      enabled: choice.chance(0.95),
      roles: this.#memberships(groups),
    }));
    const policies = ORGS.flatMap((org) =>
      choice.times(4, (index) => ({
        id: `${org}-p${index}`,
        org,
        enabled: choice.chance(0.9),
        statements: [this.#statement(org), ...choice.times(2, () => this.#statement(org))],
        attached: choice.some(
          [...users, ...[...things, ...groups, ...roles].filter((each) => each.org === org)]
            .map(({ id }) => id)
            .concat('editor', 'viewer'),
          0.35,
        ),
      })),
    );
    const keys = users.flatMap(({ id }) =>
      ['k0', 'k1'].map((name) => ({
        id: `${id}-${name}`,
        user: id,
        org: choice.of([...ORGS, null]),
        grants: choice.times(3, () => ({ actions: this.#actions(), resources: [this.#resource(choice.of(ORGS))] })),
        revoked: false,
      })),
    );
    return { orgs: ORGS, groups, channels, things, users, roles, policies, keys };
  }

  /** Something changes, as people change it.  @returns what, to be told when the gate is wrong after it */
  change(world: World): string {
    const choice = this.#choice;
    const { groups, channels, things, users, policies, keys } = world;
    const thing = choice.of(things);
    const groupOf = (org: string): string | null => choice.of(groups.filter((each) => each.org === org)).id;
    const changes: readonly (() => string)[] = [
      () => {
        thing.group = choice.chance(0.8) ? groupOf(thing.org) : null;
        return `${thing.id} moves to ${thing.group}`;
      },
      () => {
        const channel = choice.of(channels);
        channel.group = choice.chance(0.8) ? groupOf(channel.org) : null;
        return `${channel.id} moves to ${channel.group}`;
      },
      () => {
        const moved = choice.of(groups);
        // Only to one that came before it: no cycle.
        const before = groups.filter((each) => each.org === moved.org && each.id < moved.id);
        moved.parent = before.length === 0 ? null : choice.of(before).id;
        return `${moved.id} moves to ${moved.parent}`;
      },
      () => {
        const switched = choice.of([...channels, ...things, ...users, ...policies]);
        switched.enabled = !switched.enabled;
        return `${switched.id} is enabled: ${switched.enabled}`;
      },
      () => {
        thing.metadata = choice.of(METADATA);
        return `${thing.id} has ${JSON.stringify(thing.metadata)}`;
      },
      () => {
        const { id } = choice.of(channels);
        const held = thing.connections.filter(({ channel }) => channel !== id);
        if (held.length === thing.connections.length) held.push({ channel: id, publish: true, subscribe: true });
        thing.connections = held;
        return `${thing.id} and ${id} are connected or not`;
      },
      () => {
        const user = choice.of(users);
        user.roles = this.#memberships(groups);
        return `${user.id} has ${JSON.stringify(user.roles)}`;
      },
      () => {
        const key = choice.of(keys);
        key.revoked = true;
        return `${key.id} is revoked`;
      },
      () => {
        if (policies.length === 0) return 'nothing';
        const policy = choice.of(policies);
        if (choice.chance(0.5)) policy.statements = [this.#statement(policy.org)];
        else policy.attached = choice.some([...policy.attached, choice.of(users).id, thing.id, 'owner'], 0.5);
        return `${policy.id} is ${JSON.stringify(policy)}`;
      },
    ];
    return choice.of(changes)();
  }

  asked(world: World): { readonly asker: Asker; readonly question: Question; readonly context: RequestContext } {
    return { asker: this.#asker(world), question: this.#question(world), context: this.#context() };
  }

  #asker(world: World): Asker {
    const choice = this.#choice;
    if (choice.chance(0.4)) return { id: choice.of(world.things).id, key: null };
    if (choice.chance(0.5)) return { id: choice.of(world.users).id, key: null };
    const { id, user } = choice.of(world.keys);
    return { id: user, key: id };
  }

  #question(world: World): Question {
    const choice = this.#choice;
    if (choice.chance(0.6)) {
      const channel = choice.chance(0.15) ? choice.of(['room', 'nowhere']) : choice.of(world.channels).id;
      const action = choice.of(['publish', 'subscribe'] as const);
      return { kind: 'message', action, channel, subtopic: choice.of(SUBTOPICS) };
    }
    const action = choice.of(ACTIONS);
    if (choice.chance(0.3))
      return { kind: 'control', action, org: choice.of(ORGS), object: action.split('.')[0] ?? '' };
    const [entity, { id, org }] = choice.of([
      ['things', choice.of(world.things)],
      ['channels', choice.of(world.channels)],
      ['groups', choice.of(world.groups)],
    ] as const);
    return { kind: 'control', action, org, object: `${entity}/${id}` };
  }

  #context(): RequestContext {
    const choice = this.#choice;
    return {
      protocol: choice.of([Protocol.http, Protocol.mqtt, Protocol.coap]),
      remoteAddress: choice.of(['10.1.2.3', '10.2.2.3', '192.0.2.1', '255.255.255.255']),
      tls: choice.chance(0.5),
      mutualTls: choice.chance(0.3),
      nowMs: START_MS + choice.of(MOMENTS),
    };
  }

  #groups(org: string): WorldGroup[] {
    const ids = ['g0', 'g1', 'g2', 'g3'].map((name) => `${org}-${name}`);
    return ids.map((id, index) => ({
      id,
      org,
      parent: index > 0 && this.#choice.chance(0.8) ? this.#choice.of(ids.slice(0, index)) : null,
    }));
  }

  #memberships(groups: readonly WorldGroup[]) {
    const choice = this.#choice;
    return choice.some(ORGS, 0.5).flatMap((org) => {
      const role = (): string => choice.of(['owner', 'admin', 'editor', 'viewer', 'viewer', `${org}-r`, `${org}-r`]);
      const within = choice.some(
        groups.filter((each) => each.org === org),
        0.25,
      );
      const whole = choice.chance(0.8) ? [{ org, role: role(), group: null }] : [];
      return [...whole, ...within.map(({ id }) => ({ org, role: role(), group: id }))];
    });
  }

  #actions(): string[] {
    const choice = this.#choice;
    return [choice.of(ACTION_PATTERNS), ...choice.some(ACTION_PATTERNS, 0.15)];
  }

  #statement(org: string): World['policies'][number]['statements'][number] {
    const choice = this.#choice;
    return {
      effect: choice.chance(0.7) ? 'allow' : 'deny',
      actions: this.#actions(),
      resources: [this.#resource(org), ...choice.times(1, () => this.#resource(org))],
      ...(choice.chance(0.5) ? { condition: this.#condition(2) } : {}),
    };
  }

  /** Now and then of another organisation: a policy may name what is not its own, and must not reach it. */
  #resource(own: string): string {
    const choice = this.#choice;
    const org = choice.chance(0.9) ? own : choice.of(ORGS);
    const pattern = choice.of([
      '*',
      'channels/*',
      'things/*',
      'things',
      'groups/*',
      `channels/${org}-c0`,
      `channels/${org}-c0/messages`,
      `channels/${org}-c0/messages*`,
      `channels/${org}-c1/messages/a`,
      `channels/${org}-c1/messages/a/*`,
      `channels/${org}-c1/messages/a*`,
      `channels/${org}-c*`,
      'channels/*/messages/secret*',
      'channels/*/messages/*/b',
      'channels/*/messages',
      `channels/*/messages/${variable('thing.id')}`,
      `channels/*/messages/${variable('thing.metadata.site')}`,
      `channels/*/messages/${variable('user.email')}`,
      `things/${variable('thing.id')}`,
      `things/${org}-t0`,
      `groups/${org}-g1`,
      `*/${org}-t1`,
    ]);
    return choice.chance(0.35) ? `group:${org}-g${choice.below(4)}/${pattern}` : pattern;
  }

  #condition(depth: number): Condition {
    const choice = this.#choice;
    const from = new Date(START_MS + choice.of(MOMENTS)).toISOString();
    const to = new Date(START_MS + choice.of(MOMENTS)).toISOString();
    const one = (): Condition =>
      choice.of<Condition>([
        { protocol: choice.some(['mqtt', 'http', 'coap'] as const, 0.5).concat('http') },
        { address: [choice.of(['10.0.0.0/8', '10.2.0.0/15', '192.0.2.1', '0.0.0.0/0', '128.0.0.0/1'])] },
        { tls: choice.chance(0.5) },
        { mutualTls: choice.chance(0.5) },
        { time: { from } },
        { time: { to } },
        { time: { from, to } },
        { hours: { from: '08:00', to: '18:00' } },
        { hours: { from: '08:00', to: choice.of(['08:00', '06:30']), days: [1, 5] } },
        { subtopic: [choice.of(['a/#', '+', '#', '', 'a/+/c', 'secret', '+/#', '+/+'])] },
        { subtopic: ['secret/#', variable('thing.metadata.site')] },
        { subtopic: [variable('thing.id')] },
        { metadata: { site: 'north' } },
        { metadata: { floor: 3, site: variable('thing.metadata.site') } },
        {},
      ]);
    const made = choice.chance(0.3) ? { ...one(), ...one() } : one();
    return depth > 0 && choice.chance(0.25) ? { ...made, not: this.#condition(depth - 1) } : made;
  }
}
