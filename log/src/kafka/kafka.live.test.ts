import { createLogger, createMetrics, type LogEngine, type Started } from '@millrace/core';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { describeLog } from '../conformance.ts';
import { kafkaAvailable, type RunningKafka, startKafka } from '../testing/kafka.ts';
import { kafkaLog } from './engine.ts';

const missing = kafkaAvailable();
let running: RunningKafka | undefined;

async function open(client: 'kafkajs' | 'platformatic'): Promise<Started<LogEngine>> {
  return await kafkaLog({
    brokers: running?.brokers ?? '',
    client,
    replication: 1,
    pendingBytesMax: 64 * 1024 * 1024,
    recordBytesMax: 4 * 1024 * 1024,
    metrics: createMetrics(),
    logger: createLogger({ level: process.env.LOG_LEVEL ?? 'silent' }),
  }).start();
}

if (missing !== null) {
  describe('the log: Apache Kafka', () => {
    test.skip(`needs a broker: ${missing}`, () => {});
  });
} else {
  describe('with a real broker', () => {
    beforeAll(async () => {
      running = await startKafka();
    }, 300_000);
    afterAll(async () => {
      await running?.stop();
    });
    for (const client of ['kafkajs', 'platformatic'] as const) {
      describeLog(`Apache Kafka by ${client}`, async () => {
        let started = await open(client);
        return {
          engine: started.value,
          async reopen() {
            await started.drain(1_000);
            await started.stop();
            started = await open(client);
            return started.value;
          },
          close: () => started.stop(),
        };
      });
    }
  });
}
