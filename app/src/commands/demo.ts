import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig, SetupError } from '../config.ts';
import { environmentWith, type Flags } from './flags.ts';

interface Thing {
  readonly id: string;
  readonly key: string;
}

const CHANNEL_NAME = 'Demo';
const PAGE = 1_000;
const ANSWER_MS_MAX = 10_000;

/** Simulates devices against a running node until the process is told to stop. */
export async function demo(flags: Flags): Promise<void> {
  const count = wholeNumber('--devices', flags.devices, 1, 10_000);
  const intervalMs = Math.max(50, Number(flags.interval) * 1_000);
  if (!Number.isFinite(intervalMs)) throw invalid('--interval must be a number of seconds');
  const { url, email, password } = target(flags);
  const client = new Client(url);
  await client.login(email, password);
  const channel = await client.channel(CHANNEL_NAME);
  const things = await client.things(count);
  await client.call('POST', '/connect', { channel_ids: [channel], thing_ids: things.map((thing) => thing.id) });
  process.stdout.write(
    `${count} devices publish to channel ${channel} (“${CHANNEL_NAME}”) every ${intervalMs / 1_000} s; Ctrl-C stops.\n`,
  );

  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  const told = { sent: 0, refused: 0, ackMs: 0, lastRefusal: '' };
  const devices = things.map((thing, index) =>
    simulate(client, channel, thing, index, count, intervalMs, told, stop.signal),
  );
  const progress = setInterval(() => report(told), process.stdout.isTTY ? 1_000 : 10_000);
  await Promise.all(devices);
  clearInterval(progress);
  report(told);
  process.stdout.write('\n');
}

function report(told: { sent: number; refused: number; ackMs: number; lastRefusal: string }): void {
  const line = `${told.sent} messages acknowledged, last in ${told.ackMs.toFixed(1)} ms${told.refused === 0 ? '' : `; ${told.refused} refused (${told.lastRefusal})`}`;
  process.stdout.write(process.stdout.isTTY ? `\r\u001b[K${line}` : `${line}\n`);
}

/** One device: a room with a heater, a meter and a door. */
async function simulate(
  client: Client,
  channel: string,
  thing: Thing,
  index: number,
  count: number,
  intervalMs: number,
  told: { sent: number; refused: number; ackMs: number; lastRefusal: string },
  signal: AbortSignal,
): Promise<void> {
  let temperature = 18 + Math.random() * 4;
  let energyWh = Math.random() * 10_000;
  let open = false;
  let heating = true;
  // Devices of a fleet do not speak in step.
  await sleep((index / count) * intervalMs, undefined, { signal }).catch(() => {});
  while (!signal.aborted) {
    const outside = 8 + 6 * Math.sin(((Date.now() / 3_600_000) * Math.PI) / 12 + index);
    if (Math.random() < 0.02) open = !open;
    if (temperature < 20.5) heating = true;
    else if (temperature > 22) heating = false;
    const powerW = heating ? 900 + Math.random() * 60 : 4 + Math.random();
    temperature += ((outside - temperature) * (open ? 0.01 : 0.001) + (heating ? 0.05 : 0)) * (intervalMs / 1_000);
    energyWh += (powerW * intervalMs) / 3_600_000;
    const pack = [
      {
        bn: `demo:${index}:`,
        bt: Date.now() / 1_000,
        n: 'temperature',
        u: 'Cel',
        v: round(temperature + (Math.random() - 0.5) * 0.1),
      },
      { n: 'humidity', u: '%RH', v: round(45 - (temperature - 21) * 2 + Math.random()) },
      { n: 'power', u: 'W', v: round(powerW) },
      { n: 'energy', u: 'J', v: Math.round(energyWh * 3_600), s: Math.round(energyWh * 3_600) },
      { n: 'door', vb: open },
    ];
    const start = performance.now();
    try {
      await client.publish(channel, thing.key, pack);
      told.sent++;
      told.ackMs = performance.now() - start;
    } catch (error) {
      told.refused++;
      told.lastRefusal = (error as Error).message;
    }
    await sleep(intervalMs, undefined, { signal }).catch(() => {});
  }
}

