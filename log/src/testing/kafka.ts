import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Kafka, logLevel } from 'kafkajs';
import { KafkaBroker } from './kafka-broker.ts';
import { steadyPort } from './steady-port.ts';

export { KafkaBroker } from './kafka-broker.ts';
export { steadyPort } from './steady-port.ts';

const VERSION = '4.1.1';
const CLUSTER_ID = '4L6g3nShT-eMCtK--X86sw';
const IN_SYNC_MS_MAX = 120_000;
const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>millrace</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
<dependencies><dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>${VERSION}</version></dependency></dependencies></project>`;

export interface KafkaOptions {
  /** Where it keeps its data, which then outlives `stop`. */
  readonly directory?: string;
  /** Three make a quorum of controllers, and topics with three replicas of which two must have what is acknowledged. */
  readonly brokerCount?: 1 | 3;
  /** Over what is set here. */
  readonly properties?: Readonly<Record<string, string | number | boolean>>;
  /** More words for `kafka-storage format`, as `--add-scram …`. */
  readonly format?: readonly string[];
  /** Where clients are sent instead of a broker's own port: a relay before it. */
  readonly advertise?: (broker: { readonly index: number; readonly port: number }) => Promise<number>;
}

export interface RunningKafka {
  /** host:port of all brokers, as MILLRACE_KAFKA_BROKERS takes it. */
  readonly brokers: string;
  /** The brokers one by one, each also a controller. */
  readonly nodes: readonly KafkaBroker[];
  /** Ends it, and removes what it made. */
  stop(): Promise<void>;
  /** kill -9 of all brokers. The data stays. */
  kill(): void;
  /** Starts all again on the same ports and data, after `kill`. */
  restart(): Promise<void>;
  /** Resolves once every replica of every partition has all that its leader has. */
  inSync(msMax?: number): Promise<void>;
}

/** Why no Kafka can be started here, or null. */
export function kafkaAvailable(): string | null {
  for (const [program, flag] of [
    ['java', '-version'],
    ['mvn', '-v'],
  ] as const) {
    try {
      execFileSync(program, [flag], { stdio: 'ignore' });
    } catch {
      return `${program} is not installed`;
    }
  }
  return null;
}

/** A real Apache Kafka in KRaft mode on free ports of the loopback interface. It ends with this process. */
export async function startKafka(options: KafkaOptions = {}): Promise<RunningKafka> {
  const libraries = await kafkaLibraries();
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'millrace-kafka-'));
  const count = options.brokerCount ?? 1;
  const ports = await Promise.all(
    Array.from({ length: count }, async () => {
      const [client, internal, controller] = [await steadyPort(), await steadyPort(), await steadyPort()];
      return { client, internal, controller };
    }),
  );
  const voters = ports.map(({ controller }, index) => `${index + 1}@127.0.0.1:${controller}`).join(',');
  const advertised = await Promise.all(
    ports.map(({ client: port }, index) => options.advertise?.({ index, port }) ?? port),
  );
  const nodes: KafkaBroker[] = [];
  for (const [index, { client, internal, controller }] of ports.entries()) {
    const home = join(directory, String(index + 1));
    mkdirSync(home, { recursive: true });
    const properties = join(home, 'server.properties');
    const settings = {
      'node.id': index + 1,
      'controller.quorum.voters': voters,
      listeners: `PLAINTEXT://127.0.0.1:${client},INTERNAL://127.0.0.1:${internal},CONTROLLER://127.0.0.1:${controller}`,
      'advertised.listeners': `PLAINTEXT://127.0.0.1:${advertised[index]},INTERNAL://127.0.0.1:${internal}`,
      'log.dirs': join(home, 'data'),
      ...serverProperties(count),
      ...options.properties,
    };
    writeFileSync(
      properties,
      Object.entries(settings)
        .map(([key, value]) => `${key}=${value}`)
        .join('\n'),
    );
    nodes.push(
      new KafkaBroker({
        libraries,
        properties,
        address: `127.0.0.1:${client}`,
        internal: `127.0.0.1:${internal}`,
        heapMiB: count === 1 ? 512 : 256,
      }),
    );
  }
  const endWithUs = (): void => {
    for (const node of nodes) node.kill();
  };
  process.once('exit', endWithUs);
  const running: RunningKafka = {
    brokers: advertised.map((port) => `127.0.0.1:${port}`).join(','),
    nodes,
    kill: endWithUs,
    async restart() {
      await Promise.all(nodes.map((node) => node.restart()));
    },
    inSync: (msMax = IN_SYNC_MS_MAX) => inSync(nodes, msMax),
    async stop() {
      process.off('exit', endWithUs);
      // What is thrown away need not be put in order first.
      const signal = options.directory === undefined ? 'SIGKILL' : 'SIGTERM';
      await Promise.all(nodes.map((node) => node.end(signal)));
      if (options.directory === undefined) rmSync(directory, { recursive: true, force: true, maxRetries: 10 });
    },
  };
  try {
    await Promise.all(nodes.map((node) => node.format(CLUSTER_ID, options.format ?? [])));
    await running.restart();
  } catch (error) {
    await running.stop();
    throw error;
  }
  return running;
}

