import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const VERSION = '3.9.4';
const READY_MS_MAX = 60_000;
/** ZooKeeper says itself that it needs the last two only at run time. */
const ARTIFACTS = [
  ['org.apache.zookeeper', 'zookeeper', VERSION],
  ['io.dropwizard.metrics', 'metrics-core', '4.2.30'],
  ['org.xerial.snappy', 'snappy-java', '1.1.10.8'],
];
const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>millrace</groupId><artifactId>zookeeper</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>${ARTIFACTS.map(
  ([group, artifact, version]) =>
    `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`,
).join('')}</dependencies></project>`;

export interface RunningZooKeeper {
  readonly port: number;
  stop(): Promise<void>;
}

/** Why none can be started here, or null. */
export function zooKeeperAvailable(): string | null {
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

/** A real Apache ZooKeeper, which ClickHouse speaks to as to its own Keeper. It ends with this process. */
export async function startZooKeeper(): Promise<RunningZooKeeper> {
  const libraries = await fetchJars();
  const directory = mkdtempSync(join(tmpdir(), 'millrace-zookeeper-'));
  const port = await freePort();
  const config = join(directory, 'zoo.cfg');
  writeFileSync(
    config,
    `tickTime=1000\ndataDir=${join(directory, 'data')}\nclientPort=${port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\nmaxClientCnxns=0\n`,
  );
  const java = ['-Xmx128m', '-XX:+UseSerialGC', '-cp', `${libraries}/*`];
  const child = spawn('java', [...java, 'org.apache.zookeeper.server.ZooKeeperServerMain', config], {
    stdio: 'ignore',
  });
  const endWithUs = (): void => void child.kill('SIGKILL');
  process.once('exit', endWithUs);
  const stop = async (): Promise<void> => {
    process.off('exit', endWithUs);
    await ended(child);
    rmSync(directory, { recursive: true, force: true, maxRetries: 10 });
  };
  try {
    await untilAnswers(child, port);
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, stop };
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}

async function untilAnswers(child: ChildProcess, port: number): Promise<void> {
  const end = performance.now() + READY_MS_MAX;
  while (!(await takes(port))) {
    if (child.exitCode !== null) throw new Error(`ZooKeeper ended with ${child.exitCode}`);
    if (performance.now() > end) throw new Error('ZooKeeper did not answer in time');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function takes(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.end(() => resolve(true)));
    socket.once('error', () => resolve(false));
  });
}

/** From Maven Central, once a machine.  @returns their directory */
async function fetchJars(): Promise<string> {
  const cache = process.env.MILLRACE_TEST_CACHE ?? join(homedir(), '.cache', 'millrace-test');
  const home = join(cache, `zookeeper-${VERSION}`);
  const libraries = join(home, 'lib');
  if (existsSync(libraries) && readdirSync(libraries).some((name) => name.startsWith('snappy'))) return libraries;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, 'fetching-'));
  writeFileSync(join(work, 'pom.xml'), POM);
  const maven = ['-q', '-B', '-DoutputDirectory=lib', '-DincludeScope=runtime', 'dependency:copy-dependencies'];
  await promisify(execFile)('mvn', maven, { cwd: work });
  rmSync(home, { recursive: true, force: true });
  renameSync(work, home);
  return libraries;
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : 0));
    });
  });
}
