import fc from 'fast-check';
import { expect, test } from 'vitest';
import { kindsNamed, withIds, withNames } from './resources.ts';

const ID = '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0001';
const OTHER = '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0002';
const ids: Readonly<Record<string, string>> = { 'groups plant/hall-1': ID, 'channels temperatures': OTHER };
const idOf = (kind: string, name: string): string => ids[`${kind} ${name}`] ?? '';
const nameOf = (kind: string, id: string): string =>
  Object.entries(ids)
    .find(([, each]) => each === id)?.[0]
    .slice(kind.length + 1) ?? id;

test('names stand where ids do, and nowhere else', () => {
  for (const [named, resource] of [
    ['channels/{temperatures}/messages/*', `channels/${OTHER}/messages/*`],
    ['channels/{temperatures}', `channels/${OTHER}`],
    ['group:{plant/hall-1}/channels/*', `group:${ID}/channels/*`],
    ['group:{plant/hall-1}/channels/{temperatures}/messages', `group:${ID}/channels/${OTHER}/messages`],
    ['groups/{plant/hall-1}', `groups/${ID}`],
    ['channels/*/messages/{temperatures}', 'channels/*/messages/{temperatures}'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: variables of policies
    ['things/${thing.id}', 'things/${thing.id}'],
    ['policies/{temperatures}', 'policies/{temperatures}'],
    ['*', '*'],
  ] as const) {
    expect(withIds(named, idOf)).toBe(resource);
    expect(withNames(resource, nameOf)).toBe(named);
  }
  expect(kindsNamed('group:{plant/hall-1}/channels/{temperatures}')).toEqual(['groups', 'channels']);
  expect(kindsNamed('channels/*')).toEqual([]);
});

test('a name that can not stand in braces stays an id', () => {
  expect(withNames(`things/${ID}/x`, () => 'a}b')).toBe(`things/${ID}/x`);
  expect(withNames(`things/${ID}/x`, (_, id) => id)).toBe(`things/${ID}/x`);
});

test('what is written by name is read back as it was', () => {
  const segment = fc.constantFrom(
    'channels',
    'things',
    'group:',
    ID,
    OTHER,
    '*',
    '{x}',
    'messages',
    'a$b',
    '$&',
    '{',
    '}',
  );
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 5 }), fc.string({ minLength: 1 }), (segments, name) => {
      const resource = segments.join('/').replace('group:/', 'group:');
      // A resource that is kept has ids there, not braces.
      fc.pre(withIds(resource, () => '') === resource);
      const names = new Map<string, string>();
      const written = withNames(resource, (kind, id) => {
        names.set(`${kind} ${name}${id}`, id);
        return `${name}${id}`;
      });
      expect(withIds(written, (kind, given) => names.get(`${kind} ${given}`) ?? 'none')).toBe(resource);
    }),
    { numRuns: 5_000 },
  );
});
