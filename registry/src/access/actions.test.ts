import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { isKnownAction } from './actions.ts';

const sources = join(import.meta.dirname, '..');

test('each action that a route asks for can be written in a policy', () => {
  const asked = readdirSync(sources, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))
    .flatMap((path) => [
      ...readFileSync(join(sources, path), 'utf8').matchAll(/(?:permit|allows)\([^;]*?'([a-z]+\.[a-z]+)'/g),
    ])
    .map((match) => match[1] ?? '');
  expect(asked.length).toBeGreaterThan(20);
  expect(asked.filter((action) => !isKnownAction(action))).toEqual([]);
});

test('a slip of the pen is no action', () => {
  expect(['*', '*.*', 'things.*', '*.read', 'publish', 'orgs.freeze'].every(isKnownAction)).toBe(true);
  expect(
    ['', 'things', 'things.', '.read', 'things.raed', 'thing.read', 'publish.*', 'a.b.c'].some(isKnownAction),
  ).toBe(false);
});
