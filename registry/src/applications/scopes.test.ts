import { readFileSync } from 'node:fs';
import { controlEntities } from '@millrace/core';
import { expect, test } from 'vitest';
import { grantsOf, reachesIn, scopeMeanings, wordsOf } from './scopes.ts';

test('every scope has words of its own, and opens only actions of its own entity', () => {
  expect(new Set(scopeMeanings.map(({ scope }) => scope)).size).toBe(scopeMeanings.length);
  expect(new Set(scopeMeanings.map(({ words }) => words)).size).toBe(scopeMeanings.length);
  for (const { scope, grants } of scopeMeanings) {
    const [entity = ''] = scope.split(':');
    if (grants.length === 0) continue;
    expect(controlEntities).toContain(entity);
    for (const { actions } of grants)
      for (const action of actions) if (entity !== 'messages') expect(action.startsWith(`${entity}.`)).toBe(true);
  }
});

test('no scope lets an application out of its scopes: by keys, secrets of applications, or other users', () => {
  const all = scopeMeanings.flatMap(({ grants }) => grants.flatMap(({ actions }) => actions));
  for (const action of ['*', '*.*', 'keys.*', 'keys.create', 'apps.*', 'apps.update', 'users.*', 'users.update'])
    expect(all).not.toContain(action);
});

test('a scope that nobody knows opens nothing', () => {
  expect(grantsOf(['everything', '*', '__proto__'])).toEqual([]);
  expect(wordsOf('everything')).toBe('everything');
  expect(reachesIn('openid')).toBe(false);
  expect(grantsOf(['openid', 'things:read'])).toEqual([{ actions: ['things.read', 'things.list'], resources: ['*'] }]);
});

test('the documentation lists every scope as it is', () => {
  const documentation = readFileSync(new URL('../../../docs/applications.md', import.meta.url), 'utf8');
  for (const { scope, words } of scopeMeanings) expect(documentation).toContain(`| \`${scope}\` | ${words} |`);
  expect(documentation.match(/^\| `[a-z_]+(?::[a-z]+)?` \| [a-z]/gm)?.length).toBeGreaterThanOrEqual(
    scopeMeanings.length,
  );
});
