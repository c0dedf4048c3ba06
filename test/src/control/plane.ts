import type { lookup } from 'node:dns';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createLogger,
  createMetrics,
  type Gate,
  type HttpHandler,
  type Questions,
  type ReadingsStore,
} from '@millrace/core';
import { createWebhookSender } from '@millrace/ingest';
import { createCredentials, createGate, createSealer, generateSigningKey } from '@millrace/policy';
import { CodecsConfig, codecRunner } from '@millrace/processors';
import {
  type ControlPlaneOptions,
  createControlPlane,
  embeddedPostgres,
  openRegistry,
  type Registry,
  RegistryConfig,
} from '@millrace/registry';
import { lazySql } from './lazy-sql.ts';

export const ADMIN = { email: 'admin@example.org', password: 'correct horse battery' };
const SECRET = Buffer.alloc(32, 7);
/** Slow machines take their time for a script, too. */
const CODECS_MS_MAX = 500;
const logger = createLogger({ level: 'silent' });
/** Reaches nobody: no name stands for anything. */
const sender = createWebhookSender({
  isPrivateAllowed: false,
  timeoutMs: 2_000,
  version: '1.2.3',
  resolve: ((_name: string, _options: object, done: (error: Error) => void) =>
    done(new Error('there is no such host'))) as unknown as typeof lookup,
});

export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape
  readonly body: any;
}

/** Asks a control plane in somebody's name. */
export class Asker {
  readonly #handler: HttpHandler;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #address: string;

  get headers(): Readonly<Record<string, string>> {
    return this.#headers;
  }

  constructor(handler: HttpHandler, headers: Readonly<Record<string, string>> = {}, address = '127.0.0.1') {
    this.#handler = handler;
    this.#headers = headers;
    this.#address = address;
  }

  as(authorization: string): Asker {
    return this.with({ authorization });
  }

  with(headers: Readonly<Record<string, string>>): Asker {
    return new Asker(this.#handler, { ...this.#headers, ...headers }, this.#address);
  }

  from(address: string): Asker {
    return new Asker(this.#handler, this.#headers, address);
  }

  /** Logs in. */
  async asUser(email: string, password: string): Promise<Asker> {
    const { status, body } = await this.call('POST', '/tokens', { email, password });
    if (status !== 201) throw new Error(`login of ${email}: ${status} ${JSON.stringify(body)}`);
    return this.as(`Bearer ${body.token}`);
  }

  /** Registers a user and logs in. */
  async newUser(email: string, password = 'a good password'): Promise<Asker> {
    const { status, body } = await this.call('POST', '/users', { email, password });
    if (status !== 201) throw new Error(`registering ${email}: ${status} ${JSON.stringify(body)}`);
    return this.asUser(email, password);
  }

  async call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answered> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await this.raw(method, path, text, {
      ...(text === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    });
    const answer = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') ?? false;
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(answer) : answer };
  }

  async raw(
    method: string,
    path: string,
    body?: string | Uint8Array,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const request = new Request(`http://localhost${path}`, {
      method,
      ...(body === undefined ? {} : { body: body as string }),
      headers: { ...this.#headers, ...headers },
    });
    return this.#handler(request, { remoteAddress: this.#address, tls: false });
  }
}

export interface Node {
  readonly registry: Registry;
  readonly gate: Gate;
  readonly handler: HttpHandler;
  /** Somebody who has not said who they are. */
  readonly stranger: Asker;
  stop(): Promise<void>;
}

/** Of readings, where a test has any. */
export type Stores = Partial<Pick<ControlPlaneOptions, 'store' | 'sql'>>;

export interface ControlPlane {
  /** Of PostgreSQL. */
  readonly url: string;
  readonly directory: string;
  /** A further node on the same database: registry, gate, codecs and control plane, all real.
   *  @param settings of RegistryConfig  @param url of another database */
  node(settings?: Readonly<Record<string, unknown>>, url?: string, stores?: Stores): Promise<Node>;
  dispose(): Promise<void>;
}

/** A PostgreSQL and the registries, gates and control planes on it: the product without its listeners and engines. */
export async function startControlPlane(): Promise<ControlPlane> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-control-'));
  // mkdtemp makes 0700, which PostgreSQL's own user could not pass.
  chmodSync(directory, 0o755);
  const postgres = await embeddedPostgres({ directory: join(directory, 'postgres'), logger }).start();
  const codecsConfig = CodecsConfig.parse({ MILLRACE_CODECS_MS_MAX: CODECS_MS_MAX });
  const codecs = await codecRunner(codecsConfig, { metrics: createMetrics(), logger }).start();
  const lazy = lazySql(directory);
  const nodes: Node[] = [];
  return {
    url: postgres.value.url,
    directory,
    async node(settings = {}, url = postgres.value.url, stores = {}) {
      const metrics = createMetrics();
      const started = await openRegistry({
        url,
        credentials: {
          create: (signingKeys) => createCredentials({ secret: SECRET, signingKeys }),
          generateSigningKey,
        },
        metrics,
        logger,
        admin: ADMIN,
        pollMs: 100,
        config: RegistryConfig.parse({ MILLRACE_PUBLIC_URL: 'http://localhost', ...settings }),
        directory,
      }).start();
      const registry = started.value;
      const gate = createGate({
        directory: registry.directory,
        credentials: registry.credentials,
        sealer: createSealer(SECRET),
        metrics,
      });
      const handler = createControlPlane({
        registry,
        gate,
        store: NO_STORE,
        sql: lazy.sql,
        ...stores,
        codecs: codecs.value,
        webhooks: { sender },
        selfRegister: true,
        version: '1.2.3',
        metrics,
        logger,
      });
      let stopped = false;
      const node: Node = {
        registry,
        gate,
        handler,
        stranger: new Asker(handler),
        async stop() {
          if (stopped) return;
          stopped = true;
          gate.stop();
          await started.stop();
        },
      };
      nodes.push(node);
      return node;
    },
    async dispose() {
      for (const node of nodes) await node.stop();
      await codecs.stop();
      await lazy.close();
      await postgres.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const NO_SERIES = {
  columns: ['value'],
  series: [],
  cut: false,
  used: { source: 'readings', why: 'nothing is stored' },
} as const;
/** These tests store no readings. */
export const NO_STORE: ReadingsStore & { readonly questions: Questions } = {
  questions: {
    series: async () => NO_SERIES,
    seriesText: async () => NO_SERIES,
    seriesRows: async function* () {},
    rows: async function* () {},
    latest: async () => ({ lines: new Uint8Array(), count: 0 }),
    slices: async () => [],
  },
  write: async () => undefined,
  readings: async ({ offset, limit }) => ({ total: 0, totalExact: true, offset, limit, readings: [] }),
  payloads: async ({ offset, limit }) => ({ total: 0, totalExact: true, offset, limit, payloads: [] }),
  payload: async () => null,
  deadLetters: async ({ offset, limit }) => ({ total: 0, totalExact: true, offset, limit, deadLetters: [] }),
  fate: async () => null,
  lastMessage: async () => null,
  activity: async () => ({ windows: [], publishers: [], publisherCount: 0, contentTypes: [], last: null }),
  health: async () => null,
};
