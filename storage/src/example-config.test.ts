import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { askOnce } from './testing/configured-engine.ts';

const CONFIG = fileURLToPath(new URL('../../deploy/clickhouse/config.d/millrace.xml', import.meta.url));
const USERS = fileURLToPath(new URL('../../deploy/clickhouse/users.d/millrace.xml', import.meta.url));

test('the example of a cluster is what ClickHouse reads as two shards of two replicas', {
  timeout: 60_000,
}, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-example-'));
  const [clusters, macros] = await askOnce(
    directory,
    CONFIG,
    { MILLRACE_SHARD: '2', MILLRACE_REPLICA: '1', MILLRACE_INTERSERVER_SECRET: 'x' },
    [
      "SELECT shard_num, replica_num, host_name, port FROM system.clusters WHERE cluster = 'millrace' ORDER BY 1, 2",
      'SELECT macro, substitution FROM system.macros ORDER BY macro',
    ],
  );
  expect(clusters).toEqual(
    [1, 2].flatMap((shard) => [1, 2].map((replica) => [shard, replica, `clickhouse-${shard}-${replica}`, 9_000])),
  );
  expect(macros).toEqual([
    ['replica', '1'],
    ['shard', '2'],
  ]);
  await rm(directory, { recursive: true });
});

test('the example’s rights are written as ClickHouse writes them', { timeout: 60_000 }, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-example-'));
  const grants = [...(await readFile(USERS, 'utf8')).matchAll(/<query>(.*?)<\/query>/g)].map(
    (match) => `${match[1]} TO someone`,
  );
  expect(grants.length).toBeGreaterThan(5);
  for (const answer of await askOnce(
    directory,
    null,
    {},
    grants.map((grant) => `EXPLAIN AST ${grant}`),
  ))
    expect(answer.length).toBeGreaterThan(0);
  await rm(directory, { recursive: true });
});
