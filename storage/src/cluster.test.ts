import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@clickhouse/client';
import { createLogger, createMetrics, type LogShards, readConfig } from '@millrace/core';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { StorageConfig } from './config.ts';
import { describeStore } from './conformance.ts';
import { openStore } from './store.ts';
import { startShellCluster } from './testing/shell-cluster.ts';

const pins: LogShards = {
  shardOf: async (_, partition, shards) => shards[partition % shards.length] as number,
};

// One shard: its Distributed tables are the real ones.
describeStore({ describe, test, beforeAll, afterAll }, 'cluster of one shard', () => openCluster(1));
describeStore({ describe, test, beforeAll, afterAll }, 'cluster of two shards', () => openCluster(2));

async function openCluster(shardCount: number) {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-cluster-'));
  const cluster = await startShellCluster(directory, shardCount, 2);
  const config = readConfig(StorageConfig, {
    MILLRACE_CLICKHOUSE_URL: cluster.urls.slice(0, 2).join(','),
    MILLRACE_CLICKHOUSE_CLUSTER: cluster.name,
  });
  const started = await openStore(config, {
    directory: '/nowhere',
    shards: pins,
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
  }).start();
  const clients = cluster.shardUrls.map((url) => createClient({ url, database: 'millrace' }));
  return {
    store: started.value,
    async rows<Row>(query: string): Promise<Row[]> {
      const merged = /^OPTIMIZE TABLE (\w+)/.exec(query);
      const answers: Row[][] = [];
      for (const client of merged === null ? clients.slice(0, 1) : clients) {
        const statement = merged === null ? query : query.replace(/TABLE (\w+)/, 'TABLE $1_local');
        answers.push(await (await client.query({ query: statement, format: 'JSONEachRow' })).json<Row>());
      }
      return answers[0] ?? [];
    },
    async close() {
      for (const client of clients) await client.close();
      await started.stop();
      await cluster.stop();
      await rm(directory, { recursive: true });
    },
  };
}
