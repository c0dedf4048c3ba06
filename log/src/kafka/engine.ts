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
import { type Admin, Kafka, type logCreator, logLevel } from 'kafkajs';
import { createMeasures } from '../measures.ts';
import { Appender, kafkaFault } from './appender.ts';
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
      } catch (cause) {
        await engine.stop();
        throw kafkaFault(cause);
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
  readonly #kafka: Kafka;
  readonly #admin: Admin;
  readonly #appender: Appender;
  readonly #topics = new Map<string, Promise<KafkaTopic>>();
  readonly #open: KafkaTopic[] = [];
  readonly #ending = new AbortController();

  constructor(options: KafkaLogOptions) {
    this.#options = options;
    this.#kafka = new Kafka({
      clientId: options.clientId ?? 'millrace',
      brokers: options.brokers.split(',').map((broker) => broker.trim()),
      connectionTimeout: 3_000,
      // More than the session of a group's member, see there.
      requestTimeout: 10_000,
      enforceRequestTimeout: true,
      retry: { retries: 5, initialRetryTime: 100, maxRetryTime: 2_000 },
      logLevel: logLevel.WARN,
      logCreator: pinoOf(options.logger),
    });
    this.#admin = this.#kafka.admin();
    const measures = createMeasures(options.metrics, {
      pendingBytes: () => this.#appender.pendingBytes,
      bytes: () => 0,
      partitions: () => this.#nexts(),
      lags: () => this.#lags(),
    });
    // Whoever reads listens, as many as there are partitions.
    setMaxListeners(0, this.#ending.signal);
    const { pendingBytesMax, logger } = options;
    this.#appender = new Appender(this.#kafka, { pendingBytesMax, measures, logger });
  }

  async start(): Promise<void> {
    await this.#admin.connect();
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
    const admin = this.#admin;
    try {
      const known = await admin.listTopics();
      if (!known.includes(topic)) {
        const entries: Record<string, string> = {
          'cleanup.policy': compacted ? 'compact' : 'delete',
          'max.message.bytes': String(recordBytesMax + OVERHEAD_BYTES),
          ...(compacted
            ? {}
            : {
                'retention.ms': String(retentionMs),
                // Kafka's limit is a partition's.
                'retention.bytes': String(Math.ceil(retentionBytes / partitionCount)),
              }),
          ...(replication >= 3 ? { 'min.insync.replicas': '2' } : {}),
        };
        const configEntries = Object.entries(entries).map(([name, value]) => ({ name, value }));
        await admin.createTopics({
          waitForLeaders: true,
          topics: [{ topic, numPartitions: partitionCount, replicationFactor: replication, configEntries }],
        });
      }
      const described = await admin.fetchTopicMetadata({ topics: [topic] });
      const count = described.topics[0]?.partitions.length ?? 0;
      if (count === 0)
        throw new LogError('LOG_UNREACHABLE', 'later', { topic, problem: 'the topic has no partitions yet' });
      const configs = await admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: TOPIC_RESOURCE, name: topic, configNames: ['max.message.bytes'] }],
      });
      const largest = Number(configs.resources[0]?.configEntries[0]?.configValue ?? recordBytesMax + OVERHEAD_BYTES);
      const opened = new KafkaTopic(
        {
          kafka: this.#kafka,
          admin,
          appender: this.#appender,
          logger: this.#options.logger,
          ending: this.#ending.signal,
        },
        topic,
        count,
        Math.min(recordBytesMax, Math.max(1_024, largest - OVERHEAD_BYTES)),
      );
      this.#open.push(opened);
      return opened;
    } catch (cause) {
      throw kafkaFault(cause);
    }
  }

  async health(): Promise<string | null> {
    const { fault } = this.#appender;
    if (fault !== null) return fault.message;
    try {
      await this.#admin.describeCluster();
      return null;
    } catch (cause) {
      return `${kafkaFault(cause).message}: see that the brokers at MILLRACE_KAFKA_BROKERS run and can be reached`;
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
    await this.#admin.disconnect().catch(() => {});
  }
}

/** ConfigResourceTypes.TOPIC */
const TOPIC_RESOURCE = 2;

/** kafkajs's log lines in ours. What it calls an error it mostly retries: only a warning here. */
function pinoOf(logger: Logger): logCreator {
  return () =>
    ({ level, log }) => {
      const { message, error } = log;
      const facts = { kafka: log.logger as unknown, problem: error as unknown };
      if (level <= logLevel.ERROR) logger.warn(facts, message);
      else logger.debug(facts, message);
    };
}
