import { setTimeout as sleep } from 'node:timers/promises';
import {
  createLogger,
  createMetrics,
  type Log,
  type LogEngine,
  type PartitionLease,
  type Started,
} from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kafkaAvailable, type RunningKafka, startKafka } from '../testing/kafka.ts';
import { kafkaLog } from './engine.ts';

const missing = kafkaAvailable();
const TOPIC = {
  topic: 'millrace.messages',
  partitionCount: 1,
  retentionMs: 3_600_000,
  retentionBytes: Number.POSITIVE_INFINITY,
};
const WAIT_MS_MAX = 120_000;

describe.skipIf(missing !== null)('a node that its group does not take (needs java and mvn)', () => {
  let kafka: RunningKafka;
  const nodes: Started<LogEngine>[] = [];
  beforeAll(async () => {
    // The second member of a group is turned away, though all brokers are well.
    kafka = await startKafka({ properties: { 'group.max.size': 1 } });
  }, 300_000);
  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.stop()));
    await kafka?.stop();
  }, 60_000);

  async function node(client: 'kafkajs' | 'platformatic'): Promise<{ engine: LogEngine; log: Log }> {
    const started = await kafkaLog({
      brokers: kafka.brokers,
      client,
      replication: 1,
      pendingBytesMax: 1024 * 1024,
      recordBytesMax: 64 * 1024,
      metrics: createMetrics(),
      logger: createLogger({ level: 'silent' }),
    }).start();
    nodes.push(started);
    return { engine: started.value, log: await started.value.topic(TOPIC) };
  }

  test.concurrent.each(['kafkajs', 'platformatic'] as const)(
    'is not healthy after half a minute, and is again once it has joined: %s',
    async (client) => {
      const owners: string[] = [];
      const owned = (name: string) => async (lease: PartitionLease) => {
        owners.push(name);
        await new Promise((ended) => lease.signal.addEventListener('abort', ended, { once: true }));
      };
      const [first, second] = [await node(client), await node(client)];
      const group = `processors-${client}`;
      const consumer = await first.log.consume(group, owned('first'));
      await until(async () => owners.length === 1);
      await second.log.consume(group, owned('second'));
      await until(async () => (await second.engine.health()) !== null);
      expect(await second.engine.health()).toMatch(
        new RegExp(`millrace.messages: this node has been out of the group ${group} for \\d+ s and reads nothing: see`),
      );
      expect(await first.engine.health()).toBeNull();
      await consumer.stop();
      await until(async () => (await second.engine.health()) === null);
      await until(async () => owners.join() === 'first,second');
    },
    3 * WAIT_MS_MAX,
  );
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + WAIT_MS_MAX;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('it did not come to pass in time');
    await sleep(200);
  }
}
