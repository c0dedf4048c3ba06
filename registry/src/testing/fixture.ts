import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, createMetrics, type HttpHandler, type Logger, type Started } from '@millrace/core';
import { type ControlPlaneOptions, createControlPlane } from '../http/control-plane.ts';
import { type EmbeddedPostgres, embeddedPostgres } from '../postgres/server.ts';
import { openRegistry, type Registry, type RegistryOptions } from '../registry.ts';
import { StandInStore, standInCredentials, standInGate } from './stand-ins.ts';

export const ADMIN = { email: 'admin@example.org', password: 'correct horse battery' };
export const logger: Logger = createLogger({ level: 'silent' });

/** A PostgreSQL of a test's own. */
export async function temporaryPostgres(): Promise<{
  url: string;
  directory: string;
  started: Started<EmbeddedPostgres>;
  dispose(): Promise<void>;
}> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-registry-'));
  // mkdtemp makes 0700, which PostgreSQL's own user could not pass.
  chmodSync(directory, 0o755);
  const started = await embeddedPostgres({ directory: join(directory, 'postgres'), logger }).start();
  return {
    url: started.value.url,
    directory,
    started,
    async dispose() {
      await started.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export const startRegistry = (url: string, more: Partial<RegistryOptions> = {}): Promise<Started<Registry>> =>
  openRegistry({
    url,
    credentials: standInCredentials(),
    metrics: createMetrics(),
    logger,
    admin: ADMIN,
    pollMs: 100,
    ...more,
  }).start();

export interface Answered {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape
  readonly body: any;
}

/** A control plane, and a client of it. */
export class Client {
  readonly store: StandInStore;
  readonly #handler: HttpHandler;
  readonly #authorization: string | null;

  constructor(handler: HttpHandler, store: StandInStore, authorization: string | null = null) {
    this.#handler = handler;
    this.store = store;
    this.#authorization = authorization;
  }

  static over(registry: Registry, more: Partial<ControlPlaneOptions> = {}): Client {
    const store = new StandInStore();
    const handler = createControlPlane({
      registry,
      gate: standInGate(registry.directory, registry.credentials),
      store,
      selfRegister: true,
      version: '1.2.3',
      metrics: createMetrics(),
      logger,
      ...more,
    });
    return new Client(handler, store);
  }

  as(authorization: string): Client {
    return new Client(this.#handler, this.store, authorization);
  }

  async asUser(email: string, password: string): Promise<Client> {
    const { body } = await this.call('POST', '/tokens', { email, password });
    return this.as(`Bearer ${body.token}`);
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
      headers: { ...(this.#authorization === null ? {} : { authorization: this.#authorization }), ...headers },
    });
    return this.#handler(request, { remoteAddress: '127.0.0.1', tls: false });
  }

  async call(method: string, path: string, body?: unknown): Promise<Answered> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await this.raw(
      method,
      path,
      text,
      text === undefined ? {} : { 'content-type': 'application/json' },
    );
    const answer = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') ?? false;
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(answer) : answer };
  }
}
