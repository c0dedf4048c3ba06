import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ClickHouseClient, createClient } from '@clickhouse/client';
import {
  createLogger,
  createMetrics,
  type LogShards,
  type ReadingsStore,
  readConfig,
  StoreError,
} from '@millrace/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StorageConfig } from './config.ts';
import { openStore } from './store.ts';
import { batchOf, RECEIVED_US } from './testing/batches.ts';
import { type ShellCluster, startShellCluster } from './testing/shell-cluster.ts';

const PARTITIONS = [0, 1, 2, 3];
const RANGE = 20;
const TRY_MS = 20;

let directory = '';
let cluster: ShellCluster;
let store: ReadingsStore;
let stop: () => Promise<void>;
const clients: ClickHouseClient[] = [];
const asked: (readonly number[])[] = [];
/** Pins as the registry keeps them: the first answer holds. */
const pinned = new Map<number, number>();
const shards: LogShards = {
  async shardOf(_, partition, candidates) {
    asked.push(candidates);
    const shard = pinned.get(partition) ?? (candidates[partition % candidates.length] as number);
    pinned.set(partition, shard);
    return shard;
  },
};
/** How many ranges each partition has. */
const written = PARTITIONS.map(() => 0);

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-failover-'));
  cluster = await startShellCluster(directory, 2, 2);
  const config = readConfig(StorageConfig, {
    MILLRACE_CLICKHOUSE_URL: cluster.urls.join(','),
    MILLRACE_CLICKHOUSE_CLUSTER: cluster.name,
    MILLRACE_STORE_INSERT_SECONDS_MAX: '5',
  });
  const options = {
    directory: '/nowhere',
    shards,
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
  };
  const started = await openStore(config, options).start();
  store = started.value;
  stop = () => started.stop();
  for (const url of cluster.shardUrls) clients.push(createClient({ url, database: 'millrace' }));
}, 60_000);
afterAll(async () => {
  for (const client of clients) await client.close();
  await stop?.();
  await cluster?.stop();
  await rm(directory, { recursive: true, force: true });
});

/** As a lane does it: the same range again until it is taken.  @returns how many tries failed */
async function write(partition: number): Promise<number> {
  const first = (written[partition] as number) * RANGE;
  const batch = batchOf(
    first,
    Array.from({ length: RANGE }, (_, index) => ({
      channel: 'c',
      publisher: `p${partition}`,
      id: `0190b1c2-0000-7000-${8000 + partition}-${String(first + index).padStart(12, '0')}`,
      readings: [{ name: 'n', timeUs: RECEIVED_US + first + index, value: 1 }],
      payload: Buffer.from([index]),
    })),
    partition,
  );
  for (let failures = 0; ; failures++) {
    try {
      await store.write('messages', batch, { verify: failures > 2 });
      written[partition] = (written[partition] as number) + 1;
      return failures;
    } catch (error) {
      expect(error).toMatchObject({ code: 'STORE_UNREACHABLE', retry: 'later' });
      expect(error).toBeInstanceOf(StoreError);
      await new Promise((resolve) => setTimeout(resolve, TRY_MS));
    }
  }
}
const writeAll = async (rounds: number): Promise<void> => {
  await Promise.all(
    PARTITIONS.map(async (partition) => {
      for (let round = 0; round < rounds; round++) await write(partition);
    }),
  );
};

/** Everything that was taken, once, on the shard of its partition and nowhere else. */
async function expectOnce(): Promise<void> {
  for (const [index, client] of clients.entries()) {
    const here = PARTITIONS.filter((partition) => pinned.get(partition) === index + 1);
    expect(here).toHaveLength(PARTITIONS.length / clients.length);
    for (const table of ['readings', 'messages', 'message_log']) {
      const rows = await ask<{ partition: number; rows: string; different: string }>(
        client,
        `SELECT log_partition AS partition, toString(count()) AS rows, toString(uniqExact(log_offset)) AS different
         FROM ${table}_local GROUP BY partition ORDER BY partition`,
      );
      expect(rows).toEqual(
        here.map((partition) => {
          const count = String((written[partition] as number) * RANGE);
          return { partition, rows: count, different: count };
        }),
      );
    }
    expect(
      await ask(
        client,
        'SELECT publisher, toUInt32(sum(count)) AS rows FROM rollups_local WHERE width = 3600 GROUP BY publisher ORDER BY publisher',
      ),
    ).toEqual(here.map((partition) => ({ publisher: `p${partition}`, rows: (written[partition] as number) * RANGE })));
  }
}
async function ask<Row>(client: ClickHouseClient, query: string): Promise<Row[]> {
  return (await client.query({ query, format: 'JSONEachRow' })).json<Row>();
}
const total = async (): Promise<number> =>
  (
    await store.readings({
      org: 'acme',
      channel: 'c',
      offset: 0,
      limit: 1,
      order: 'time',
      direction: 'desc',
      total: 'exact',
    })
  ).total;
const replica = (shard: number, index: number) => {
  const found = cluster.shards[shard]?.[index];
  if (found === undefined) throw new RangeError(`no replica ${index} of shard ${shard}`);
  return found;
};

test('writes each partition to its shard, and asks all of them', { timeout: 60_000 }, async () => {
  await writeAll(3);
  await expectOnce();
  expect(await total()).toBe(PARTITIONS.length * 3 * RANGE);
  expect(asked[0]).toEqual([1, 2]);
});

test('goes on at the other replica when one is killed in the middle of inserts', { timeout: 120_000 }, async () => {
  for (const [shard, index] of [
    [0, 0],
    [1, 1],
  ] as const) {
    const writing = writeAll(4);
    await replica(shard, index).kill();
    await writing;
    await writeAll(2);
    await expectOnce();
    await expect.poll(() => store.health(), { timeout: 20_000 }).toBeNull();
    await replica(shard, index).restart();
  }
});

test('leaves a replica alone that takes connections and never answers', { timeout: 120_000 }, async () => {
  const { pid } = replica(1, 0);
  process.kill(pid, 'SIGSTOP');
  try {
    await writeAll(3);
    const begunMs = performance.now();
    await writeAll(3);
    expect(performance.now() - begunMs).toBeLessThan(40_000);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await expectOnce();
});

test('says which shard is away, keeps its partitions waiting, and stores them once when it is back', {
  timeout: 120_000,
}, async () => {
  for (const index of [0, 1]) await replica(1, index).kill();
  const [here, there] = [1, 2].map(
    (shard) => PARTITIONS.find((partition) => pinned.get(partition) === shard) as number,
  );
  await write(here as number);
  const waiting = write(there as number);
  await expect.poll(() => store.health(), { timeout: 20_000 }).toContain('no replica of shard 2 answers');
  await write(here as number);
  for (const index of [0, 1]) await replica(1, index).restart();
  expect(await waiting).toBeGreaterThan(0);
  await expectOnce();
  await expect.poll(() => store.health(), { timeout: 20_000 }).toBeNull();
});

test('counts once what was in flight when everything is killed', { timeout: 120_000 }, async () => {
  for (let kill = 0; kill < 2; kill++) {
    const writing = writeAll(6);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 150));
    await cluster.crash();
    await writing;
  }
  await expectOnce();
  expect(await total()).toBe(written.reduce((sum, ranges) => sum + ranges, 0) * RANGE);
});
