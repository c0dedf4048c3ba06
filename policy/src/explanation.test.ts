import {
  connectionRules,
  type HypotheticalRequest,
  Protocol,
  type RequestContext,
  roleRules,
  type SubjectRecord,
} from '@millrace/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createCredentials } from './credentials.ts';
import { createGate, type StoppableGate } from './gate.ts';
import { createSealer } from './sealer.ts';
import { MemoryDirectory } from './testing/directory.ts';
import { builtInMember, ruleOf } from './testing/rules.ts';

const secret = new Uint8Array(32).fill(7);
const context: RequestContext = {
  protocol: Protocol.mqtt,
  remoteAddress: '10.0.0.1',
  tls: false,
  mutualTls: false,
  nowMs: Date.UTC(2026, 0, 5),
};
let directory: MemoryDirectory;
let gate: StoppableGate;
let thing: SubjectRecord;

const explain = (more: Partial<HypotheticalRequest> = {}) =>
  gate.explain({
    subject: thing,
    scope: null,
    org: 'o1',
    object: 'channels/c1/messages/a',
    action: 'publish',
    groups: [],
    context,
    ...more,
  });
const userRecord = (more: object = {}): SubjectRecord => ({
  kind: 'user',
  id: 'u1',
  email: 'u1@example.org',
  enabled: true,
  admin: false,
  epoch: 0,
  ...more,
});

beforeEach(() => {
  const credentials = createCredentials({ secret });
  directory = new MemoryDirectory();
  thing = directory.thing('t1', 'o1', credentials.digest('key'));
  directory.setRules('t1', 'o1', connectionRules('t1', 'o1', 'c1', { publish: true, subscribe: false }));
  gate = createGate({ directory, credentials, sealer: createSealer(secret) });
});
afterEach(() => gate.stop());

describe('an explanation', () => {
  test('names the first rule that allows, and where it comes from', async () => {
    const later = ruleOf({ subject: 't1', org: 'o1', object: 'channels/c1/*', action: '*', effect: 'allow' });
    expect(await explain({ extra: [later] })).toEqual({
      allowed: true,
      reason: 'allowed',
      rule: {
        type: 'p',
        values: ['t1', 'o1', 'channels/c1/messages*', 'publish', 'allow', ''],
        source: 'connection c1',
      },
    });
  });

  test('names the rule that denies, whatever allows', async () => {
    const deny = {
      ...ruleOf({ subject: 't1', org: 'o1', object: '*', action: 'publish', effect: 'deny' }),
      source: 'policy p v3 nobody',
    };
    expect(await explain({ extra: [deny] })).toEqual({ allowed: false, reason: 'denied_by_policy', rule: deny });
    expect(await explain(), 'what was only supposed is not remembered').toMatchObject({ allowed: true });
  });

  test('names no rule where none allows', async () => {
    const refused = { allowed: false, reason: 'not_allowed', rule: null };
    expect(await explain({ action: 'subscribe' })).toEqual(refused);
    expect(await explain({ object: 'channels/c2/messages' })).toEqual(refused);
    const elsewhere = roleRules('t1', 'o1', ['*'], 'viewer of group g', 'group:g/*');
    expect(await explain({ object: 'channels/c2/messages', extra: elsewhere })).toEqual(refused);
    expect(await explain({ object: 'channels/c2/messages', extra: elsewhere, groups: ['g'] })).toMatchObject({
      reason: 'allowed',
      rule: { source: 'role viewer of group g' },
    });
  });

  test('tells what stands before all rules', async () => {
    expect(await explain({ subject: { ...thing, enabled: false } })).toMatchObject({ reason: 'subject_disabled' });
    expect(await explain({ org: 'o2' })).toMatchObject({ allowed: false, reason: 'other_organisation' });
    const admin = userRecord({ admin: true });
    expect(await explain({ subject: admin })).toEqual({ allowed: true, reason: 'administrator', rule: null });
  });

  test('tells what a key does not carry, of an administrator too', async () => {
    directory.user('u1');
    directory.setRules('u1', 'o1', builtInMember('u1', 'owner', 'o1'));
    const outside = { allowed: false, reason: 'outside_scope', rule: null };
    const scope = { id: 'k', org: 'o1', grants: [{ actions: ['things.*'], resources: ['things/*'] }] };
    for (const subject of [userRecord(), userRecord({ admin: true })]) {
      expect(await explain({ subject, scope })).toEqual(outside);
      expect(await explain({ subject, scope, org: 'o2', object: 'things/t', action: 'things.read' })).toEqual(outside);
      expect(await explain({ subject, scope, object: 'things/t', action: 'things.read' })).toMatchObject({
        allowed: true,
      });
    }
  });

  test('knows the subtopic of a message, and none on the control plane', async () => {
    const on = (action: string) =>
      ruleOf({ subject: 't1', org: 'o1', object: '*', action, effect: 'allow', condition: { subtopic: ['b/#'] } });
    const extra = [on('subscribe'), on('channels.read')];
    const object = (subtopic: string): string => `channels/c9/messages${subtopic}`;
    expect(await explain({ action: 'subscribe', object: object('/b/c'), extra })).toMatchObject({ allowed: true });
    expect(await explain({ action: 'subscribe', object: object('/c'), extra })).toMatchObject({ allowed: false });
    expect(await explain({ action: 'subscribe', object: object(''), extra })).toMatchObject({ allowed: false });
    expect(await explain({ action: 'channels.read', object: 'channels/c9', extra })).toMatchObject({ allowed: false });
  });
});
