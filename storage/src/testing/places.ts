import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@clickhouse/client';
import { createLogger, createMetrics, type LogShards, readConfig } from '@millrace/core';
import { StorageConfig } from '../config.ts';
import { openStore } from '../store.ts';
import { startClickHouseShell } from './clickhouse-shell.ts';
import { rowsOf } from './rows.ts';
import { startShellCluster } from './shell-cluster.ts';

export type PlaceKind = 'embedded' | 'server' | 'cluster of two shards';

/** Somewhere that a store can be, while none is. */
export interface Place {
  readonly config: StorageConfig;
  readonly directory: string;
  open(): ReturnType<ReturnType<typeof openStore>['start']>;
  /** Looks into it, once a store is open. */
  rows<Row>(statement: string): Promise<Row[]>;
  close(): Promise<void>;
}

const shards: LogShards = { shardOf: async (_, partition, all) => all[partition % all.length] as number };

export async function openPlace(kind: PlaceKind): Promise<Place> {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-place-'));
  const engine = await started(kind, directory);
  const config = readConfig(StorageConfig, engine.settings);
  const options = { directory, shards, metrics: createMetrics(), logger: createLogger({ level: 'silent' }) };
  return {
    config,
    directory,
    open: () => openStore(config, options).start(),
    rows: engine.rows,
    async close() {
      await engine.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function started(kind: PlaceKind, directory: string) {
  if (kind === 'embedded') return { settings: {}, rows: rowsOf(directory, 'millrace'), stop: async () => {} };
  const [url, settings, stop] =
    kind === 'server'
      ? await startClickHouseShell(directory).then((shell) => [shell.url, {}, () => shell.stop()] as const)
      : await startShellCluster(directory, 2, 1).then(
          (cluster) => [cluster.urls[0], { MILLRACE_CLICKHOUSE_CLUSTER: cluster.name }, () => cluster.stop()] as const,
        );
  const client = createClient({ url: url ?? '', database: 'millrace' });
  return {
    settings: { ...settings, MILLRACE_CLICKHOUSE_URL: url },
    rows: async <Row>(query: string): Promise<Row[]> => {
      if (!query.startsWith('ALTER')) return (await client.query({ query, format: 'JSONEachRow' })).json<Row>();
      await client.command({ query });
      return [];
    },
    async stop() {
      await client.close();
      await stop();
    },
  };
}
