import { expect, test } from 'vitest';
import { Gathering } from './gathering.ts';

/** Statements that end when they are told to. */
function statements() {
  const runs: string[][] = [];
  const ends: ((error?: Error) => void)[] = [];
  const run = (items: readonly string[]): Promise<(string | Error)[]> => {
    runs.push([...items]);
    return new Promise((resolve, reject) => {
      ends.push((error) => {
        if (error === undefined)
          resolve(items.map((item) => (item.includes('bad') ? new Error(`${item} is bad`) : `${item} done`)));
        else reject(error);
      });
    });
  };
  return { runs, ends, run };
}
const turn = async (): Promise<void> => {
  for (let index = 0; index < 3; index++) await new Promise((resolve) => setImmediate(resolve));
};
const keyOf = (item: string): string => item.slice(0, 1);

test('what comes in one turn is one statement, and what comes meanwhile the next', async () => {
  const { runs, ends, run } = statements();
  const gathering = new Gathering({ key: keyOf, run, itemsMax: 3, waitingMax: 100 });
  const first = ['a', 'b'].map((item) => gathering.add(item));
  await turn();
  const next = ['c', 'd', 'e', 'f'].map((item) => gathering.add(item));
  await turn();
  expect(runs, 'one at a time').toEqual([['a', 'b']]);
  ends[0]?.();
  expect(await Promise.all(first)).toEqual(['a done', 'b done']);
  await turn();
  expect(runs[1]).toEqual(['c', 'd', 'e']);
  ends[1]?.();
  await turn();
  ends[2]?.();
  expect(await Promise.all(next)).toEqual(['c done', 'd done', 'e done', 'f done']);
});

test('two of one key never stand in one statement, and keep their order', async () => {
  const { runs, ends, run } = statements();
  const gathering = new Gathering({ key: keyOf, run, itemsMax: 10, waitingMax: 100 });
  const all = ['a1', 'b1', 'a2', 'a3', 'b2'].map((item) => gathering.add(item));
  for (let index = 0; index < 3; index++) {
    await turn();
    ends[index]?.();
  }
  await Promise.all(all);
  expect(runs).toEqual([['a1', 'b1'], ['a2', 'b2'], ['a3']]);
});

test('an item fails alone, a statement with all that are in it, and the next goes on', async () => {
  const { ends, run } = statements();
  const gathering = new Gathering({ key: keyOf, run, itemsMax: 10, waitingMax: 100 });
  const one = Promise.allSettled([gathering.add('a'), gathering.add('bad')]);
  await turn();
  ends[0]?.();
  expect((await one).map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  const lost = Promise.allSettled([gathering.add('a'), gathering.add('c')]);
  await turn();
  const after = gathering.add('d');
  ends[1]?.(new Error('away'));
  expect((await lost).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  await turn();
  ends[2]?.();
  expect(await after).toBe('d done');
});

test('too many that wait are refused, to be tried later', async () => {
  const { ends, run } = statements();
  const gathering = new Gathering({ key: keyOf, run, itemsMax: 10, waitingMax: 2 });
  const waiting = ['a', 'b'].map((item) => gathering.add(item));
  await expect(gathering.add('c')).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE', retry: 'later' });
  await turn();
  ends[0]?.();
  expect(await Promise.all(waiting)).toEqual(['a done', 'b done']);
});
