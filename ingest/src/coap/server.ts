import type {
  AuditTrail,
  Component,
  Delivery,
  Gate,
  Log,
  Logger,
  Metrics,
  Presence,
  ReadingsStore,
  Started,
} from '@millrace/core';
import { WallClock } from '../clock.ts';
import { IngestCounts } from '../counts.ts';
import { diagnosis, draining } from './answers.ts';
import type { CoapIngestConfig } from './config.ts';
import type { CoapEndpoint, CoapRequest, CoapResource, CoapResponse, Peer, PeerIdentity } from './contract.ts';
import { wellKnownCore } from './discovery.ts';
import { createEndpoint, type Endpoint } from './endpoint/endpoint.ts';
import { FloodLimiter } from './endpoint/flood.ts';
import { endpointOptions } from './endpoint-options.ts';
import { CoapMeasures } from './measures.ts';
import { Code, Method } from './message/message.ts';
import { Observing } from './observing.ts';
import { coapPathOf, type MessagesPath } from './path.ts';
import { Peers, type SendDatagram } from './peers.ts';
import { Publishing } from './publishing.ts';
import { LastMessages } from './reading/last-messages.ts';
import { Reader } from './reading/reader.ts';
import { Turns } from './reading/turns.ts';
import { clientNames, type NameClient } from './relayed.ts';
import { type SocketSource, UdpSocket } from './socket.ts';

// hot

export interface CoapServerOptions {
  readonly host: string;
  readonly config: CoapIngestConfig;
  /** Sockets that a parent opened and bound, by file descriptor: the first takes the place of a port. */
  readonly inherited?: readonly number[];
  readonly log: Log;
  readonly gate: Gate;
  readonly delivery: Delivery;
  readonly store: ReadingsStore;
  /** The group in which processors commit: what they have committed is in the store. */
  readonly processorsGroup: string;
  /** Hears of refused publishes and reads. */
  readonly audit?: AuditTrail | undefined;
  /** Hears of things. */
  readonly presence?: Presence | undefined;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** What others build on CoAP with: LwM2M its resources, DTLS and terminators their peers. */
export interface CoapService {
  readonly endpoint: CoapEndpoint;
  /** Takes further resources in; before `listen`, so that no device meets a 4.04. */
  mount(resources: readonly CoapResource[]): void;
  /** Opens the socket.  @returns `coap://<host>:<port>`; null if it is off
   *  @throws IngestError COAP_PORT_IN_USE, COAP_LISTEN_FAILED */
  listen(): Promise<string | null>;
  /** Datagrams of this address and port come from somebody whom a terminator on this host has let in.
   *  @param key of the session, stable while it lasts  @param from where the device itself is */
  introduce(
    address: string,
    port: number,
    key: string,
    identity: PeerIdentity,
    from?: { readonly address: string; readonly port: number },
  ): Peer;
  /** That session is over. */
  dismiss(peer: Peer): void;
  /** Somebody whom we ask, or will: it stays the same object until each `keep` has had its `release`. */
  keep(peer: Peer): void;
  release(peer: Peer): void;
}

/** CoAP over UDP, and the resources of messages for everything that speaks CoAP.
 *  Draining, it answers new requests with 5.03, tells observers so, and waits for what is on its way. */
export function coapServer(options: CoapServerOptions): Component<CoapService> {
  return {
    name: 'ingest/coap',
    async start(): Promise<Started<CoapService>> {
      const server = new CoapServer(options);
      return {
        value: server,
        drain: (deadlineMs) => server.drain(deadlineMs),
        stop: async () => server.stop(),
      };
    },
  };
}

const ADJUST_MS = 1_000;
/** Questions to the store at the same time: others ask it too. */
const READS_AT_ONCE_MAX = 4;
const NOT_FOUND = diagnosis(Code.NotFound, 'There is nothing here: see /.well-known/core.');

class CoapServer implements CoapService {
  readonly endpoint: Endpoint;
  readonly #options: CoapServerOptions;
  readonly #peers: Peers;
  readonly #flood: FloodLimiter;
  readonly #nameOf: NameClient;
  readonly #publishing: Publishing;
  readonly #observing: Observing;
  readonly #reader: Reader;
  readonly #measures: CoapMeasures;
  readonly #resources = new Map<string, CoapResource>();
  readonly #clock = new WallClock();
  readonly #adjusting: NodeJS.Timeout;
  #socket: UdpSocket | null = null;
  #draining = false;