/** The jars from Maven Central, once a machine.  @returns their directory */
export async function kafkaLibraries(): Promise<string> {
  const cache = process.env.MILLRACE_TEST_CACHE ?? join(homedir(), '.cache', 'millrace-test');
  const home = join(cache, `kafka-${VERSION}`);
  const libraries = join(home, 'lib');
  if (existsSync(libraries) && readdirSync(libraries).some((name) => name.startsWith('kafka-tools'))) return libraries;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, 'fetching-'));
  writeFileSync(join(work, 'pom.xml'), POM);
  const run = promisify(execFile);
  const maven = ['-q', '-B', '-DoutputDirectory=lib'];
  await run('mvn', [...maven, 'dependency:copy-dependencies'], { cwd: work });
  await run('mvn', [...maven, 'dependency:copy', `-Dartifact=org.apache.kafka:kafka-tools:${VERSION}`], { cwd: work });
  rmSync(home, { recursive: true, force: true });
  renameSync(work, home);
  return libraries;
}

/** What all brokers share. They speak to each other by a listener of their own, so that a relay before the clients'
 *  never stands between them. */
function serverProperties(count: number): Record<string, string | number | boolean> {
  const [replicas, needed] = count === 1 ? [1, 1] : [3, 2];
  return {
    'process.roles': 'broker,controller',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'inter.broker.listener.name': 'INTERNAL',
    'controller.listener.names': 'CONTROLLER',
    'default.replication.factor': replicas,
    'min.insync.replicas': needed,
    'offsets.topic.replication.factor': replicas,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': needed,
    // 128 MiB unless said.
    'log.cleaner.dedupe.buffer.size': 16 * 1024 * 1024,
    'group.initial.rebalance.delay.ms': 0,
    'group.min.session.timeout.ms': 1000,
    'auto.create.topics.enable': false,
  };
}

async function inSync(nodes: readonly KafkaBroker[], msMax: number): Promise<void> {
  const end = performance.now() + msMax;
  const kafka = new Kafka({
    brokers: nodes.map((node) => node.internal),
    logLevel: logLevel.NOTHING,
    retry: { retries: 0 },
  });
  let last: unknown;
  for (;;) {
    const admin = kafka.admin();
    try {
      await admin.connect();
      const { topics } = await admin.fetchTopicMetadata();
      const behind = topics.flatMap(({ name, partitions }) =>
        partitions
          .filter(({ isr, replicas, leader }) => leader < 0 || isr.length < replicas.length)
          .map(({ partitionId }) => `${name}-${partitionId}`),
      );
      if (behind.length === 0) return;
      last = new Error(`behind: ${behind.join(', ')}`);
    } catch (error) {
      last = error;
    } finally {
      await admin.disconnect().catch(() => {});
    }
    if (performance.now() > end) throw new Error(`the brokers' replicas were not in sync`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
