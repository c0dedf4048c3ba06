import {
  appendOne,
  createLogger,
  createMetrics,
  type Log,
  type LogEngine,
  LogError,
  type PartitionLease,
  type Started,
} from '@millrace/core';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { texts } from '../conformance.ts';
import { kafkaAvailable, type RunningKafka, startKafka } from '../testing/kafka.ts';
import { kafkaLog } from './engine.ts';

const missing = kafkaAvailable();
const topic = { topic: 'millrace.messages', partitionCount: 1, retentionMs: 3_600_000, retentionBytes: 2 ** 30 };

/** Seconds on a machine that has nothing else to do. */
const RECOVERY_MS_MAX = 60_000;
const seconds = (since: number): string => `${((performance.now() - since) / 1_000).toFixed(1)} s`;

describe.skipIf(missing !== null).each(['kafkajs', 'platformatic'] as const)(
  'when the broker of %s goes away (needs java and mvn)',
  (client) => {
    let kafka: RunningKafka;
    let started: Started<LogEngine>;
    let log: Log;
    beforeAll(async () => {
      kafka = await startKafka();
      started = await kafkaLog({
        brokers: kafka.brokers,
        client,
        replication: 1,
        pendingBytesMax: 1024 * 1024,
        recordBytesMax: 512 * 1024,
        metrics: createMetrics(),
        logger: createLogger({ level: 'silent' }),
      }).start();
      log = await started.value.topic(topic);
    }, 300_000);
    afterAll(async () => {
      await started?.stop();
      await kafka?.stop();
    });

    test('refuses before Kafka removes what is not processed, and takes again once it is', async () => {
      const metrics = createMetrics();
      const guarded = await kafkaLog({
        brokers: kafka.brokers,
        client,
        replication: 1,
        unprocessedShareMax: 0.05,
        pendingBytesMax: 1024 * 1024,
        recordBytesMax: 512 * 1024,
        metrics,
        logger: createLogger({ level: 'silent' }),
      }).start();
      try {
        const needed = await guarded.value.topic({
          topic: 'millrace.needed',
          partitionCount: 2,
          retentionMs: 60_000,
          retentionBytes: Number.POSITIVE_INFINITY,
          neededBy: ['processors'],
        });
        await appendOne(needed, 0, '', Buffer.from('waits'));
        const lags = async (): Promise<string[]> => {
          const text = await metrics.registry.getSingleMetricAsString('millrace_log_lag_messages');
          return text.split('\n').filter((line) => line.startsWith('millrace_log_lag_messages{'));
        };
        const label = (partition: number): string =>
          `topic="millrace.needed",group="processors",partition="${partition}"`;
        await until(async () => (await lags()).includes(`millrace_log_lag_messages{${label(0)}} 1`));
        expect(await lags()).toContain(`millrace_log_lag_messages{${label(1)}} 0`);
        const refused = async (): Promise<LogError | null> => {
          try {
            await appendOne(needed, 0, '', Buffer.from('more'));
            return null;
          } catch (error) {
            return error as LogError;
          }
        };
        await until(async () => (await refused()) !== null);
        expect(await refused()).toMatchObject({ code: 'LOG_FULL', retry: 'later', facts: { by: 'age', partition: 0 } });
        expect(await guarded.value.health()).toMatch(/millrace.needed: partitions 0 take nothing more/);
        // Nothing waits in the other partition.
        expect(needed.refusalOf(10)).toBeNull();
        const { next } = await needed.extent(0);
        const consumer = await needed.consume('processors', async (lease) => {
          if (lease.partition === 0) await lease.commit(next, '');
          await new Promise((ended) => lease.signal.addEventListener('abort', ended, { once: true }));
        });
        await until(async () => (await refused()) === null);
        await consumer.stop();
        expect((await needed.committed('processors', 0)).offset).toBe(next);
      } finally {
        await guarded.stop();
      }
    }, 120_000);

    test('says that the topic is gone when somebody has deleted it', async () => {
      const doomed = await started.value.topic({ ...topic, topic: 'millrace.doomed' });
      await appendOne(doomed, 0, '', Buffer.from('kept'));
      const admin = new Kafka({ brokers: kafka.brokers.split(','), logLevel: logLevel.NOTHING }).admin();
      await admin.connect();
      await admin.deleteTopics({ topics: ['millrace.doomed'] });
      await admin.disconnect();
      const fault = await appendOne(doomed, 0, '', Buffer.from('lost')).catch((error: unknown) => error as LogError);
      expect(fault).toMatchObject({ code: 'LOG_UNREACHABLE', retry: 'later' });
      expect((fault as LogError).message).toMatch(/somebody has deleted it/);
      expect(await started.value.health()).toMatch(/somebody has deleted it/);
      // The others go on.
      await until(async () => (await appendOne(log, 0, '', Buffer.from('kept')).catch(() => null)) !== null);
    }, 120_000);

    test('says so when the name of a broker does not resolve', async () => {
      const nowhere = kafkaLog({
        brokers: 'kafka.invalid:9092',
        client,
        pendingBytesMax: 1024 * 1024,
        recordBytesMax: 512 * 1024,
        metrics: createMetrics(),
        logger: createLogger({ level: 'silent' }),
      });
      await expect(nowhere.start()).rejects.toThrow(/LOG_UNREACHABLE.*does not resolve/);
    }, 60_000);

    test('refuses in a bounded time and within a bounded queue, recovers by itself, and keeps what it acknowledged', async () => {
      const kept = new Map<number, string>();
      const append = async (text: string): Promise<void> => {
        kept.set((await appendOne(log, 0, 'key', Buffer.from(text))).offset, text);
      };
      const seen = new Map<number, string>();
      let current: PartitionLease | null = null;
      const consumer = await log.consume('processors', async (lease) => {
        current = lease;
        let next = lease.committed.offset;
        while (!lease.signal.aborted) {
          const batch = await lease.read(next, { bytesMax: 1024 * 1024, waitMsMax: 500 }).catch(() => null);
          if (batch === null) continue;
          for (const [index, text] of texts(batch).entries())
            seen.set(batch.offsets?.[index] ?? batch.first + index, text);
          next = batch.last + 1;
        }
      });
      for (let index = 0; index < 50; index++) await append(`before-${index}`);
      kafka.kill();
      const results = await Promise.allSettled(
        Array.from({ length: 60 }, () => appendOne(log, 0, 'key', new Uint8Array(50_000))),
      );
      const codes = results.map((result) => (result.status === 'rejected' ? (result.reason as LogError).code : 'kept'));
      expect(new Set(codes)).toEqual(new Set(['LOG_FULL', 'LOG_UNREACHABLE']));
      expect(log.pendingBytes).toBe(0);
      expect(await started.value.health()).toMatch(/LOG_UNREACHABLE/);
      await kafka.restart();
      const up = performance.now();
      for (let index = 0; index < 50; ) {
        try {
          await append(`after-${index}`);
          if (index++ === 0) console.log(`${client}: taken ${seconds(up)} after the broker was back`);
        } catch (error) {
          expect(error).toBeInstanceOf(LogError);
          if (performance.now() > up + RECOVERY_MS_MAX) throw error;
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      }
      await until(async () => [...kept.keys()].every((offset) => seen.has(offset)));
      console.log(`${client}: read ${seconds(up)} after the broker was back`);
      for (const [offset, text] of kept) expect(seen.get(offset)).toBe(text);
      expect(current).not.toBeNull();
      await until(async () => (await started.value.health()) === null);
      await consumer.stop();
      // A broker takes minutes to start where many tests run at once.
    }, 400_000);
  },
);

async function until(condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('it did not come to pass in time');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