  constructor(options: CoapServerOptions) {
    this.#options = options;
    const { config, metrics } = options;
    const counts = IngestCounts.of(metrics, 'coap');
    this.#nameOf = clientNames(config.MILLRACE_COAP_BALANCERS);
    const send: SendDatagram = (datagram, port, address) => this.#socket?.send(datagram, port, address);
    this.#peers = new Peers(config.MILLRACE_COAP_PEERS_MAX, send, this.#nameOf);
    this.#publishing = new Publishing({ ...options, clock: this.#clock, counts });
    this.#flood = new FloodLimiter({
      ratePerSecond: config.MILLRACE_COAP_FLOOD_PER_SECOND,
      burst: config.MILLRACE_COAP_FLOOD_BURST,
      holdMsMax: config.MILLRACE_COAP_FLOOD_MS_MAX,
    });
    this.endpoint = createEndpoint((request) => this.#counted(request), {
      ...endpointOptions(config),
      onMalformed: ({ address }) => this.#flood.penalize(address, performance.now()),
      onFault: (error) => options.logger.error({ err: error }, 'coap: the message layer met a fault'),
    });
    this.#measures = new CoapMeasures(metrics, {
      endpoint: this.endpoint.counts,
      socket: () => this.#socket?.counts ?? null,
      observers: () => this.#observing.count,
      peers: () => this.#peers.size,
      flooded: () => this.#flood.ignored,
    });
    const maxAge = config.MILLRACE_COAP_MAX_AGE_S;
    const perClientMax = config.MILLRACE_COAP_OBSERVERS_PER_CLIENT_MAX;
    this.#observing = new Observing({ ...options, maxAge, perClientMax, measures: this.#measures, peers: this.#peers });
    const turns = new Turns(READS_AT_ONCE_MAX, config.MILLRACE_COAP_READS_WAITING_MAX);
    const lastMessages = new LastMessages({ ...options, turns });
    this.#reader = new Reader({ ...options, turns, maxAge, lastMessages, observing: this.#observing });
    this.#adjusting = setInterval(() => this.#clock.adjust(), ADJUST_MS);
  }

  mount(resources: readonly CoapResource[]): void {
    for (const resource of resources) {
      for (const segment of resource.segments) this.#resources.set(segment, resource);
    }
  }

  async listen(): Promise<string | null> {
    const { config, logger } = this.#options;
    const source = this.#source();
    if (source === null) return null;
    const { endpoint } = this;
    const peers = this.#peers;
    const flood = this.#flood;
    const nameOf = this.#nameOf;
    this.#socket = await UdpSocket.open({
      source,
      receiveBufferBytes: config.MILLRACE_COAP_RECEIVE_BUFFER_BYTES,
      sendQueueBytesMax: config.MILLRACE_COAP_SEND_QUEUE_BYTES_MAX,
      logger,
      onDatagram: (datagram, { address, port }) => {
        if (flood.isIgnored(nameOf(address, port), performance.now())) return;
        endpoint.receive(datagram, peers.of(address, port));
      },
    });
    return `coap://${this.#socket.address}`;
  }

  introduce(
    address: string,
    port: number,
    key: string,
    identity: PeerIdentity,
    from?: { readonly address: string; readonly port: number },
  ): Peer {
    return this.#peers.introduce(address, port, key, identity, from);
  }

  dismiss(peer: Peer): void {
    this.#peers.dismiss(peer);
    this.endpoint.forget(peer);
  }

  keep(peer: Peer): void {
    this.#peers.keep(peer);
  }

  release(peer: Peer): void {
    this.#peers.release(peer);
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    this.#observing.endAll();
    await this.endpoint.drain(deadlineMs);
  }

  stop(): void {
    clearInterval(this.#adjusting);
    this.#observing.stop();
    this.endpoint.close();
    this.#socket?.close();
    this.#socket = null;
  }

  #source(): SocketSource | null {
    const { config, host, inherited = [] } = this.#options;
    const fd = config.MILLRACE_COAP_FD ?? inherited[0];
    if (fd !== undefined) return { kind: 'inherited', fd };
    const port = config.MILLRACE_COAP_PORT;
    return port === 'off' ? null : { kind: 'bind', host, port };
  }

  #counted(request: CoapRequest): CoapResponse | Promise<CoapResponse> {
    const { method } = request;
    try {
      const answer = this.#answer(request);
      if (answer instanceof Promise) {
        return answer.then(
          (response) => this.#answered(request, response),
          (error: unknown) => this.#fault(method, error),
        );
      }
      return this.#answered(request, answer);
    } catch (error) {
      return this.#fault(method, error);
    }
  }

  #answered({ method, path, peer }: CoapRequest, response: CoapResponse): CoapResponse {
    const { code } = response;
    this.#measures.answered(method, code);
    // Who tries one credential after the other is not listened to for a while; nor who tries names of devices, and
    // places where they are registered: each is a question to the registry.
    if (peer.identity === null && code >> 5 === 4) {
      const guessed =
        code === Code.Unauthorized ||
        ((code === Code.Forbidden || code === Code.NotFound) && this.#resources.has(path[0] ?? ''));
      if (guessed) this.#flood.penalize(peer.address, performance.now());
    }
    return response;
  }

  #fault(method: number, error: unknown): CoapResponse {
    this.#measures.answered(method, Code.InternalServerError);
    this.#options.logger.error({ err: error }, 'coap: a request met a fault');
    return diagnosis(Code.InternalServerError, 'A fault on our side.');
  }

  #answer(request: CoapRequest): CoapResponse | Promise<CoapResponse> {
    if (this.#draining) return draining.response;
    const resource = this.#resources.get(request.path[0] ?? '');
    if (resource !== undefined) return resource.handle(request);
    const { method } = request;
    if (method === Method.Post || method === Method.Put) {
      const known = this.#publishing.publishKnown(request);
      if (known !== null) return known;
    }
    const path = coapPathOf(request.path);
    switch (path.kind) {
      case 'messages':
        return this.#messages(request, path);
      case 'core':
        if (method === Method.Get) return wellKnownCore(request, this.#resources.values());
        return diagnosis(Code.MethodNotAllowed, 'It is only to be read.');
      case 'bad':
        return diagnosis(Code.BadRequest, path.detail);
      case 'none':
        return NOT_FOUND;
    }
  }

  #messages(request: CoapRequest, path: MessagesPath): CoapResponse | Promise<CoapResponse> {
    switch (request.method) {
      case Method.Post:
      case Method.Put:
        return this.#publishing.publish(request, path);
      case Method.Get:
        return this.#reader.get(request, path);
      case Method.Fetch:
        return this.#reader.fetch(request, path);
      default:
        return diagnosis(Code.MethodNotAllowed, 'POST or PUT publishes, GET reads (Observe: as it comes), FETCH asks.');
    }
  }
}
