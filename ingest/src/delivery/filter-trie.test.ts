import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type FilterEntry, type FilterNode, FilterTrie, filterLevels, filterMatches } from './filter-trie.ts';

class Entry implements FilterEntry {
  readonly filter: string;
  node: FilterNode<this> | null = null;
  rest = false;
  slot = 0;
  constructor(filter: string) {
    this.filter = filter;
  }
}

const segments = (text: string): string[] => (text === '' ? [] : text.split('/'));

/** The rules in words: slow, and nothing in common with the trie. */
function matches(filter: readonly string[], subtopic: readonly string[]): boolean {
  const [want, ...wants] = filter;
  if (want === '#' && wants.length === 0) return true;
  const [have, ...haves] = subtopic;
  if (want === undefined || have === undefined) return want === have;
  return (want === '+' || want === have) && matches(wants, haves);
}

const segment = fc.constantFrom('a', 'b', 'c', '', 'ab', '$x');
const subtopic = fc.array(segment, { maxLength: 5 }).map((all) => all.join('/'));
const filter = fc
  .tuple(fc.array(fc.oneof(segment, fc.constant('+')), { maxLength: 4 }), fc.boolean())
  .map(([all, rest]) => (rest ? [...all, '#'] : all).join('/'));

const trieOf = (filters: readonly string[]): { trie: FilterTrie<Entry>; entries: Entry[] } => {
  const trie = new FilterTrie<Entry>();
  const entries = filters.map((text) => new Entry(text));
  for (const entry of entries) trie.add(entry.filter, entry);
  return { trie, entries };
};
const found = (trie: FilterTrie<Entry>, text: string): Entry[] => {
  const out: Entry[] = [];
  trie.match(text, out);
  return out;
};

describe('a trie of filters', () => {
  test('finds exactly the filters that match, each once', () => {
    fc.assert(
      fc.property(fc.array(filter, { maxLength: 30 }), fc.array(subtopic, { maxLength: 10 }), (filters, subtopics) => {
        const { trie, entries } = trieOf(filters);
        for (const text of subtopics) {
          const expected = entries.filter((entry) => matches(segments(entry.filter), segments(text)));
          const got = found(trie, text);
          expect(got.length).toBe(expected.length);
          expect(new Set(got)).toEqual(new Set(expected));
        }
      }),
    );
  });

  test('forgets what is removed, in any order, down to the last node', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(filter, fc.nat()), { maxLength: 30 }),
        subtopic,
        fc.nat(30),
        (filters, text, kept) => {
          const { trie, entries } = trieOf(filters.map(([each]) => each));
          const order = entries
            .map((entry, index) => [filters[index]?.[1] ?? 0, entry] as const)
            .sort((one, other) => one[0] - other[0])
            .map(([, entry]) => entry);
          const gone = new Set(order.slice(kept));
          for (const entry of gone) trie.remove(entry);
          const expected = entries.filter(
            (entry) => !gone.has(entry) && matches(segments(entry.filter), segments(text)),
          );
          expect(new Set(found(trie, text))).toEqual(new Set(expected));
          for (const entry of order) trie.remove(entry);
          expect(trie.size).toBe(0);
          expect(trie.nodes).toBe(0);
          expect(found(trie, text)).toEqual([]);
        },
      ),
    );
  });

  test('agrees with a single look at a filter', () => {
    fc.assert(
      fc.property(filter, subtopic, (each, text) => {
        expect(filterMatches(each, text)).toBe(matches(segments(each), segments(text)));
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    ['#', '', true],
    ['#', 'a/b/c', true],
    ['', '', true],
    ['', 'a', false],
    ['+', '', false],
    ['+', 'a', true],
    ['+', 'a/b', false],
    ['a/#', 'a', true],
    ['a/#', 'ab', false],
    ['a/+/c', 'a/b/c', true],
    ['a/+/c', 'a/b/d', false],
    ['+/+', 'a/b', true],
    ['+/#', 'a', true],
    ['+/#', '', false],
  ])('%j matches %j: %j', (each, text, expected) => {
    const { trie } = trieOf([each]);
    expect(found(trie, text).length === 1).toBe(expected);
    expect(filterMatches(each, text)).toBe(expected);
  });

  test('counts levels as it makes them', () => {
    expect(['', '#', 'a', 'a/b', 'a/+/#'].map(filterLevels)).toEqual([0, 1, 1, 2, 3]);
  });
});
