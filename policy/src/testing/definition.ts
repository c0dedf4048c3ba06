import {
  type Condition,
  type PolicyStatement,
  protocolNames,
  type RequestContext,
  roleActions,
  type SubjectRecord,
} from '@millrace/core';
import type { Asker, Question, World, WorldThing, WorldUser } from './world.ts';

/** The policy's definition, slow and straight: what may happen in a world. Shares no code with the gate: it knows no
 *  rules, no roles of Casbin and no memo, and has its own patterns and conditions. */
export function definitionAllows(world: World, asker: Asker, question: Question, context: RequestContext): boolean {
  const thing = world.things.find(({ id }) => id === asker.id);
  const user = world.users.find(({ id }) => id === asker.id);
  const key = world.keys.find(({ id }) => id === asker.key);
  const who = thing ?? user;
  if (who === undefined || !who.enabled || key?.revoked) return false;
  const request = requestOf(world, question, thing?.org ?? key?.org ?? null);
  if (request === null) return false;
  if (thing !== undefined && thing.org !== request.org) return false;
  if (key !== undefined) {
    if (key.org !== null && key.org !== request.org) return false;
    const carried = key.grants.some(
      ({ actions, resources }) =>
        actions.some((each) => doesAction(each, request.action)) && resources.some((each) => reaches(each, request)),
    );
    if (!carried) return false;
  }
  if (user?.admin) return true;
  let allowed = false;
  for (const grant of thing === undefined ? ofUser(world, user as WorldUser, request.org) : ofThing(world, thing)) {
    const effect = effectOf(grant, who, request, context);
    if (effect === 'deny') return false;
    if (effect === 'allow') allowed = true;
  }
  return allowed;
}

/** What is asked, with where it lies. */
interface Request {
  readonly org: string;
  readonly object: string;
  readonly action: string;
  readonly groups: readonly string[];
  /** undefined: not a message. */
  readonly subtopic: string | undefined;
}
/** A statement that holds for who asks: all over the organisation, or by a role that they have in one group. */
interface Grant extends PolicyStatement {
  readonly within: string | null;
}

function requestOf(world: World, question: Question, aliasOrg: string | null): Request | null {
  if (question.kind === 'control') {
    const { org, object, action } = question;
    return { org, object, action, groups: whereIs(world, object), subtopic: undefined };
  }
  const { channel: reference, subtopic, action } = question;
  const channel = world.channels.find(
    ({ id, alias, org }) => id === reference || (org === aliasOrg && alias === reference),
  );
  if (channel === undefined || !channel.enabled) return null;
  const object = `channels/${channel.id}/messages${subtopic && `/${subtopic}`}`;
  return { org: channel.org, object, action, groups: above(world, channel.group), subtopic };
}

/** The groups that an object lies in: a group lies in itself. */
export function whereIs(world: World, object: string): string[] {
  const [entity, id] = object.split('/');
  if (entity === 'groups' && id !== undefined) return above(world, id);
  const holder = [...world.channels, ...world.things].find((each) => each.id === id);
  return holder === undefined ? [] : above(world, holder.group);
}

export function above(world: World, group: string | null): string[] {
  const found = world.groups.find(({ id }) => id === group);
  return found === undefined ? [] : [...above(world, found.parent), found.id];
}

function ofThing(world: World, thing: WorldThing): Grant[] {
  const grants: Grant[] = [];
  for (const { channel, publish, subscribe } of thing.connections) {
    const actions = [...(publish ? ['publish'] : []), ...(subscribe ? ['subscribe'] : [])];
    grants.push({ effect: 'allow', actions, resources: [`channels/${channel}/messages*`], within: null });
  }
  return [...grants, ...attached(world, thing.org, [thing.id, ...above(world, thing.group)])];
}

