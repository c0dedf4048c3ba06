import { type RunningKafka, startKafka } from '@millrace/log/testing';
import { ClickHouseServer } from '../cluster/clickhouse.ts';
import { ADMIN, OwnPostgres } from '../control/two-nodes.ts';
import { Millrace } from '../millrace.ts';

const SECRET = '3e'.repeat(32);

/** One of each engine, each a process of its own, so that what a node takes is its own. */
export class LoadWorld {
  readonly clickhouse = new ClickHouseServer();
  readonly #postgres = new OwnPostgres();
  readonly #nodes: Millrace[] = [];
  readonly #usesKafka: boolean;
  #kafka: RunningKafka | undefined;
  #settings: Readonly<Record<string, string>> = {};

  /** @param log which engine the log is in */
  constructor(log: 'kafka' | 'embedded') {
    this.#usesKafka = log === 'kafka';
  }

  get kafka(): RunningKafka {
    if (this.#kafka === undefined) throw new Error('Kafka is not started');
    return this.#kafka;
  }

  async start(): Promise<void> {
    const [kafka, postgres] = await Promise.all([
      this.#usesKafka ? startKafka() : undefined,
      this.#postgres.start(),
      this.clickhouse.start(),
    ]);
    this.#kafka = kafka;
    this.#settings = {
      ...(kafka === undefined ? {} : { MILLRACE_KAFKA_BROKERS: kafka.brokers }),
      MILLRACE_LOG_PARTITIONS: '4',
      MILLRACE_CLICKHOUSE_URL: `http://127.0.0.1:${this.clickhouse.port}`,
      MILLRACE_POSTGRES_URL: postgres,
      MILLRACE_SECRET: SECRET,
      MILLRACE_ADMIN_EMAIL: ADMIN.email,
      MILLRACE_ADMIN_PASSWORD: ADMIN.password,
      MILLRACE_DRAIN_MS_MAX: '5000',
    };
  }

  async node(settings: Readonly<Record<string, string>>): Promise<Millrace> {
    const node = new Millrace({ ...this.#settings, ...settings });
    this.#nodes.push(node);
    return node.start();
  }

  async dispose(): Promise<void> {
    for (const node of this.#nodes) node.signal('SIGKILL');
    this.clickhouse.signal('SIGCONT');
    const ended = await Promise.allSettled([
      ...this.#nodes.map((node) => node.dispose()),
      this.#postgres.dispose(),
      this.clickhouse.dispose(),
      this.#kafka?.stop(),
    ]);
    for (const each of ended) if (each.status === 'rejected') throw each.reason;
  }
}
