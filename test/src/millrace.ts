import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const MAIN = new URL('../../app/bin/millrace.cjs', import.meta.url).pathname;
const READY_MS_MAX = 90_000;
/** The longest drain of the tests is far below. */
const END_MS_MAX = 60_000;
const OUTPUT_CHARS_MAX = 4_000_000;

/** The built program in a process of its own, on a data directory that outlives it. */
export class Millrace {
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  /** A program that prepares what the node inherits and becomes it. */
  launcher: readonly string[] = [];
  /** The built program; of another checkout, for upgrades. */
  main = MAIN;
  url = '';
  /** Of the MQTT listener. */
  mqtt = '';
  /** Of the CoAP listener. */
  coap = '';
  stderr = '';
  stdout = '';
  #child: ChildProcess | null = null;

  constructor(environment: Readonly<Record<string, string>> = {}, directory?: string) {
    this.directory = directory ?? mkdtempSync(join(tmpdir(), 'millrace-test-'));
    // As root, PostgreSQL runs as another user, who must reach its files in here.
    if (directory === undefined) chmodSync(this.directory, 0o711);
    this.environment = environment;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts and waits until it says that it is ready. */
  async start(): Promise<this> {
    this.launch();
    await this.ready();
    return this;
  }

  launch(): void {
    const [program = '', ...words] = [...this.launcher, process.execPath, this.main, 'start'];
    const child = spawn(program, words, {
      env: environmentOf({
        MILLRACE_DATA_DIR: this.directory,
        MILLRACE_HTTP_PORT: '0',
        MILLRACE_MQTT_PORT: '0',
        MILLRACE_COAP_PORT: '0',
        ...this.environment,
      }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout = (this.stdout + text).slice(-OUTPUT_CHARS_MAX);
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-OUTPUT_CHARS_MAX);
    });
  }

  /** Runs another command of the program on the same data directory and settings, to its end. */
  async command(words: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Ran> {
    return run([process.execPath, this.main, ...words], {
      MILLRACE_DATA_DIR: this.directory,
      ...this.environment,
      ...environment,
    });
  }

  async ready(msMax = READY_MS_MAX): Promise<void> {
    const file = join(this.directory, 'run', 'ready.json');
    const end = Date.now() + msMax;
    while (Date.now() < end) {
      if (existsSync(file)) {
        const ready = readyIn(file);
        if (ready?.pid === this.pid) {
          this.url = ready.http;
          this.mqtt = ready.mqtt ?? '';
          this.coap = ready.coap ?? '';
          return;
        }
      }
      if (this.#child?.exitCode !== null)
        throw new Error(`millrace ended with ${this.#child?.exitCode}:\n${this.stderr}`);
      await sleep(20);
    }
    throw new Error(`millrace was not ready within ${msMax} ms:\n${this.stderr}`);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Waits for the end.  @returns exit code, or the signal that ended it
   *  @throws when the process does not end: it is killed then */
  async ended(): Promise<number | string | null> {
    const child = this.#child;
    if (child === null) return null;
    this.#child = null;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode ?? child.signalCode;
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, END_MS_MAX);
    const told = await new Promise<number | string | null>((resolve) =>
      child.once('exit', (code, by) => resolve(code ?? by)),
    );
    clearTimeout(timer);
    if (late) throw new Error(`millrace did not end within ${END_MS_MAX} ms:\n${this.stderr.slice(-5_000)}`);
    return told;
  }

  /** Sends a signal and waits for the end.  @returns exit code, or the signal that ended it */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | string | null> {
    this.signal(signal);
    return this.ended();
  }

  /** Ends it and removes what it made, also the PostgreSQL that a killed node left behind and where that keeps its
   *  data when the program runs as root. */
  async dispose(): Promise<void> {
    try {
      await this.end('SIGTERM');
    } finally {
      const location = join(this.directory, 'postgres', 'location');
      const place = existsSync(location) ? readFileSync(location, 'utf8').trim() : join(this.directory, 'postgres');
      await endPostgres(join(place, 'cluster'));
      rmSync(place, { recursive: true, force: true });
      rmSync(this.directory, { recursive: true, force: true });
    }
  }
}

interface Ready {
  readonly pid: number;
  readonly http: string;
  readonly mqtt?: string;
  readonly coap?: string;
}

/** @returns null if a node that starts has just removed what a killed one had left */
function readyIn(file: string): Ready | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Ready;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

async function endPostgres(cluster: string): Promise<void> {
  const file = join(cluster, 'postmaster.pid');
  if (!existsSync(file)) return;
  const pid = Number(readFileSync(file, 'utf8').split('\n')[0]);
  const command = `/proc/${pid}/cmdline`;
  const lives = (): boolean => existsSync(command) && readFileSync(command, 'utf8').includes(cluster);
  for (const signal of ['SIGQUIT', 'SIGKILL'] as const) {
    if (!lives()) return;
    process.kill(pid, signal);
    for (let waited = 0; waited < 5_000 && lives(); waited += 20) await sleep(20);
  }
}

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, which a signal brings after `msMax` if it is given. */
export async function run(
  [program = '', ...words]: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  options: { readonly msMax?: number; readonly directory?: string } = {},
): Promise<Ran> {
  const child = spawn(program, words, {
    env: environmentOf(environment),
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.directory === undefined ? {} : { cwd: options.directory }),
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const timer = options.msMax === undefined ? undefined : setTimeout(() => child.kill('SIGINT'), options.msMax);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  clearTimeout(timer);
  return { code, stdout, stderr };
}

/** Ours without the settings of whoever runs the tests. */
const environmentOf = (more: Readonly<Record<string, string>>): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('MILLRACE_') && name !== 'NODE_OPTIONS'),
  ),
  ...more,
});

