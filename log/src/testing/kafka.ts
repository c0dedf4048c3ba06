import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Kafka, logLevel } from 'kafkajs';

const VERSION = '4.1.1';
const CLUSTER_ID = '4L6g3nShT-eMCtK--X86sw';
const READY_MS_MAX = 60_000;
const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>millrace</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
<dependencies><dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>${VERSION}</version></dependency></dependencies></project>`;

export interface RunningKafka {
  /** host:port, as MILLRACE_KAFKA_BROKERS takes it. */
  readonly brokers: string;
  /** Ends it as an operator would, and removes what it made. */
  stop(): Promise<void>;
  /** kill -9. The data stays. */
  kill(): void;
  /** Starts it again on the same ports and data, after `kill`. */
  restart(): Promise<void>;
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

/** A real Apache Kafka, one broker in KRaft mode on free ports of the loopback interface. */
export async function startKafka(options: { directory?: string } = {}): Promise<RunningKafka> {
  const libraries = await fetchKafka();
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'millrace-kafka-'));
  mkdirSync(directory, { recursive: true });
  const [broker, controller] = [await freePort(), await freePort()];
  const properties = join(directory, 'server.properties');
  writeFileSync(properties, serverProperties(broker, controller, join(directory, 'data')));
  const java = ['-cp', `${libraries}/*`];
  await promisify(execFile)('java', [
    ...java,
    'kafka.tools.StorageTool',
    ...['format', '-t', CLUSTER_ID, '-c', properties, '--standalone'],
  ]);
  const brokers = `127.0.0.1:${broker}`;
  let child: ChildProcess;
  let ended: Promise<void>;
  const start = async (): Promise<void> => {
    child = spawn('java', ['-Xmx512m', ...java, 'kafka.Kafka', properties], { stdio: 'ignore' });
    const running = child;
    ended = new Promise((resolve) => running.once('exit', () => resolve()));
    await answers(brokers, running);
  };
  const endWithUs = (): void => {
    child.kill('SIGKILL');
  };
  process.once('exit', endWithUs);
  await start();
  return {
    brokers,
    kill() {
      child.kill('SIGKILL');
    },
    async restart() {
      await ended;
      await start();
    },
    async stop() {
      process.off('exit', endWithUs);
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(late);
      if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The jars from Maven Central, once a machine.  @returns their directory */
async function fetchKafka(): Promise<string> {
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

function serverProperties(broker: number, controller: number, data: string): string {
  return Object.entries({
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.bootstrap.servers': `127.0.0.1:${controller}`,
    listeners: `PLAINTEXT://127.0.0.1:${broker},CONTROLLER://127.0.0.1:${controller}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${broker},CONTROLLER://127.0.0.1:${controller}`,
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': data,
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'group.initial.rebalance.delay.ms': 0,
    'group.min.session.timeout.ms': 1000,
    'auto.create.topics.enable': false,
  })
    .map(([key, value]) => `${key}=${value}`)
    .join('\n');
}

/** Resolves once the broker takes metadata requests and its group coordinator answers. */
async function answers(brokers: string, child: ChildProcess): Promise<void> {
  const end = performance.now() + READY_MS_MAX;
  const kafka = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING, retry: { retries: 0 } });
  let last: unknown;
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('kafka ended while it was starting');
    if (performance.now() > end) throw new Error(`kafka did not answer within ${READY_MS_MAX} ms`, { cause: last });
    const admin = kafka.admin();
    try {
      await admin.connect();
      await admin.createTopics({ topics: [{ topic: 'ready', numPartitions: 1 }] });
      await admin.fetchOffsets({ groupId: 'ready', topics: ['ready'] });
      return;
    } catch (error) {
      last = error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    } finally {
      await admin.disconnect().catch(() => {});
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
