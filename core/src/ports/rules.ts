import { MillraceError } from '../errors.ts';
import type { PolicyRule } from './directory.ts';
import type { ControlAction, MessageAction } from './gate.ts';

/** The rules that the registry keeps and the gate judges by, made in one place so that both mean the same.
 *  @shape objects are paths: `channels/<id>/messages[/<subtopic>]`, `things/<id>`, `things`. In a rule's object a `*` at
 *         the end stands for any rest, a `*` that is a whole segment in the middle for one segment */

export type RuleErrorCode =
  /** The id holds `/` or `*` or is empty: it would reach beyond what it names. */
  'RULE_ID_INVALID';
export class RuleError extends MillraceError<RuleErrorCode> {}

/** What a member of an organisation is. What each may is the gate's own table (policy/src/roles.ts). */
export const orgRoles = ['owner', 'admin', 'editor', 'viewer'] as const;
export type OrgRole = (typeof orgRoles)[number];

/** Subject of the rules of a built-in role. @holds no other subject may start with `role:` unless it is a role */
export const roleSubject = (role: OrgRole): string => `role:${role}`;

/** The object that a message is published to or read from. */
export const messagesObject = (channel: string, subtopic = ''): string =>
  subtopic === '' ? `channels/${channel}/messages` : `channels/${channel}/messages/${subtopic}`;

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
  /** The thing's metadata holds these values at its top level. */
  readonly metadata?: Readonly<Record<string, string | number | boolean>>;
  readonly not?: Condition;
}

/** One statement of a policy as a rule. */
export function statementRule(statement: {
  readonly subject: string;
  readonly org: string;
  readonly object: string;
  readonly action: MessageAction | ControlAction | '*';
  readonly effect: 'allow' | 'deny';
  readonly condition?: Condition;
}): PolicyRule {
  const { subject, org, object, action, effect, condition } = statement;
  const text = condition === undefined ? '' : JSON.stringify(condition);
  return { type: 'p', values: [subject, org, object, action, effect, text] };
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
  if (may.publish) rules.push({ type: 'p', values: [literal(thing), org, object, 'publish', 'allow', ''] });
  if (may.subscribe) rules.push({ type: 'p', values: [literal(thing), org, object, 'subscribe', 'allow', ''] });
  return rules;
}

/** A user's role in an organisation. The rules of the role itself are added by the gate. */
export const memberRule = (user: string, role: OrgRole, org: string): PolicyRule => ({
  type: 'g',
  values: [user, roleSubject(role), org],
});

/** Puts what a path stands for (`channels/<id>*`, `things/<id>`) into a group of resources, or such a group into another.
 *  A rule's object `<group>` then covers it. */
export const resourceGroupRule = (object: string, group: string, org: string): PolicyRule => ({
  type: 'g2',
  values: [object, group, org],
});

function literal(id: string): string {
  if (id === '' || id.includes('/') || id.includes('*')) throw new RuleError('RULE_ID_INVALID', 'never', { id });
  return id;
}
