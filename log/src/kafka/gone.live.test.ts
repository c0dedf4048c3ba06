import { createLogger } from '@millrace/core';
import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kafkaAvailable, type RunningKafka, startKafka } from '../testing/kafka.ts';
import type { KafkaClient, KafkaMember } from './client.ts';
import { KafkajsClient } from './kafkajs/client.ts';
import { PlatformaticClient } from './platformatic/client.ts';

const missing = kafkaAvailable();
const COUNT = 20;
const GONE = 10;

describe.skipIf(missing !== null)('an offset that Kafka has removed (needs java and mvn)', () => {
  let kafka: RunningKafka;
  const ends: (() => Promise<unknown>)[] = [];
  beforeAll(async () => {
    kafka = await startKafka();
  }, 300_000);
  afterAll(async () => {
    for (const end of ends.reverse()) await end();
    await kafka?.stop();
  }, 60_000);

  const connection = () => ({
    brokers: kafka.brokers.split(','),
    clientId: 'gone',
    tls: null,
    sasl: null,
    compression: 'none' as const,
    logger: createLogger({ level: 'silent' }),
  });

  /** A member that has the topic's one partition. */
  async function memberOf(client: KafkaClient, topic: string): Promise<KafkaMember> {
    let joined = (): void => {};
    const ours = new Promise<void>((resolve) => {
      joined = resolve;
    });
    const member = client.member(topic, `readers of ${topic}`, { joined: () => joined(), leaving: () => {} });
    ends.push(() => member.stop());
    await member.start();
    await ours;
    return member;
  }

  test.each([
    ['kafkajs', () => new KafkajsClient(connection())],
    ['platformatic', () => new PlatformaticClient(connection())],
  ] as const)(
    'is passed over by %s, and what the group has committed stays',
    async (name, open) => {
      const client: KafkaClient = open();
      ends.push(() => client.close());
      await client.connect();
      const topic = `gone-${name}`;
      await client.admin.createTopic(topic, { partitionCount: 1, replication: 1, settings: new Map() });
      const producer = await client.producer();
      ends.push(() => producer.close());
      const records = Array.from({ length: COUNT }, (_, index) => {
        return { topic, partition: 0, key: null, value: Buffer.from(`${index}`) };
      });
      // Of a batch that is kept in part Kafka gives the whole.
      for (const half of [records.slice(0, GONE), records.slice(GONE)])
        await producer.send([{ topic, partition: 0, records: half }]);
      const member = await memberOf(client, topic);
      await member.commit(0, 2, 'intent:2-7');
      const admin = new kafkajs.Kafka({
        brokers: kafka.brokers.split(','),
        logLevel: kafkajs.logLevel.NOTHING,
      }).admin();
      await admin.connect();
      ends.push(() => admin.disconnect());
      // It looks for the leader only in what it has asked for before.
      await admin.fetchTopicOffsets(topic);
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(GONE) }] });

      const batch = await member.read(0, 2, { bytesMax: 1_024, waitMsMax: 60_000 }, []);
      expect(batch?.first).toBe(GONE);
      expect((await client.admin.committed(`readers of ${topic}`, topic)).get(0)).toEqual({
        offset: 2,
        metadata: 'intent:2-7',
      });
      // And it goes on as if nothing had been.
      await producer.send([{ topic, partition: 0, records: records.slice(0, 1) }]);
      let next = (batch?.last ?? 0) + 1;
      while (next <= COUNT) {
        const more = await member.read(0, next, { bytesMax: 1_024, waitMsMax: 60_000 }, []);
        expect(more?.first).toBe(next);
        next = (more?.last ?? 0) + 1;
      }
      await member.commit(0, next, '');
      expect((await client.admin.committed(`readers of ${topic}`, topic)).get(0)).toEqual({
        offset: COUNT + 1,
        metadata: '',
      });
    },
    150_000,
  );
});
