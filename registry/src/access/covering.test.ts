import { describe, expect, test } from 'vitest';
import { actionCovers, actionsOverlap, objectCovers, objectsOverlap } from './covering.ts';

describe('what covers what', () => {
  test('a pattern of actions covers what lies within it, and nothing beside', () => {
    for (const [pattern, asked] of [
      ['*', 'publish'],
      ['*', '*'],
      ['*.*', 'orgs.delete'],
      ['*.*', 'things.*'],
      ['things.*', 'things.read'],
      ['*.read', 'things.read'],
      ['publish', 'publish'],
    ] as const)
      expect([pattern, asked, actionCovers(pattern, asked)]).toEqual([pattern, asked, true]);
    for (const [pattern, asked] of [
      ['*.*', '*'],
      ['*.*', 'publish'],
      ['things.read', 'things.*'],
      ['things.*', '*.*'],
      ['*.read', 'things.*'],
      ['publish', '*'],
      ['thing.*', 'things.read'],
    ] as const)
      expect([pattern, asked, actionCovers(pattern, asked)]).toEqual([pattern, asked, false]);
  });

  test('a pattern of objects covers another only if it covers all of it', () => {
    for (const [pattern, asked] of [
      ['*', 'channels/*'],
      ['channels/*', 'channels/*/messages/a*'],
      ['channels/*/messages*', 'channels/1/messages/a*'],
      ['channels/*/messages*', 'channels/*/messages'],
      ['things/1', 'things/1'],
    ] as const)
      expect([pattern, asked, objectCovers(pattern, asked)]).toEqual([pattern, asked, true]);
    for (const [pattern, asked] of [
      ['channels/1/*', 'channels/*'],
      ['channels/*/messages', 'channels/*'],
      ['channels/*/messages/a*', 'channels/*/messages*'],
      ['things/1', 'things/*'],
      ['things', 'things/1'],
    ] as const)
      expect([pattern, asked, objectCovers(pattern, asked)]).toEqual([pattern, asked, false]);
  });

  test('patterns overlap unless they are surely apart', () => {
    expect(objectsOverlap('channels/*/messages/a', 'channels/1*')).toBe(true);
    expect(objectsOverlap('channels/1', 'channels/2*')).toBe(false);
    expect(objectsOverlap('things/1', 'things/1')).toBe(true);
    expect(objectsOverlap('things/1', 'things/12')).toBe(false);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of a policy
    expect(objectsOverlap('things/${thing.id}', 'things/1')).toBe(true);
    expect(actionsOverlap('things.*', '*.read')).toBe(true);
    expect(actionsOverlap('things.read', 'things.update')).toBe(false);
    expect(actionsOverlap('publish', '*.*')).toBe(false);
  });
});
