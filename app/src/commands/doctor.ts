import { execFile } from 'node:child_process';
import { accessSync, constants, mkdirSync, mkdtempSync, rmSync, type StatsFs, statfsSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type Config, loadConfig } from '../config.ts';
import { LISTENERS, portOf, udpBuffers } from './doctor-ports.ts';
import { environmentWith, explain, type Flags } from './flags.ts';
import { fail, ok, type Verdict, warn } from './verdict.ts';

type Check = readonly [name: string, run: () => Verdict | Promise<Verdict>];

const DISK_BYTES_MIN = 1 << 30;
const OPEN_FILES_MIN = 4_096;

/** Checks what a node needs, one line each; exit code 1 when something would keep it from starting. */
export async function doctor(flags: Flags): Promise<void> {
  let config: Config | undefined;
  const checks: Check[] = [
    [
      'configuration',
      () => {
        try {
          config = loadConfig(environmentWith(flags));
          const profile = config.node.MILLRACE_PROFILE;
          return ok(profile === undefined ? 'understood' : `understood, profile ${profile}`);
        } catch (error) {
          return fail('not understood', explain(error).trim());
        }
      },
    ],
    ['node', nodeVersion],
    ['native modules', () => nativeModules(config)],
    ['data directory', () => dataDirectory(config)],
    ...LISTENERS.map((listener): Check => [`${listener} port`, () => portOf(config, listener)]),
    ['UDP buffers', () => udpBuffers(config)],
    ['open files', openFiles],
    ['log', () => logEngine(config)],
    ['ClickHouse', () => clickhouse(config)],
    ['PostgreSQL', () => postgres(config)],
  ];
  let failed = 0;
  for (const [name, run] of checks) {
    const result = await Promise.resolve()
      .then(run)
      .catch((error) => fail((error as Error).message, 'This check itself failed.'));
    if (result.verdict === 'fail') failed++;
    const mark = { ok: '✓', warn: '!', fail: '✗' }[result.verdict];
    process.stdout.write(`${mark} ${name.padEnd(16)} ${result.found}\n`);
    if (result.advice !== undefined)
      process.stdout.write(
        `${result.advice
          .split('\n')
          .map((line) => `    → ${line}`)
          .join('\n')}\n`,
      );
  }
  process.stdout.write(
    failed === 0 ? '\nAll good: millrace start\n' : `\n${failed} thing(s) to mend before millrace can start.\n`,
  );
  if (failed > 0) process.exitCode = 1;
}

function nodeVersion(): Verdict {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const found = `${process.version} on ${process.platform}-${process.arch}`;
  if (major < 20 || (major === 20 && minor < 20)) return fail(found, 'Install Node 20.20 or newer (nvm install 20).');
  return ok(found);
}

async function nativeModules(config: Config | undefined): Promise<Verdict> {
  const broken: string[] = [];
  for (const [name, load] of [
    ['argon2 (passwords)', () => import('@millrace/policy')],
    ['chdb (embedded ClickHouse)', async () => (await import('@millrace/storage')).embeddedEngine()],
  ] as const) {
    if (name.startsWith('chdb') && config?.storage.MILLRACE_CLICKHOUSE_URL !== undefined) continue;
    try {
      await load();
    } catch (error) {
      broken.push(`${name}: ${(error as Error).message.split('\n')[0]}`);
    }
  }
  return broken.length === 0
    ? ok('load')
    : fail(
        broken.join('; '),
        'Reinstall on this machine (rm -rf node_modules && npx -y pnpm@12 install); docs/platforms.md has what there is for which. Where only chdb is missing, as on arm64, a ClickHouse server serves (MILLRACE_CLICKHOUSE_URL).',
      );
}

