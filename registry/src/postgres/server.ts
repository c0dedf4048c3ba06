import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Component, Logger, Started } from '@millrace/core';
import pg from 'pg';
import { RegistryError } from '../error.ts';
import { type Account, serverAccount } from './account.ts';
import { type Binaries, findBinaries } from './binaries.ts';
import { claimDirectory } from './ownership.ts';
import { type Place, preparePlace } from './place.ts';
import { FAST_STOP_MS_MAX, readPostmasterFile, stopLeftBehind } from './postmaster.ts';
import { sleep } from './process.ts';

export interface EmbeddedPostgres {
  /** Holds the password: never log it. */
  readonly url: string;
  /** null when healthy, else what is wrong. */
  health(): string | null;
}
export interface EmbeddedPostgresOptions {
  /** Of the cluster alone. */
  readonly directory: string;
  /** Connections that it takes (40). */
  readonly connectionsMax?: number;
  /** Its shared buffers (32). @units MiB */
  readonly buffersMib?: number;
  readonly logger: Logger;
}

const USER = 'millrace';
const DATABASE = 'millrace';
const SOCKET_PORT = 5432;
/** sun_path has 104 bytes on macOS, 108 on Linux. */
const SOCKET_PATH_BYTES_MAX = 100;
/** Recovery after a crash replays at most `max_wal_size`. */
const READY_MS_MAX = 120_000;
const RESTART_MS_MAX = 5_000;
const OUTPUT_CHARS_MAX = 2_000;

/** A small memory, and nothing that a registry has no use for. Durable: fsync and synchronous_commit stay on. */
const SETTINGS: Readonly<Record<string, string>> = {
  shared_buffers: '32MB',
  max_connections: '40',
  work_mem: '2MB',
  maintenance_work_mem: '16MB',
  max_wal_size: '128MB',
  min_wal_size: '32MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  io_method: 'sync',
  max_worker_processes: '1',
  max_parallel_workers: '0',
  max_logical_replication_workers: '0',
  autovacuum_max_workers: '1',
  autovacuum_worker_slots: '1',
  jit: 'off',
  huge_pages: 'off',
  log_checkpoints: 'off',
};

/** PostgreSQL 18 as a child of this process, on a unix socket in its own directory if the path is short enough, else
 *  on a free port of the loopback; passwords by SCRAM either way.
 *  @throws RegistryError POSTGRES_IN_USE, POSTGRES_UNSUPPORTED, POSTGRES_FAILED */
export function embeddedPostgres(options: EmbeddedPostgresOptions): Component<EmbeddedPostgres> {
  return { name: 'postgres', start: () => startServer(options) };
}

async function startServer({
  directory,
  logger,
  connectionsMax,
  buffersMib,
}: EmbeddedPostgresOptions): Promise<Started<EmbeddedPostgres>> {
  const account = serverAccount();
  const place = preparePlace(directory, account);
  const claim = await claimDirectory(place.directory);
  let server: Server | undefined;
  try {
    if (place.elsewhere && account !== null)
      logger.warn(
        { directory: place.directory, user: account.name },
        'postgres keeps its data outside of the data directory, which its user can not reach',
      );
    const binaries = findBinaries(account);
    if (binaries.copiedTo !== null)
      logger.info({ directory: binaries.copiedTo }, 'postgres runs from a copy of its binaries');
    await stopLeftBehind(place, logger);
    if (!existsSync(join(place.cluster, 'PG_VERSION'))) await initialise(binaries, place, account);
    const settings = {
      ...SETTINGS,
      ...(connectionsMax === undefined ? {} : { max_connections: String(connectionsMax) }),
      ...(buffersMib === undefined ? {} : { shared_buffers: `${buffersMib}MB` }),
    };
    const running = new Server(binaries, place, account, await address(place), logger, settings);
    server = running;
    await running.launch();
    await createDatabase(running.url('postgres'));
    return {
      value: { url: running.url(DATABASE), health: () => running.health() },
      drain: async () => undefined,
      async stop() {
        await running.stop();
        claim.release();
      },
    };
  } catch (error) {
    await server?.stop();
    claim.release();
    throw error;
  }
}

interface Address {
  /** null: the unix socket in the cluster's directory. */
  readonly host: '127.0.0.1' | null;
  readonly port: number;
}

