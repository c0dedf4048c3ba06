import { createMetrics, type RetentionRules, type Started, type StoreUpkeep, uuidV7 } from '@millrace/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ChangeFeed } from '../changes.ts';
import { type Database, openDatabase } from '../database/database.ts';
import type { StepOutcome } from '../jobs/work.ts';
import type { Registry } from '../registry.ts';
import { logger, startRegistry, temporaryPostgres } from '../testing/fixture.ts';
import { until } from '../testing/until.ts';
import { createAdvance } from './deletion-work.ts';
import { createDeletions, type Deletions, insertOrgDeletion } from './deletions.ts';
import { Keeper } from './keeper.ts';

const SLOW = { timeout: 90_000 };
const signal = new AbortController().signal;
let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
let registry: Started<Registry>;
let database: Database;
let feed: ChangeFeed;
let deletions: Deletions;

beforeAll(async () => {
  postgres = await temporaryPostgres();
  registry = await startRegistry(postgres.url);
  const metrics = createMetrics();
  database = openDatabase({ url: postgres.url, connectionsMax: 4, logger, metrics });
  feed = new ChangeFeed({ database, logger, metrics, pollMs: 1_000 });
  deletions = createDeletions(database, feed, () => undefined);
}, 90_000);
afterAll(async () => {
  await database?.close();
  await registry?.stop();
  await postgres?.dispose();
}, 60_000);

/** A store that has so many rows left, whatever is deleted. */
function storeWith(rows: { left: number }) {
  const marks: string[] = [];
  const upkeep: StoreUpkeep = {
    count: async () => ({ readings: rows.left }),
    erase: async (_, { mark }) => void marks.push(mark),
    correct: async () => ({ differing: 0, span: {} }),
    sweep: async () => ({ deleted: 0, moved: 0, partitions: 0 }),
  };
  return { marks, upkeep };
}
async function ofOrg(org: string): Promise<string> {
  await feed.transaction((tx) => insertOrgDeletion(tx, org, 0));
  const { items } = await deletions.list({ org, offset: 0, limit: 1 });
  return items[0]?.id ?? '';
}
/** Until it is over, or waits. */
async function workedOff(id: string, upkeep: StoreUpkeep): Promise<StepOutcome> {
  const advance = createAdvance({ deletions, upkeep, log: null, processorsGroup: 'processors' });
  for (let steps = 0; steps < 100; steps++) {
    const outcome = await advance(id, signal);
    if (outcome.kind !== 'more') return outcome;
  }
  throw new Error('it never ends');
}

test('an organisation that is there again, after a restore, keeps its data', SLOW, async () => {
  const { thingId = '' } = (await registry.value.gettingStarted()) ?? {};
  const org = (await registry.value.things.get(thingId))?.org ?? '';
  const { marks, upkeep } = storeWith({ left: 5 });
  const id = await ofOrg(org);
  expect(await workedOff(id, upkeep)).toMatchObject({ kind: 'failed', reason: expect.stringContaining('there again') });
  expect(marks).toEqual([]);
  expect(await deletions.get(id)).toMatchObject({ status: 'failed' });
});

test('what the platform deletes is begun anew, under other marks, until nothing is left', SLOW, async () => {
  const rows = { left: 5 };
  const { marks, upkeep } = storeWith(rows);
  const id = await ofOrg(uuidV7());
  for (let turns = 0; turns < 3; turns++)
    expect(await workedOff(id, upkeep)).toMatchObject({ kind: 'wait', afterMs: 3_600_000 });
  expect(await deletions.get(id)).toMatchObject({ status: 'running', finishedAt: null });
  expect(marks.length).toBeGreaterThanOrEqual(3);
  // A mark that was used is a deletion that is done already.
  expect(new Set(marks).size).toBe(marks.length);
  rows.left = 0;
  expect(await workedOff(id, upkeep)).toMatchObject({ kind: 'done' });
  expect(await deletions.get(id)).toMatchObject({ status: 'done', remaining: { readings: 0 } });
});

test('a hold is in force once a sweep knew it, and a clock that runs ahead makes nothing old', SLOW, async () => {
  const id = uuidV7();
  const told: RetentionRules[] = [];
  const upkeep: StoreUpkeep = {
    ...storeWith({ left: 0 }).upkeep,
    async sweep(rules) {
      told.push(rules);
      // One that was begun before the rules were read, and is to be seen only now.
      if (told.length === 1)
        await database.query(
          `INSERT INTO registry.holds (id, org, name, reason, actor, created_at)
           VALUES ($1, $2, 'late', 'late', '{}', now() - interval '1 hour')`,
          [id, uuidV7()],
        );
      return { deleted: 0, moved: 0, partitions: 0 };
    },
  };
  const keeper = new Keeper({
    database,
    deletions,
    upkeep,
    advance: async () => ({ kind: 'done' }),
    node: uuidV7(),
    retentionDays: 30,
    now: () => Date.now() + 365 * 86_400_000,
    rows: createMetrics().counter('millrace_test_rows_total', 'Rows.', ['what']),
    logger,
  });
  const swept = async (): Promise<number> => {
    const [found] = await database.query<{ at: Date | null }>('SELECT swept_at AS at FROM registry.store_upkeep');
    return found?.at?.getTime() ?? 0;
  };
  const inForce = async (): Promise<boolean> => {
    const [found] = await database.query<{ at: Date | null }>(
      'SELECT in_force_at AS at FROM registry.holds WHERE id = $1',
      [id],
    );
    return (found?.at ?? null) !== null;
  };
  keeper.start();
  try {
    await until(async () => (await swept()) > 0);
    expect(await inForce()).toBe(false);
    await database.query('UPDATE registry.store_upkeep SET wanted_at = now()');
    await until(inForce);
    expect(told).toHaveLength(2);
    for (const { nowMs } of told) expect(nowMs).toBeLessThan(Date.now() + 86_400_000);
  } finally {
    await keeper.stop();
  }
});