/** A port that was free a moment ago: for what must keep its address through a restart. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

/** What a test needs of the REST interface. */
export class Rest {
  readonly url: string;
  readonly authorization: string;

  constructor(url: string, authorization: string) {
    this.url = url;
    this.authorization = authorization;
  }

  static async asAdmin(millrace: Millrace): Promise<Rest> {
    const password = readFileSync(join(millrace.directory, 'admin-password'), 'utf8').trim();
    const { token } = await new Rest(millrace.url, '').json<{ token: string }>('POST', '/tokens', {
      email: 'admin@millrace.local',
      password,
    });
    return new Rest(millrace.url, `Bearer ${token}`);
  }

  as(authorization: string): Rest {
    return new Rest(this.url, authorization);
  }

  async raw(
    method: string,
    path: string,
    body?: string | Uint8Array,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    return fetch(this.url + path, {
      method,
      headers: { ...(this.authorization === '' ? {} : { authorization: this.authorization }), ...headers },
      ...(body === undefined ? {} : { body: body as string }),
    });
  }

  async json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.raw(
      method,
      path,
      body === undefined ? undefined : JSON.stringify(body),
      body === undefined ? {} : { 'content-type': 'application/json' },
    );
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }
}

export interface Publisher {
  readonly thing: string;
  readonly key: string;
  readonly channel: string;
  readonly rest: Rest;
}

/** A new thing connected to a new channel. */
export async function newPublisher(admin: Rest, name: string): Promise<Publisher> {
  const thing = await admin.json<{ id: string; key: string }>('POST', '/things', { name });
  const channel = await admin.json<{ id: string }>('POST', '/channels', { name });
  await admin.json('POST', '/connect', { channel_ids: [channel.id], thing_ids: [thing.id] });
  return { thing: thing.id, key: thing.key, channel: channel.id, rest: admin.as(`Thing ${thing.key}`) };
}

/** Polls until the condition gives something, or fails with what was seen last. */
export async function eventually<T>(
  what: string,
  msMax: number,
  probe: () => Promise<T | undefined | false>,
): Promise<T> {
  const end = Date.now() + msMax;
  let last: unknown;
  while (Date.now() < end) {
    try {
      const found = await probe();
      if (found !== undefined && found !== false) return found;
    } catch (error) {
      last = error;
    }
    await sleep(25);
  }
  throw new Error(`${what}: not within ${msMax} ms${last === undefined ? '' : ` (${String(last)})`}`);
}