function ofUser(world: World, user: WorldUser, org: string): Grant[] {
  const held = user.roles.filter((each) => each.org === org);
  // Who is no member has nothing, also not the roles in groups.
  if (!held.some(({ group }) => group === null)) return [];
  const grants = held.map(({ role, group }): Grant => {
    const own = world.roles.find(({ id }) => id === role);
    const actions = own?.actions ?? roleActions[role as keyof typeof roleActions];
    return { effect: 'allow', actions, resources: ['*'], within: group };
  });
  const everywhere = held.filter(({ group }) => group === null).map(({ role }) => role);
  const inGroups = held.flatMap(({ role, group }) =>
    group === null || everywhere.includes(role)
      ? []
      : attached(world, org, [role]).map((grant): Grant => ({ ...grant, within: group })),
  );
  return [...grants, ...attached(world, org, [user.id, ...everywhere]), ...inGroups];
}

const attached = (world: World, org: string, targets: readonly string[]): Grant[] =>
  world.policies
    .filter((each) => each.org === org && each.enabled && each.attached.some((target) => targets.includes(target)))
    .flatMap(({ statements }) => statements.map((statement) => ({ ...statement, within: null })));

function effectOf(
  grant: Grant,
  who: WorldThing | WorldUser,
  request: Request,
  context: RequestContext,
): 'allow' | 'deny' | null {
  const { effect, actions, resources, condition, within } = grant;
  if (!actions.some((each) => doesAction(each, request.action))) return null;
  const when = condition === undefined ? true : holds(condition, who, request, context);
  for (const resource of resources) {
    const filled = fill(resource, who, '*/');
    // What can't be told for want of a value denies, and lets nobody in.
    if (filled === null || when === 'no such value') {
      if (effect === 'deny') return 'deny';
      continue;
    }
    if (!reaches(filled, request)) continue;
    // Held in a group, it reaches what lies there; what names a group itself denies there, and allows only in the same.
    const named = /^group:(.*?)\//.exec(resource)?.[1];
    if (within !== null && named === undefined && !request.groups.includes(within)) continue;
    if (within !== null && named !== undefined && named !== within && effect === 'allow') continue;
    if (when === true || (when === undefined && effect === 'deny')) return effect;
  }
  return null;
}

const VARIABLES: Readonly<Record<string, (who: WorldThing | WorldUser, rest: string) => unknown>> = {
  'thing.id': (who) => ('email' in who ? undefined : who.id),
  'user.id': (who) => ('email' in who ? who.id : undefined),
  'user.email': (who) => ('email' in who ? who.email : undefined),
  'thing.metadata': (who, rest) => ('email' in who ? undefined : who.metadata[rest]),
};

/** @returns null where a value is missing, or has one of the characters that mean more than themselves there */
function fill(text: string, who: WorldThing | WorldUser, forbidden: string): string | null {
  const parts = text.split('${');
  let filled = parts[0] ?? '';
  for (const part of parts.slice(1)) {
    const end = part.indexOf('}');
    const [kind, member, ...rest] = part.slice(0, end).split('.');
    const value = VARIABLES[`${kind}.${member}`]?.(who, rest.join('.'));
    if (value === undefined) return null;
    const told = String(value);
    if (forbidden !== '' && (told === '' || [...told].some((each) => forbidden.includes(each)))) return null;
    filled += told + part.slice(end + 1);
  }
  return filled;
}

function doesAction(pattern: string, action: string): boolean {
  if (pattern === '*' || pattern === action) return true;
  const [entity, verb] = pattern.split('.');
  const [what, does] = action.split('.');
  if (verb === undefined || does === undefined) return false;
  return (entity === '*' || entity === what) && (verb === '*' || verb === does);
}

function reaches(resource: string, { object, groups }: Request): boolean {
  const parts = /^group:(.*?)\/(.*)$/s.exec(resource);
  if (parts !== null) return groups.includes(parts[1] ?? '') && covers(parts[2] ?? '', object);
  return covers(resource, object);
}

/** A star at the end is any rest, as a whole segment before that one segment, elsewhere itself. */
function covers(pattern: string, object: string): boolean {
  const segments = pattern.split('/');
  let expression = '';
  for (const [index, segment] of segments.entries()) {
    const last = index === segments.length - 1;
    if (index > 0) expression += '/';
    if (last && segment.endsWith('*')) expression += `${quoted(segment.slice(0, -1))}[^]*`;
    else if (!last && segment === '*') expression += '[^/]*';
    else expression += quoted(segment);
  }
  return new RegExp(`^${expression}$`).test(object);
}

