import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig, SetupError } from '../../config.ts';
import { environmentWith, type Flags } from '../flags.ts';

export interface Thing {
  readonly id: string;
  readonly key: string;
}
const PAGE = 1_000;
const ANSWER_MS_MAX = 10_000;

/** What the demos ask a node for. */
export class Client {
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

/** Which node is meant, and who asks: what the flags say, else the node of the data directory and its administrator. */
export function target(flags: Flags): { url: string; email: string; password: string } {
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

export function wholeNumber(name: string, text: string | undefined, min: number, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < min || value > max)
    throw invalid(`${name} must be a whole number from ${min} to ${max}`);
  return value;
}

export const invalid = (problem: string, cause?: unknown): SetupError =>
  new SetupError('SETUP_INVALID', 'never', { problem }, cause === undefined ? undefined : { cause });
