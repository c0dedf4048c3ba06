import type { Kafka, Message, Producer } from 'kafkajs';
import type { KafkaProducer, ProducedBatch } from '../client.ts';
import { kafkaFault } from './faults.ts';

/** The producer's own attempts take about 10 s. */
const ATTEMPTS = { retries: 6, initialRetryTime: 100, maxRetryTime: 3_000 };

export class KafkajsProducer implements KafkaProducer {
  readonly #producer: Producer;

  private constructor(producer: Producer) {
    this.#producer = producer;
  }

  static async connect(kafka: Kafka): Promise<KafkajsProducer> {
    const producer = kafka.producer({
      idempotent: true,
      allowAutoTopicCreation: false,
      maxInFlightRequests: 1,
      retry: ATTEMPTS,
    });
    try {
      await producer.connect();
      return new KafkajsProducer(producer);
    } catch (cause) {
      await producer.disconnect().catch(() => {});
      throw kafkaFault(cause);
    }
  }

  async send(batches: readonly ProducedBatch[]): Promise<readonly number[]> {
    const topics = new Map<string, Message[]>();
    for (const { topic, records } of batches) {
      let messages = topics.get(topic);
      if (messages === undefined) {
        messages = [];
        topics.set(topic, messages);
      }
      for (const record of records) messages.push(record);
    }
    try {
      const results = await this.#producer.sendBatch({
        acks: -1,
        topicMessages: [...topics].map(([topic, messages]) => ({ topic, messages })),
      });
      const bases = new Map(results.map((one) => [`${one.topicName}/${one.partition}`, Number(one.baseOffset)]));
      return batches.map(({ topic, partition }) => bases.get(`${topic}/${partition}`) ?? -1);
    } catch (cause) {
      throw kafkaFault(cause);
    }
  }

  async close(): Promise<void> {
    await this.#producer.disconnect().catch(() => {});
  }
}
