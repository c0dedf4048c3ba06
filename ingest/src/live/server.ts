import {
  type AuditTrail,
  type Component,
  type Delivery,
  type Gate,
  type HttpHandler,
  type Log,
  type Logger,
  type Metrics,
  MillraceError,
  type Presence,
  Protocol,
  type Started,
} from '@millrace/core';
import { WallClock } from '../clock.ts';
import { IngestCounts } from '../counts.ts';
import type { Exchange } from '../http/exchange.ts';
import type { NativeHandler } from '../http/native.ts';
import { refuseForNow } from '../http/refusals.ts';
import { MessagePublisher } from '../message-publisher.ts';
import { RateLimit } from '../rate.ts';
import type { WsIngestConfig } from '../ws/config.ts';
import { type MqttOverWebSocket, SocketOpener } from '../ws/opener.ts';
import type { Client } from './client.ts';
import type { LiveConnection } from './connection.ts';
import { Feed, type Reader, type SlowPolicy } from './feed.ts';
import { LIVE_KINDS, type LiveKind, LiveMeasures } from './measures.ts';
import type { Outbox } from './outbox.ts';
import { socketPathOf, streamPathOf } from './path.ts';
import { openStream } from './stream-opener.ts';

const SWEEP_MS = 250;
/** An opening that takes longer is answered 503. */
const OPENING_MS_MAX = 10_000;
/** Draining, what was received is waited for until the deadline, but clients that do not close only so long. */
const CLOSING_MS_MAX = 3_000;

export interface LiveServerOptions {
  readonly config: WsIngestConfig;
  /** Origins whose pages may open WebSockets where MILLRACE_WS_ORIGINS is not set: those that HTTP lets in. */
  readonly corsOrigins: string;
  readonly log: Log;
  readonly gate: Gate;
  readonly delivery: Delivery;
  /** Hears of refused publishes and subscriptions. */
  readonly audit?: AuditTrail | undefined;
  /** Hears of things that connect. */
  readonly presence?: Presence | undefined;
  /** Takes what is opened at `/mqtt`; without it there is nothing. */
  readonly mqtt?: MqttOverWebSocket;
  /** Answers a question that stays open in lines; without it no WebSocket is opened on one. */
  readonly questions?: HttpHandler;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** WebSockets and event streams, for `httpServer` to hand their requests to.
 *  Draining, it lets what was received be answered and ends all with a word; stopped, it ends them at once. */
export function liveServer(options: LiveServerOptions): Component<NativeHandler> {
  return {
    name: 'ingest/live',
    async start(): Promise<Started<NativeHandler>> {
      const server = new LiveServer(options);
      return { value: server, drain: (deadlineMs) => server.drain(deadlineMs), stop: async () => server.stop() };
    },
  };
}

/** What those who open connections need of the server. */
export interface LiveHost extends LiveServerOptions {
  readonly publisher: MessagePublisher;
  readonly full: boolean;
  measures(kind: LiveKind): LiveMeasures;
  makeFeed(kind: LiveKind, client: Client, outbox: Outbox, reader: Reader, slow: SlowPolicy): Feed;
  /** From now on until `remove` it is swept, drained and ended with the server. */
  add(connection: LiveConnection): void;
  remove(connection: LiveConnection): void;
  onFault(error: unknown): void;
}

class LiveServer implements NativeHandler {
  readonly #options: LiveServerOptions;
  readonly #opener: SocketOpener;
  readonly #host: LiveHost;
  readonly #connections = new Set<LiveConnection>();
  readonly #counts: IngestCounts;
  readonly #clock = new WallClock();
  readonly #sweeper: NodeJS.Timeout;
  #opening = 0;
  #draining = false;
  #adjustAt = 0;

