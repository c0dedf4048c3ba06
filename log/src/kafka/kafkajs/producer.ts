import { LogError } from '@millrace/core';
import type { ICustomPartitioner, Kafka, Producer } from 'kafkajs';
import type { KafkaCompression, KafkaProducer, ProducedBatch, ProducedRecord } from '../client.ts';
import { compressionType } from './codecs.ts';
import { kafkaFault } from './faults.ts';
import type { Leaders } from './leaders.ts';

/** The producer's own attempts take about 10 s. */
const ATTEMPTS = { retries: 6, initialRetryTime: 100, maxRetryTime: 3_000 };
/** So often leaders may move while one send is under way; then each partition goes alone. */
const REGROUPINGS_MAX = 3;

/** The leaders of the partitions of one request are not one any more. Nothing of it was sent. */
class LeadersMoved extends Error {
  override readonly name = 'LeadersMoved';
}

/** What kafkajs takes as a reason to ask for the leaders before it tries again. It doesn't after a request that got no
 *  answer: it would repeat it at a broker that hangs as long as its attempts last, whoever leads by then. */
class LeaderSilent extends Error {
  override readonly name = 'KafkaJSMetadataNotLoaded';
  readonly retriable = true;
}

/** An idempotent producer of kafkajs that is only ever asked for one broker's partitions at a time.
 *  @holds kafkajs itself splits what it is given by leader. When one of these requests fails it repeats all that has no
 *         answer yet under new sequence numbers, so what was under way is appended twice; and what has moved to a
 *         broker that has answered already it never sends, and says that it did. With one broker a call there is
 *         nothing to get wrong: what failed is repeated as it was, and the broker tells the repetition. */
export class KafkajsProducer implements KafkaProducer {
  readonly #producer: Producer;
  readonly #leaders: Leaders;
  readonly #compression: number;
  /** Requests that got no answer in time. */
  readonly #silences = { count: 0 };

  private constructor(producer: Producer, leaders: Leaders, compression: KafkaCompression) {
    this.#producer = producer;
    this.#leaders = leaders;
    this.#compression = compressionType(compression);
    producer.on(producer.events.REQUEST_TIMEOUT, () => {
      this.#silences.count++;
    });
  }

  static async connect(kafka: Kafka, leaders: Leaders, compression: KafkaCompression): Promise<KafkajsProducer> {
    const producer = kafka.producer({
      idempotent: true,
      allowAutoTopicCreation: false,
      maxInFlightRequests: 1,
      retry: ATTEMPTS,
      createPartitioner: partitioner(leaders),
    });
    try {
      await producer.connect();
      return new KafkajsProducer(producer, leaders, compression);
    } catch (cause) {
      await producer.disconnect().catch(() => {});
      throw kafkaFault(cause);
    }
  }

  async send(batches: readonly ProducedBatch[]): Promise<readonly number[]> {
    const bases = new Map<ProducedBatch, number>();
    let left = batches;
    for (let round = 0; left.length > 0; round++) {
      const groups = this.#grouped(left, round >= REGROUPINGS_MAX);
      const sent = await Promise.allSettled(groups.map((group) => this.#sendTogether(group, bases)));
      const faults = sent.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
      const fault = faults.find((one) => !hasMoved(one));
      if (fault !== undefined) throw kafkaFault(fault);
      left = groups.flatMap((group, index) => (sent[index]?.status === 'rejected' ? group : []));
    }
    return batches.map((batch) => bases.get(batch) as number);
  }

  /** One topic's partitions of one leader together; whose leader is not known goes alone. */
  #grouped(batches: readonly ProducedBatch[], alone: boolean): ProducedBatch[][] {
    const groups = new Map<string, ProducedBatch[]>();
    for (const batch of batches) {
      const { topic, partition } = batch;
      const leader = this.#leaders.of(topic, partition);
      const key = alone || leader < 0 ? `${topic}/${partition}` : `${topic} at ${leader}`;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [batch]);
      else group.push(batch);
    }
    return [...groups.values()];
  }

  async #sendTogether(group: readonly ProducedBatch[], bases: Map<ProducedBatch, number>): Promise<void> {
    const [{ topic }] = group as [ProducedBatch];
    const results = await this.#producer.sendBatch({
      acks: -1,
      compression: this.#compression,
      topicMessages: [{ topic, messages: sorted(group, this.#leaders, this.#silences) }],
    });
    const found = new Map(results.map((one) => [one.partition, Number(one.baseOffset)]));
    for (const batch of group) {
      const base = found.get(batch.partition) ?? -1;
      if (base < 0) {
        const facts = { topic, partition: batch.partition, problem: 'Kafka gave no offset' };
        throw new LogError('LOG_UNREACHABLE', 'later', facts);
      }
      bases.set(batch, base);
    }
  }

  async close(): Promise<void> {
    await this.#producer.disconnect().catch(() => {});
  }
}

/** Messages that are sorted by partition already: kafkajs copies all before it for each message that it sorts. */
class Sorted extends Array<ProducedRecord> {
  batches: readonly ProducedBatch[] = [];
  leaders: Leaders | null = null;
  silences: { readonly count: number } = { count: 0 };
  /** As many as there were at the last attempt. */
  silenceCount = 0;

  /** What kafkajs calls to sort, right before it splits by leader; the given function asks the partitioner.
   *  @throws LeadersMoved when what goes together has several leaders; nothing is sent then
   *  @throws LeaderSilent before an attempt that follows one without an answer */
  override reduce(sort: unknown): never {
    const { batches, leaders, silences } = this;
    if (silences.count !== this.silenceCount) {
      this.silenceCount = silences.count;
      throw new LeaderSilent('a broker did not answer: who leads now?');
    }
    const led = new Set<number>();
    for (const { topic, partition, records } of batches) {
      (sort as (sorted: object, first: unknown) => void)({}, records[0]);
      led.add(leaders?.of(topic, partition) ?? -1);
    }
    if (led.size > 1) throw new LeadersMoved();
    return Object.fromEntries(batches.map(({ partition, records }) => [partition, records])) as never;
  }
}

function sorted(batches: readonly ProducedBatch[], leaders: Leaders, silences: { readonly count: number }): Sorted {
  const messages = new Sorted();
  messages.batches = batches;
  messages.leaders = leaders;
  messages.silences = silences;
  messages.silenceCount = silences.count;
  for (const { records } of batches) for (const record of records) messages.push(record);
  return messages;
}

/** Takes what each message says, and hears by the way who leads. */
function partitioner(leaders: Leaders): ICustomPartitioner {
  return () =>
    ({ topic, partitionMetadata, message }) => {
      leaders.learn(topic, partitionMetadata);
      return message.partition ?? 0;
    };
}

function hasMoved(error: unknown): boolean {
  return error instanceof LeadersMoved || (error as { cause?: unknown }).cause instanceof LeadersMoved;
}
