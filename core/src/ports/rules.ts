import { MillraceError } from '../errors.ts';
import type { PolicyRule, SubjectRecord } from './directory.ts';

/** The rules that the registry keeps and the gate judges by, made in one place so that both mean the same.
 *  @shape objects are paths: `channels/<id>/messages[/<subtopic>]`, `things/<id>`, `things`. In a rule's object a `*` at
 *         the end stands for any rest, a `*` that is a whole segment in the middle for one segment;
 *         `group:<id>/<pattern>` covers what matches the pattern and lies in the group or below it, and
 *         `groups/<id>` itself and its subgroups where the pattern covers them */

export type RuleErrorCode =
  /** The id holds `/` or `*` or is empty: it would reach beyond what it names. */
  'RULE_ID_INVALID';
export class RuleError extends MillraceError<RuleErrorCode> {}

/** What a member of an organisation is. What each may: `roleActions`. */
export const orgRoles = ['owner', 'admin', 'editor', 'viewer'] as const;
export type OrgRole = (typeof orgRoles)[number];

/** What a control plane has, as the first part of an action. */
export const controlEntities = [
  'orgs',
  'members',
  'invitations',
  'roles',
  'users',
  'groups',
  'things',
  'channels',
  'connections',
  'messages',
  'deadletters',
  'policies',
  'keys',
  'apps',
  'certs',
  'audit',
  'jobs',
  'commands',
  'codecs',
  'networkservers',
  'sql',
  'queries',
  'exports',
  'imports',
  'deletions',
  'holds',
  'webhooks',
] as const;
export type ControlEntity = (typeof controlEntities)[number];

/** What readers may see. Secrets of things are no entity of their own: who may update a thing may see its key. */
const READABLE: readonly ControlEntity[] = [
  'things',
  'channels',
  'connections',
  'messages',
  'deadletters',
  'orgs',
  'members',
  'roles',
  'groups',
  'policies',
  'certs',
  'jobs',
  'commands',
  'codecs',
  'networkservers',
  'sql',
  'queries',
  'exports',
  'imports',
  'deletions',
  'holds',
  'webhooks',
];
const READS = READABLE.flatMap((entity) => [`${entity}.read`, `${entity}.list`]);

/** What each built-in role may do on everything that it is given for: an organisation, or a group and what is below. */
export const roleActions: Readonly<Record<OrgRole, readonly string[]>> = {
  owner: ['*'],
  // Only owners make owners, freeze and delete the organisation: the registry asks for `*` there.
  admin: ['*.*', 'publish', 'subscribe'],
  editor: [
    'things.*',
    'channels.*',
    'connections.*',
    'groups.*',
    'certs.*',
    'jobs.*',
    'commands.*',
    'codecs.*',
    'deadletters.*',
    'queries.*',
    'exports.*',
    'imports.*',
    'webhooks.*',
    'publish',
    'subscribe',
    ...READS,
  ],
  viewer: ['subscribe', 'exports.create', ...READS],
};

/** Subject of the rules of a built-in role. @holds no other subject may start with `role:` unless it is a role */
export const roleSubject = (role: OrgRole): string => `role:${role}`;
/** The same of a role that an organisation made. */
export const customRoleSubject = (role: string): string => `role:${role}`;

/** What a rule's object says of a group: the pattern holds for what lies in it.  @throws RuleError RULE_ID_INVALID */
export const groupObject = (group: string, pattern: string): string => `group:${literal(group)}/${pattern}`;

/** The object that a message is published to or read from. */
export const messagesObject = (channel: string, subtopic = ''): string =>
  subtopic === '' ? `channels/${channel}/messages` : `channels/${channel}/messages/${subtopic}`;

/** In the place of a subtopic: the channel's messages of every subtopic, which somebody asks for at once. Allowed by what
 *  covers all of them, denied by whatever denies some.  @holds no message has it: a topic holds no U+0000 */
export const EVERY_SUBTOPIC = '\0';

/** What a condition may ask; all members must hold. Kept as JSON text in a rule, "" for none.
 *  What is not known where the rule is judged (a worker knows no address) never lets in: an allow does not apply, a
 *  deny does. */
export interface Condition {
  /** Any of. */
  readonly protocol?: readonly string[];
  /** Any of these addresses or CIDR blocks, v4 or v6. */
  readonly address?: readonly string[];
  readonly tls?: boolean;
  readonly mutualTls?: boolean;
  /** From inclusive, to exclusive, RFC 3339. */
  readonly time?: { readonly from?: string; readonly to?: string };
  /** Of each day in UTC, `HH:MM`; from inclusive, to exclusive, over midnight if to ≤ from.
   *  @shape days: 1 (Monday) to 7 of the day on which the window opens; all if absent */
  readonly hours?: { readonly from: string; readonly to: string; readonly days?: readonly number[] };
  /** Any of, each as a subtopic with `+` for one segment and `#` at the end for any rest. Of messages only. */
  readonly subtopic?: readonly string[];
  /** The thing's metadata holds these values at its top level. */
  readonly metadata?: Readonly<Record<string, string | number | boolean>>;
  readonly not?: Condition;
}

