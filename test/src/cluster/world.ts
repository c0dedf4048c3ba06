import { type RunningKafka, startKafka, steadyPort } from '@millrace/log/testing';
import { Kafka, logLevel } from 'kafkajs';
import { ADMIN, logIn, OwnPostgres } from '../control/two-nodes.ts';
import { eventually, Millrace, newPublisher } from '../millrace.ts';
import { Relay } from '../relay.ts';
import { ClickHouseServer } from './clickhouse.ts';
import { NumberedPublisher } from './publisher.ts';
import { HttpWire, MqttWire } from './wires.ts';

/** Another one than the default. */
const KAFKA_CLIENT = process.env.MILLRACE_TEST_KAFKA_CLIENT;
const SECRET = '7c'.repeat(32);
const TOPIC = 'millrace.messages';
const GROUP = 'processors';
/** Two to a broker. */
const PARTITIONS = 6;
const PUBLISHERS_PER_WIRE = 3;
const PROCESSED_MS_MAX = 240_000;
const SERVED_MS_MAX = 90_000;

/** Millrace out of one machine, on one machine: three brokers, one PostgreSQL, one ClickHouse, two nodes that take
 *  messages (the first is the registry's too) and some that process them, each a process of its own. */
export class ClusterWorld {
  readonly postgres = new OwnPostgres();
  readonly clickhouse = new ClickHouseServer();
  readonly ingress: Millrace[] = [];
  readonly processors: Millrace[] = [];
  publishers: readonly NumberedPublisher[] = [];
  #kafka: RunningKafka | undefined;
  #settings: Readonly<Record<string, string>> = {};
  #relays: Relays | undefined;

