import type { Duplex } from 'node:stream';
import { type Credential, Protocol } from '@millrace/core';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import type { Refusal } from '../http/answer.ts';
import type { Exchange } from '../http/exchange.ts';
import type { Head } from '../http/head.ts';
import { refuseIdentity, UNAUTHENTICATED } from '../http/refusals.ts';
import type { Address } from '../http/route.ts';
import { Client, shownCredential } from '../live/client.ts';
import type { LiveConnection } from '../live/connection.ts';
import type { FeedStart } from '../live/feed.ts';
import type { LiveKind } from '../live/measures.ts';
import { OriginCheck } from '../live/origin.ts';
import { Outbox } from '../live/outbox.ts';
import { filterFault, hasWildcard, type SocketPath } from '../live/path.ts';
import { readLiveQuery } from '../live/query.ts';
import type { LiveHost } from '../live/server.ts';
import { type StartRefusal, startRefusal } from '../live/start-refusal.ts';
import { Destination, type PublishRefusal } from '../message-publisher.ts';
import { auditRefusal } from '../refused-access.ts';
import { subtopicFault } from '../subtopic.ts';
import { ChannelSocket } from './channel-socket.ts';
import { ManySocket } from './many-socket.ts';
import { QuestionSocket } from './question-socket.ts';
import { LiveSocket } from './socket.ts';
import { MQTT_PROTOCOLS, Tunnel } from './tunnel.ts';

/** Sockets at `/ws` that have not said who they are. */
const UNKNOWN_MAX = 1_024;
/** Fragments of one message. A client that cuts finer wants our memory, not our attention. */
const FRAGMENTS_MAX = 1_024;
/** After our close frame, a client has so long to answer it. */
const CLOSE_MS_MAX = 10_000;
const KEY = /^[+/0-9A-Za-z]{22}==$/;
const CONTENT_TYPE = /^[\x21-\x7e]+\/[\x20-\x7e]{1,120}$/;
/** Sub-protocols that name the content type of what is published. */
const CONTENT_PROTOCOLS: Readonly<Record<string, string>> = {
  'senml-json': 'application/senml+json',
  'senml-cbor': 'application/senml+cbor',
  'octet-stream': 'application/octet-stream',
};

/** Who speaks MQTT over what a WebSocket carries. */
export interface MqttOverWebSocket {
  accept(
    stream: Duplex,
    peer: {
      readonly remoteAddress: string;
      readonly tls: boolean;
      readonly certificate: Extract<Credential, { kind: 'certificate' }> | null;
    },
  ): void;
}

/** Opens WebSockets: all that can be refused is refused before, in HTTP's words. */
export class SocketOpener {
  readonly #host: LiveHost;
  readonly #origins: OriginCheck;
  readonly #messages: WebSocketServer;
  readonly #tunnels: WebSocketServer;
  #unknown = 0;

  constructor(host: LiveHost) {
    const { config, corsOrigins } = host;
    this.#host = host;
    this.#origins = new OriginCheck(config.MILLRACE_WS_ORIGINS ?? corsOrigins);
    const settings = (frameBytesMax: number, protocols: readonly string[]): ServerOptions => ({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      autoPong: false,
      maxPayload: frameBytesMax,
      handleProtocols: (offered) => protocols.find((protocol) => offered.has(protocol)) ?? false,
      ...{ maxFragments: FRAGMENTS_MAX, closeTimeout: CLOSE_MS_MAX },
    });
    const { MILLRACE_WS_FRAME_BYTES_MAX: frameBytesMax } = config;
    this.#messages = new WebSocketServer(settings(frameBytesMax, Object.keys(CONTENT_PROTOCOLS)));
    // A packet is larger than its payload.
    this.#tunnels = new WebSocketServer(settings(frameBytesMax + 65_536, MQTT_PROTOCOLS));
  }

