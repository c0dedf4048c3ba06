import fc from 'fast-check';
import { expect, test } from 'vitest';
import { assignSticky, type Claim } from './sticky.ts';

const none = (member: string): Claim => ({ member, generation: -1, owned: [] });
const claims = (shares: ReadonlyMap<string, number[]>, generation: number): Claim[] =>
  [...shares].map(([member, owned]) => ({ member, generation, owned }));
const moved = (before: ReadonlyMap<string, number[]>, after: ReadonlyMap<string, number[]>): number =>
  [...after].flatMap(([member, owned]) => owned.filter((one) => !before.get(member)?.includes(one))).length;

test('a member that joins takes its share and nothing else moves; one that leaves gives only its own', () => {
  const two = assignSticky([none('a'), none('b')], 12);
  const three = assignSticky([...claims(two, 1), none('0')], 12);
  expect(moved(two, three)).toBe(4);
  expect([...three.values()].map((share) => share.length)).toEqual([4, 4, 4]);
  const left = assignSticky(
    claims(three, 2).filter(({ member }) => member !== 'a'),
    12,
  );
  expect(moved(three, left)).toBe(4);
});

test('what two members claim goes to the one of the later generation', () => {
  const shares = assignSticky(
    [
      { member: 'a', generation: 3, owned: [0, 1] },
      { member: 'b', generation: 7, owned: [1, 2] },
    ],
    4,
  );
  expect(shares.get('b')).toEqual(expect.arrayContaining([1, 2]));
});

test('each partition has one member, evenly, whatever is claimed, and nothing moves without need', () => {
  const claim = fc.record({
    member: fc.string({ minLength: 1, maxLength: 3 }),
    generation: fc.integer({ min: -1, max: 5 }),
    owned: fc.array(fc.integer({ min: -2, max: 40 }), { maxLength: 40 }),
  });
  fc.assert(
    fc.property(
      fc.uniqueArray(claim, { selector: ({ member }) => member, minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 32 }),
      (given, count) => {
        const shares = assignSticky(given, count);
        expect([...shares.values()].flat().toSorted((a, b) => a - b)).toEqual(
          Array.from({ length: count }, (_, partition) => partition),
        );
        const sizes = [...shares.values()].map((share) => share.length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        expect(moved(shares, assignSticky(claims(shares, 6), count))).toBe(0);
      },
    ),
  );
});