const round = (value: number): number => Math.round(value * 100) / 100;

class Client {
  readonly #url: string;
  #token = '';

  constructor(url: string) {
    this.#url = url;
  }

  async login(email: string, password: string): Promise<void> {
    this.#token = (await this.call<{ token: string }>('POST', '/tokens', { email, password })).token;
  }

  async channel(name: string): Promise<string> {
    const page = await this.call<{ channels: { id: string; name: string }[] }>(
      'GET',
      `/channels?name=${encodeURIComponent(name)}&limit=100`,
    );
    const found = page.channels.find((channel) => channel.name === name);
    return found?.id ?? (await this.call<{ id: string }>('POST', '/channels', { name })).id;
  }

  /** The demo's devices, made where they are missing. */
  async things(count: number): Promise<Thing[]> {
    const known = new Map<string, string>();
    for (let offset = 0; ; offset += PAGE) {
      const page = await this.call<{ things: { id: string; name: string }[] }>(
        'GET',
        `/things?name=demo-&limit=${PAGE}&offset=${offset}`,
      );
      for (const thing of page.things) known.set(thing.name, thing.id);
      if (page.things.length < PAGE) break;
    }
    const things: Thing[] = [];
    for (let index = 0; index < count; index++) {
      const name = `demo-${String(index + 1).padStart(2, '0')}`;
      const id = known.get(name) ?? (await this.call<{ id: string }>('POST', '/things', { name })).id;
      things.push({ id, key: (await this.call<{ key: string }>('GET', `/things/${id}`)).key });
    }
    return things;
  }

  async publish(channel: string, key: string, pack: unknown): Promise<void> {
    const response = await fetch(`${this.#url}/channels/${channel}/messages`, {
      method: 'POST',
      headers: { authorization: `Thing ${key}`, 'content-type': 'application/senml+json' },
      body: JSON.stringify(pack),
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
    if (response.status !== 202) throw new Error(await describe(response));
    await response.arrayBuffer();
  }

  async call<T = unknown>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(this.#url + path, {
      method,
      headers: {
        ...(this.#token === '' ? {} : { authorization: `Bearer ${this.#token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }).catch((cause) => {
      throw invalid(`${this.#url} does not answer; is the node running? (millrace start)`, cause);
    });
    if (!response.ok) throw invalid(`${method} ${path}: ${await describe(response)}`);
    const text = await response.text();
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }
}

async function describe(response: Response): Promise<string> {
  const body = (await response.json().catch(() => null)) as { detail?: string } | null;
  return `${response.status} ${body?.detail ?? response.statusText}`;
}

function target(flags: Flags): { url: string; email: string; password: string } {
  const config = loadConfig(environmentWith(flags));
  const directory = config.node.MILLRACE_DATA_DIR;
  const ready = join(directory, 'run', 'ready.json');
  const url =
    flags.url ?? (existsSync(ready) ? (JSON.parse(readFileSync(ready, 'utf8')) as { http: string }).http : undefined);
  if (url === undefined) {
    throw invalid(`no node runs on ${directory}. Start one (millrace start), or name another with --url or --data-dir`);
  }
  const passwordFile = join(directory, 'admin-password');
  const password = flags.password ?? (existsSync(passwordFile) ? readFileSync(passwordFile, 'utf8').trim() : undefined);
  if (password === undefined) throw invalid('give --email and --password (or MILLRACE_ADMIN_PASSWORD)');
  return { url: url.replace(/\/$/, ''), email: flags.email ?? config.registry.MILLRACE_ADMIN_EMAIL, password };
}

function wholeNumber(name: string, text: string | undefined, min: number, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < min || value > max)
    throw invalid(`${name} must be a whole number from ${min} to ${max}`);
  return value;
}

const invalid = (problem: string, cause?: unknown): SetupError =>
  new SetupError('SETUP_INVALID', 'never', { problem }, cause === undefined ? undefined : { cause });