  /** @throws RegistryError, LogError (retry later) */
  async open(exchange: Exchange, path: SocketPath): Promise<void> {
    const { head } = exchange;
    if (!KEY.test(head.header('sec-websocket-key') ?? '')) {
      exchange.refuse(400, 'malformed', 'Sec-WebSocket-Key is missing or malformed.');
    } else if (head.header('sec-websocket-version') !== '13') {
      exchange.refuse(426, 'malformed', 'Only version 13 of the WebSocket protocol is spoken here.');
    } else if (protocolsOf(head) === null) {
      exchange.refuse(400, 'malformed', 'Sec-WebSocket-Protocol is malformed.');
    } else if (!this.#origins.allows(head)) {
      exchange.refuse(403, 'forbidden', 'Pages of this origin may not open WebSockets here (MILLRACE_WS_ORIGINS).');
    } else if (this.#host.full) {
      exchange.refuse(503, 'connections', 'Too many open WebSockets: try again later.');
    } else if (path.kind === 'mqtt') this.#openTunnel(exchange);
    else if (path.kind === 'many') await this.#openMany(exchange);
    else if (path.kind === 'question') await this.#openQuestion(exchange);
    else await this.#openChannel(exchange, path.address);
  }

  #openTunnel(exchange: Exchange): void {
    const { mqtt } = this.#host;
    const { head, connection } = exchange;
    if (mqtt === undefined) {
      exchange.refuse(404, 'malformed', 'MQTT is not served here.');
    } else if (protocolsOf(head)?.some((protocol) => MQTT_PROTOCOLS.includes(protocol)) !== true) {
      exchange.refuse(400, 'malformed', 'Offer the sub-protocol mqtt (Sec-WebSocket-Protocol: mqtt).');
    } else {
      const opened = this.#accept(exchange, this.#tunnels, 'mqtt', () => tunnel.left());
      if (opened === null) return;
      const tunnel = this.#kept(new Tunnel(opened), opened);
      const { remoteAddress, tls } = connection.context;
      mqtt.accept(tunnel, { remoteAddress, tls, certificate: connection.certificate });
      opened.read(true);
    }
  }

  async #openMany(exchange: Exchange): Promise<void> {
    const host = this.#host;
    const { config } = host;
    const { head, connection } = exchange;
    const parameters = new URLSearchParams(head.query);
    const credential = shownCredential(exchange, parameters, config.MILLRACE_WS_QUERY_AUTHORIZATION);
    let client: Client | null = null;
    if (credential !== null) {
      const identified = await Client.identify(host.gate, credential, Protocol.ws, connection.context);
      if (!(identified instanceof Client)) {
        refuseIdentity(exchange, identified);
        return;
      }
      client = identified;
    } else if (head.header('authorization') !== undefined || parameters.has('authorization')) {
      exchange.refuse(401, 'unauthenticated', UNAUTHENTICATED);
      return;
    } else if (this.#unknown >= UNKNOWN_MAX) {
      exchange.refuse(503, 'connections', 'Too many sockets have not said who they are: show a credential, or wait.');
      return;
    }
    const socket = this.#accept(exchange, this.#messages, 'many', () => many.left());
    if (socket === null) return;
    let unknown = client === null;
    if (unknown) this.#unknown++;
    const settle = (): void => {
      if (unknown) this.#unknown--;
      unknown = false;
    };
    socket.ws.once('close', settle);
    const { remoteAddress, tls, mutualTls } = connection.context;
    const many = new ManySocket(socket, {
      gate: host.gate,
      audit: host.audit,
      peer: { remoteAddress, tls, mutualTls },
      client,
      publisher: host.publisher,
      makeFeed: (known, outbox, reader, slow) => host.makeFeed('many', known, outbox, reader, slow),
      onKnown: (known) => {
        settle();
        this.#present(known, socket);
      },
      onFault: (error) => host.onFault(error),
      subscriptionsMax: config.MILLRACE_WS_SUBSCRIPTIONS_MAX,
      inFlightMax: config.MILLRACE_WS_IN_FLIGHT_MESSAGES_MAX,
      stallMsMax: config.MILLRACE_WS_STALL_MS_MAX,
      authenticateMsMax: config.MILLRACE_WS_AUTHENTICATE_MS_MAX,
    });
    this.#kept(many, socket);
    if (client !== null) this.#present(client, socket);
    socket.read(true);
  }

  /** Asked as over HTTP, by the same credential: what is refused there is refused here, in the same words. */
  async #openQuestion(exchange: Exchange): Promise<void> {
    const { questions, config } = this.#host;
    const { head, connection } = exchange;
    if (questions === undefined) {
      exchange.refuse(404, 'malformed', 'No WebSocket is here.');
      return;
    }
    const abort = new AbortController();
    const headers = new Headers({ accept: 'application/x-ndjson' });
    try {
      for (const name of ['authorization', 'last-event-id']) headers.set(name, head.header(name) ?? '');
    } catch {
      exchange.refuse(400, 'malformed', 'Authorization or Last-Event-ID holds characters that no header field may.');
      return;
    }
    const query = new URLSearchParams(head.query);
    query.set('format', 'ndjson');
    const request = new Request(`http://localhost/readings/live?${query}`, { headers, signal: abort.signal });
    const { remoteAddress, tls } = connection.context;
    const response = await questions(request, { remoteAddress, tls, certificate: connection.certificate });
    const { status, body } = response;
    if (status !== 200 || body === null) {
      const told = (await response.json().catch(() => ({}))) as { detail?: unknown };
      const text = typeof told.detail === 'string' ? told.detail : 'The question can not be answered.';
      // What it names is the client's own.
      const detail = text.replace(/[^\x20-\x7e]/g, '?');
      exchange.refuse(status === 200 ? 503 : status, REFUSALS[status] ?? 'registry_unreachable', detail);
      return;
    }
    const question = new QuestionSocket(body as ReadableStream<Uint8Array>, config.MILLRACE_WS_STALL_MS_MAX);
    const opened = this.#accept(exchange, this.#messages, 'question', () => question.left());
    if (opened === null) {
      question.left();
      return;
    }
    this.#kept(question, opened);
    question.open(opened);
  }

  async #openChannel(exchange: Exchange, address: Address): Promise<void> {
    const host = this.#host;
    const { config, gate, publisher } = host;
    const { head, connection } = exchange;
    const parameters = new URLSearchParams(head.query);
    const wild = hasWildcard(address.subtopic);
    const query = readLiveQuery(parameters);
    const contentType = parameters.get('content_type') ?? contentTypeByProtocol(head);
    const fault = 'fault' in query ? query.fault : (wild ? filterFault : subtopicFault)(address.subtopic);
    if ('fault' in query || fault !== null) {
      exchange.refuse(400, 'malformed', fault ?? '');
      return;
    }
    if (contentType !== '' && !CONTENT_TYPE.test(contentType)) {
      exchange.refuse(400, 'malformed', 'content_type is no content type.');
      return;
    }
    const credential = shownCredential(exchange, parameters, config.MILLRACE_WS_QUERY_AUTHORIZATION);
    if (credential === null) {
      exchange.refuse(401, 'unauthenticated', UNAUTHENTICATED);
      return;
    }
    const client = await Client.identify(gate, credential, Protocol.ws, connection.context);
    if (!(client instanceof Client)) {
      refuseIdentity(exchange, client);
      return;
    }
    const destination = wild ? null : new Destination(address.org, address.channel, address.subtopic, contentType);
    const decided = destination === null ? null : await publisher.decide(client, destination);
    const unpublished = decided !== null && 'kind' in decided ? decided : null;
    const mayPublish = decided !== null && unpublished === null;
    const channel = new ChannelSocket({
      client,
      publisher,
      destination,
      acknowledges: ['1', 'true', 'on'].includes(parameters.get('ack') ?? ''),
      inFlightMax: config.MILLRACE_WS_IN_FLIGHT_MESSAGES_MAX,
      stallMsMax: config.MILLRACE_WS_STALL_MS_MAX,
    });
    const outbox = new Outbox(connection.socket, config.MILLRACE_WS_BUFFER_BYTES_MAX);
    const feed = host.makeFeed('channel', client, outbox, channel, query.slow);
    let opened: LiveSocket | null = null;
    try {
      const filter = { channel: address.channel, subtopic: query.filter ?? address.subtopic };
      const elsewhere = await this.#isElsewhere(client, address, filter.subtopic);
      const start = elsewhere ? NOWHERE : await feed.subscribe(filter, query.from);
      if (start.kind === 'begun') channel.feed = feed;
      else if (!mayPublish || start.kind !== 'denied') {
        const { audit } = host;
        if (unpublished !== null) publisher.auditRefused(unpublished, client, address);
        if (start.kind === 'denied') {
          const asked = { channel: address.channel, subtopic: filter.subtopic };
          auditRefusal(audit, client.principal, 'subscribe', asked, start.reason, client.context);
        }
        refuseOpening(exchange, unpublished, startRefusal(start));
        return;
      }
      opened = this.#accept(exchange, this.#messages, 'channel', () => channel.left(), outbox);
    } finally {
      if (opened === null || channel.feed === null) feed.close();
    }
    if (opened === null) return;
    this.#kept(channel, opened);
    this.#present(client, opened);
    channel.open(opened);
    opened.read(true);
  }

  /** The address names an organisation, and the channel is not of it. Who may not read it is told so elsewhere. */
  async #isElsewhere(client: Client, { org, channel }: Address, subtopic: string): Promise<boolean> {
    if (org === null) return false;
    const admission = await this.#host.gate.may(client.principal, 'subscribe', channel, subtopic, client.context);
    return admission.kind === 'allow' && admission.channel.org !== org;
  }

  /** A thing is there as long as its socket is. */
  #present({ principal, context }: Client, { ws }: LiveSocket): void {
    const { presence } = this.#host;
    const { subject } = principal;
    if (presence === undefined || subject.kind !== 'thing' || ws.readyState === ws.CLOSED) return;
    const gone = presence.connected(subject.id, subject.org, Protocol.ws, context.remoteAddress);
    ws.once('close', gone);
  }

  #kept<C extends LiveConnection>(connection: C, socket: LiveSocket): C {
    this.#host.add(connection);
    socket.ws.once('close', () => this.#host.remove(connection));
    return connection;
  }

  /** The handshake. @returns null if the client is gone @holds the socket is not read yet */
  #accept(
    exchange: Exchange,
    server: WebSocketServer,
    kind: LiveKind,
    onClosed: () => void,
    outbox?: Outbox,
  ): LiveSocket | null {
    const { connection, head } = exchange;
    const { config } = this.#host;
    const rest = connection.detach(exchange);
    if (rest === null) return null;
    const { socket } = connection;
    const headers = Object.fromEntries(head.headers);
    const accepted: WebSocket[] = [];
    const request = { method: 'GET', url: head.path, headers, socket };
    server.handleUpgrade(request as never, socket, rest, (ws) => {
      accepted.push(ws);
    });
    const [ws] = accepted;
    if (ws === undefined) {
      socket.destroy();
      return null;
    }
    return new LiveSocket(
      ws,
      outbox ?? new Outbox(socket, config.MILLRACE_WS_BUFFER_BYTES_MAX),
      this.#host.measures(kind),
      config.MILLRACE_WS_PING_MS,
      onClosed,
    );
  }
}

