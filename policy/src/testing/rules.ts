import {
  type Condition,
  memberRule,
  type OrgRole,
  type PolicyRule,
  roleActions,
  roleRules,
  roleSubject,
} from '@millrace/core';

/** One rule as text of a policy would make it. */
export function ruleOf(rule: {
  readonly subject: string;
  readonly org: string;
  readonly object: string;
  readonly action: string;
  readonly effect: 'allow' | 'deny';
  readonly condition?: Condition;
}): PolicyRule {
  const { subject, org, object, action, effect, condition } = rule;
  const text = condition === undefined ? '' : JSON.stringify(condition);
  return { type: 'p', values: [subject, org, object, action, effect, text] };
}

/** A member with a built-in role, as the directory gives it. */
export const builtInMember = (subject: string, role: OrgRole, org: string): PolicyRule[] => [
  memberRule(subject, roleSubject(role), org),
  ...roleRules(roleSubject(role), org, roleActions[role], role),
];
