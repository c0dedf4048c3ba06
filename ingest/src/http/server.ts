import { readFile, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import type { AuditTrail, Component, Gate, HttpHandler, Log, Logger, Metrics, Presence, Started } from '@millrace/core';
import { WallClock } from '../clock.ts';
import { IngestCounts } from '../counts.ts';
import { IngestError } from '../error.ts';
import type { HandedConnections } from '../handed.ts';
import { RateLimit } from '../rate.ts';
import { answerHead, problemAnswer, type Refusal } from './answer.ts';
import type { HttpIngestConfig } from './config.ts';
import { Connection, type ConnectionHost } from './connection.ts';
import { CrossOrigin } from './cors.ts';
import { BodyDecoder, type Decoded } from './encoding.ts';
import type { Exchange } from './exchange.ts';
import { answerByHandler } from './fetch.ts';
import { HeadCache } from './head.ts';
import type { NativeHandler } from './native.ts';
import { TrustedProxies } from './proxies.ts';
import { Publisher } from './publish.ts';
import { ZstdInflater } from './zstd.ts';

const SWEEP_MS = 100;

export interface HttpServerOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** Instead of host and port: a Unix socket that nobody else may open. */
  readonly path?: string;
  /** Instead of a listener. */
  readonly handed?: HandedConnections;
  /** Who asks, where a process of ours passes on what others ask; absent: who has connected. */
  readonly asks?: (header: (name: string) => string | undefined) => RelayedClient;
  readonly config: HttpIngestConfig;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** The data plane; absent on nodes without the role. */
  readonly publish?: {
    readonly log: Log;
    readonly gate: Gate;
    /** Hears of refused publishes. */
    readonly audit?: AuditTrail | undefined;
    /** Hears of things that publish. */
    readonly presence?: Presence | undefined;
  };
  /** Asked in this order for what is no publish. Drained with the server; started and stopped by whoever made them. */
  readonly natives?: readonly NativeHandler[];
  /** Answers every other path; without it they are 404. */
  readonly fallback?: HttpHandler;
  /** Paths of the fallback whose bodies may be larger than others', as they are sent. */
  readonly largeBodies?: ReadonlyMap<string, number>;
}
/** What a process of ours knows of the client for whom it asks. */
export type RelayedClient = Pick<Connection['context'], 'remoteAddress' | 'tls' | 'mutualTls'> &
  Pick<Connection, 'certificate'>;
export interface HttpAddress {
  /** 0 where there is none. */
  readonly port: number;
  readonly url: string;
}

/** One port for everything: messages are published natively, every other path is the fallback's.
 *  Started, it answers; draining, it answers 503 to new requests and waits for what is under way. */
export function httpServer(options: HttpServerOptions): Component<HttpAddress> {
  return {
    name: 'ingest/http',
    async start(): Promise<Started<HttpAddress>> {
      // Between processes of one machine there is nobody to hide from.
      const certificate = options.path === undefined ? await readCertificate(options.config) : null;
      const server = new HttpServer(options, certificate);
      const port = await server.listen();
      const host = options.host.includes(':') ? `[${options.host}]` : options.host;
      return {
        value: { port, url: `${certificate === null ? 'http' : 'https'}://${host}:${port}` },
        drain: (deadlineMs) => server.drain(deadlineMs),
        stop: () => server.stop(),
      };
    },
  };
}

interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

async function readCertificate(config: HttpIngestConfig): Promise<Certificate | null> {
  const { MILLRACE_HTTP_TLS_CERT: cert, MILLRACE_HTTP_TLS_KEY: key } = config;
  if (cert === '' && key === '') return null;
  const missing = cert === '' ? 'MILLRACE_HTTP_TLS_CERT' : key === '' ? 'MILLRACE_HTTP_TLS_KEY' : null;
  if (missing !== null) throw new IngestError('HTTP_TLS_INVALID', 'never', { missing });
  try {
    return { cert: await readFile(cert), key: await readFile(key) };
  } catch (cause) {
    throw new IngestError('HTTP_TLS_INVALID', 'never', { cert, key }, { cause });
  }
}

class HttpServer implements ConnectionHost {
  readonly heads = new HeadCache();
  readonly bodyBytesMax: number;
  readonly headMsMax: number;
  readonly requestMsMax: number;
  readonly idleMsMax: number;
  draining = false;
  coarseMs = performance.now();
  readonly proxies: TrustedProxies;
  readonly #options: HttpServerOptions;
  readonly #server: Server;
  readonly #tls: boolean;
  readonly #connections = new Set<Connection>();
  readonly #clock = new WallClock();
  readonly #counts: IngestCounts;
  readonly #publisher: Publisher | null;
  readonly #crossOrigin: CrossOrigin;
  readonly #zstd = new ZstdInflater();
  readonly #decoder: BodyDecoder;
  readonly #refusals;
  readonly #faults;
  #sweeper: NodeJS.Timeout | undefined;
  #adjustAt = 0;

