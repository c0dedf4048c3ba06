import type { LogError } from '@millrace/core';
import { createAPI, initProducerIdV4, produceV9, protocolErrorsCodesById, Writer } from '@platformatic/kafka';
import type { KafkaProducer, ProducedBatch } from '../client.ts';
import { brokerFault } from '../faults.ts';
import { type Brokers, CALL_MS_MAX, Links } from './brokers.ts';
import { answerOf, isLasting, platformaticFault } from './faults.ts';
import { patiently, pause } from './patience.ts';
import { type BatchCompression, encodeBatch } from './record-batch.ts';

/** So long one request may wait for the in-sync replicas, and a broker for its answer beyond that. */
const REPLICAS_MS_MAX = 4_000;
/** So long a send is tried again: long enough for another broker to lead after one was killed or stopped. */
const SEND_MS_MAX = 14_000;
const WAIT_MS_MIN = 50;
const WAIT_MS_MAX = 1_000;
const ALL_IN_SYNC = -1;
const SEQUENCE_END = 2 ** 31;
const NO_TRANSACTIONS_MS = 60_000;

type ProduceResponse = produceV9.ProduceResponse;

/** A batch as it goes over the wire, the same at each attempt. */
interface Sealed {
  readonly topic: string;
  readonly partition: number;
  readonly bytes: Buffer;
  readonly count: number;
  readonly key: string;
  base: number | null;
}

/** What may be otherwise at the next attempt; whether it was kept is told by the sequence numbers. */
const PASSING = new Set([
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_OR_FOLLOWER',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'REPLICA_NOT_AVAILABLE',
  'BROKER_NOT_AVAILABLE',
  'REQUEST_TIMED_OUT',
  'NETWORK_EXCEPTION',
  'NOT_ENOUGH_REPLICAS',
  'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
  'KAFKA_STORAGE_ERROR',
  'THROTTLING_QUOTA_EXCEEDED',
]);

/** An idempotent producer with sequence numbers of its own.
 *  @holds what a broker did not answer is sent again as the very same batch under the same sequence number, so that the
 *         broker either keeps it or answers with the offset that it has already */
export class PlatformaticProducer implements KafkaProducer {
  readonly #brokers: Brokers;
  readonly #links: Links;
  readonly #identity: { readonly producerId: bigint; readonly producerEpoch: number };
  readonly #compression: BatchCompression | null;
  readonly #sequences = new Map<string, number>();
  readonly #ending = new AbortController();

  private constructor(
    brokers: Brokers,
    identity: { readonly producerId: bigint; readonly producerEpoch: number },
    compression: BatchCompression | null,
  ) {
    this.#brokers = brokers;
    this.#links = new Links(brokers);
    this.#identity = identity;
    this.#compression = compression;
  }

  /** @throws LogError */
  static async connect(brokers: Brokers, compression: BatchCompression | null): Promise<PlatformaticProducer> {
    const identity = await patiently(CALL_MS_MAX * 2, () =>
      brokers.any((link) => link.call(initProducerIdV4.api, CALL_MS_MAX, null, NO_TRANSACTIONS_MS, -1n, -1)),
    );
    return new PlatformaticProducer(brokers, identity, compression);
  }

