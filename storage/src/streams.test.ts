import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfig } from '@millrace/core';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { StorageConfig } from './config.ts';
import { describeStreams, type OpenedEngine } from './conformance-streams.ts';
import { openEngine } from './store.ts';
import { startClickHouseShell } from './testing/clickhouse-shell.ts';

const runner = { describe, test, beforeAll, afterAll };

describeStreams(runner, 'embedded', () => open(async () => ({ environment: {}, stop: async () => {} })));

describeStreams(runner, 'server', () =>
  open(async (directory) => {
    const shell = await startClickHouseShell(directory);
    return { environment: { MILLRACE_CLICKHOUSE_URL: shell.url }, stop: () => shell.stop() };
  }),
);

async function open(
  begin: (directory: string) => Promise<{ environment: Record<string, string>; stop(): Promise<void> }>,
): Promise<OpenedEngine> {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-streams-'));
  const { environment, stop } = await begin(directory);
  const engine = await openEngine(readConfig(StorageConfig, environment), directory);
  await engine.createDatabase();
  return {
    engine,
    spooled: async () => ('MILLRACE_CLICKHOUSE_URL' in environment ? [] : readdir(join(directory, 'spool'))),
    async close() {
      await engine.close();
      await stop();
      await rm(directory, { recursive: true });
    },
  };
}
