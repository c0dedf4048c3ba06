import {
  connectionRules,
  customRoleSubject,
  groupObject,
  memberRule,
  orgRoles,
  type PolicyRule,
  type PolicyStatement,
  roleActions,
  roleRules,
  roleSubject,
  statementRules,
} from '@millrace/core';
import { above, recordOf } from './definition.ts';
import { MemoryDirectory, plainChannel } from './directory.ts';
import type { World, WorldThing, WorldUser } from './world.ts';

/** Gives a world's rules as the registry does, and announces what changed.
 *  @holds after `sync` reads say what the world says, and listeners have heard what is void */
export class WorldDirectory extends MemoryDirectory {
  readonly #world: World;
  readonly #told = new Map<string, string>();
  readonly #digest: (secret: string) => string;

  constructor(world: World, digest: (secret: string) => string) {
    super();
    this.#world = world;
    this.#digest = digest;
    this.sync();
  }

  sync(): void {
    const { channels, things, users, keys, orgs } = this.#world;
    const announcements: (() => void)[] = [];
    const changed = (name: string, now: unknown): boolean => {
      const text = JSON.stringify(now);
      if (this.#told.get(name) === text) return false;
      this.#told.set(name, text);
      return true;
    };
    for (const { group, ...channel } of channels) {
      const record = { ...plainChannel(channel.id, channel.org), ...channel, groups: above(this.#world, group) };
      if (!changed(channel.id, record)) continue;
      this.channels.set(channel.id, record);
      announcements.push(() => this.announce('channel', channel.id, channel.org));
    }
    for (const who of [...things, ...users]) {
      const record = recordOf(who);
      if (changed(who.id, record)) {
        this.subjects.set(who.id, record);
        this.keys.set(this.#digest(who.id), who.id);
        announcements.push(() => this.announce(record.kind, who.id, record.kind === 'thing' ? record.org : null));
      }
      for (const org of orgs) {
        const rules = 'email' in who ? this.#ofUser(who, org) : this.#ofThing(who, org);
        if (!changed(`${who.id} ${org}`, rules)) continue;
        this.policy.set(`${who.id} ${org}`, rules);
        announcements.push(() => this.announce('policy', `of ${who.id}`, org, [who.id]));
      }
    }
    for (const { id, user, org, grants, revoked } of keys) {
      if (!changed(id, revoked)) continue;
      const scope = { id, org, grants };
      if (revoked) this.bearers.delete(this.#digest(id));
      else this.bearers.set(this.#digest(id), { subject: user, expiresMs: Number.POSITIVE_INFINITY, scope });
      announcements.push(() => this.announce('key', id, org, [id]));
    }
    for (const announce of announcements) announce();
  }

  #ofThing(thing: WorldThing, org: string): PolicyRule[] {
    if (thing.org !== org) return [];
    return [
      ...thing.connections.flatMap((each) => connectionRules(thing.id, org, each.channel, each)),
      ...this.#attached(thing, org, [thing.id, ...above(this.#world, thing.group)]),
    ];
  }

  #ofUser(user: WorldUser, org: string): PolicyRule[] {
    const held = user.roles.filter((each) => each.org === org);
    if (!held.some(({ group }) => group === null)) return [];
    const ofRoles = held.flatMap(({ role, group }) => {
      const builtIn = orgRoles.find((name) => name === role);
      const own = this.#world.roles.find(({ id }) => id === role);
      const actions = builtIn === undefined ? (own?.actions ?? []) : roleActions[builtIn];
      if (group !== null) return roleRules(user.id, org, actions, role, groupObject(group, '*'));
      const holder = builtIn === undefined ? customRoleSubject(role) : roleSubject(builtIn);
      return [memberRule(user.id, holder, org), ...roleRules(holder, org, actions, role)];
    });
    const everywhere = held.filter(({ group }) => group === null).map(({ role }) => role);
    const inGroups = held.flatMap(({ role, group }) =>
      group === null || everywhere.includes(role) ? [] : this.#attached(user, org, [role], group),
    );
    return [...ofRoles, ...this.#attached(user, org, [user.id, ...everywhere]), ...inGroups];
  }

  #attached(
    who: WorldThing | WorldUser,
    org: string,
    targets: readonly string[],
    group: string | null = null,
  ): PolicyRule[] {
    return this.#world.policies
      .filter((each) => each.org === org && each.enabled && each.attached.some((target) => targets.includes(target)))
      .flatMap(({ id, statements }) =>
        statements.flatMap((each, index) =>
          statementRules(
            group === null ? each : within(group, each),
            who.id,
            recordOf(who),
            org,
            `policy ${id} v1 ${each.sid ?? index}`,
          ),
        ),
      );
  }
}

/** A statement of a role that is held in a group, as the registry places it. */
function within(group: string, statement: PolicyStatement): PolicyStatement {
  const resources = statement.resources.flatMap((resource) => {
    if (!resource.startsWith('group:')) return [groupObject(group, resource)];
    return statement.effect === 'deny' || resource.startsWith(`group:${group}/`) ? [resource] : [];
  });
  return { ...statement, resources };
}