  constructor(options: HttpServerOptions, certificate: Certificate | null) {
    const { config, metrics, logger, publish } = options;
    this.#options = options;
    this.bodyBytesMax = config.MILLRACE_HTTP_BODY_BYTES_MAX;
    this.headMsMax = config.MILLRACE_HTTP_HEAD_MS_MAX;
    this.requestMsMax = config.MILLRACE_HTTP_REQUEST_MS_MAX;
    this.idleMsMax = config.MILLRACE_HTTP_IDLE_MS_MAX;
    this.proxies = new TrustedProxies(config.MILLRACE_HTTP_TRUSTED_PROXIES);
    this.#tls = certificate !== null;
    this.#counts = IngestCounts.of(metrics, 'http');
    this.#crossOrigin = new CrossOrigin(config.MILLRACE_HTTP_CORS_ORIGINS);
    this.#decoder = new BodyDecoder(this.bodyBytesMax, this.#zstd);
    this.#refusals = metrics.counter(
      'millrace_http_refusals_total',
      'Requests beyond the publish paths that the server itself refused, by reason.',
      ['reason'],
    );
    this.#faults = metrics.counter('millrace_http_faults_total', 'Faults in the handling of a request.');
    this.#publisher =
      publish === undefined
        ? null
        : new Publisher({
            ...publish,
            clock: this.#clock,
            counts: this.#counts,
            rate: new RateLimit(config.MILLRACE_HTTP_RATE_PER_SECOND, config.MILLRACE_HTTP_RATE_BURST),
            logger,
            inFlightMessagesMax: config.MILLRACE_HTTP_IN_FLIGHT_MESSAGES_MAX,
            inFlightBytesMax: config.MILLRACE_HTTP_IN_FLIGHT_BYTES_MAX,
            batchMessagesMax: config.MILLRACE_HTTP_BATCH_MESSAGES_MAX,
          });
    const socketOptions = { noDelay: true, keepAlive: true, allowHalfOpen: true };
    try {
      this.#server =
        certificate === null
          ? createServer(socketOptions, (socket) => this.#open(socket))
          : createTlsServer(
              {
                ...socketOptions,
                ...certificate,
                ...(options.handed === undefined ? {} : { ticketKeys: options.handed.ticketKeys }),
                handshakeTimeout: this.headMsMax,
              },
              (socket) => this.#open(socket),
              // A handshake that fails, or is not done in time, is told here, and closed by nobody else.
            ).on('tlsClientError', (_error: Error, socket: TLSSocket) => socket.destroy());
    } catch (cause) {
      throw new IngestError('HTTP_TLS_INVALID', 'never', { certificate: config.MILLRACE_HTTP_TLS_CERT }, { cause });
    }
  }

