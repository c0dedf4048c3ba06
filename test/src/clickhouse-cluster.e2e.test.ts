import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ShellCluster, startShellCluster } from '@millrace/storage/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from './millrace.ts';
import { publish, readiness } from './publishing.ts';
import { expectStoredOnce, storedNames } from './stored.ts';

const directory = mkdtempSync(join(tmpdir(), 'millrace-cluster-'));
let cluster: ShellCluster;
let millrace: Millrace;
let publisher: Publisher;
const acknowledged: string[] = [];

beforeAll(async () => {
  cluster = await startShellCluster(directory, 2, 2);
  millrace = await new Millrace({
    MILLRACE_CLICKHOUSE_URL: cluster.urls.join(','),
    MILLRACE_CLICKHOUSE_CLUSTER: cluster.name,
  }).start();
  publisher = await newPublisher(await Rest.asAdmin(millrace), 'clustered');
}, 120_000);
afterAll(async () => {
  await millrace?.dispose();
  await cluster?.stop();
  rmSync(directory, { recursive: true, force: true });
}, 120_000);

const take = async (name: string): Promise<void> => {
  expect((await publish(publisher, name, 0)).status).toBe(202);
  acknowledged.push(name);
};

test('a node stores in a cluster of ClickHouse, once, while replicas die', { timeout: 120_000 }, async () => {
  for (let index = 0; index < 20; index++) await take(`before-${index}`);
  await expectStoredOnce(publisher.rest, publisher.channel, acknowledged);
  // One of each shard, and the first entry point among them.
  for (const replicas of cluster.shards) await replicas[0]?.kill();
  for (let index = 0; index < 20; index++) await take(`without-${index}`);
  await expectStoredOnce(publisher.rest, publisher.channel, acknowledged);
  for (const replicas of cluster.shards) await replicas[0]?.restart();
  for (const replicas of cluster.shards) await replicas[1]?.kill();
  for (let index = 0; index < 20; index++) await take(`back-${index}`);
  await expectStoredOnce(publisher.rest, publisher.channel, acknowledged);
  expect((await storedNames(publisher.rest, publisher.channel)).toSorted()).toEqual(acknowledged.toSorted());
  await eventually('the node to be ready', 30_000, async () => (await readiness(publisher.rest)).status === 200);
});
