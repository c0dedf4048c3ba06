import {
  type Admission,
  type Condition,
  connectionRules,
  groupObject,
  messagesObject,
  type PolicyRule,
  type Principal,
  Protocol,
  type RequestContext,
} from '@millrace/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createCredentials } from './credentials.ts';
import { createEnforcer } from './enforcer.ts';
import { createGate } from './gate.ts';
import { createSealer } from './sealer.ts';
import { MemoryDirectory } from './testing/directory.ts';
import { referenceAllows } from './testing/reference.ts';
import { builtInMember, ruleOf } from './testing/rules.ts';

const secret = new Uint8Array(32).fill(5);
const START_MS = Date.UTC(2026, 0, 1);
const QUESTIONS_PER_WORLD = 60;

const subtopics = ['', 'a', 'a/b', 'a/b/c', 'secret', 'secret/door', '*', 'a*'];
const objects = [
  '*',
  'channels/*',
  'channels/c1/messages',
  'channels/c1/messages*',
  'channels/c1/messages/*',
  'channels/c1/messages/a',
  'channels/c1/messages/a/*',
  'channels/c1/messages/secret*',
  'channels/*/messages/a*',
  'channels/*/messages',
  'channels/*/messages/*/b',
  'channels/c2/messages*',
  'channels/c1',
  groupObject('g1', '*'),
  groupObject('g2', 'channels/*/messages/a*'),
  groupObject('g1', 'channels/c1/messages/a'),
  'group:g1',
];
const condition: fc.Arbitrary<Condition> = fc.letrec<{ one: Condition }>((tie) => ({
  one: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom<Condition>(
      { protocol: ['mqtt'] },
      { protocol: ['http', 'coap'] },
      { address: ['10.0.0.0/8'] },
      { address: ['10.1.0.0/16', '192.0.2.1'] },
      { tls: true },
      { tls: false, protocol: ['http'] },
      { mutualTls: true },
      { metadata: { site: 'north' } },
      { subtopic: ['a/#', 'secret'] },
      { subtopic: ['+'] },
      { subtopic: ['+/b/#', ''] },
      { time: { from: new Date(START_MS + 1_000).toISOString() } },
      { time: { to: new Date(START_MS + 2_000).toISOString() } },
      { time: { from: new Date(START_MS + 500).toISOString(), to: new Date(START_MS + 1_500).toISOString() } },
    ),
    tie('one').map((not) => ({ not })),
  ),
})).one;
const statement = (subjects: readonly string[]): fc.Arbitrary<PolicyRule> =>
  fc
    .record({
      subject: fc.constantFrom(...subjects),
      org: fc.constantFrom('o1', 'o1', 'o1', 'o2'),
      object: fc.constantFrom(...objects),
      action: fc.constantFrom('publish' as const, 'subscribe' as const, '*' as const),
      effect: fc.constantFrom('allow' as const, 'allow' as const, 'deny' as const),
      condition: fc.option(condition, { nil: undefined, freq: 2 }),
    })
    .map(({ condition: when, ...rest }) => ruleOf(when === undefined ? rest : { ...rest, condition: when }));
const link = (subject: string): fc.Arbitrary<PolicyRule> =>
  fc.constantFrom<PolicyRule>(
    { type: 'g', values: [subject, 'group:a', 'o1'] },
    { type: 'g', values: ['group:a', 'group:b', 'o1'] },
    { type: 'g', values: ['group:b', 'group:a', 'o1'] },
    { type: 'g', values: [subject, 'group:c', 'o2'] },
    { type: 'g', values: ['group:b', 'role:viewer', 'o1'] },
    { type: 'g', values: [subject, 'role:editor', 'o1'] },
  );
const roleDefinitions = (['editor', 'viewer'] as const).flatMap((role) => builtInMember('someone', role, 'o1'));
const policy = (subject: string): fc.Arbitrary<PolicyRule[]> =>
  fc
    .tuple(
      fc.array(statement([subject, 'group:a', 'group:b', 'group:c', 'other']), { maxLength: 6 }),
      fc.array(link(subject), { maxLength: 4 }),
      fc.subarray(['c1', 'c2']),
    )
    .map(([statements, links, connected]) => [
      ...connected.flatMap((id) => connectionRules(subject, 'o1', id, { publish: true, subscribe: id === 'c1' })),
      ...statements,
      ...links,
      ...roleDefinitions,
    ]);
