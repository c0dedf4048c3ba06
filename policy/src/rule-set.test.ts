import { EVERY_SUBTOPIC, messagesObject, type PolicyRule } from '@millrace/core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Judge } from './model.ts';
import { RuleSet } from './rule-set.ts';

const rule = fc.record({
  holder: fc.constantFrom('t', 'role:a', 'role:b', 'role:never'),
  object: fc.constantFrom('*', 'channels/*', 'channels/c/messages*', 'channels/c/messages/a', 'group:g/*', 'group:h/*'),
  action: fc.constantFrom('*', 'publish', 'subscribe', 'things.read'),
  // Rarely, or a large set would deny everything.
  effect: fc.constantFrom('allow', 'allow', 'allow', 'deny'),
  condition: fc.constantFrom(
    '',
    '{"protocol":["mqtt"]}',
    '{"protocol":["coap"]}',
    '{"subtopic":["a/#"]}',
    '{"not":{"tls":true}}',
    '{"unreadable',
  ),
});
const subtopics = fc.constantFrom('', 'a', 'a/b', 'z', EVERY_SUBTOPIC);
const place = fc.constantFrom<readonly string[]>([], ['g'], ['g', 'h']);

test('of many rules those that decide say as much as all of them', () => {
  const judge = new Judge();
  const seen = new Set<string>();
  fc.assert(
    fc.property(
      fc.array(rule, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 0, max: 40 }),
      subtopics,
      place,
      fc.boolean(),
      (rules, repeated, subtopic, groups, tls) => {
        const filling = Array.from({ length: repeated }, () => rules[0] as (typeof rules)[number]);
        const given: PolicyRule[] = [...filling, ...rules].map(({ holder, object, action, effect, condition }) => ({
          type: 'p',
          values: [holder, 'o', object, action, effect, condition],
        }));
        given.push({ type: 'g', values: ['t', 'role:a', 'o'] }, { type: 'g', values: ['role:a', 'role:b', 'o'] });
        const set = new RuleSet(given, 'o');
        const circumstances = {
          protocol: 'mqtt',
          remoteAddress: '192.0.2.1',
          tls,
          mutualTls: false,
          nowMs: 0,
          metadata: {},
          subtopic: subtopic === EVERY_SUBTOPIC ? null : subtopic,
          groups,
        };
        const asked = [set, 't', messagesObject('c', subtopic), 'publish', circumstances] as const;
        const verdict = judge.judge(...asked);
        seen.add(verdict);
        expect(verdict).toBe(judge.explain(...asked).verdict);
      },
    ),
    { numRuns: 3_000 },
  );
  expect(seen.size).toBe(3);
});

test('of thousands of rules that say the same one is weighed', () => {
  const values = ['t', 'o', 'channels/*', 'publish', 'allow', ''];
  const set = new RuleSet(
    Array.from({ length: 5_000 }, () => ({ type: 'p' as const, values })),
    'o',
  );
  const circumstances = {
    protocol: 'mqtt',
    remoteAddress: '192.0.2.1',
    tls: true,
    mutualTls: false,
    nowMs: 0,
    metadata: {},
    subtopic: '',
    groups: [],
  };
  expect(set.decisive('t', 'channels/c/messages', 'publish', circumstances)).toEqual([values]);
});
