import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Generations } from './generations.ts';

test('keeps what is asked for, and forgets what is not', () => {
  const memo = new Generations<number, string>({ entries: 4 });
  memo.set(0, 'kept');
  for (let key = 1; key < 100; key++) {
    memo.set(key, 'x');
    expect(memo.get(0)).toBe('kept');
  }
  expect(memo.get(1)).toBeUndefined();
});

test('is never larger than its bounds, whatever is put into it', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.integer({ min: 0, max: 30 }),
          fc.integer({ min: 1, max: 50 }),
          fc.constantFrom('set', 'get', 'delete'),
        ),
      ),
      (steps) => {
        const memo = new Generations<number, number>({ entries: 8, bytes: 200 }, (_key, value) => value);
        for (const [key, value, step] of steps) {
          if (step === 'set') {
            memo.set(key, value);
            expect(memo.get(key)).toBe(value);
          } else if (step === 'delete') {
            memo.delete(key);
            expect(memo.get(key)).toBeUndefined();
          } else memo.get(key);
          expect(memo.size).toBeLessThanOrEqual(8);
          const bytes = [...memo.values()].reduce((sum, each) => sum + each, 0);
          expect(bytes).toBeLessThanOrEqual(200);
        }
      },
    ),
  );
});

test('tells of what it forgets', () => {
  const gone: string[] = [];
  const memo = new Generations<string, string>({ entries: 2 }, undefined, (value) => gone.push(value));
  for (const value of ['a', 'b', 'c', 'd']) memo.set(value, value);
  expect(gone).toEqual(['a', 'b']);
});