  constructor(options: LiveServerOptions) {
    const { config, metrics, log, gate, delivery, logger } = options;
    this.#options = options;
    this.#counts = IngestCounts.of(metrics, 'ws');
    const measures = Object.fromEntries(LIVE_KINDS.map((kind) => [kind, new LiveMeasures(metrics, kind)]));
    const measuresOf = (kind: LiveKind): LiveMeasures => measures[kind] as LiveMeasures;
    const faults = metrics.counter('millrace_live_faults_total', 'Faults in WebSockets and event streams.');
    const { MILLRACE_WS_CONNECTIONS_MAX: most, MILLRACE_WS_BUFFER_BYTES_MAX: bytesMax } = config;
    const connections = this.#connections;
    const opening = (): number => this.#opening;
    this.#host = {
      ...options,
      publisher: new MessagePublisher({
        protocol: Protocol.ws,
        log,
        gate,
        logger,
        audit: options.audit,
        clock: this.#clock,
        counts: this.#counts,
        rate: new RateLimit(config.MILLRACE_WS_RATE_PER_SECOND, config.MILLRACE_WS_RATE_BURST),
      }),
      get full() {
        return connections.size + opening() > most;
      },
      measures: measuresOf,
      makeFeed: (kind, client, outbox, reader, slow) =>
        new Feed(delivery, client, outbox, reader, slow, { measures: measuresOf(kind), bytesMax }),
      add: (connection) => {
        this.#connections.add(connection);
        this.#counts.connections++;
        if (this.#draining) connection.drain();
      },
      remove: (connection) => {
        if (this.#connections.delete(connection)) this.#counts.connections--;
      },
      onFault: (error) => {
        faults.inc();
        logger.error({ err: error }, 'live: a connection met a fault');
      },
    };
    this.#opener = new SocketOpener(this.#host);
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
    this.#sweeper.unref();
  }

  request(exchange: Exchange): boolean {
    const { head } = exchange;
    if (head.method !== 'GET') return false;
    const address = streamPathOf(head.path);
    if (address !== null) {
      if (address.kind === 'bad') exchange.refuse(400, 'malformed', address.detail);
      else this.#open(exchange, () => openStream(this.#host, exchange, address));
      return true;
    }
    const path = socketPathOf(head.path);
    // Messages are read at the same path.
    if (path === null || path.kind === 'bad' || path.kind === 'question') return false;
    if (path.kind === 'channel' && !head.path.startsWith('/ws/')) return false;
    exchange.refuse(426, 'malformed', 'A WebSocket is here: send Upgrade: websocket.');
    return true;
  }

  upgrade(exchange: Exchange): boolean {
    const { head } = exchange;
    if (head.upgrade !== 'websocket') return false;
    const path = socketPathOf(head.path);
    if (path === null) return false;
    if (path.kind === 'bad') exchange.refuse(400, 'malformed', path.detail);
    else this.#open(exchange, () => this.#opener.open(exchange, path));
    return true;
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    const begun = performance.now();
    for (const connection of this.#connections) connection.drain();
    const waits = (): boolean => {
      const passed = performance.now() - begun;
      if (passed >= deadlineMs) return false;
      if (this.#counts.inFlightMessages > 0) return true;
      return passed < CLOSING_MS_MAX && [...this.#connections].some(({ drains }) => drains);
    };
    while (waits()) {
      this.#sweep();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  stop(): void {
    this.#draining = true;
    clearInterval(this.#sweeper);
    for (const connection of this.#connections) connection.destroy();
  }

  #open(exchange: Exchange, open: () => Promise<void>): void {
    exchange.inTurn(async () => {
      this.#opening++;
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(() => {
          exchange.refuse(503, 'registry_unreachable', 'The registry does not answer: try again later.');
          resolve();
        }, OPENING_MS_MAX);
      });
      try {
        await Promise.race([open(), late]);
      } catch (error) {
        if (error instanceof MillraceError && error.retry !== 'never') {
          this.#options.logger.warn({ code: error.code }, 'live: the registry or the log cannot be asked');
          refuseForNow(exchange, error, 'The registry or the log does not answer: try again later.');
        } else {
          this.#host.onFault(error);
          exchange.refuse(500, 'fault', 'A fault on our side.');
        }
      } finally {
        clearTimeout(timer);
        this.#opening--;
      }
    });
  }

  #sweep(): void {
    const now = performance.now();
    if (now >= this.#adjustAt) {
      this.#clock.adjust();
      this.#adjustAt = now + 1_000;
    }
    for (const connection of this.#connections) connection.sweep(now);
  }
}