const quoted = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

type Held = boolean | undefined | 'no such value';

/** undefined: not known. */
function holds(condition: Condition, who: WorldThing | WorldUser, request: Request, context: RequestContext): Held {
  const answers: Held[] = [];
  const { protocol, address, tls, mutualTls, time, hours, subtopic, metadata, not } = condition;
  const each = (texts: readonly string[], forbidden: string, test: (text: string) => boolean | undefined): Held => {
    const filled = texts.map((text) => fill(text, who, forbidden));
    if (filled.includes(null)) return 'no such value';
    const found = filled.map((text) => test(text as string));
    return found.includes(true) ? true : found.includes(undefined) ? undefined : false;
  };
  if (protocol) answers.push(protocol.includes(protocolNames[context.protocol] as string));
  if (address) answers.push(each(address, '/', (block) => within(context.remoteAddress, block)));
  if (tls !== undefined) answers.push(tls === context.tls);
  if (mutualTls !== undefined) answers.push(mutualTls === context.mutualTls);
  if (time?.from) answers.push(context.nowMs >= Date.parse(time.from));
  if (time?.to) answers.push(context.nowMs < Date.parse(time.to));
  if (hours) answers.push(within24(hours, context.nowMs));
  if (subtopic) {
    answers.push(
      each(subtopic, '+#/', (pattern) =>
        request.subtopic === undefined ? undefined : filters(pattern, request.subtopic),
      ),
    );
  }
  for (const [name, wanted] of Object.entries(metadata ?? {})) {
    const filled = typeof wanted === 'string' ? fill(wanted, who, '') : wanted;
    if (filled === null) answers.push('no such value');
    else answers.push(!('email' in who) && who.metadata[name] === filled);
  }
  if (not) {
    const inner = holds(not, who, request, context);
    answers.push(typeof inner === 'boolean' ? !inner : inner);
  }
  if (answers.includes('no such value')) return 'no such value';
  if (answers.includes(false)) return false;
  return answers.includes(undefined) ? undefined : true;
}

/** IPv4 only. */
function within(address: string, block: string): boolean {
  const [network = '', bits = '32'] = block.split('/');
  const size = 2 ** (32 - Number(bits));
  return Math.floor(numberOf(address) / size) === Math.floor(numberOf(network) / size);
}
const numberOf = (address: string): number => address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);

function within24(hours: NonNullable<Condition['hours']>, nowMs: number): boolean {
  const now = new Date(nowMs);
  const minute = (text: string): number => Number(text.split(':')[0]) * 60 + Number(text.split(':')[1]);
  const at = now.getUTCHours() * 60 + now.getUTCMinutes();
  const day = now.getUTCDay() || 7;
  const opensOn = (which: number): boolean => hours.days?.includes(which) ?? true;
  const [from, to] = [minute(hours.from), minute(hours.to)];
  if (from < to) return from <= at && at < to && opensOn(day);
  if (at >= from) return opensOn(day);
  return at < to && opensOn(((day + 5) % 7) + 1);
}

function filters(pattern: string, subtopic: string): boolean {
  const walk = (wanted: readonly string[], given: readonly string[]): boolean => {
    const [first, ...later] = wanted;
    if (first === undefined) return given.length === 0;
    if (first === '#') return true;
    const [segment, ...rest] = given;
    return segment !== undefined && (first === '+' || first === segment) && walk(later, rest);
  };
  const segments = (text: string): string[] => (text === '' ? [] : text.split('/'));
  return walk(segments(pattern), segments(subtopic));
}

/** A subject of the world, as the registry tells it. */
export function recordOf(who: WorldThing | WorldUser): SubjectRecord {
  if ('email' in who) {
    const { id, email, admin, enabled } = who;
    return { kind: 'user', id, email, admin, enabled, epoch: 0 };
  }
  const { id, org, enabled, metadata } = who;
  return { kind: 'thing', id, org, type: 'device', enabled, metadata, epoch: 0 };
}