  get kafka(): RunningKafka {
    if (this.#kafka === undefined) throw new Error('Kafka is not started');
    return this.#kafka;
  }

  /** Between the nodes and all else. */
  get relays(): Relays {
    if (this.#relays === undefined) throw new Error('the relays are not started');
    return this.#relays;
  }

  async start(): Promise<this> {
    const brokers: Relay[] = [];
    const [kafka, postgres] = await Promise.all([
      startKafka({
        brokerCount: 3,
        // A broker that comes back leads again soon, or the next fault would find it idle.
        properties: { 'leader.imbalance.check.interval.seconds': 5, 'leader.imbalance.per.broker.percentage': 0 },
        async advertise({ index, port }) {
          const relay = await Relay.to(port);
          brokers[index] = relay;
          return relay.port;
        },
      }),
      this.postgres.start(),
      this.clickhouse.start(),
    ]);
    this.#kafka = kafka;
    const relays = new Relays(brokers, await Relay.to(this.clickhouse.port), await Relay.to(socketOf(postgres)));
    this.#relays = relays;
    this.#settings = {
      MILLRACE_KAFKA_BROKERS: kafka.brokers,
      MILLRACE_LOG_PARTITIONS: String(PARTITIONS),
      MILLRACE_CLICKHOUSE_URL: `http://127.0.0.1:${relays.clickhouse.port}`,
      MILLRACE_POSTGRES_URL: through(relays.postgres.port, postgres),
      MILLRACE_POSTGRES_CONNECTIONS_MAX: '6',
      MILLRACE_SECRET: SECRET,
      MILLRACE_ADMIN_EMAIL: ADMIN.email,
      MILLRACE_ADMIN_PASSWORD: ADMIN.password,
      MILLRACE_DRAIN_MS_MAX: '5000',
      ...(KAFKA_CLIENT === undefined ? {} : { MILLRACE_KAFKA_CLIENT: KAFKA_CLIENT }),
    };
    for (const roles of ['ingest,registry', 'ingest']) this.ingress.push(await this.#node(roles));
    for (let index = 0; index < 2; index++) this.processors.push(await this.newProcessor());
    // The first one makes the tables and topics that the others find.
    await this.ingress[0]?.start();
    await Promise.all([...this.ingress.slice(1), ...this.processors].map((node) => node.start()));
    return this;
  }

  /** One more that processes, not started yet. */
  newProcessor(): Promise<Millrace> {
    return this.#node('processors');
  }

  /** Sets new publishers going, each with a thing and a channel of its own.  @returns once all are served */
  async publish(): Promise<void> {
    await this.quiet();
    this.publishers = await this.#enrolled();
    const served = this.recovery(performance.now(), SERVED_MS_MAX);
    for (const publisher of this.publishers) publisher.start();
    await served;
  }

  async quiet(): Promise<void> {
    await Promise.all(this.publishers.map((publisher) => publisher.stop()));
  }

  /** From a moment on: how long until every publisher had something accepted that it sent later, and until that is
   *  stored.  @units ms */
  async recovery(since: number, msMax: number): Promise<{ readonly accepted: number; readonly stored: number }> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), msMax);
    try {
      const taken = await Promise.race([
        Promise.all(this.publishers.map((publisher) => publisher.taken(since))),
        new Promise<never>((_, reject) =>
          late.signal.addEventListener('abort', () => reject(new Error(`not accepted again within ${msMax} ms`))),
        ),
      ]);
      const accepted = Math.max(...taken.map(({ at }) => at)) - since;
      await eventually('it is stored again', msMax, async () => {
        const rows = await this.clickhouse.rows<[string, number]>(
          'SELECT channel, max(value) FROM readings GROUP BY channel',
        );
        const highest = new Map(rows);
        return this.publishers.every(
          ({ to }, index) => (highest.get(to.channel) ?? 0) >= (taken[index]?.number ?? Number.POSITIVE_INFINITY),
        );
      });
      return { accepted, stored: performance.now() - since };
    } finally {
      clearTimeout(timer);
    }
  }

  /** Resolves once the processors have committed all that the log has. */
  async processed(): Promise<void> {
    const kafka = new Kafka({ brokers: this.kafka.brokers.split(','), logLevel: logLevel.NOTHING });
    const admin = kafka.admin();
    await admin.connect();
    try {
      await eventually('all of the log is processed', PROCESSED_MS_MAX, async () => {
        const ends = await admin.fetchTopicOffsets(TOPIC);
        const [group] = await admin.fetchOffsets({ groupId: GROUP, topics: [TOPIC] });
        const committed = new Map(group?.partitions.map(({ partition, offset }) => [partition, Number(offset)]));
        const behind = ends.filter(
          ({ partition, high }) => Number(high) > 0 && (committed.get(partition) ?? -1) < Number(high),
        );
        if (behind.length > 0) throw new Error(`behind: ${behind.map(({ partition }) => partition).join(', ')}`);
        return true;
      });
    } finally {
      await admin.disconnect();
    }
  }

  async storedCount(): Promise<number> {
    const [[count] = [0]] = await this.clickhouse.rows<[number]>('SELECT toFloat64(count()) FROM readings');
    return count;
  }

  /** What the publishers saw, in a line. */
  told(): string {
    const sum = (of: (publisher: NumberedPublisher) => number): number =>
      this.publishers.reduce((total, publisher) => total + of(publisher), 0);
    return `${sum(({ acknowledged }) => acknowledged)} messages acknowledged; ${sum(({ refused }) => refused)} attempts refused, ${sum(({ unanswered }) => unanswered)} unanswered`;
  }

  /** Ends all processes, hanging ones too, and removes all files. */
  async dispose(): Promise<void> {
    const nodes = [...this.ingress, ...this.processors];
    for (const node of nodes) {
      node.signal('SIGCONT');
      node.signal('SIGKILL');
    }
    this.clickhouse.signal('SIGCONT');
    for (const relay of this.#relays?.all ?? []) relay.release();
    try {
      this.postgres.signal('SIGCONT');
    } catch {
      // It isn't there.
    }
    const ended = await Promise.allSettled([
      this.quiet(),
      ...nodes.map((node) => node.dispose()),
      this.postgres.dispose(),
      this.clickhouse.dispose(),
      this.#kafka?.stop(),
    ]);
    await Promise.allSettled((this.#relays?.all ?? []).map((relay) => relay.close()));
    for (const each of ended) if (each.status === 'rejected') throw each.reason;
  }

  /** At fixed addresses, as a balancer or a device knows them. */
  async #node(roles: string): Promise<Millrace> {
    const [http, mqtt] = [await steadyPort(), await steadyPort()];
    return new Millrace({
      ...this.#settings,
      MILLRACE_ROLES: roles,
      MILLRACE_HTTP_PORT: String(http),
      MILLRACE_MQTT_PORT: String(mqtt),
      MILLRACE_COAP_PORT: 'off',
    });
  }

  async #enrolled(): Promise<NumberedPublisher[]> {
    const publishers: NumberedPublisher[] = [];
    const admin = await logIn(this.ingress[0] as Millrace, ADMIN);
    const addresses = (of: 'url' | 'mqtt') => () => this.ingress.map((node) => node[of]);
    for (let index = 0; index < PUBLISHERS_PER_WIRE; index++) {
      for (const protocol of ['http', 'mqtt'] as const) {
        const name = `${protocol}-${index}`;
        const wire = protocol === 'http' ? new HttpWire(addresses('url')) : new MqttWire(addresses('mqtt'));
        const to = await newPublisher(admin, name);
        const nodeCount = this.ingress.length;
        const parts = { name, keyed: protocol === 'http', wire, nodeCount, node: index % nodeCount };
        publishers.push(new NumberedPublisher(to, parts));
      }
    }
    // A node that knows the last one knows all before it.
    const probe = await newPublisher(admin, 'probe');
    for (const wire of [new HttpWire(addresses('url')), new MqttWire(addresses('mqtt'))]) {
      for (const node of this.ingress.keys())
        await eventually(
          'every node knows who publishes',
          60_000,
          async () => (await wire.publish(probe, node, 1)) === 'taken',
        );
      await wire.close();
    }
    return publishers;
  }
}

/** One before each broker, and those before ClickHouse and PostgreSQL. */
export class Relays {
  readonly brokers: readonly Relay[];
  readonly clickhouse: Relay;
  readonly postgres: Relay;

  constructor(brokers: readonly Relay[], clickhouse: Relay, postgres: Relay) {
    this.brokers = brokers;
    this.clickhouse = clickhouse;
    this.postgres = postgres;
  }

  get all(): readonly Relay[] {
    return [...this.brokers, this.clickhouse, this.postgres];
  }
}

/** The path of its socket, or its port, from the URL of a PostgreSQL. */
function socketOf(url: string): string | number {
  const { searchParams, port } = new URL(url);
  const directory = searchParams.get('host');
  return directory === null ? Number(port) : `${directory}/.s.PGSQL.${searchParams.get('port')}`;
}

function through(port: number, url: string): string {
  const { username, password, pathname } = new URL(url);
  return `postgresql://${username}:${password}@127.0.0.1:${port}${pathname}`;
}
