import { randomUUID } from 'node:crypto';
import type { Logger } from '@millrace/core';
import { Kafka, type KafkaConfig, type logCreator, logLevel, type SASLOptions } from 'kafkajs';
import type {
  KafkaClient,
  KafkaCompression,
  KafkaConnection,
  KafkaMember,
  KafkaProducer,
  KafkaReader,
  MemberEvents,
} from '../client.ts';
import { KafkajsAdmin } from './admin.ts';
import { registerCodecs } from './codecs.ts';
import { kafkaFault } from './faults.ts';
import { Intake } from './intake.ts';
import { Leaders } from './leaders.ts';
import { KafkajsProducer } from './producer.ts';

/** Then a broker that is asked to take records counts as hanging. What it has taken all the same it knows again. */
const PRODUCE_MS_MAX = 5_000;

/** The client library that is used unless another is asked for. It can't read without a group, so a reader has one to
 *  itself that commits nothing and is deleted at its end. */
export class KafkajsClient implements KafkaClient {
  readonly name = 'kafkajs';
  readonly admin: KafkajsAdmin;
  readonly #kafka: Kafka;
  readonly #producing: Kafka;
  readonly #logger: Logger;
  readonly #leaders = new Leaders();
  readonly #compression: KafkaCompression;

  constructor(connection: KafkaConnection) {
    this.#logger = connection.logger;
    this.#compression = connection.compression;
    registerCodecs();
    const settings = {
      clientId: connection.clientId,
      brokers: [...connection.brokers],
      ...secured(connection),
      connectionTimeout: 3_000,
      // More than the session of a group's member, see there.
      requestTimeout: 10_000,
      enforceRequestTimeout: true,
      retry: { retries: 5, initialRetryTime: 100, maxRetryTime: 2_000 },
      logLevel: logLevel.WARN,
      logCreator: pinoOf(connection.logger),
    };
    this.#kafka = new Kafka(settings);
    this.#producing = new Kafka({ ...settings, requestTimeout: PRODUCE_MS_MAX });
    this.admin = new KafkajsAdmin(() => this.#kafka.admin(), this.#leaders);
  }

  leaderOf(topic: string, partition: number): number {
    return this.#leaders.of(topic, partition);
  }

  async connect(): Promise<void> {
    try {
      await this.admin.connect();
    } catch (cause) {
      throw kafkaFault(cause);
    }
  }

  async close(): Promise<void> {
    await this.admin.close().catch(() => {});
  }

  producer(): Promise<KafkaProducer> {
    return KafkajsProducer.connect(this.#producing, this.#leaders, this.#compression);
  }

  member(topic: string, group: string, events: MemberEvents): KafkaMember {
    return this.#intake(topic, group, events);
  }

  #intake(topic: string, group: string, events: MemberEvents): Intake {
    const extents = (of: string) => this.admin.extents(of);
    return new Intake(this.#kafka, topic, group, { extents, logger: this.#logger, events });
  }

  async reader(topic: string): Promise<KafkaReader> {
    const group = `millrace-reader-${randomUUID()}`;
    const intake = this.#intake(topic, group, { joined: () => {}, leaving: () => {} });
    const stop = async (): Promise<void> => {
      await intake.stop().catch(() => {});
      await this.admin.deleteGroup(group).catch(() => {});
    };
    try {
      await intake.start();
      await intake.joining;
    } catch (cause) {
      await stop();
      throw kafkaFault(cause);
    }
    return {
      read: (partition, from, options, signals) => intake.read(partition, from, options, signals),
      rest: (partition) => intake.rest(partition),
      stop,
    };
  }
}

function secured({ tls, sasl }: KafkaConnection): Pick<KafkaConfig, 'ssl' | 'sasl'> {
  const given = <T>(name: string, value: T | null): Record<string, T> => (value === null ? {} : { [name]: value });
  return {
    ...(tls === null ? {} : { ssl: { ...given('ca', tls.ca), ...given('cert', tls.cert), ...given('key', tls.key) } }),
    ...(sasl === null
      ? {}
      : { sasl: { mechanism: sasl.mechanism, username: sasl.user, password: sasl.password } as SASLOptions }),
  };
}

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
