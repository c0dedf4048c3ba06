import { MillraceApiError, MillraceConnectionError, problemOf, retryAfterMs } from './error.ts';
import { isRepeatable, isTransient, pause, pauseMs, type Retries } from './retry.ts';
import type { Session } from './session.ts';

export type Query = Readonly<Record<string, unknown>>;

/** What every call takes. */
export interface CallOptions {
  readonly signal?: AbortSignal;
  /** For each try, in place of the client's. @units ms */
  readonly timeoutMs?: number;
  readonly headers?: Readonly<Record<string, string>>;
}
export interface SendOptions extends CallOptions {
  readonly query?: Query | undefined;
  /** JSON. */
  readonly body?: unknown;
  /** Bytes, as they are. */
  readonly bytes?: Uint8Array | undefined;
  /** Without the organisation that the client is for. */
  readonly anyOrg?: boolean;
  /** To get tokens by: says not who asks. */
  readonly anonymous?: boolean;
  /** It may be sent again, though its method says that it may change something. */
  readonly repeatable?: boolean;
}

export interface TransportOptions {
  readonly url: string;
  readonly org?: string | undefined;
  readonly timeoutMs: number;
  readonly retries: Retries;
  readonly userAgent?: string | undefined;
  readonly fetch: typeof fetch;
}

/** Sends requests: says who asks, waits and tries again where that helps, and turns refusals into errors. */
export class Transport {
  readonly url: string;
  readonly org: string | undefined;
  readonly retries: Retries;
  readonly #options: TransportOptions;
  session: Session | null = null;

  constructor(options: TransportOptions) {
    this.url = options.url.replace(/\/+$/, '');
    this.org = options.org;
    this.retries = options.retries;
    this.#options = options;
  }

  /** The JSON that is answered; undefined where there is none.
   *  @throws MillraceApiError, MillraceConnectionError, the signal's reason */
  async call<T>(method: string, path: string, options: SendOptions = {}): Promise<T> {
    const { response, done } = await this.#answered(method, path, options);
    try {
      const text = await response.text();
      return (text === '' ? undefined : JSON.parse(text)) as T;
    } catch (cause) {
      if (options.signal?.aborted === true) throw options.signal.reason;
      if (cause instanceof SyntaxError)
        throw new MillraceConnectionError('UNINTELLIGIBLE', this.url, `${this.url} answers ${path} with no JSON.`);
      throw new MillraceConnectionError('CLOSED', this.url, `The answer of ${this.url} broke off.`, { cause });
    } finally {
      done();
    }
  }

  /** The answer itself, once its head is there; its body may take as long as it likes. */
  async stream(method: string, path: string, options: SendOptions = {}): Promise<Response> {
    const { response, done } = await this.#answered(method, path, options);
    done();
    return response;
  }

  /** As `fetch`, with all that this does beside; refusals are answers. */
  readonly fetch = async (request: Request): Promise<Response> => {
    const bytes = request.body === null ? undefined : new Uint8Array(await request.arrayBuffer());
    const { response, done } = await this.#send(request.method, request.url, new Headers(request.headers), bytes, {
      signal: request.signal,
    });
    done();
    return response;
  };

  async #answered(method: string, path: string, options: SendOptions): Promise<Sent> {
    const headers = new Headers(options.headers);
    let { bytes } = options;
    if (options.body !== undefined) {
      bytes = new TextEncoder().encode(JSON.stringify(options.body));
      if (!headers.has('content-type')) headers.set('content-type', 'application/json');
    }
    if (!headers.has('accept')) headers.set('accept', 'application/json');
    const sent = await this.#send(method, this.address(path, options), headers, bytes, options);
    if (sent.response.ok) return sent;
    const waitMs = retryAfterMs(sent.response.headers.get('retry-after'), Date.now());
    const problem = await problemOf(sent.response);
    sent.done();
    throw new MillraceApiError(problem, `${method} ${path}`, waitMs);
  }

  address(path: string, { query, anyOrg }: Pick<SendOptions, 'query' | 'anyOrg'> = {}): string {
    const parameters = new URLSearchParams();
    for (const [name, value] of Object.entries(query ?? {})) {
      const text = queryText(value);
      if (text !== null) parameters.set(name, text);
    }
    if (this.org !== undefined && anyOrg !== true && !parameters.has('org')) parameters.set('org', this.org);
    const text = parameters.toString();
    return `${this.url}${path}${text === '' ? '' : `?${text}`}`;
  }

  async #send(
    method: string,
    address: string,
    headers: Headers,
    bytes: Uint8Array | undefined,
    options: SendOptions,
  ): Promise<Sent> {
    const repeatable = options.repeatable ?? isRepeatable(method, headers);
    const own = headers.has('authorization') || options.anonymous === true;
    let renewed = false;
    for (let attempt = 1; ; attempt++) {
      const authorization = own ? null : ((await this.session?.authorization()) ?? null);
      if (authorization !== null) headers.set('authorization', authorization);
      let waitMs: number | null = null;
      try {
        const sent = await this.#once(method, address, headers, bytes, options);
        const { response } = sent;
        if (response.status === 401 && !own && !renewed && (await this.session?.renew(authorization)) === true) {
          // A new token: this was no try of the request itself.
          renewed = true;
          attempt--;
          await discard(sent);
          continue;
        }
        if (!isTransient(response.status, repeatable)) return sent;
        const askedMs = retryAfterMs(response.headers.get('retry-after'), Date.now());
        waitMs = pauseMs(attempt, this.retries, askedMs, Math.random());
        if (waitMs === null) return sent;
        await discard(sent);
      } catch (error) {
        if (!(error instanceof MillraceConnectionError) || !repeatable) throw error;
        waitMs = pauseMs(attempt, this.retries, null, Math.random());
        if (waitMs === null) throw error;
      }
      await pause(waitMs, options.signal);
    }
  }

  async #once(
    method: string,
    address: string,
    headers: Headers,
    bytes: Uint8Array | undefined,
    { signal, timeoutMs = this.#options.timeoutMs }: SendOptions,
  ): Promise<Sent> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), timeoutMs);
    const done = (): void => clearTimeout(timer);
    try {
      const response = await this.#options.fetch(address, {
        method,
        headers,
        signal: signal == null ? late.signal : AbortSignal.any([signal, late.signal]),
        ...(bytes === undefined ? {} : { body: bytes as BodyInit }),
      });
      return { response, done };
    } catch (cause) {
      done();
      if (signal?.aborted === true) throw signal.reason;
      if (late.signal.aborted)
        throw new MillraceConnectionError('TIMEOUT', this.url, `${this.url} did not answer within ${timeoutMs} ms.`);
      throw new MillraceConnectionError('UNREACHABLE', this.url, `${this.url} does not answer.`, { cause });
    }
  }
}

interface Sent {
  readonly response: Response;
  /** The answer was read: its time no longer runs. */
  done(): void;
}

/** Lets go of an answer that nobody reads, so that its connection can be used again. */
async function discard({ response, done }: Sent): Promise<void> {
  done();
  await response.body?.cancel().catch(() => undefined);
}

function queryText(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(String).join(',');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** A part of a path. */
export const segment = (text: string): string => encodeURIComponent(text);
