import { type Condition, connectionRules, type PolicyRule, Protocol } from '@millrace/core';
import { describe, expect, test } from 'vitest';
import { createEnforcer } from './enforcer.ts';
import { builtInMember, ruleOf } from './testing/rules.ts';

const nowMs = Date.UTC(2026, 0, 5, 12);
const BOTH = { publish: true, subscribe: true };
const enforcer = createEnforcer();
const may = (rules: readonly PolicyRule[], channel = 'c1', subtopic = '', protocol: Protocol = Protocol.unknown) =>
  enforcer.mayPublish('t1', 'o1', channel, [], subtopic, protocol, nowMs, rules);
const when = (effect: 'allow' | 'deny', condition: Condition): PolicyRule =>
  ruleOf({ subject: 't1', org: 'o1', object: 'channels/c1/messages*', action: 'publish', effect, condition });

describe('the enforcer of a worker', () => {
  test('goes by the rules that come with the question, not by those before', () => {
    const connected = connectionRules('t1', 'o1', 'c1', BOTH);
    expect(may([])).toBe(false);
    expect(may(connected, 'c1', 'a/b')).toBe(true);
    expect(may(structuredClone(connected))).toBe(true);
    expect(may(connected, 'c2')).toBe(false);
    expect(may([])).toBe(false);
  });

  test('reading is not writing', () => {
    expect(may(connectionRules('t1', 'o1', 'c1', { publish: false, subscribe: true }))).toBe(false);
  });

  test('knows the built-in roles', () => {
    expect(
      enforcer.mayPublish('u1', 'o1', 'c1', [], '', Protocol.mqtt, nowMs, builtInMember('u1', 'editor', 'o1')),
    ).toBe(true);
    expect(
      enforcer.mayPublish('u1', 'o1', 'c1', [], '', Protocol.mqtt, nowMs, builtInMember('u1', 'viewer', 'o1')),
    ).toBe(false);
    expect(
      enforcer.mayPublish('u1', 'o2', 'c1', [], '', Protocol.mqtt, nowMs, builtInMember('u1', 'editor', 'o1')),
    ).toBe(false);
  });

  test('lets nothing rest on what it does not know: address, TLS, metadata', () => {
    const connected = connectionRules('t1', 'o1', 'c1', BOTH);
    for (const condition of [{ address: ['0.0.0.0/0'] }, { tls: false }, { mutualTls: false }, { metadata: {} }]) {
      expect(may([when('allow', condition)])).toBe(false);
      expect(may([when('allow', { not: condition })])).toBe(false);
      expect(may([...connected, when('deny', condition)])).toBe(false);
      expect(may([...connected, when('deny', { not: condition })])).toBe(false);
    }
    const other = { tls: true, protocol: ['mqtt'] };
    expect(may([...connected, when('deny', other)], 'c1', '', Protocol.http), 'the protocol says no').toBe(true);
  });

  test('keeps subjects and organisations apart, whatever they are called', () => {
    const rules = [ruleOf({ subject: 'b', org: 'a', object: '*', action: 'publish', effect: 'allow' })];
    expect(enforcer.mayPublish('b', 'a', 'c1', [], '', Protocol.mqtt, nowMs, rules)).toBe(true);
    expect(enforcer.mayPublish('', 'ab', 'c1', [], '', Protocol.mqtt, nowMs, rules)).toBe(false);
    expect(enforcer.mayPublish('ab', '', 'c1', [], '', Protocol.mqtt, nowMs, rules)).toBe(false);
  });

  test('a time window ends on the millisecond', () => {
    const rules = [when('allow', { time: { to: new Date(nowMs + 10).toISOString() } })];
    const at = (ms: number) => enforcer.mayPublish('t1', 'o1', 'c1', [], '', Protocol.mqtt, nowMs + ms, rules);
    expect([at(0), at(9), at(10), at(9)]).toEqual([true, true, false, true]);
  });
});
