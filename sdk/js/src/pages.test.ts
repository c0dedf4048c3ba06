import { expect, test } from 'vitest';
import { everyItem } from './pages.ts';

const numbers = Array.from({ length: 25 }, (_, index) => index);

async function all(query: Record<string, unknown>, page: Parameters<typeof everyItem>[2]): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const item of everyItem(query, 'items', page)) found.push(item);
  return found;
}

test('goes on by cursor where there is one', async () => {
  const asked: unknown[] = [];
  const found = await all({ limit: 10, name: 'x' }, async (query) => {
    asked.push(query);
    const from = Number(query.cursor ?? 0);
    const next = from + 10 < 25 ? { cursor: String(from + 10) } : {};
    return { total: 25, items: numbers.slice(from, from + 10), ...next };
  });
  expect(found).toEqual(numbers);
  expect(asked).toEqual([
    { limit: 10, name: 'x', offset: 0 },
    { limit: 10, name: 'x', cursor: '10' },
    { limit: 10, name: 'x', cursor: '20' },
  ]);
});

test('goes on by offset where there is none, and asks no more than it must', async () => {
  let calls = 0;
  const byOffset = async ({ offset, limit }: Readonly<Record<string, unknown>>) => {
    calls++;
    return { total: 25, items: numbers.slice(Number(offset), Number(offset) + Number(limit)) };
  };
  expect(await all({ limit: 10 }, byOffset)).toEqual(numbers);
  expect(calls).toBe(3);
  expect(await all({ limit: 5, offset: 20 }, byOffset)).toEqual([20, 21, 22, 23, 24]);
  expect(calls).toBe(4);
});

test('a list that claims more than it gives does not go on for ever', async () => {
  expect(await all({ limit: 10 }, async () => ({ total: 1_000, items: [] }))).toEqual([]);
});
