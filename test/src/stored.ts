import { expect } from 'vitest';
import { eventually, type Rest } from './millrace.ts';

/** Waits until all of these names are stored in a channel, and checks that nothing is stored twice.
 *  @param reader whose credential may read there */
export async function expectStoredOnce(
  reader: Rest,
  channel: string,
  wanted: readonly string[],
  told = '',
  msMax = 60_000,
): Promise<void> {
  const stored = await eventually(`all ${wanted.length} readings, ${told}`, msMax, async () => {
    const names = await storedNames(reader, channel);
    const found = new Set(names);
    const missing = wanted.filter((name) => !found.has(name));
    if (missing.length > 0) throw new Error(`${missing.length} are missing, as ${missing[0]}`);
    return names;
  });
  const counts = new Map<string, number>();
  for (const name of stored) counts.set(name, (counts.get(name) ?? 0) + 1);
  expect(
    [...counts].filter(([, count]) => count !== 1),
    `${told}: stored more than once`,
  ).toEqual([]);
}

/** The names of all readings of a channel. */
export async function storedNames(reader: Rest, channel: string): Promise<string[]> {
  const names: string[] = [];
  for (let cursor: string | undefined = ''; cursor !== undefined; ) {
    const page: { messages: { name: string }[]; cursor?: string } = await reader.json(
      'GET',
      `/channels/${channel}/messages?limit=1000${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
    );
    names.push(...page.messages.map((reading) => reading.name));
    cursor = page.cursor;
  }
  return names;
}
