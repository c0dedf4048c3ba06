import { setMaxListeners } from 'node:events';
import {
  type Component,
  type Log,
  type LogEngine,
  LogError,
  type Logger,
  type Metrics,
  type TopicOptions,
} from '@millrace/core';
import { createMeasures } from '../measures.ts';
import { Appender } from './appender.ts';
import type { KafkaClient } from './client.ts';
import { KafkajsClient } from './kafkajs/client.ts';
import { KafkaTopic } from './topic.ts';

export interface KafkaLogOptions {
  /** host:port, comma-separated. */
  readonly brokers: string;
  readonly clientId?: string;
  /** Of topics that are created; -1 takes the brokers' default. */
  readonly replication: number;
  readonly pendingBytesMax: number;
  readonly recordBytesMax: number;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** Room for Kafka's own framing around a record. */
const OVERHEAD_BYTES = 64 * 1024;

/** The log in Apache Kafka. Acknowledged by all in-sync replicas; topics are created if missing. */
export function kafkaLog(options: KafkaLogOptions): Component<LogEngine> {
  return {
    name: 'log',
    async start() {
      const engine = new KafkaEngine(options);
      try {
        await engine.start();
      } catch (error) {
        await engine.stop();
        throw error;
      }
      let stopping: Promise<void> | undefined;
      return {
        value: engine as LogEngine,
        drain: (deadlineMs) => engine.drain(deadlineMs),
        stop() {
          stopping ??= engine.stop();
          return stopping;
        },
      };
    },
  };
}

class KafkaEngine implements LogEngine {
  readonly name = 'kafka';
  readonly #options: KafkaLogOptions;
  readonly #client: KafkaClient;
  readonly #appender: Appender;
  readonly #topics = new Map<string, Promise<KafkaTopic>>();
  readonly #open: KafkaTopic[] = [];
  readonly #ending = new AbortController();

  constructor(options: KafkaLogOptions) {
    this.#options = options;
    this.#client = new KafkajsClient({
      brokers: options.brokers.split(',').map((broker) => broker.trim()),
      clientId: options.clientId ?? 'millrace',
      tls: null,
      sasl: null,
      compression: 'none',
      logger: options.logger,
    });
    const measures = createMeasures(options.metrics, {
      pendingBytes: () => this.#appender.pendingBytes,
      bytes: () => 0,
      partitions: () => this.#nexts(),
      lags: () => this.#lags(),
    });
    // Whoever reads listens, as many as there are partitions.
    setMaxListeners(0, this.#ending.signal);
    const { pendingBytesMax, logger } = options;
    this.#appender = new Appender(this.#client, { pendingBytesMax, measures, logger });
  }

  async start(): Promise<void> {
    await this.#client.connect();
    await this.#appender.start();
  }

  topic(options: TopicOptions): Promise<Log> {
    let topic = this.#topics.get(options.topic);
    if (topic === undefined) {
      topic = this.#openTopic(options);
      topic.catch(() => this.#topics.delete(options.topic));
      this.#topics.set(options.topic, topic);
    }
    return topic;
  }

  async #openTopic(options: TopicOptions): Promise<KafkaTopic> {
    const { topic, partitionCount, retentionMs, retentionBytes, compacted = false } = options;
    const { replication, recordBytesMax } = this.#options;
    const { admin } = this.#client;
    let found = await admin.describeTopic(topic);
    if (found === null) {
      const settings = new Map([
        ['cleanup.policy', compacted ? 'compact' : 'delete'],
        ['max.message.bytes', String(recordBytesMax + OVERHEAD_BYTES)],
      ]);
      if (!compacted) {
        settings.set('retention.ms', String(retentionMs));
        // Kafka's limit is a partition's.
        settings.set('retention.bytes', String(Math.ceil(retentionBytes / partitionCount)));
      }
      if (replication >= 3) settings.set('min.insync.replicas', '2');
      await admin.createTopic(topic, { partitionCount, replication, settings });
      found = await admin.describeTopic(topic);
    }
    if (found === null || found.partitions.length === 0)
      throw new LogError('LOG_UNREACHABLE', 'later', { topic, problem: 'the topic has no partitions yet' });
    const largest = Number(found.settings.get('max.message.bytes') ?? recordBytesMax + OVERHEAD_BYTES);
    const opened = new KafkaTopic(
      { client: this.#client, appender: this.#appender, logger: this.#options.logger, ending: this.#ending.signal },
      topic,
      found.partitions.length,
      Math.min(recordBytesMax, Math.max(1_024, largest - OVERHEAD_BYTES)),
    );
    this.#open.push(opened);
    return opened;
  }

  async health(): Promise<string | null> {
    const { fault } = this.#appender;
    if (fault !== null) return fault.message;
    try {
      await this.#client.admin.brokerCount();
      return null;
    } catch (cause) {
      return `${(cause as Error).message}: see that the brokers at MILLRACE_KAFKA_BROKERS run and can be reached`;
    }
  }

  *#nexts(): Iterable<{ topic: string; partition: number; next: number }> {
    for (const { topic, members } of this.#open) {
      for (const { highs } of members) for (const [partition, next] of highs) yield { topic, partition, next };
    }
  }

  /** Of the partitions that this process consumes. */
  *#lags(): Iterable<{ topic: string; group: string; partition: number; lag: number }> {
    for (const { topic, members } of this.#open) {
      for (const { group, highs, committed } of members) {
        for (const [partition, next] of highs) {
          yield { topic, group, partition, lag: Math.max(0, next - (committed.get(partition) ?? next)) };
        }
      }
    }
  }

  drain(deadlineMs: number): Promise<void> {
    return this.#appender.drain(deadlineMs);
  }

  async stop(): Promise<void> {
    await Promise.allSettled(this.#open.map((topic) => topic.stop()));
    this.#ending.abort();
    await this.#appender.stop();
    await this.#client.close();
  }
}
