import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import type {
  AuditTrail,
  ClientStore,
  Component,
  Delivery,
  Gate,
  Log,
  Logger,
  Metrics,
  Presence,
  RetainedStore,
  SessionStore,
  ShareGroupStore,
  Started,
} from '@millrace/core';
import { WallClock } from '../clock.ts';
import { IngestCounts } from '../counts.ts';
import { IngestError } from '../error.ts';
import type { HandedConnections } from '../handed.ts';
import type { Refusal } from '../http/answer.ts';
import { RateLimit } from '../rate.ts';
import { type Claim, Claims } from './claims.ts';
import type { MqttIngestConfig } from './config.ts';
import type { ConnectReason, Will } from './connect.ts';
import { Connection, type ConnectionHost, type Peer } from './connection.ts';
import type { CloseReason, Sessions } from './contract.ts';
import { PacketReader } from './packet-reader.ts';
import { ProxyDoor } from './proxy-door.ts';
import { Publisher } from './publisher.ts';
import type { Publishes } from './publishes.ts';
import { RetainedWriter } from './retained-writer.ts';
import { createSessions } from './session/sessions.ts';
import { WillPublisher } from './will.ts';

/** Also the bound of a revocation. */
const SWEEP_MS = 200;
/** Port of MQTT over TLS once a certificate is configured. */
const MQTTS_PORT = 8883;

export interface MqttServerOptions {
  readonly host: string;
  /** Instead of listeners. */
  readonly handed?: HandedConnections;
  readonly config: MqttIngestConfig;
  readonly log: Log;
  readonly gate: Gate;
  readonly delivery: Delivery;
  readonly sessions: SessionStore;
  readonly retained: RetainedStore;
  /** Absent: there are no other nodes. */
  readonly clients?: ClientStore;
  readonly shareGroups?: ShareGroupStore;
  /** Hears of refused publishes and subscriptions. */
  readonly audit?: AuditTrail | undefined;
  /** Hears of things that connect. */
  readonly presence?: Presence | undefined;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** As `$SYS/broker/version` tells it. */
  readonly version: string;
}
export interface MqttAddress {
  /** null: the listener is off, or another process's. */
  readonly mqtt: string | null;
  readonly mqtts: string | null;
  /** Serves a client whose bytes come in another way, as in a WebSocket. */
  accept(stream: Duplex, peer: Peer): void;
}

/** MQTT 3.1.1 and 3.1. Draining, it stops listening and reading, fires the wills, acknowledges what is on its way and
 *  writes the sessions. */
export function mqttServer(options: MqttServerOptions): Component<MqttAddress> {
  return {
    name: 'ingest/mqtt',
    async start(): Promise<Started<MqttAddress>> {
      const server = new MqttServer(options);
      try {
        const value = await server.listen();
        return { value, drain: (deadlineMs) => server.drain(deadlineMs), stop: () => server.stop() };
      } catch (error) {
        await server.stop();
        throw error;
      }
    },
  };
}

class MqttServer implements ConnectionHost {
  readonly config: MqttIngestConfig;
  readonly gate: Gate;
  readonly publisher: Publisher;
  readonly sessions: Sessions;
  readonly claims: Claims;
  readonly packets = new PacketReader();
  readonly rate: RateLimit;
  readonly clock = new WallClock();
  readonly logger: Logger;
  readonly audit: AuditTrail | undefined;
  readonly presence: Presence | undefined;
  coarseMs = performance.now();
  readonly #host: string;
  readonly #handed: HandedConnections | undefined;
  readonly #door: ProxyDoor;
  readonly #listeners: Server[] = [];
  readonly #connections = new Set<Connection>();
  readonly #counts: IngestCounts;
  readonly #retained: RetainedWriter;
  readonly #wills: WillPublisher;
  readonly #connects;
  readonly #closes;
  readonly #faults;
  #acknowledging: Publishes[] = [];
  #waiting: Connection[] = [];
  #draining = false;
  #sweeper: NodeJS.Timeout | undefined;
  #adjustAt = 0;