/** Why a question was refused, for the metrics. */
const REFUSALS: Readonly<Record<number, Refusal>> = {
  400: 'malformed',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'no_such_channel',
  422: 'malformed',
  429: 'rate',
  503: 'connections',
};

const NOWHERE: FeedStart = { kind: 'denied', reason: 'no_such_channel' };
const TOKENS = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** The sub-protocols that are offered; null if they are malformed. */
function protocolsOf(head: Head): string[] | null {
  const text = head.header('sec-websocket-protocol');
  if (text === undefined) return [];
  const offered = text.split(',').map((protocol) => protocol.trim());
  return offered.every((protocol) => TOKENS.test(protocol)) && new Set(offered).size === offered.length
    ? offered
    : null;
}

function contentTypeByProtocol(head: Head): string {
  for (const protocol of protocolsOf(head) ?? []) {
    const type = CONTENT_PROTOCOLS[protocol];
    if (type !== undefined) return type;
  }
  return '';
}

/** Neither publishing nor reading is possible: tells the reason that helps most. */
function refuseOpening(exchange: Exchange, publish: PublishRefusal | null, read: StartRefusal): void {
  if (publish !== null && (publish.status >= 500 || read.status === 403) && publish.status !== 403) {
    exchange.refuse(publish.status, publish.reason, publish.detail);
  } else if (publish !== null && read.status === 403 && read.reason === 'forbidden' && publish.detail !== read.detail) {
    exchange.refuse(403, 'forbidden', 'The client may neither publish nor read here: connect it to the channel.');
  } else exchange.refuse(read.status, read.reason, read.detail);
}
