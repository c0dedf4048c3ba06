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
import { createMeasures, type Measures } from '../measures.ts';
import { Appender } from './appender.ts';
import type {
  KafkaClient,
  KafkaCompression,
  KafkaConnection,
  KafkaSasl,
  KafkaTls,
  TopicDescription,
} from './client.ts';
import { KafkaTopic } from './topic.ts';
import { newTopic, OVERHEAD_BYTES, shortcomings } from './topic-settings.ts';
import { Watch } from './watch.ts';

export interface KafkaLogOptions {
  /** host:port, comma-separated. */
  readonly brokers: string;
  readonly clientId?: string;
  /** The library that speaks to Kafka, kafkajs unless said otherwise. */
  readonly client?: KafkaClient['name'];
  readonly tls?: KafkaTls | null;
  readonly sasl?: KafkaSasl | null;
  readonly compression?: KafkaCompression;
  /** Of topics that are created; null: 3 where there are three brokers, else the brokers' default. */
  readonly replication?: number | null;
  /** Of topics that are created; null: 2 where there are three replicas, else the brokers' default. */
  readonly minInSync?: number | null;
  readonly lingerMs?: number;
  readonly batchBytesMax?: number;
  /** Refuse once what is needed and not read has used up this share of a topic's retention; null: never. */
  readonly unprocessedShareMax?: number | null;
  readonly pendingBytesMax: number;
  readonly recordBytesMax: number;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

const BATCH_BYTES_MAX = 900_000;
const CREATED_MS_MAX = 30_000;
const CREATED_LOOK_MS = 100;

/** The log in Apache Kafka. Acknowledged by all in-sync replicas; topics are created if missing. */
export function kafkaLog(options: KafkaLogOptions): Component<LogEngine> {
  return {
    name: 'log',
    async start() {
      const engine = new KafkaEngine(options, await openClient(options));
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

/** The library that is not asked for is not loaded. */
async function openClient(options: KafkaLogOptions): Promise<KafkaClient> {
  const connection: KafkaConnection = {
    brokers: options.brokers.split(',').map((broker) => broker.trim()),
    clientId: options.clientId ?? 'millrace',
    tls: options.tls ?? null,
    sasl: options.sasl ?? null,
    compression: options.compression ?? 'none',
    logger: options.logger,
  };
  if (options.client === 'platformatic') {
    const { PlatformaticClient } = await import('./platformatic/client.ts');
    return new PlatformaticClient(connection);
  }
  const { KafkajsClient } = await import('./kafkajs/client.ts');
  return new KafkajsClient(connection);
}

class KafkaEngine implements LogEngine {
  readonly name = 'kafka';
  readonly #options: KafkaLogOptions;
  readonly #client: KafkaClient;
  readonly #appender: Appender;
  readonly #measures: Measures;
  readonly #watch: Watch;
  readonly #topics = new Map<string, Promise<KafkaTopic>>();
  readonly #open: KafkaTopic[] = [];
  readonly #ending = new AbortController();

  constructor(options: KafkaLogOptions, client: KafkaClient) {
    this.#options = options;
    this.#client = client;
    this.#measures = createMeasures(options.metrics, {
      pendingBytes: () => this.#appender.pendingBytes,
      bytes: () => 0,
      partitions: () => this.#watch.nexts(),
      lags: () => this.#watch.lags(),
    });
    // Whoever reads listens, as many as there are partitions.
    setMaxListeners(0, this.#ending.signal);
    const { pendingBytesMax, batchBytesMax = BATCH_BYTES_MAX, lingerMs = 0, logger } = options;
    this.#appender = new Appender(this.#client, {
      pendingBytesMax,
      batchBytesMax,
      lingerMs,
      measures: this.#measures,
      logger,
    });
    this.#watch = new Watch({
      admin: client.admin,
      shareMax: options.unprocessedShareMax ?? null,
      logger,
      lost: (topic, group, count) => this.#measures.lost.inc({ topic, group }, count),
    });
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
    const { topic } = options;
    const { recordBytesMax, logger } = this.#options;
    const { admin } = this.#client;
    const defaults = {
      replication: this.#options.replication ?? null,
      minInSync: this.#options.minInSync ?? null,
      recordBytesMax,
    };
    const brokerCount = await admin.brokerCount();
    let found = await admin.describeTopic(topic);
    if (found === null) {
      await admin.createTopic(topic, newTopic(options, defaults, brokerCount));
      found = await this.#created(topic);
    }
    if (found === null || found.partitions.length === 0)
      throw new LogError('LOG_UNREACHABLE', 'later', { topic, problem: 'the topic has no partitions yet' });
    for (const problem of shortcomings(found, options, defaults, brokerCount)) {
      logger.warn({ topic, problem }, 'the topic in Kafka is less than what is configured');
    }
    const largest = Number(found.settings.get('max.message.bytes') ?? recordBytesMax + OVERHEAD_BYTES);
    const opened = new KafkaTopic(
      {
        client: this.#client,
        appender: this.#appender,
        watch: this.#watch,
        measures: this.#measures,
        logger,
        ending: this.#ending.signal,
      },
      topic,
      found.partitions.length,
      Math.min(recordBytesMax, Math.max(1_024, largest - OVERHEAD_BYTES)),
    );
    this.#open.push(opened);
    this.#watch.add(
      {
        topic,
        neededBy: options.neededBy ?? [],
        groups: () => [...opened.members].map(({ group }) => group),
        recordBytes: () => this.#appender.recordBytes(topic),
      },
      found.settings,
    );
    return opened;
  }

  /** Not every broker knows at once of a topic that was created a moment ago, by this node or by another. */
  async #created(topic: string): Promise<TopicDescription | null> {
    for (const end = performance.now() + CREATED_MS_MAX; ; ) {
      const late = performance.now() > end;
      const found = await this.#client.admin.describeTopic(topic).catch((error: unknown) => {
        if (late) throw error;
        return null;
      });
      if ((found !== null && found.partitions.length > 0) || late) return found;
      await new Promise((resolve) => setTimeout(resolve, CREATED_LOOK_MS));
    }
  }

  async health(): Promise<string | null> {
    const { fault } = this.#appender;
    if (fault !== null) return fault.message;
    try {
      await this.#client.admin.brokerCount();
      return this.#watch.health() ?? this.#absence();
    } catch (cause) {
      return `${(cause as Error).message}: see that the brokers at MILLRACE_KAFKA_BROKERS run and can be reached`;
    }
  }

  #absence(): string | null {
    for (const topic of this.#open) {
      const trouble = topic.health();
      if (trouble !== null) return trouble;
    }
    return null;
  }

  drain(deadlineMs: number): Promise<void> {
    return this.#appender.drain(deadlineMs);
  }

  async stop(): Promise<void> {
    await Promise.allSettled(this.#open.map((topic) => topic.stop()));
    this.#ending.abort();
    await this.#watch.stop();
    await this.#appender.stop();
    await this.#client.close();
  }
}
