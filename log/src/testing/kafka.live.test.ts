import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kafkaAvailable, type RunningKafka, startKafka } from './kafka.ts';

const missing = kafkaAvailable();
const TOPIC = 'three';
const SEND_MS_MAX = 90_000;
const AGAIN_MS = 250;

const client = ({ brokers }: RunningKafka): Kafka =>
  new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING, requestTimeout: 2_000, retry: { retries: 1 } });

describe.skipIf(missing !== null)(`three brokers${missing === null ? '' : ` (${missing})`}`, () => {
  let kafka: RunningKafka;

  beforeAll(async () => {
    kafka = await startKafka({ brokerCount: 3, properties: { 'broker.session.timeout.ms': 3_000 } });
    const admin = client(kafka).admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: TOPIC, numPartitions: 3 }] });
    await admin.disconnect();
  }, 240_000);
  afterAll(async () => {
    await kafka?.stop();
  }, 60_000);

  /** To each partition, by a producer that knows nothing of yesterday's leaders; again until all took it. */
  const send = async (value: string): Promise<void> => {
    const endMs = performance.now() + SEND_MS_MAX;
    for (;;) {
      const producer = client(kafka).producer();
      try {
        await producer.connect();
        const messages = [0, 1, 2].map((partition) => ({ partition, value }));
        await producer.send({ topic: TOPIC, acks: -1, messages });
        return;
      } catch (error) {
        // A dead leader refuses at once, and is replaced only when its session has ended.
        if (performance.now() > endMs) throw error;
        await sleep(AGAIN_MS);
      } finally {
        await producer.disconnect().catch(() => {});
      }
    }
  };

  test('keep every topic on all three', async () => {
    await send('first');
    await kafka.inSync();
  });

  test('take records while one of them is dead, which catches up when it is back', { timeout: 180_000 }, async () => {
    kafka.nodes[0]?.kill();
    try {
      await send('while one is dead');
      await expect(kafka.inSync(1_000)).rejects.toThrow('not in sync');
    } finally {
      await kafka.nodes[0]?.restart();
    }
    await kafka.inSync();
  });

  test('take records while one of them hangs', { timeout: 180_000 }, async () => {
    kafka.nodes[1]?.pause();
    try {
      await send('while one hangs');
    } finally {
      kafka.nodes[1]?.resume();
    }
    await kafka.inSync();
  });
});