  async listen(): Promise<number> {
    const { host, port, path, handed } = this.#options;
    if (handed !== undefined) handed.take('http', (socket) => this.#server.emit('connection', socket));
    else await this.#bind(path === undefined ? { host, port, backlog: 4_096 } : { path });
    this.#server.removeAllListeners('error').on('error', (error) => this.onFault(error));
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
    return (this.#server.address() as AddressInfo | null)?.port ?? 0;
  }

  async #bind(to: { host: string; port: number; backlog: number } | { path: string }): Promise<void> {
    if ('path' in to) await rm(to.path, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause: NodeJS.ErrnoException) => {
        const code = cause.code === 'EADDRINUSE' ? 'HTTP_PORT_IN_USE' : 'HTTP_LISTEN_FAILED';
        const { host, port } = this.#options;
        reject(new IngestError(code, 'later', 'path' in to ? to : { host, port }, { cause }));
      });
      // A socket's file is made for nobody else, not only changed to be.
      const before = 'path' in to ? process.umask(0o177) : null;
      try {
        this.#server.listen(to, resolve);
      } finally {
        if (before !== null) process.umask(before);
      }
    });
  }

  async drain(deadlineMs: number): Promise<void> {
    this.draining = true;
    if (this.#server.listening) this.#server.close();
    const end = performance.now() + deadlineMs;
    this.#endIdle();
    const natives = Promise.all((this.#options.natives ?? []).map((native) => native.drain(deadlineMs)));
    while (performance.now() < end && (this.#counts.inFlightMessages > 0 || this.#busy())) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await natives;
    this.#endIdle();
  }

  async stop(): Promise<void> {
    this.draining = true;
    clearInterval(this.#sweeper);
    const closed = new Promise<void>((resolve) => {
      if (this.#server.listening) this.#server.close(() => resolve());
      else resolve();
    });
    for (const connection of this.#connections) connection.destroy();
    await closed;
    await this.#zstd.stop();
  }

  takeBytes(size: number): boolean {
    if (this.#counts.inFlightBytes + size > this.#options.config.MILLRACE_HTTP_IN_FLIGHT_BYTES_MAX) return false;
    this.#counts.inFlightBytes += size;
    return true;
  }
  giveBytes(size: number): void {
    this.#counts.inFlightBytes -= size;
  }

  onHead(exchange: Exchange): void {
    const { head, connection } = exchange;
    if (this.#options.asks !== undefined) {
      // Who passes on sends one request after the other.
      const { certificate, ...context } = this.#options.asks((name) => head.header(name));
      Object.assign(connection.context, context);
      connection.certificate = certificate;
    }
    if (head.origin !== undefined) exchange.crossOrigin = this.#crossOrigin.linesFor(head);
    if (this.draining) {
      exchange.closes = true;
      exchange.refuse(503, 'draining', 'This node is going down: send it to another, or try again.');
      return;
    }
    const preflight = head.method === 'OPTIONS' ? this.#crossOrigin.preflightLines(head) : null;
    if (preflight !== null) {
      exchange.answer(answerHead(204, 'No Content', exchange.lines + preflight));
      return;
    }
    if (this.#publisher !== null) this.#publisher.checkHead(exchange);
    if (exchange.answered) return;
    if (head.encoding === 'unknown') {
      exchange.refuse(415, 'encoding', 'The content encoding is not known: send gzip, deflate, br, zstd or none.');
    } else if (head.contentLength > this.bodyBytesMax || head.chunked) {
      const large = this.#options.largeBodies?.get(head.path) ?? 0;
      if (large > exchange.bodyBytesMax && head.encoding === 'identity') exchange.bodyBytesMax = large;
      if (head.contentLength <= exchange.bodyBytesMax) return;
      exchange.closes = true;
      exchange.refuse(413, 'too_large', `The body is larger than ${exchange.bodyBytesMax} bytes.`);
    }
  }

  onRequest(exchange: Exchange): void {
    try {
      const { encoding } = exchange.head;
      if (encoding === 'identity' || exchange.body.length === 0) this.#dispatch(exchange);
      else this.#decode(exchange, this.#decoder.decode(encoding, exchange.body));
    } catch (error) {
      this.onFault(error);
      exchange.refuse(500, 'fault', 'A fault on our side.');
    }
  }

  onClosed(connection: Connection): void {
    if (this.#connections.delete(connection)) this.#counts.connections--;
  }

  onFault(error: unknown): void {
    this.#faults.inc();
    this.#options.logger.error({ err: error }, 'http: a request met a fault');
  }

  refused(reason: Refusal, publish: boolean): void {
    if (publish && this.#publisher !== null) this.#counts.refused(reason);
    else this.#refusals.inc({ reason });
  }

  #open(socket: Socket): void {
    if (this.#connections.size >= this.#options.config.MILLRACE_HTTP_CONNECTIONS_MAX) {
      this.refused('connections', false);
      socket.on('error', () => {});
      socket.end(problemAnswer(503, 'Too many connections: try again later.', 'Connection: close\r\n'));
      socket.destroySoon();
      return;
    }
    this.#connections.add(new Connection(this, socket, this.#tls));
    this.#counts.connections++;
  }

  #dispatch(exchange: Exchange): void {
    if (exchange.head.route !== null && this.#publisher !== null) {
      this.#publisher.publish(exchange);
      return;
    }
    const { fallback, natives = [] } = this.#options;
    const upgrades = exchange.head.upgrade !== '' && exchange.body.length === 0;
    for (const native of natives) {
      if ((upgrades && native.upgrade(exchange)) || native.request(exchange)) return;
    }
    if (fallback !== undefined) answerByHandler(exchange, fallback, exchange.body);
    else exchange.refuse(404, 'malformed', 'There is nothing here.');
  }

  #decode(exchange: Exchange, decoded: Decoded | Promise<Decoded>): void {
    if (!(decoded instanceof Promise)) {
      this.#decoded(exchange, decoded);
      return;
    }
    exchange.connection.hold();
    decoded
      .then((body) => this.#decoded(exchange, body))
      .catch((error: unknown) => {
        this.onFault(error);
        exchange.refuse(500, 'fault', 'A fault on our side.');
      })
      .finally(() => exchange.connection.release());
  }

  #decoded(exchange: Exchange, decoded: Decoded): void {
    if (decoded === 'too_large') {
      exchange.refuse(413, 'too_large', `The body is larger than ${this.bodyBytesMax} bytes when decompressed.`);
    } else if (decoded === 'malformed') {
      exchange.refuse(400, 'bad_body', 'The body is not what its content encoding says.');
    } else if (decoded === 'busy') {
      exchange.refuse(503, 'in_flight', 'Too many bodies are being decompressed: try again later.');
    } else if (!exchange.connection.closed) {
      exchange.body = decoded;
      this.#dispatch(exchange);
    }
  }

  #endIdle(): void {
    for (const connection of this.#connections) if (connection.idle) connection.end();
  }

  #busy(): boolean {
    for (const connection of this.#connections) if (!connection.idle && !connection.detached) return true;
    return false;
  }

  #sweep(): void {
    const now = performance.now();
    this.coarseMs = now;
    if (now >= this.#adjustAt) {
      this.#clock.adjust();
      this.#adjustAt = now + 1_000;
    }
    for (const connection of this.#connections) connection.sweep(now);
  }
}
