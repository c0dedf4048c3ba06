import type { Log, StoreUpkeep } from '@millrace/core';
import type { StepOutcome } from '../jobs/work.ts';
import type { DeletionRecord, DeletionState, Deletions } from './deletions.ts';
import { deletionOf } from './selection.ts';

export interface DeletionWorkOptions {
  readonly deletions: Deletions;
  readonly upkeep: StoreUpkeep;
  /** Where messages wait that are not stored yet; null: there is none. */
  readonly log: Log | null;
  readonly processorsGroup: string;
}

const PASSED_ASKED_MS = 1_000;
/** While readings come into the very buckets that are corrected, they may differ each time: an hour's bucket is at rest
 *  an hour later. */
const ROUNDS_MAX = 24;
const ROUND_WAIT_MS_MAX = 600_000;
const ATTEMPTS_MAX = 3;
const AGAIN_MS = 3_600_000;

/** Takes a deletion one step on. Each step may be repeated: what was begun is found by its mark.
 *  @throws StoreError, LogError: try again later */
export type Advance = (id: string, signal: AbortSignal) => Promise<StepOutcome>;

export function createAdvance({ deletions, upkeep, log, processorsGroup }: DeletionWorkOptions): Advance {
  const more = async (id: string, state: DeletionState): Promise<StepOutcome> => {
    await deletions.keep(id, { state });
    return { kind: 'more' };
  };
  const failed = async (id: string, error: string): Promise<StepOutcome> => {
    await deletions.finish(id, { status: 'failed', error });
    return { kind: 'failed', reason: error };
  };
  /** Nobody would ask again for one of the platform: it begins anew, under other marks, until all is gone. */
  const givenUp = async ({ id, byPlatform, state }: DeletionRecord, error: string): Promise<StepOutcome> => {
    if (!byPlatform) return failed(id, error);
    await deletions.keep(id, { state: { attempt: (state.attempt ?? 0) + 1 } });
    return { kind: 'wait', afterMs: AGAIN_MS };
  };

  return async (id, signal) => {
    const found = await deletions.get(id);
    if (found === null) return { kind: 'failed', reason: 'It is not known any more.' };
    if (found.finishedAt !== null) return ended(found);
    const { state } = found;
    if (state.positions === undefined) return more(id, { ...state, positions: await reached(log) });
    const reach = deletionOf(found.org, found.request, log === null ? null : new Map(state.positions));
    const { attempt = 0, round = 0 } = state;
    const mark = `deletion-${id}-${attempt}`;

    switch (state.stage) {
      case undefined: {
        if (log !== null && !(await passed(log, processorsGroup, state.positions)))
          return { kind: 'wait', afterMs: PASSED_ASKED_MS };
        const begun = await deletions.begin(id);
        if (begun.kind === 'refused') return failed(id, begun.reason);
        if (begun.kind === 'held')
          // Those of the platform wait for their release.
          return found.byPlatform
            ? { kind: 'wait', afterMs: AGAIN_MS }
            : failed(id, `It reaches into what is held: ${begun.by.join(', ')}.`);
        const before = await upkeep.count(reach);
        await deletions.keep(id, { state: { ...state, stage: 'erase' }, before });
        return { kind: 'more', total: rowsOf(found, before) };
      }
      case 'erase':
        await upkeep.erase(reach, { mark, signal });
        return more(id, { ...state, stage: found.request.what.includes('readings') ? 'correct' : 'prove' });
      case 'correct': {
        const span =
          state.span === undefined
            ? null
            : {
                ...(state.span.fromUs === undefined ? {} : { fromUs: BigInt(state.span.fromUs) }),
                ...(state.span.toUs === undefined ? {} : { toUs: BigInt(state.span.toUs) }),
              };
        const told = await upkeep.correct(reach, span, { mark: `${mark}-${round}`, signal });
        if (told.differing === 0) return more(id, { ...state, round: round + 1, stage: 'prove' });
        if (round + 1 >= ROUNDS_MAX)
          return givenUp(
            found,
            `The rows are gone, but ${told.differing} rollups are not yet what the readings are: so many came meanwhile. Ask again.`,
          );
        const { fromUs, toUs } = told.span;
        const next = {
          ...(fromUs === undefined ? {} : { fromUs: String(fromUs) }),
          ...(toUs === undefined ? {} : { toUs: String(toUs) }),
        };
        await deletions.keep(id, { state: { ...state, round: round + 1, span: next } });
        return { kind: 'wait', afterMs: Math.min(ROUND_WAIT_MS_MAX, 1_000 * 2 ** round) };
      }
      // To prove.
      default: {
        const { rollups: _, ...remaining } = await upkeep.count(reach);
        const left = Object.values(remaining).reduce((sum, count) => sum + (count ?? 0), 0);
        if (left > 0 && attempt + 1 >= ATTEMPTS_MAX)
          return givenUp(found, `${left} rows are there again, or still: ask the operators to look at the store.`);
        if (left > 0) {
          const { span: _span, ...rest } = state;
          return more(id, { ...rest, stage: 'erase', attempt: attempt + 1, round: 0 });
        }
        await deletions.finish(id, { status: 'done', remaining, rounds: round });
        const done = await deletions.get(id);
        return done === null ? { kind: 'done' } : ended(done);
      }
    }
  };
}

function ended(found: DeletionRecord): StepOutcome {
  if (found.status !== 'done') return { kind: 'failed', reason: found.error ?? 'It was ended.' };
  const rows = rowsOf(found, found.before ?? {});
  return { kind: 'done', done: rows, total: rows, result: { deleted: found.before, remaining: found.remaining } };
}

/** Rows that were asked for; rollups are not counted among them. */
const rowsOf = ({ request }: DeletionRecord, counts: NonNullable<DeletionRecord['before']>): number =>
  request.what.reduce((sum, kind) => sum + (counts[kind] ?? 0), 0);

/** Of each partition, what is appended next: all before it was accepted already. */
async function reached(log: Log | null): Promise<[number, number][]> {
  if (log === null) return [];
  const partitions = Array.from({ length: log.partitionCount }, (_, partition) => partition);
  return Promise.all(partitions.map(async (partition) => [partition, (await log.extent(partition)).next]));
}

/** Whether all before has been stored: nobody redoes it, so what is deleted does not come back. */
async function passed(log: Log, group: string, positions: readonly (readonly [number, number])[]): Promise<boolean> {
  const open = await Promise.all(
    positions.map(async ([partition, next]) => {
      if (next === 0 || (await log.committed(group, partition)).offset >= next) return false;
      const extent = await log.extent(partition);
      // The log was begun anew since, or what was in it is gone unread.
      return extent.next >= next && extent.earliest < next;
    }),
  );
  return !open.includes(true);
}