const question = fc.record({
  action: fc.constantFrom('publish' as const, 'subscribe' as const),
  channel: fc.constantFrom('c1', 'c2', 'cx', 'room'),
  subtopic: fc.constantFrom(...subtopics),
  protocol: fc.constantFrom(Protocol.http, Protocol.mqtt, Protocol.coap),
  remoteAddress: fc.constantFrom('10.1.2.3', '10.2.2.3', '192.0.2.1'),
  tls: fc.boolean(),
  mutualTls: fc.boolean(),
  // In any order: the clock may jump back.
  nowMs: fc.constantFrom(0, 499, 500, 999, 1_000, 1_499, 1_500, 1_999, 2_000).map((ms) => START_MS + ms),
});
const questions = fc.array(question, { minLength: QUESTIONS_PER_WORLD, maxLength: QUESTIONS_PER_WORLD });

const groupsOf: Readonly<Record<string, readonly string[]>> = { c1: ['g2', 'g1'], c2: ['g2'], cx: [] };

async function world(rules: readonly PolicyRule[], metadata: Readonly<Record<string, unknown>>) {
  const directory = new MemoryDirectory();
  const credentials = createCredentials({ secret });
  directory.thing('t1', 'o1', credentials.digest('key'), { metadata });
  directory.putChannel('c1', 'o1', { alias: 'room', groups: groupsOf.c1 ?? [] });
  directory.putChannel('c2', 'o1', { groups: groupsOf.c2 ?? [] });
  directory.putChannel('cx', 'o2');
  directory.setRules('t1', 'o1', rules);
  const gate = createGate({ directory, credentials, sealer: createSealer(secret) });
  const identified = await gate.identify({ kind: 'key', key: 'key' });
  if (identified.kind === 'refused') throw new Error(identified.reason);
  return { directory, gate, principal: identified.principal };
}

const metadatas = fc.constantFrom({}, { site: 'north' }, { site: 'south' });

describe('the gate and the definition of the policy', () => {
  test('agree on every question, cold and warm, at any order of time', { timeout: 60_000 }, async () => {
    let cases = 0;
    let allows = 0;
    await fc.assert(
      fc.asyncProperty(policy('t1'), policy('t1'), metadatas, questions, async (before, after, metadata, asked) => {
        const { directory, gate, principal } = await world(before, metadata);
        await compare(gate, principal, before, metadata, asked);
        directory.setRules('t1', 'o1', after);
        await compare(gate, principal, after, metadata, asked);
        gate.stop();
      }),
      { numRuns: 250 },
    );
    expect(cases).toBeGreaterThanOrEqual(20_000);
    expect(allows, 'both answers must be common').toBeGreaterThan(cases / 10);
    expect(allows).toBeLessThan((cases * 9) / 10);

    async function compare(
      gate: ReturnType<typeof createGate>,
      principal: Principal,
      rules: readonly PolicyRule[],
      metadata: Readonly<Record<string, unknown>>,
      asked: readonly (RequestContext & { action: 'publish' | 'subscribe'; channel: string; subtopic: string })[],
    ): Promise<void> {
      for (const { action, channel, subtopic, ...context } of asked) {
        const given: Admission = await gate.may(principal, action, channel, subtopic, context);
        const id = channel === 'room' ? 'c1' : channel;
        const object = messagesObject(id, subtopic);
        const expected =
          id !== 'cx' && referenceAllows(rules, 't1', 'o1', object, action, context, metadata, groupsOf[id] ?? []);
        if ((given.kind === 'allow') !== expected) {
          throw new Error(`${JSON.stringify({ action, channel, subtopic, context, rules, metadata, expected })}`);
        }
        cases++;
        if (expected) allows++;
      }
    }
  });

  test('the worker agrees where it knows enough, and never allows more', { timeout: 60_000 }, () => {
    const enforcer = createEnforcer();
    fc.assert(
      fc.property(policy('t1'), metadatas, questions, (rules, metadata, asked) => {
        const known = !rules.some((rule) => /address|tls|Tls|metadata/.test(rule.values[5] ?? ''));
        for (const { channel, subtopic, action: _, ...context } of asked) {
          if (channel === 'room') continue;
          const object = messagesObject(channel, subtopic);
          const groups = groupsOf[channel] ?? [];
          const expected = referenceAllows(rules, 't1', 'o1', object, 'publish', context, metadata, groups);
          const { protocol, nowMs } = context;
          const given = enforcer.mayPublish(
            't1',
            'o1',
            channel,
            groups,
            subtopic,
            protocol,
            nowMs,
            structuredClone(rules),
          );
          if (known) expect(given).toBe(expected);
          else if (given) expect(expected).toBe(true);
        }
      }),
      { numRuns: 100 },
    );
  });
});