function dataDirectory(config: Config | undefined): Verdict {
  const path = resolve(config?.node.MILLRACE_DATA_DIR ?? './data');
  let made: string | undefined;
  let space: StatsFs;
  try {
    made = mkdirSync(path, { recursive: true, mode: 0o700 });
    accessSync(path, constants.W_OK | constants.X_OK);
    rmSync(mkdtempSync(join(path, 'doctor-')), { recursive: true });
    space = statfsSync(path);
  } catch (error) {
    return fail(
      `${path}: ${(error as Error).message}`,
      'Choose a directory that you may write (--data-dir, MILLRACE_DATA_DIR).',
    );
  } finally {
    // A start makes it with the rights that it needs.
    if (made !== undefined) rmSync(made, { recursive: true });
  }
  const free = space.bavail * space.bsize;
  const found = `${path}, ${(free / 2 ** 30).toFixed(1)} GiB free`;
  return free < DISK_BYTES_MIN
    ? warn(found, 'Less than 1 GiB is free: publishing is refused (503) when the disk is full.')
    : ok(found);
}

async function openFiles(): Promise<Verdict> {
  const limit = await promisify(execFile)('sh', ['-c', 'ulimit -n']).then(
    ({ stdout }) => Number(stdout.trim() === 'unlimited' ? Number.POSITIVE_INFINITY : stdout),
    () => Number.NaN,
  );
  return limit < OPEN_FILES_MIN
    ? warn(`${limit} a process`, 'Each connection is an open file: raise it (ulimit -n 65536).')
    : ok(`${limit} a process`);
}

async function logEngine(config: Config | undefined): Promise<Verdict> {
  const brokers = config?.log.MILLRACE_KAFKA_BROKERS;
  if (brokers === undefined) return ok('embedded');
  const unreachable: string[] = [];
  for (const broker of String(brokers).split(',')) {
    const [host = '', port = '9092'] = broker.trim().split(/:(?=\d+$)/);
    const error = await reach(host, Number(port));
    if (error !== null) unreachable.push(`${broker}: ${error}`);
  }
  return unreachable.length === 0
    ? ok(`Kafka at ${brokers} answers`)
    : fail(`Kafka: ${unreachable.join('; ')}`, 'Check MILLRACE_KAFKA_BROKERS (host:port,…) and that the brokers run.');
}

async function clickhouse(config: Config | undefined): Promise<Verdict> {
  const url = config?.storage.MILLRACE_CLICKHOUSE_URL;
  if (url === undefined) return ok('embedded (chdb)');
  // fetch refuses an URL with a password, and its error tells it. A ping needs none.
  const ping = new URL('/ping', url);
  ping.username = '';
  ping.password = '';
  try {
    const response = await fetch(ping, { signal: AbortSignal.timeout(3_000) });
    if (response.ok) return ok(`${ping.host} answers`);
    return fail(`${ping.host} answers ${response.status}`, 'Check MILLRACE_CLICKHOUSE_URL.');
  } catch (error) {
    const { message, cause } = error as Error;
    return fail(
      `${ping.host}: ${cause instanceof Error ? cause.message : message}`,
      'Check MILLRACE_CLICKHOUSE_URL and that the server runs.',
    );
  }
}

async function postgres(config: Config | undefined): Promise<Verdict> {
  const url = config?.registry.MILLRACE_POSTGRES_URL;
  if (url === undefined)
    return ok(process.getuid?.() === 0 ? 'embedded; runs as a system user, since PostgreSQL refuses root' : 'embedded');
  const { hostname, port, host } = new URL(url);
  const error = await reach(hostname, Number(port || 5432));
  return error === null
    ? ok(`${host} answers`)
    : fail(`${host}: ${error}`, 'Check MILLRACE_POSTGRES_URL and that the server runs.');
}

function reach(host: string, port: number): Promise<string | null> {
  return new Promise((done) => {
    const socket = connect({ host, port, timeout: 3_000 });
    const end = (answer: string | null): void => {
      socket.destroy();
      done(answer);
    };
    socket.once('connect', () => end(null));
    socket.once('timeout', () => end('no answer within 3 s'));
    socket.once('error', (error) => end(error.message));
  });
}