/** One statement of a policy document. */
export interface PolicyStatement {
  /** Names it within its document; its index from 0 if absent. */
  readonly sid?: string;
  readonly effect: 'allow' | 'deny';
  /** `publish`, `subscribe`, `<entity>.<verb>`, `<entity>.*`, `*`. */
  readonly actions: readonly string[];
  /** Patterns of objects. Variables: `${thing.id}`, `${thing.metadata.<name>}`, `${user.id}`, `${user.email}`. */
  readonly resources: readonly string[];
  readonly condition?: Condition;
}

/** A connection: what a thing may do on a channel, with all its subtopics.  @throws RuleError RULE_ID_INVALID */
export function connectionRules(
  thing: string,
  org: string,
  channel: string,
  may: { readonly publish: boolean; readonly subscribe: boolean },
): PolicyRule[] {
  const object = `${messagesObject(literal(channel))}*`;
  const rules: PolicyRule[] = [];
  const source = `connection ${channel}`;
  if (may.publish) rules.push({ type: 'p', values: [literal(thing), org, object, 'publish', 'allow', ''], source });
  if (may.subscribe) rules.push({ type: 'p', values: [literal(thing), org, object, 'subscribe', 'allow', ''], source });
  return rules;
}

/** A subject's role in an organisation, built in or of its own.  @param role of roleSubject or customRoleSubject */
export const memberRule = (subject: string, role: string, org: string): PolicyRule => ({
  type: 'g',
  values: [subject, role, org],
});

/** What a role may, on all of its organisation, or (by `groupObject`) in a group.
 *  @param holder the role's subject, or who has the role in the group alone */
export const roleRules = (
  holder: string,
  org: string,
  actions: readonly string[],
  name: string,
  object = '*',
): PolicyRule[] =>
  actions.map((action) => ({ type: 'p', values: [holder, org, object, action, 'allow', ''], source: `role ${name}` }));

/** The rules of a policy's statement for one holder, variables filled in for who asks.
 *  A value that could widen a pattern (holds `*` or `/`), or a variable that the subject has not, lets nobody in: an
 *  allow is left out, a deny denies every resource.
 *  @param holder subject of the rules: who asks, or a role that they have */
export function statementRules(
  statement: PolicyStatement,
  holder: string,
  subject: SubjectRecord,
  org: string,
  source: string,
): PolicyRule[] {
  const condition = statement.condition === undefined ? '' : conditionFilledIn(statement.condition, subject);
  const rules: PolicyRule[] = [];
  for (const resource of statement.resources) {
    const object = filledIn(resource, subject, /[*/]|^$/);
    const unknown = object === null || condition === null;
    if (unknown && statement.effect === 'allow') continue;
    for (const action of statement.actions) {
      const values = [holder, org, unknown ? '*' : object, action, statement.effect, unknown ? '' : condition];
      rules.push({ type: 'p', values, source });
    }
  }
  return rules;
}

const VARIABLE = /\$\{([^}]*)\}/g;

/** Members whose texts are patterns, and what in a value would widen them. */
const WIDENING: Readonly<Record<string, RegExp>> = { subtopic: /[+#/]|^$/, address: /\/|^$/ };

/** As JSON. @returns null where a variable has no value that can stand there */
function conditionFilledIn(condition: Condition, subject: SubjectRecord): string | null {
  let known = true;
  const fill = (text: string, widening: RegExp | null): string => {
    const filled = filledIn(text, subject, widening);
    if (filled === null) known = false;
    return filled ?? '';
  };
  const text = JSON.stringify(condition, (name, value: unknown) => {
    const widening = WIDENING[name];
    if (Array.isArray(value) && widening !== undefined) {
      return value.map((each) => (typeof each === 'string' ? new Filled(fill(each, widening)) : each));
    }
    if (value instanceof Filled) return value.text;
    return typeof value === 'string' ? fill(value, null) : value;
  });
  return known ? text : null;
}

/** A text that has been filled in already: what came in by a value is no variable. */
class Filled {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** @returns null where a variable has no value that can stand there */
function filledIn(text: string, subject: SubjectRecord, widening: RegExp | null): string | null {
  let known = true;
  const filled = text.replace(VARIABLE, (_, name: string) => {
    const value = variable(name, subject);
    if (value === null || widening?.test(value)) known = false;
    return value ?? '';
  });
  return known ? filled : null;
}

function variable(name: string, subject: SubjectRecord): string | null {
  const [kind, member = '', ...rest] = name.split('.');
  if (kind !== subject.kind) return null;
  if (member === 'id' && rest.length === 0) return subject.id;
  if (subject.kind === 'user') return member === 'email' && rest.length === 0 ? subject.email : null;
  if (member !== 'metadata' || rest.length === 0) return null;
  const key = rest.join('.');
  const value = Object.hasOwn(subject.metadata, key) ? subject.metadata[key] : undefined;
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : null;
}

function literal(id: string): string {
  if (id === '' || id.includes('/') || id.includes('*')) throw new RuleError('RULE_ID_INVALID', 'never', { id });
  return id;
}
