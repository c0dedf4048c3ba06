import type { PolicyRule } from '@millrace/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { holds, scopeCovers } from './holding.ts';

/** Small enough to be looked through whole. */
const ACTIONS = ['publish', 'subscribe', 'things.read', 'things.update', 'channels.read', 'orgs.delete'];
const OBJECTS = [
  'things',
  'things/1',
  'things/12',
  'channels/1',
  'channels/1/messages',
  'channels/1/messages/a',
  'channels/1/messages/a/b',
  'channels/2/messages/a',
  'orgs/1',
];
/** The second group lies in the first. */
const BRANCHES = new Map([
  ['g1', ['g1']],
  ['g2', ['g1', 'g2']],
]);
const PLACES: readonly (readonly string[])[] = [[], ['g1'], ['g1', 'g2']];

const actionPattern = fc.constantFrom('*', '*.*', 'things.*', '*.read', 'publish', 'things.read', 'things.update');
const objectPattern = fc
  .tuple(
    fc.constantFrom('', 'group:g1/', 'group:g2/'),
    fc.constantFrom(
      '*',
      'things*',
      'things/*',
      'things/1',
      'things/1*',
      'channels/*',
      'channels/1/messages*',
      'channels/*/messages/a*',
      'channels/*/messages/a',
      'channels/*/messages/*/b',
      'orgs/1',
    ),
  )
  .map(([group, pattern]) => group + pattern);
const rule = fc
  .tuple(
    objectPattern,
    actionPattern,
    fc.constantFrom('allow', 'allow', 'allow', 'deny'),
    fc.constantFrom('', '', '{"tls":true}'),
  )
  .map(
    ([object, action, effect, condition]): PolicyRule => ({
      type: 'p',
      values: ['somebody', 'org', object, action, effect, condition],
    }),
  );

/** What a pattern means, written anew: as a regular expression. */
const meansAction = (pattern: string, action: string): boolean =>
  new RegExp(`^${pattern === '*' ? '.*' : pattern.replaceAll('.', '\\.').replaceAll('*', '[a-z]+')}$`).test(action);
function meansObject(pattern: string, object: string, place: readonly string[]): boolean {
  const [, group, plain = ''] = /^(?:group:([^/]*)\/)?(.*)$/.exec(pattern) ?? [];
  if (group !== undefined && !place.includes(group)) return false;
  return new RegExp(`^${plain.replace(/\*$/, '.*').replaceAll('/*/', '/[^/]*/')}$`).test(object);
}

/** At the worst: no condition of an allow holds, each of a deny does. */
function may(rules: readonly PolicyRule[], action: string, object: string, place: readonly string[]): boolean {
  const meant = rules.filter(
    ({ values }) => meansAction(values[3] ?? '', action) && meansObject(values[2] ?? '', object, place),
  );
  return (
    meant.some(({ values }) => values[4] === 'allow' && values[5] === '') &&
    meant.every(({ values }) => values[4] === 'allow')
  );
}

describe('a right that is held', () => {
  test('is held in every place that it reaches', () => {
    let held = 0;
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 6 }), actionPattern, objectPattern, (rules, action, resource) => {
        if (!holds(rules, action, resource, BRANCHES)) return;
        held++;
        for (const one of ACTIONS.filter((each) => meansAction(action, each))) {
          for (const place of PLACES) {
            for (const object of OBJECTS.filter((each) => meansObject(resource, each, place)))
              expect([one, object, place, may(rules, one, object, place)]).toEqual([one, object, place, true]);
          }
        }
      }),
      { numRuns: 20_000 },
    );
    expect(held).toBeGreaterThan(100);
  });

  test('is found where one rule gives all of it', () => {
    const gives = (object: string, action: string): PolicyRule[] => [
      { type: 'p', values: ['somebody', 'org', object, action, 'allow', ''] },
    ];
    expect(holds(gives('*', '*.*'), 'things.*', 'things/*', BRANCHES)).toBe(true);
    expect(holds(gives('*', '*.*'), '*', '*', BRANCHES)).toBe(false);
    expect(holds(gives('group:g1/*', '*'), 'things.read', 'group:g2/things/*', BRANCHES)).toBe(true);
    expect(holds(gives('group:g2/*', '*'), 'things.read', 'group:g1/things/*', BRANCHES)).toBe(false);
    expect(holds(gives('group:g1/*', '*'), 'things.read', 'things/1', BRANCHES)).toBe(false);
  });

  test('is in the scope of a key only where the key reaches all of it', () => {
    const grants = [{ actions: ['things.*'], resources: ['things/*', 'group:g1/channels/*'] }];
    expect(scopeCovers(grants, 'things.read', 'things/1')).toBe(true);
    expect(scopeCovers(grants, 'things.read', 'group:g1/things/1')).toBe(true);
    expect(scopeCovers(grants, 'things.read', 'group:g1/channels/*')).toBe(true);
    expect(scopeCovers(grants, 'things.read', 'group:g2/channels/*')).toBe(false);
    expect(scopeCovers(grants, 'things.read', '*')).toBe(false);
    expect(scopeCovers(grants, '*', 'things/1')).toBe(false);
  });
});
