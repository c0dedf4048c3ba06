import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@clickhouse/client';
import { createLogger, createMetrics, type Deletion, readConfig } from '@millrace/core';
import { expect, test } from 'vitest';
import { StorageConfig } from '../config.ts';
import { openStore } from '../store.ts';
import { batchOf } from '../testing/batches.ts';
import { startShellCluster } from '../testing/shell-cluster.ts';

const T0 = Date.UTC(2026, 10, 21, 12) * 1_000;

test('a deletion reaches every shard, and each makes its own rollups anew', { timeout: 120_000 }, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-upkeep-'));
  const cluster = await startShellCluster(directory, 2, 2);
  const started = await openStore(
    readConfig(StorageConfig, {
      MILLRACE_CLICKHOUSE_URL: cluster.urls[0] ?? '',
      MILLRACE_CLICKHOUSE_CLUSTER: cluster.name,
    }),
    {
      directory: '/nowhere',
      shards: { shardOf: async (_, partition, shards) => shards[partition % shards.length] as number },
      metrics: createMetrics(),
      logger: createLogger({ level: 'silent' }),
    },
  ).start();
  const clients = cluster.shardUrls.map((url) => createClient({ url, database: 'millrace' }));
  try {
    const store = started.value;
    const messages = Array.from({ length: 20 }, (_, minute) => ({
      receivedUs: T0 + minute * 60_000_000,
      readings: [
        { name: 't', timeUs: T0 + minute * 60_000_000, value: minute },
        { name: 'state', timeUs: T0 + minute * 60_000_000, stringValue: String(minute) },
      ],
    }));
    for (const partition of [0, 1]) await store.write('messages', batchOf(0, messages, partition), { verify: false });
    const deletion: Deletion = {
      org: 'acme',
      what: ['readings', 'message_log'],
      before: new Map([
        [0, 20],
        [1, 20],
      ]),
      fromUs: BigInt(T0 + 10 * 60_000_000),
    };
    const signal = AbortSignal.timeout(100_000);
    expect(await store.upkeep.count(deletion)).toMatchObject({ readings: 40, message_log: 20 });
    await store.upkeep.erase(deletion, { mark: 'both-shards', signal });
    expect(await store.upkeep.correct(deletion, null, { mark: 'both-shards-0', signal })).toMatchObject({
      differing: 0,
    });
    expect(await store.upkeep.count(deletion)).toMatchObject({ readings: 0, message_log: 0 });
    for (const client of clients) {
      const answer = await client.query({
        query: `SELECT (SELECT toInt32(count()) FROM readings_local) AS readings,
          (SELECT toInt32(sum(count)) FROM rollups_local WHERE width = 60) AS minutes,
          (SELECT toInt32(sum(count)) FROM rollups_local WHERE width = 3600) AS hours,
          (SELECT argMax(string_value, time) FROM latest_others_local) AS state`,
        format: 'JSONEachRow',
      });
      expect(await answer.json()).toEqual([{ readings: 20, minutes: 10, hours: 10, state: '9' }]);
    }
  } finally {
    for (const client of clients) await client.close();
    await started.stop();
    await cluster.stop();
    await rm(directory, { recursive: true });
  }
});