  async send(batches: readonly ProducedBatch[]): Promise<readonly number[]> {
    const end = performance.now() + SEND_MS_MAX;
    const sealed = await Promise.all(batches.map((batch) => this.#seal(batch)));
    let left = sealed;
    for (let failed = 0; ; failed++) {
      await this.#learnLeaders(left, failed > 0);
      const fault = await this.#attempt(left);
      left = left.filter(({ base }) => base === null);
      if (left.length === 0) break;
      const waitMs = Math.min(WAIT_MS_MAX, WAIT_MS_MIN * 2 ** failed);
      if (performance.now() + waitMs > end || this.#ending.signal.aborted) throw fault;
      await pause(waitMs, this.#ending.signal);
    }
    for (const { key, count } of sealed) {
      this.#sequences.set(key, ((this.#sequences.get(key) ?? 0) + count) % SEQUENCE_END);
    }
    return sealed.map(({ base }) => base as number);
  }

  async #seal({ topic, partition, records }: ProducedBatch): Promise<Sealed> {
    const key = `${topic}/${partition}`;
    const identity = { ...this.#identity, sequence: this.#sequences.get(key) ?? 0 };
    const bytes = await encodeBatch(records, identity, Date.now(), this.#compression);
    return { topic, partition, bytes, count: records.length, key, base: null };
  }

  /** Who leads is asked where it is not known, or may have changed. */
  async #learnLeaders(sealed: readonly Sealed[], anew: boolean): Promise<void> {
    const topics = new Set<string>();
    for (const { topic, partition } of sealed) {
      if (anew || this.#brokers.leader(topic, partition) === null) topics.add(topic);
    }
    // Without an answer the attempt fails, and is made again.
    await Promise.allSettled([...topics].map((topic) => this.#brokers.refresh(topic)));
  }

  /** Sends to each leader what is its own.
   *  @returns the last fault, of those that pass  @throws LogError of those that do not */
  async #attempt(sealed: readonly Sealed[]): Promise<LogError> {
    let passing = brokerFault('LEADER_NOT_AVAILABLE', '', undefined);
    const nodes = new Map<number, Sealed[]>();
    for (const one of sealed) {
      const node = this.#brokers.leader(one.topic, one.partition);
      if (node === null) continue;
      const own = nodes.get(node);
      if (own === undefined) nodes.set(node, [one]);
      else own.push(one);
    }
    // All are waited for: what is under way must not be once this fails.
    const answers = await Promise.allSettled([...nodes].map(([node, own]) => this.#sendTo(node, own)));
    for (const answer of answers) {
      if (answer.status === 'rejected') throw answer.reason;
      if (answer.value !== null) passing = answer.value;
    }
    return passing;
  }

  async #sendTo(node: number, sealed: readonly Sealed[]): Promise<LogError | null> {
    let answer: ProduceResponse;
    try {
      const link = await this.#links.to(node);
      answer = await link.call(produce, REPLICAS_MS_MAX + CALL_MS_MAX, sealed).catch((error: unknown) => {
        const partly = answerOf<ProduceResponse>(error);
        if (partly === null) throw error;
        return partly;
      });
    } catch (cause) {
      const fault = platformaticFault(cause);
      if (isLasting(fault)) throw fault;
      return fault;
    }
    let passing: LogError | null = null;
    for (const { name: topic, partitionResponses } of answer.responses) {
      for (const { index, errorCode, errorMessage, baseOffset } of partitionResponses) {
        const one = sealed.find((each) => each.partition === index && each.topic === topic);
        if (one === undefined) continue;
        if (errorCode === 0 && baseOffset >= 0n) {
          one.base = Number(baseOffset);
          continue;
        }
        const name = protocolErrorsCodesById[errorCode] ?? `error ${errorCode}`;
        const fault = brokerFault(name, errorMessage ?? name, undefined);
        if (!PASSING.has(name)) throw fault;
        passing = fault;
      }
    }
    return passing;
  }

  async close(): Promise<void> {
    this.#ending.abort();
    this.#links.close();
  }
}

/** The library's own makes a batch of objects, several for each record; this one is given batches that are made.
 *  @source Apache Kafka, Produce v9: transactional_id acks timeout_ms [name [index records]] */
const produce = createAPI<[readonly Sealed[]], ProduceResponse>(
  0,
  9,
  (sealed: readonly Sealed[]) => {
    const topics = new Map<string, Sealed[]>();
    for (const one of sealed) {
      const own = topics.get(one.topic);
      if (own === undefined) topics.set(one.topic, [one]);
      else own.push(one);
    }
    return Writer.create()
      .appendString(null)
      .appendInt16(ALL_IN_SYNC)
      .appendInt32(REPLICAS_MS_MAX)
      .appendArray([...topics], (writer, [topic, batches]) => {
        writer.appendString(topic).appendArray(batches, (each, { partition, bytes }) => {
          each.appendInt32(partition).appendBytes(bytes);
        });
      })
      .appendTaggedFields();
  },
  produceV9.parseResponse,
);
