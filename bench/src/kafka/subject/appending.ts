import { type AppendReceipt, createLogger, createMetrics, type LogError } from '@millrace/core';
import { kafkaLog } from '@millrace/log';
import { Producer as PlatformaticProducer, ProduceAcks } from '@platformatic/kafka';
import { Kafka, logLevel } from 'kafkajs';
import type { SubjectPlan } from './plan.ts';

/** Takes records and tells of each when it is acknowledged. */
export interface Appending {
  append(partition: number, record: Buffer, acked: () => void): void;
  close(): Promise<void>;
}

/** A record that is refused is no figure: the subject ends. */
function fail(error: unknown): never {
  throw error;
}

export async function openAppending(plan: SubjectPlan): Promise<Appending> {
  if (plan.layer === 'log') return await openLogAppending(plan);
  return plan.client === 'kafkajs' ? await openKafkajs(plan) : await openPlatformatic(plan);
}

/** One object a message, as the ingress has it. */
class Receipt implements AppendReceipt {
  readonly #acked: () => void;

  constructor(acked: () => void) {
    this.#acked = acked;
  }

  appended(): void {
    this.#acked();
  }

  refused(error: LogError): void {
    setImmediate(fail, error);
  }
}

export function openLog(plan: SubjectPlan) {
  return kafkaLog({
    brokers: plan.brokers,
    client: plan.client,
    compression: plan.compression,
    replication: 1,
    pendingBytesMax: 64 * 1024 * 1024,
    recordBytesMax: 1024 * 1024,
    metrics: createMetrics(),
    logger: createLogger({ level: 'warn' }),
  }).start();
}

export const topicOf = ({ topic, partitions }: SubjectPlan) => ({
  topic,
  partitionCount: partitions,
  retentionMs: 3_600_000,
  retentionBytes: 2 ** 40,
});

async function openLogAppending(plan: SubjectPlan): Promise<Appending> {
  const started = await openLog(plan);
  const log = await started.value.topic(topicOf(plan));
  return {
    append: (partition, record, acked) => log.append(partition, '', record, new Receipt(acked)),
    async close() {
      await started.drain(5_000);
      await started.stop();
    },
  };
}

interface Waiting {
  readonly partition: number;
  readonly record: Buffer;
  readonly acked: () => void;
}

/** What is the least around a bare library: records gather until the event loop turns, one request is under way. */
class Gathering {
  readonly #send: (waiting: readonly Waiting[]) => Promise<unknown>;
  #waiting: Waiting[] = [];
  #sending = false;

  constructor(send: (waiting: readonly Waiting[]) => Promise<unknown>) {
    this.#send = send;
  }

  append(partition: number, record: Buffer, acked: () => void): void {
    if (this.#waiting.length === 0 && !this.#sending) setImmediate(() => void this.#round());
    this.#waiting.push({ partition, record, acked });
  }

  async #round(): Promise<void> {
    this.#sending = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    try {
      await this.#send(waiting);
    } catch (error) {
      setImmediate(fail, error);
    }
    for (const { acked } of waiting) acked();
    this.#sending = false;
    if (this.#waiting.length > 0) setImmediate(() => void this.#round());
  }
}

async function openKafkajs({ brokers, topic }: SubjectPlan): Promise<Appending> {
  const kafka = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.WARN });
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, allowAutoTopicCreation: false });
  await producer.connect();
  const gathering = new Gathering((waiting) =>
    producer.send({
      topic,
      acks: -1,
      messages: waiting.map(({ partition, record }) => ({ partition, key: null, value: record })),
    }),
  );
  return {
    append: (partition, record, acked) => gathering.append(partition, record, acked),
    close: () => producer.disconnect(),
  };
}

async function openPlatformatic({ brokers, topic }: SubjectPlan): Promise<Appending> {
  const producer = new PlatformaticProducer<Buffer, Buffer>({
    clientId: 'bench',
    bootstrapBrokers: brokers.split(','),
    idempotent: true,
    acks: ProduceAcks.ALL,
    autocreateTopics: false,
  });
  const gathering = new Gathering((waiting) =>
    producer.send({ messages: waiting.map(({ partition, record }) => ({ topic, partition, value: record })) }),
  );
  return {
    append: (partition, record, acked) => gathering.append(partition, record, acked),
    close: () => producer.close(),
  };
}
