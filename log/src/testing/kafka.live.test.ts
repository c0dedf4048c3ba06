import { Kafka, logLevel, type Producer } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kafkaAvailable, type RunningKafka, startKafka } from './kafka.ts';

const missing = kafkaAvailable();
const TOPIC = 'three';

describe.skipIf(missing !== null)(`three brokers${missing === null ? '' : ` (${missing})`}`, () => {
  let kafka: RunningKafka;
  let producer: Producer;

  beforeAll(async () => {
    kafka = await startKafka({ brokerCount: 3, properties: { 'broker.session.timeout.ms': 3_000 } });
    const client = new Kafka({
      brokers: kafka.brokers.split(','),
      logLevel: logLevel.NOTHING,
      requestTimeout: 5_000,
      retry: { retries: 60, maxRetryTime: 1_000 },
    });
    const admin = client.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: TOPIC, numPartitions: 3 }] });
    await admin.disconnect();
    producer = client.producer({ idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
  }, 240_000);
  afterAll(async () => {
    await producer?.disconnect();
    await kafka?.stop();
  }, 60_000);

  const send = (value: string) =>
    producer.send({ topic: TOPIC, acks: -1, messages: [0, 1, 2].map((partition) => ({ partition, value })) });

  test('keep every topic on all three', async () => {
    await send('first');
    await kafka.inSync();
  });

  test('take records while one of them is dead, which catches up when it is back', { timeout: 180_000 }, async () => {
    kafka.nodes[0]?.kill();
    await send('while one is dead');
    await expect(kafka.inSync(1_000)).rejects.toThrow('not in sync');
    await kafka.nodes[0]?.restart();
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
