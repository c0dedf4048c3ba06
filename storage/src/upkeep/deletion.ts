import type { Deletion, StoredCounts, UpkeepOptions } from '@millrace/core';
import type { Engine } from '../engine/engine.ts';
import { bucketsOf } from './buckets.ts';
import { mutate } from './mutation.ts';
import { reached, TABLE_OF } from './selection.ts';

/** Counting must not take the engine from those who work with it. */
export const BACKGROUND = 'SETTINGS max_threads=2';

/** What a deletion reaches, by kind; with readings also the buckets that lie wholly or partly in it. */
export async function countReached(engine: Engine, deletion: Deletion): Promise<StoredCounts> {
  const counts: Record<string, number> = {};
  for (const kind of deletion.what) {
    const table = TABLE_OF[kind];
    await engine.settle(table);
    counts[kind] = await countOf(engine, table, reached(table, deletion));
  }
  if (deletion.what.includes('readings'))
    counts.rollups = await countOf(engine, 'rollups', bucketsOf(deletion, null).any);
  return counts;
}

export async function countOf(engine: Engine, table: string, condition: string): Promise<number> {
  const [found] = await engine.rows<{ rows: string }>(
    `SELECT toString(count()) AS rows FROM ${table} WHERE ${condition} ${BACKGROUND}${engine.querySettings}`,
  );
  return Number(found?.rows ?? 0);
}

/** `message_log` goes last: as long as it speaks of a message, what came of it can be looked for. */
export async function erase(engine: Engine, deletion: Deletion, { mark, signal }: UpkeepOptions): Promise<void> {
  for (const kind of deletion.what.toSorted((a) => (a === 'message_log' ? 1 : -1))) {
    const table = TABLE_OF[kind];
    await mutate(engine, table, 'DELETE', reached(table, deletion), { mark: `${mark}-${table}`, signal });
  }
}
