import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ClickHouseClient, ClickHouseLogLevel, type ClickHouseSettings, createClient } from '@clickhouse/client';
import { type EngineAnswerOptions, insertSettings, type QueryParameters, type WholeAnswerOptions } from './engine.ts';
import { engineCode, isElsewhere } from './errors.ts';
import { withoutException } from './exception-tail.ts';

/** How servers are asked. @units requestMsMax ms without a byte of the answer */
export interface Access {
  readonly username: string;
  /** Never logged. */
  readonly password: string;
  readonly database: string;
  readonly connectionsMax: number;
  readonly requestMsMax: number;
}

/** Heard of so lately, a server is taken to be there. */
const HEARD_MS_MAX = 5_000;
/** A server that does not say in this time that it is there is asked nothing. */
const PING_MS_MAX = 2_000;
const REST_MS_MIN = 500;
/** One that the server does not know of has ended, or has not begun: it is told again so often, for 6 s in all. */
const KILL_TRIES_MAX = 6;
const KILL_AGAIN_MS = 100;
const REST_MS_MAX = 30_000;

/** One server over HTTP. Nothing is asked before the first call. One that fails is left alone for a while: a random part
 *  of a time that doubles, so that many nodes do not come back to it at once. */
export class Connection {
  /** Without user and password. */
  readonly url: string;
  readonly #client: ClickHouseClient;
  #failures = 0;
  #restUntilMs = 0;
  #heardMs = Number.NEGATIVE_INFINITY;
  #pinging: Promise<boolean> | null = null;

  /** @param settings of all that is asked here */
  constructor(url: string, access: Access, settings: ClickHouseSettings = {}) {
    this.url = url;
    this.#client = createClient({
      url,
      username: access.username,
      password: access.password,
      database: access.database,
      max_open_connections: access.connectionsMax,
      request_timeout: access.requestMsMax,
      application: 'millrace',
      clickhouse_settings: settings,
      // What goes wrong is told by whoever asked.
      log: { level: ClickHouseLogLevel.OFF },
    });
  }

  get failing(): boolean {
    return this.#failures > 0;
  }
  /** 0: not resting. @units ms of `performance.now()` */
  get restUntilMs(): number {
    return performance.now() < this.#restUntilMs ? this.#restUntilMs : 0;
  }

  /** Whether it is there, if that has to be asked at all. */
  async answers(): Promise<boolean> {
    if (!this.failing && performance.now() - this.#heardMs < HEARD_MS_MAX) return true;
    this.#pinging ??= this.#ping().finally(() => {
      this.#pinging = null;
    });
    return this.#pinging;
  }
  async #ping(): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<{ success: boolean }>((resolve) => {
      timer = setTimeout(() => resolve({ success: false }), PING_MS_MAX);
    });
    const { success } = await Promise.race([this.#client.ping().catch(() => ({ success: false })), late]);
    clearTimeout(timer);
    if (!success) this.#failed();
    return success;
  }

  /** Does something here and remembers how the server fared. */
  async attempt<T>(work: (connection: this) => Promise<T>): Promise<T> {
    try {
      const value = await work(this);
      this.#failures = 0;
      this.#restUntilMs = 0;
      this.#heardMs = performance.now();
      return value;
    } catch (error) {
      if (isElsewhere(error)) this.#failed();
      throw error;
    }
  }
  #failed(): void {
    const ms = Math.min(REST_MS_MAX, REST_MS_MIN * 2 ** Math.min(this.#failures++, 16));
    this.#restUntilMs = performance.now() + Math.random() * ms;
  }

  async rows<Row>(statement: string, parameters?: QueryParameters, signal?: AbortSignal): Promise<Row[]> {
    signal?.throwIfAborted();
    const id = randomUUID();
    try {
      const answer = await this.#client.query({
        query: statement,
        format: 'JSONEachRow',
        query_id: id,
        ...(signal === undefined ? {} : { abort_signal: signal }),
        ...(parameters === undefined ? {} : { query_params: { ...parameters } }),
      });
      return await answer.json<Row>();
    } catch (error) {
      if (signal?.aborted) void this.#kill(id);
      signal?.throwIfAborted();
      throw error;
    }
  }
  async command(statement: string, settings: ClickHouseSettings = {}): Promise<void> {
    await this.#client.command({ query: statement, clickhouse_settings: settings });
  }
  /** @param more settings, each with a comma before it */
  async insert(target: string, format: string, bytes: Uint8Array, token: string, more = ''): Promise<void> {
    const { stream } = await this.#client.exec({
      query: `INSERT INTO ${target} SETTINGS ${insertSettings(token)}${more} FORMAT ${format}`,
      values: Readable.from([bytes], { objectMode: false }),
    });
    for await (const _ of stream);
  }
  async bytes(statement: string, options: WholeAnswerOptions): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of this.stream(statement, options)) {
      parts.push(part);
      size += part.length;
      if (size > options.bytesMax) break;
    }
    return Buffer.concat(parts);
  }
  async *stream(statement: string, options: EngineAnswerOptions): AsyncGenerator<Uint8Array> {
    const { format, parameters, signal } = options;
    signal?.throwIfAborted();
    const id = randomUUID();
    let ended = false;
    try {
      const answer = await this.#client.exec({
        query: `${statement} FORMAT ${format}`,
        query_id: id,
        ...(signal === undefined ? {} : { abort_signal: signal }),
        ...(parameters === undefined ? {} : { query_params: { ...parameters } }),
        // The first row may be long in coming; the server says that it is at work.
        clickhouse_settings: { send_progress_in_http_headers: 1, http_headers_progress_interval_ms: '10000' },
      });
      const tag = answer.response_headers['x-clickhouse-exception-tag'];
      const stream = answer.stream as Readable;
      const stop = (): void => void stream.destroy();
      signal?.addEventListener('abort', stop, { once: true });
      try {
        yield* typeof tag === 'string' ? withoutException(stream, tag) : (stream as AsyncIterable<Uint8Array>);
        ended = true;
      } finally {
        signal?.removeEventListener('abort', stop);
        stream.destroy();
      }
    } catch (error) {
      // What failed by itself needs no killing.
      ended = engineCode(error) !== null;
      signal?.throwIfAborted();
      throw error;
    } finally {
      if (!ended) void this.#kill(id);
    }
  }
  /** A server goes on with what nobody hears, unless it is told; it may not have begun yet. */
  async #kill(id: string): Promise<void> {
    for (let tries = 0; tries < KILL_TRIES_MAX; tries++) {
      const found = await this.rows(`KILL QUERY WHERE query_id = '${id}' ASYNC`).catch(() => []);
      if (found.length > 0) return;
      await sleep(KILL_AGAIN_MS * 2 ** tries, undefined, { ref: false });
    }
  }
  close(): Promise<void> {
    return this.#client.close();
  }
}

/** The servers of a setting: what they are asked with, and where they are.
 *  @param text comma-separated URLs; user and password in the first, or the same in all */
export function entryPoints(text: string): { urls: string[]; username: string; password: string } {
  const urls = text.split(',').map((each) => new URL(each.trim()));
  const [first] = urls;
  return {
    urls: urls.map((url) => `${url.protocol}//${url.host}${url.pathname}`),
    username: decodeURIComponent(first?.username ?? '') || 'default',
    password: decodeURIComponent(first?.password ?? ''),
  };
}
