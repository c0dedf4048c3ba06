import { Consumer as PlatformaticConsumer } from '@platformatic/kafka';
import { Kafka, logLevel } from 'kafkajs';
import { openLog, topicOf } from './appending.ts';
import type { SubjectPlan } from './plan.ts';

const READ_BYTES_MAX = 1024 * 1024;

/** Reads a topic from its beginning in a group of its own and tells how many records came, as they come. */
export async function consume(plan: SubjectPlan, came: (count: number) => void): Promise<() => Promise<void>> {
  if (plan.layer === 'log') return await consumeLog(plan, came);
  return plan.client === 'kafkajs' ? await consumeKafkajs(plan, came) : await consumePlatformatic(plan, came);
}

let groups = 0;
const groupOf = ({ layer, client, topic }: SubjectPlan): string =>
  `bench-${layer}-${client}-${topic}-${process.pid}-${++groups}`;

async function consumeLog(plan: SubjectPlan, came: (count: number) => void): Promise<() => Promise<void>> {
  const started = await openLog(plan);
  const log = await started.value.topic(topicOf(plan));
  const consumer = await log.consume(groupOf(plan), async (lease) => {
    let next = lease.committed.offset;
    while (!lease.signal.aborted) {
      const batch = await lease.read(next, { bytesMax: READ_BYTES_MAX, waitMsMax: 1_000 }).catch(() => null);
      if (batch === null) continue;
      came(batch.count);
      next = batch.last + 1;
    }
  });
  return async () => {
    await consumer.stop();
    await started.stop();
  };
}

async function consumeKafkajs(plan: SubjectPlan, came: (count: number) => void): Promise<() => Promise<void>> {
  const kafka = new Kafka({ brokers: plan.brokers.split(','), logLevel: logLevel.WARN });
  const consumer = kafka.consumer({ groupId: groupOf(plan), maxBytesPerPartition: 2 * READ_BYTES_MAX });
  await consumer.connect();
  await consumer.subscribe({ topics: [plan.topic], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    partitionsConsumedConcurrently: plan.partitions,
    eachBatch: async ({ batch }) => came(batch.messages.length),
  });
  return () => consumer.disconnect();
}

async function consumePlatformatic(plan: SubjectPlan, came: (count: number) => void): Promise<() => Promise<void>> {
  const consumer = new PlatformaticConsumer({
    clientId: 'bench',
    groupId: groupOf(plan),
    bootstrapBrokers: plan.brokers.split(','),
  });
  const stream = await consumer.consume({
    topics: [plan.topic],
    mode: 'earliest',
    autocommit: false,
    maxBytes: 2 * READ_BYTES_MAX,
  });
  stream.on('data', () => came(1));
  return () => new Promise<void>((resolve) => consumer.close(true, () => resolve()));
}
