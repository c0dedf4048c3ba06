import type { Query } from './transport.ts';

/** What a page tells of those after it. */
export interface PageHead {
  readonly total?: number;
  readonly cursor?: string;
}

export const PAGE_ITEMS_MAX = 1_000;

/** Every item of a list, page after page: by cursor where the list gives one, else by offset.
 *  @param query its `limit` is the size of a page (1,000) */
export async function* everyItem<One>(
  query: Query,
  items: string,
  page: (query: Query) => Promise<PageHead>,
): AsyncGenerator<One, void, undefined> {
  const limit = Number(query.limit ?? PAGE_ITEMS_MAX);
  const { offset: first, cursor: given, ...rest } = query;
  let offset = Number(first ?? 0);
  let cursor = given as string | undefined;
  let byCursor = cursor !== undefined;
  for (;;) {
    const answer = await page({ ...rest, limit, ...(cursor === undefined ? { offset } : { cursor }) });
    const found = (answer as Record<string, unknown>)[items] as readonly One[] | undefined;
    if (found === undefined || found.length === 0) return;
    yield* found;
    cursor = answer.cursor;
    if (cursor !== undefined) byCursor = true;
    else if (byCursor) return;
    offset += found.length;
    if (!byCursor && (found.length < limit || (answer.total !== undefined && offset >= answer.total))) return;
  }
}
