import { EVERY_SUBTOPIC, type Explanation, type HypotheticalRequest, messagesObject } from '@millrace/core';
import { circumstances } from './circumstances.ts';
import type { Knowledge } from './knowledge.ts';
import type { Judge } from './model.ts';
import { scopeCovers } from './scope.ts';

/** Judges a request that never happened, by the same judge as real ones, and tells what decided.
 *  @holds nothing is remembered, neither of the question nor for it
 *  @throws PolicyError POLICY_BUSY, POLICY_CLOSED, and what the directory throws */
export async function explain(judge: Judge, knowledge: Knowledge, request: HypotheticalRequest): Promise<Explanation> {
  const { subject, scope, org, object, action, groups, context, extra = [] } = request;
  if (!subject.enabled) return refused('subject_disabled');
  if (subject.kind === 'thing' && subject.org !== org) return refused('other_organisation');
  if (scope !== null && scope.org !== null && scope.org !== org) return refused('outside_scope');
  const covered = scope === null || scopeCovers(scope, org, object, action, groups);
  if (subject.kind === 'user' && subject.admin) {
    return covered ? { allowed: true, reason: 'administrator', rule: null } : refused('outside_scope');
  }
  const rules = await knowledge.freshRules(subject.id, org, extra);
  const met = circumstances(subject, context, subtopicOf(object, action), groups);
  const { verdict, because } = judge.explain(rules, subject.id, object, action, met);
  const rule = rules.givenAs(because);
  if (verdict !== 'allow') return { allowed: false, reason: verdict, rule: verdict === 'not_allowed' ? null : rule };
  return covered ? { allowed: true, reason: 'allowed', rule } : refused('outside_scope');
}

const refused = (reason: Explanation['reason']): Explanation => ({ allowed: false, reason, rule: null });

/** Of the message that a request is about; null if it is about none. */
function subtopicOf(object: string, action: string): string | null {
  if (action !== 'publish' && action !== 'subscribe') return null;
  const [, channel, kind, ...segments] = object.split('/');
  if (channel === undefined || kind === undefined) return null;
  const subtopic = segments.join('/');
  if (subtopic === EVERY_SUBTOPIC) return null;
  return messagesObject(channel, subtopic) === object ? subtopic : null;
}
