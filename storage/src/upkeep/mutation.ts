import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError } from '@millrace/core';
import type { Engine } from '../engine/engine.ts';

const POLL_MS_MIN = 50;
const POLL_MS_MAX = 2_000;

interface Progress {
  readonly seen: number;
  readonly done: number;
  readonly failure: string;
}

export interface MutationOptions {
  /** Names it: one that was begun already is only waited for. */
  readonly mark: string;
  readonly signal: AbortSignal;
}

/** Rewrites what of a table a condition names, and waits until every replica has done it.
 *  @param change what stands between the table and WHERE: `DELETE`, or `UPDATE …`
 *  @throws StoreError STORE_UNREACHABLE (later); the reason of the signal */
export async function mutate(
  engine: Engine,
  table: string,
  change: string,
  condition: string,
  { mark, signal }: MutationOptions,
): Promise<void> {
  if (!/^[\w-]+$/.test(mark)) throw new RangeError('a mark is made of letters, digits and dashes');
  const before = await progress(engine, table, mark);
  // The mark is true of every row: it only stays readable in the list of mutations.
  if (before.every(({ seen }) => seen === 0))
    await engine.command(`ALTER TABLE ${table} ${change} WHERE (${condition}) AND ('${mark}' != '')`);
  for (let waitMs = POLL_MS_MIN; ; waitMs = Math.min(POLL_MS_MAX, waitMs * 1.5)) {
    const found = await progress(engine, table, mark);
    if (found.every(({ seen, done }) => seen > 0 && seen === done)) return;
    const failure = found.find((each) => each.failure !== '')?.failure;
    if (failure !== undefined)
      throw new StoreError('STORE_UNREACHABLE', 'later', { table, problem: failure.slice(0, 300) });
    await sleep(waitMs, undefined, { signal, ref: false }).catch(() => signal.throwIfAborted());
  }
}

const progress = async (engine: Engine, table: string, mark: string): Promise<readonly Progress[]> =>
  (
    await engine.everywhere<{ seen: number; done: number; failure: string }>(
      `SELECT toUInt32(count()) AS seen, toUInt32(countIf(is_done)) AS done, max(latest_fail_reason) AS failure FROM system.mutations
       WHERE database = currentDatabase() AND table = '${engine.localTable(table)}' AND position(command, '\\'${mark}\\'') > 0`,
    )
  ).flat();