async function address(place: Place): Promise<Address> {
  const socket = join(place.cluster, `.s.PGSQL.${SOCKET_PORT}`);
  if (process.platform !== 'win32' && Buffer.byteLength(socket) <= SOCKET_PATH_BYTES_MAX)
    return { host: null, port: SOCKET_PORT };
  const probe = createServer();
  await new Promise<void>((resolve, reject) => probe.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return { host: '127.0.0.1', port };
}

/** One postmaster, started again when it dies. */
class Server {
  readonly #binaries: Binaries;
  readonly #place: Place;
  readonly #account: Account | null;
  readonly #address: Address;
  readonly #logger: Logger;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #password: string;
  readonly #onExit = (): void => {
    this.#child?.kill('SIGINT');
  };
  #child: ChildProcess | null = null;
  #output = '';
  #stopping = false;
  #launching = false;
  #restart: NodeJS.Timeout | undefined;
  #restartMs = 100;

  constructor(
    binaries: Binaries,
    place: Place,
    account: Account | null,
    address: Address,
    logger: Logger,
    settings: Readonly<Record<string, string>>,
  ) {
    this.#settings = settings;
    this.#binaries = binaries;
    this.#place = place;
    this.#account = account;
    this.#address = address;
    this.#logger = logger;
    this.#password = readFileSync(place.passwordFile, 'utf8').trim();
    process.once('exit', this.#onExit);
  }

  url(database: string): string {
    const { host, port } = this.#address;
    const at =
      host === null
        ? `localhost/${database}?host=${encodeURIComponent(this.#place.cluster)}&port=${port}`
        : `${host}:${port}/${database}`;
    return `postgresql://${USER}:${encodeURIComponent(this.#password)}@${at}`;
  }

  health(): string | null {
    return this.#child === null ? 'the embedded PostgreSQL has stopped and is being started again' : null;
  }

  async launch(): Promise<void> {
    const { host, port } = this.#address;
    const settings: Record<string, string> = {
      ...this.#settings,
      port: String(port),
      listen_addresses: host ?? '',
      unix_socket_directories: host === null ? this.#place.cluster : '',
    };
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const child = spawnAs(
      this.#account,
      this.#binaries.postgres,
      ['-D', this.#place.cluster, ...flags],
      this.#place,
      this.#binaries,
    );
    this.#child = child;
    this.#launching = true;
    this.#output = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#output = (this.#output + text).slice(-OUTPUT_CHARS_MAX);
      this.#logger.debug({ postgres: text.trimEnd() }, 'postgres says');
    });
    child.once('exit', (code, signal) => this.#ended(child, code, signal));
    try {
      await this.#ready(child);
    } catch (error) {
      await this.#endChild();
      throw error;
    } finally {
      this.#launching = false;
    }
    this.#restartMs = 100;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restart);
    process.removeListener('exit', this.#onExit);
    await this.#endChild();
  }

  async #endChild(): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
      child.kill(signal);
      const end = performance.now() + FAST_STOP_MS_MAX;
      while (this.#child !== null && performance.now() < end) await sleep(5);
      if (this.#child === null) return;
    }
  }

  #ended(child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#child === child) this.#child = null;
    // Who launches it hears of its end by the failure.
    if (this.#stopping || this.#launching) return;
    this.#logger.error({ code, signal, output: this.#output }, 'postgres ended; it is started again');
    this.#again();
  }

  #again(): void {
    this.#restart = setTimeout(() => {
      this.#restartMs = Math.min(this.#restartMs * 2, RESTART_MS_MAX);
      this.#relaunch().catch((error: unknown) => this.#logger.error({ err: error }, 'postgres did not start again'));
    }, this.#restartMs);
  }

  async #relaunch(): Promise<void> {
    // The postmaster's own children may live a moment longer and hold the shared memory.
    await stopLeftBehind(this.#place, this.#logger);
    if (this.#stopping) return;
    try {
      await this.launch();
    } catch (error) {
      // A stop that came meanwhile stands.
      if (this.#stopping) return;
      this.#again();
      throw error;
    }
  }

  async #ready(child: ChildProcess): Promise<void> {
    let failed: unknown;
    child.once('error', (error) => {
      failed = error;
    });
    const end = performance.now() + READY_MS_MAX;
    while (performance.now() < end) {
      const { pid, status } = readPostmasterFile(this.#place.cluster);
      if (pid === child.pid && status === 'ready') return;
      if (failed !== undefined || child.exitCode !== null || child.signalCode !== null) break;
      await sleep(10);
    }
    const output = this.#output.trim();
    throw new RegistryError(
      'POSTGRES_FAILED',
      'later',
      { directory: this.#place.directory, output },
      { cause: failed },
    );
  }
}

/** Makes the cluster beside its final place, so a start that is killed half-way leaves no half cluster. */
async function initialise(binaries: Binaries, place: Place, account: Account | null): Promise<void> {
  const fresh = `${place.cluster}.new`;
  rmSync(fresh, { recursive: true, force: true });
  rmSync(place.cluster, { recursive: true, force: true });
  const child = spawnAs(
    account,
    binaries.initdb,
    [
      '-D',
      fresh,
      '-U',
      USER,
      '--auth=scram-sha-256',
      `--pwfile=${place.passwordFile}`,
      '-E',
      'UTF8',
      '--locale=C',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '-c',
      'shared_buffers=32MB',
      '-c',
      'max_connections=40',
    ],
    place,
    binaries,
  );
  let output = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-OUTPUT_CHARS_MAX);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) =>
      reject(new RegistryError('POSTGRES_FAILED', 'later', { directory: place.directory }, { cause })),
    );
    child.once('close', resolve);
  });
  if (code !== 0)
    throw new RegistryError('POSTGRES_FAILED', 'later', { directory: place.directory, output: output.trim() });
  renameSync(fresh, place.cluster);
}

async function createDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
  } finally {
    await client.end();
  }
}

/** Detached: a Ctrl-C in the terminal must not stop the database before the program has drained. */
function spawnAs(
  account: Account | null,
  program: string,
  flags: string[],
  place: Place,
  binaries: Binaries,
): ChildProcess {
  return spawn(program, flags, {
    cwd: place.directory,
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC', LD_LIBRARY_PATH: binaries.libraries },
    ...(account === null ? {} : { uid: account.uid, gid: account.gid }),
  });
}
