import { describe, expect, test } from 'vitest';
import type { SubjectRecord } from './directory.ts';
import { type Condition, connectionRules, groupObject, type PolicyStatement, statementRules } from './rules.ts';

/** A variable as a policy's text has it. */
const of = (name: string): string => `\${${name}}`;
const thing = (metadata: Readonly<Record<string, unknown>>): SubjectRecord => ({
  kind: 'thing',
  id: 't1',
  org: 'o1',
  type: 'device',
  enabled: true,
  metadata,
  epoch: 0,
});
const rulesOf = (statement: Partial<PolicyStatement>, metadata: Readonly<Record<string, unknown>> = {}) =>
  statementRules(
    { effect: 'allow', actions: ['publish'], resources: ['channels/*'], ...statement },
    't1',
    thing(metadata),
    'o1',
    'policy p v1 0',
  ).map(({ values }) => values);
const conditionOf = (condition: Condition, metadata: Readonly<Record<string, unknown>>): unknown => {
  const [values] = rulesOf({ condition }, metadata);
  return values === undefined ? null : JSON.parse(values[5] ?? '');
};

describe('the rules of a statement', () => {
  test('are one for each action on each resource, variables filled in', () => {
    expect(
      rulesOf({ actions: ['publish', 'subscribe'], resources: [`channels/c/messages/${of('thing.id')}`, 'x'] }),
    ).toEqual([
      ['t1', 'o1', 'channels/c/messages/t1', 'publish', 'allow', ''],
      ['t1', 'o1', 'channels/c/messages/t1', 'subscribe', 'allow', ''],
      ['t1', 'o1', 'x', 'publish', 'allow', ''],
      ['t1', 'o1', 'x', 'subscribe', 'allow', ''],
    ]);
  });

  test('let nobody in by a value that is not there or would widen a pattern', () => {
    const resources = [`channels/${of('thing.metadata.site')}/messages`];
    for (const site of [undefined, '', '*', 'a/b', {}, null]) {
      expect(rulesOf({ resources }, { site })).toEqual([]);
      expect(rulesOf({ resources, effect: 'deny' }, { site })).toEqual([['t1', 'o1', '*', 'publish', 'deny', '']]);
    }
    expect(rulesOf({ resources }, { site: 7 })[0]?.[2]).toBe('channels/7/messages');
  });

  test('fill in conditions as texts, whatever a value holds', () => {
    const condition: Condition = { metadata: { site: of('thing.metadata.site') } };
    for (const site of ['"},{', 'a\\b', of('thing.id'), '*/+#'])
      expect(conditionOf(condition, { site })).toEqual({ metadata: { site } });
    expect(conditionOf(condition, {})).toBeNull();
  });

  test('take no wildcard of a subtopic and no block of addresses from a value', () => {
    const condition: Condition = { not: { subtopic: [`rooms/${of('thing.metadata.room')}/#`] } };
    expect(conditionOf(condition, { room: '12' })).toEqual({ not: { subtopic: ['rooms/12/#'] } });
    for (const room of ['+', '#', 'a/b', '']) expect(conditionOf(condition, { room })).toBeNull();
    expect(conditionOf(condition, { room: of('thing.id') }), 'a value is no text to fill in').toEqual({
      not: { subtopic: [`rooms/${of('thing.id')}/#`] },
    });
    expect(conditionOf({ address: [of('thing.metadata.at')] }, { at: '0.0.0.0/0' })).toBeNull();
    expect(conditionOf({ address: [of('thing.metadata.at')] }, { at: '10.0.0.1' })).toEqual({ address: ['10.0.0.1'] });
  });
});

test('no id that reaches beyond what it names makes a rule', () => {
  for (const id of ['', '*', 'a/b', 'a*']) {
    expect(() => groupObject(id, '*')).toThrow('RULE_ID_INVALID');
    expect(() => connectionRules('t1', 'o1', id, { publish: true, subscribe: true })).toThrow('RULE_ID_INVALID');
  }
});
