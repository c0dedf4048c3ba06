import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@clickhouse/client';
import { createLogger, createMetrics, type ReadingsStore, readConfig } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { StorageConfig } from './config.ts';
import { describeStore } from './conformance.ts';
import { openStore } from './store.ts';
import { batchOf, RECEIVED_US } from './testing/batches.ts';
import { startClickHouseShell } from './testing/clickhouse-shell.ts';

const logger = createLogger({ level: 'silent' });
const open = (url: string) =>
  openStore(readConfig(StorageConfig, { MILLRACE_CLICKHOUSE_URL: url }), {
    directory: '/nowhere',
    metrics: createMetrics(),
    logger,
  }).start();

describeStore({ describe, test, beforeAll, afterAll }, 'server', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-server-'));
  const shell = await startClickHouseShell(directory);
  const started = await open(shell.url);
  const client = createClient({ url: shell.url, database: 'millrace' });
  return {
    store: started.value,
    rows: async <Row>(query: string) => (await client.query({ query, format: 'JSONEachRow' })).json<Row>(),
    async close() {
      await client.close();
      await started.stop();
      await shell.stop();
      await rm(directory, { recursive: true });
    },
  };
});

describe('a server that comes and goes', () => {
  const query = {
    org: 'acme',
    channel: 'room',
    offset: 0,
    limit: 10,
    order: 'time',
    direction: 'desc',
    total: 'exact',
  } as const;
  const batch = (first: number) =>
    batchOf(first, [{ readings: [{ name: 'n', timeUs: RECEIVED_US + first, value: first }] }]);

  async function untilHealthy(store: ReadingsStore): Promise<void> {
    while ((await store.health()) !== null) await new Promise((resolve) => setTimeout(resolve, 50));
  }

  test('is waited for, at the start and in flight; what was told unreachable can be told again', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'millrace-server-'));
    const port = await freePort();
    const started = await open(`http://nobody:hunter2@127.0.0.1:${port}`);
    const store = started.value;
    const failure = await store.write('messages', batch(0), { verify: false }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'STORE_UNREACHABLE', retry: 'later' });
    const health = await store.health();
    expect(health).toContain('does not answer');
    expect(`${health}${String(failure)}`).not.toContain('hunter2');

    let shell = await startClickHouseShell(directory, port);
    await untilHealthy(store);
    await store.write('messages', batch(0), { verify: false });
    expect((await store.readings(query)).total).toBe(1);

    await shell.stop('SIGKILL');
    await expect(store.write('messages', batch(1), { verify: false })).rejects.toMatchObject({
      code: 'STORE_UNREACHABLE',
      retry: 'later',
    });
    await expect(store.readings(query)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });

    shell = await startClickHouseShell(directory, port);
    await untilHealthy(store);
    for (const verify of [false, true])
      for (const first of [0, 1]) await store.write('messages', batch(first), { verify });
    expect((await store.readings(query)).total).toBe(2);
    await started.stop();
    await shell.stop();
    await rm(directory, { recursive: true });
  });
});

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : 0));
    });
  });
}