  constructor(options: MqttServerOptions) {
    const { config, gate, log, metrics, logger } = options;
    this.config = config;
    this.gate = gate;
    this.logger = logger;
    this.audit = options.audit;
    this.presence = options.presence;
    this.#host = options.host;
    this.#handed = options.handed;
    this.#door = new ProxyDoor({
      proxies: config.MILLRACE_MQTT_PROXY_PROTOCOL,
      tls: config.MILLRACE_MQTT_PROXY_TLS === 'on',
      headerMsMax: config.MILLRACE_MQTT_CONNECT_MS_MAX,
      waitingMax: config.MILLRACE_MQTT_CONNECTIONS_MAX,
      onRefused: () => this.refused('malformed'),
    });
    this.rate = new RateLimit(config.MILLRACE_MQTT_RATE_PER_SECOND, config.MILLRACE_MQTT_RATE_BURST);
    this.#counts = IngestCounts.of(metrics, 'mqtt');
    this.#retained = new RetainedWriter(options.retained, logger, config.MILLRACE_MQTT_LOG_AWAY_MS_MAX);
    this.publisher = new Publisher({
      log,
      gate,
      clock: this.clock,
      counts: this.#counts,
      retained: this.#retained,
      messagesMax: config.MILLRACE_MQTT_IN_FLIGHT_MESSAGES_MAX,
      bytesMax: config.MILLRACE_MQTT_IN_FLIGHT_BYTES_MAX,
    });
    this.sessions = createSessions({
      delivery: options.delivery,
      log,
      store: options.sessions,
      retained: options.retained,
      shareGroups: options.shareGroups,
      gate,
      config,
      audit: options.audit,
      metrics,
      logger,
      version: options.version,
    });
    this.#wills = new WillPublisher(this.publisher, gate, logger, metrics, options.audit);
    this.claims = new Claims(options.clients, logger, (wills) => {
      for (const will of wills) this.#wills.fireKept(will, () => this.claims.done(will));
    });
    this.#connects = metrics.counter('millrace_mqtt_connects_total', 'CONNECTs by how they ended.', ['result']);
    this.#closes = metrics.counter('millrace_mqtt_closes_total', 'Connections by why they ended.', ['reason']);
    this.#faults = metrics.counter('millrace_mqtt_faults_total', 'Faults in the handling of a packet.');
  }

  async listen(): Promise<MqttAddress> {
    const { config } = this;
    const tls = await readCertificate(config);
    const { plain, secure } = mqttPorts(config);
    const socketOptions = { noDelay: true, keepAlive: true, allowHalfOpen: true };
    await this.claims.join();
    let mqtt: string | null = null;
    let mqtts: string | null = null;
    if (plain !== 'off') {
      const server = createServer(socketOptions, (socket) => this.#open(socket, null));
      mqtt = await this.#serve('mqtt', server, plain);
    }
    if (secure !== 'off') {
      if (tls === null) throw new IngestError('MQTT_TLS_INVALID', 'never', { missing: 'MILLRACE_MQTT_TLS_CERT' });
      const asks = config.MILLRACE_MQTT_TLS_CLIENT_CERTIFICATES !== 'off';
      let server: Server;
      try {
        // Whom a certificate stands for is the registry's to say, so the handshake proves only who holds its key.
        server = createTlsServer(
          {
            ...socketOptions,
            ...tls,
            ...(this.#handed === undefined ? {} : { ticketKeys: this.#handed.ticketKeys }),
            minVersion: 'TLSv1.2',
            handshakeTimeout: config.MILLRACE_MQTT_CONNECT_MS_MAX,
            requestCert: asks,
            rejectUnauthorized: false,
          },
          (socket) => this.#openTls(socket),
        );
        // A handshake that fails, or is not done in time, is told here, and closed by nobody else.
        server.on('tlsClientError', (_error: Error, socket: TLSSocket) => socket.destroy());
        // Handshakes count as well.
        server.maxConnections = config.MILLRACE_MQTT_CONNECTIONS_MAX;
        server.on('drop', () => this.refused('connections'));
      } catch (cause) {
        throw new IngestError('MQTT_TLS_INVALID', 'never', { certificate: config.MILLRACE_MQTT_TLS_CERT }, { cause });
      }
      mqtts = await this.#serve('mqtts', server, secure);
    }
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
    return {
      mqtt,
      mqtts,
      accept: (stream, peer) => this.#accept(stream, peer),
    };
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    const end = performance.now() + deadlineMs;
    for (const listener of this.#listeners) listener.close();
    for (const connection of this.#connections) connection.drain();
    while (performance.now() < end && [...this.#connections].some(({ settled }) => !settled)) await turns(10);
    // Acknowledgements are written when the loop turns.
    await turns(1);
    for (const connection of this.#connections) connection.close('draining');
    while (performance.now() < end && (this.#counts.inFlightMessages > 0 || this.#wills.pending > 0)) await turns(10);
    await this.claims.flush(Math.max(0, end - performance.now()));
    await this.sessions.flush(Math.max(0, end - performance.now()));
  }

  async stop(): Promise<void> {
    this.#draining = true;
    clearInterval(this.#sweeper);
    const closed = this.#listeners.map(
      (listener) =>
        new Promise<void>((resolve) => {
          if (listener.listening) listener.close(() => resolve());
          else resolve();
        }),
    );
    this.#door.stop();
    for (const connection of this.#connections) connection.close('draining');
    this.#retained.stop();
    this.sessions.stop();
    await Promise.all(closed);
    await this.claims.stop();
  }

  acknowledgeSoon(publishes: Publishes): void {
    if (this.#acknowledging.length === 0) process.nextTick(() => this.#acknowledge());
    this.#acknowledging.push(publishes);
  }

  waitForRoom(connection: Connection): void {
    this.#waiting.push(connection);
  }

  connected(reason: ConnectReason): void {
    this.#connects.inc({ result: reason });
  }

  refused(reason: Refusal): void {
    this.#counts.refused(reason);
  }

  fire(will: Will, of: Connection, claim: Claim): void {
    this.#wills.fire(will, of, claim.connection, () => this.claims.release(claim));
  }

  onFault(error: unknown): void {
    this.#faults.inc();
    this.logger.error({ err: error }, 'mqtt: a packet met a fault');
  }

  onClosed(connection: Connection, reason: CloseReason | 'client' | 'lost'): void {
    if (!this.#connections.delete(connection)) return;
    this.#counts.connections--;
    this.#closes.inc({ reason });
  }

  async #serve(listener: 'mqtt' | 'mqtts', server: Server, port: number): Promise<string | null> {
    if (this.#handed === undefined) return `${listener}://${await this.#bind(this.#behindProxies(server), port)}`;
    let open = 0;
    this.#handed.take(listener, (socket) => {
      // The server's own limit is for what it accepts itself.
      if (open >= this.config.MILLRACE_MQTT_CONNECTIONS_MAX) {
        this.refused('connections');
        socket.destroy();
        return;
      }
      open++;
      socket.once('close', () => open--);
      this.#door.open(socket, (passed) => server.emit('connection', passed));
    });
    return null;
  }

  /** What listens for a server that opens what its proxies pass on. */
  #behindProxies(server: Server): Server {
    if (this.config.MILLRACE_MQTT_PROXY_PROTOCOL === '') return server;
    const front = createServer({ noDelay: true, keepAlive: true, allowHalfOpen: true }, (socket) =>
      this.#door.open(socket, (passed) => server.emit('connection', passed)),
    );
    front.maxConnections = server.maxConnections;
    front.on('drop', () => this.refused('connections'));
    return front;
  }

  #bind(server: Server, port: number): Promise<string> {
    const host = this.#host;
    this.#listeners.push(server);
    return new Promise((resolve, reject) => {
      server.once('error', (cause: NodeJS.ErrnoException) => {
        const code = cause.code === 'EADDRINUSE' ? 'MQTT_PORT_IN_USE' : 'MQTT_LISTEN_FAILED';
        reject(new IngestError(code, 'later', { host, port }, { cause }));
      });
      server.listen({ host, port, backlog: 4_096 }, () => {
        server.removeAllListeners('error').on('error', (error) => this.onFault(error));
        const { port: bound } = server.address() as AddressInfo;
        resolve(`${host.includes(':') ? `[${host}]` : host}:${bound}`);
      });
    });
  }

  #open(socket: Socket, certificate: Peer['certificate'], tls = false): void {
    this.#accept(socket, { ...this.#door.clientOf(socket, tls), certificate });
  }

  #openTls(socket: TLSSocket): void {
    const shown = socket.getPeerX509Certificate()?.raw;
    if (shown === undefined && this.config.MILLRACE_MQTT_TLS_CLIENT_CERTIFICATES === 'required') {
      this.#closes.inc({ reason: 'forbidden' });
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    const certificate: Peer['certificate'] =
      shown === undefined
        ? null
        : { kind: 'certificate', fingerprint: createHash('sha256').update(shown).digest('hex'), certificate: shown };
    this.#open(socket, certificate, true);
  }

  #accept(stream: Duplex, peer: Peer): void {
    if (this.#draining || this.#connections.size >= this.config.MILLRACE_MQTT_CONNECTIONS_MAX) {
      this.refused(this.#draining ? 'draining' : 'connections');
      stream.on('error', () => {});
      stream.destroy();
      return;
    }
    this.#connections.add(new Connection(this, stream, peer));
    this.#counts.connections++;
  }

  #acknowledge(): void {
    const due = this.#acknowledging;
    this.#acknowledging = [];
    for (const publishes of due) publishes.answer();
    this.#makeRoom();
  }

  #makeRoom(): void {
    if (this.#waiting.length === 0 || this.publisher.full) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const connection of waiting) connection.roomMade();
  }

  #sweep(): void {
    const now = performance.now();
    this.coarseMs = now;
    if (now >= this.#adjustAt) {
      this.clock.adjust();
      this.#adjustAt = now + 1_000;
    }
    for (const connection of this.#connections) connection.sweep(now);
    this.#makeRoom();
  }
}

/** Which listeners there are. */
export function mqttPorts(config: MqttIngestConfig): { plain: number | 'off'; secure: number | 'off' } {
  const { MILLRACE_MQTT_TLS_CERT: cert, MILLRACE_MQTT_TLS_KEY: key, MILLRACE_MQTTS_PORT: port } = config;
  return { plain: config.MILLRACE_MQTT_PORT, secure: port ?? (cert === '' && key === '' ? 'off' : MQTTS_PORT) };
}

const turns = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function readCertificate(config: MqttIngestConfig): Promise<{ cert: Buffer; key: Buffer } | null> {
  const { MILLRACE_MQTT_TLS_CERT: cert, MILLRACE_MQTT_TLS_KEY: key } = config;
  if (cert === '' && key === '') return null;
  const missing = cert === '' ? 'MILLRACE_MQTT_TLS_CERT' : key === '' ? 'MILLRACE_MQTT_TLS_KEY' : null;
  if (missing !== null) throw new IngestError('MQTT_TLS_INVALID', 'never', { missing });
  try {
    return { cert: await readFile(cert), key: await readFile(key) };
  } catch (cause) {
    throw new IngestError('MQTT_TLS_INVALID', 'never', { cert, key }, { cause });
  }
}
