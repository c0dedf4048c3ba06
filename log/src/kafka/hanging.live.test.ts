import {
  appendOne,
  createLogger,
  createMetrics,
  type Log,
  type LogEngine,
  LogError,
  type Started,
} from '@millrace/core';
import { afterAll, afterEach, beforeAll, describe, test } from 'vitest';
import { kafkaAvailable, type RunningKafka, startKafka } from '../testing/kafka.ts';
import { kafkaLog } from './engine.ts';

const missing = kafkaAvailable();
const PARTITIONS = [0, 1, 2];
/** The brokers need 9 s until others lead what the hanging one led. */
const TAKEN_MS_MAX = 150_000;

describe.skipIf(missing !== null)('when one of three brokers hangs (needs java and mvn)', () => {
  let kafka: RunningKafka;
  let started: Started<LogEngine> | undefined;

  beforeAll(async () => {
    kafka = await startKafka({ brokerCount: 3 });
  }, 300_000);
  afterEach(async () => {
    for (const node of kafka.nodes) node.resume();
    await started?.stop();
    await kafka.inSync();
  }, 180_000);
  afterAll(async () => {
    await kafka?.stop();
  }, 60_000);

  test.each(['kafkajs', 'platformatic'] as const)(
    '%s turns to whoever leads now, for all partitions, before it is back',
    { timeout: 400_000 },
    async (client) => {
      started = await kafkaLog({
        brokers: kafka.brokers,
        client,
        pendingBytesMax: 1024 * 1024,
        recordBytesMax: 512 * 1024,
        metrics: createMetrics(),
        logger: createLogger({ level: 'silent' }),
      }).start();
      const log = await started.value.topic({
        topic: `millrace.${client}`,
        partitionCount: PARTITIONS.length,
        retentionMs: 3_600_000,
        retentionBytes: 2 ** 30,
      });
      await Promise.all(PARTITIONS.map((partition) => untilTaken(log, partition)));
      // Each of the three leads one.
      kafka.nodes[0]?.pause();
      const begin = performance.now();
      await Promise.all(PARTITIONS.map((partition) => untilTaken(log, partition)));
      console.log(`${client}: taken by the other two after ${((performance.now() - begin) / 1_000).toFixed(1)} s`);
    },
  );
});

/** As a client does that is told to come later. */
async function untilTaken(log: Log, partition: number): Promise<void> {
  const end = performance.now() + TAKEN_MS_MAX;
  for (;;) {
    try {
      await appendOne(log, partition, '', Buffer.from('one'));
      return;
    } catch (error) {
      if (!(error instanceof LogError) || error.retry !== 'later' || performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
