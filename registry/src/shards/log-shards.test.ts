import { createMetrics } from '@millrace/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Database, openDatabase } from '../database/database.ts';
import { migrate } from '../database/migrate.ts';
import { logger, temporaryPostgres } from '../testing/fixture.ts';
import { createLogShards } from './log-shards.ts';

let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
const nodes: Database[] = [];
const node = (): Database => {
  const database = openDatabase({ url: postgres.url, connectionsMax: 4, logger, metrics: createMetrics() });
  nodes.push(database);
  return database;
};

beforeAll(async () => {
  postgres = await temporaryPostgres();
  await migrate(node());
});
afterAll(async () => {
  for (const each of nodes) await each.close();
  await postgres?.dispose();
});

const PARTITIONS = Array.from({ length: 12 }, (_, partition) => partition);

test('pins a partition to one shard, the same for all nodes that ask at once, and spreads them evenly', async () => {
  const asked = Array.from({ length: 4 }, () => createLogShards(node()));
  const answers = await Promise.all(
    asked.map((shards) => Promise.all(PARTITIONS.map((partition) => shards.shardOf('messages', partition, [1, 2, 3])))),
  );
  for (const answer of answers) expect(answer).toEqual(answers[0]);
  for (const shard of [1, 2, 3]) expect(answers[0]?.filter((each) => each === shard)).toHaveLength(4);
});

test('leaves pinned partitions where they are when a shard is added, and gives it the new ones', async () => {
  const before = createLogShards(node());
  const first = await Promise.all(PARTITIONS.map((partition) => before.shardOf('grown', partition, [1, 2])));
  const after = createLogShards(node());
  for (const partition of PARTITIONS) expect(await after.shardOf('grown', partition, [1, 2, 3])).toBe(first[partition]);
  for (let partition = 12; partition < 18; partition++)
    expect(await after.shardOf('grown', partition, [1, 2, 3])).toBe(3);
});

test('tells the pinned shard though it is gone, and pins topics apart', async () => {
  const shards = createLogShards(node());
  expect(await shards.shardOf('one', 0, [7])).toBe(7);
  expect(await createLogShards(node()).shardOf('one', 0, [1, 2])).toBe(7);
  expect(await shards.shardOf('two', 0, [7, 8])).toBe(7);
});
