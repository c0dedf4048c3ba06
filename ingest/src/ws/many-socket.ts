import { type AuditTrail, type Gate, MillraceError, Protocol, positionText, problem } from '@millrace/core';
import { FORBIDDEN, GUESSED, TOO_MANY_GUESSES } from '../http/refusals.ts';
import { Client, type Peer } from '../live/client.ts';
import type { LiveConnection } from '../live/connection.ts';
import type { Feed, FeedStart, Reader, SlowPolicy } from '../live/feed.ts';
import type { LiveEnd } from '../live/measures.ts';
import type { Outbox } from '../live/outbox.ts';
import { startRefusal } from '../live/start-refusal.ts';
import type { PublishTarget } from '../message-encoder.ts';
import {
  CHANNEL_TOO_FAST,
  Destination,
  EMPTY_MESSAGE,
  type MessagePublisher,
  type PublishRefusal,
} from '../message-publisher.ts';
import { auditRefusal } from '../refused-access.ts';
import { Inbox } from './inbox.ts';
import {
  type AuthenticateRequest,
  credentialIn,
  type PublishRequest,
  payloadOf,
  readRequest,
  type SubscribeRequest,
} from './request.ts';
import { CLOSE, type LiveSocket } from './socket.ts';
import { SocketSubscription } from './subscription.ts';

/** Frames in a row that are no request; then the socket is closed. */
const FAULTS_MAX = 16;
/** What a client may send before it is known. */
const UNKNOWN_BYTES_MAX = 16_384;
/** Destinations that are remembered. */
const DESTINATIONS_MAX = 64;
/** How often a channel that takes no more just now is looked at again. */
const RETRY_MS = 50;
const UNKNOWN = 'The credential is not known, or no longer holds.';

export interface ManySocketOptions {
  readonly gate: Gate;
  readonly audit: AuditTrail | undefined;
  readonly peer: Peer;
  /** null: it must authenticate first. */
  readonly client: Client | null;
  readonly publisher: MessagePublisher;
  makeFeed(client: Client, outbox: Outbox, reader: Reader, slow: SlowPolicy): Feed;
  /** It has said who it is. */
  onKnown(client: Client): void;
  onFault(error: unknown): void;
  readonly subscriptionsMax: number;
  readonly inFlightMax: number;
  readonly stallMsMax: number;
  readonly authenticateMsMax: number;
}

/** The socket at `/ws`: many channels over one, by JSON objects, one a frame.
 *  @holds requests are handled in order; `subscribed` comes before the subscription's first message */
export class ManySocket implements LiveConnection {
  readonly drains = true;
  readonly #options: ManySocketOptions;
  readonly #socket: LiveSocket;
  readonly #inbox: Inbox<Buffer>;
  readonly #subscriptions = new Map<string, SocketSubscription>();
  readonly #destinations = new Map<string, Destination>();
  readonly #openedMs = performance.now();
  #client: Client | null;
  #faults = 0;
  #inFlight = 0;
  #draining = false;
  #closed = false;

  constructor(socket: LiveSocket, options: ManySocketOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#client = options.client;
    this.#inbox = new Inbox<Buffer>(
      (frame) => this.#handle(frame),
      () => this.#inFlight < options.inFlightMax && !socket.outbox.overfull,
      (on) => socket.read(on),
    );
    socket.ws.on('message', (data: Buffer) => this.#inbox.push(data));
    if (options.client === null) this.#watchUnknown();
    socket.outbox.onRoom = () => {
      for (const { feed } of this.#subscriptions.values()) feed?.resume();
      this.#inbox.pump();
    };
  }

  left(): void {
    this.#closed = true;
    for (const { feed } of this.#subscriptions.values()) feed?.close();
    this.#subscriptions.clear();
  }

  sweep(nowMs: number): void {
    if (this.#closed) return;
    const { stallMsMax, authenticateMsMax } = this.#options;
    const socket = this.#socket;
    const client = this.#client;
    socket.sweep(nowMs);
    if (client === null) {
      if (nowMs - this.#openedMs > authenticateMsMax) {
        this.#close(CLOSE.unauthenticated, 'unauthenticated', 'No credential came in time.');
      }
    } else if (client.principal.revoked) {
      void client.renew().then((renewed) => {
        if (renewed === 'refused') this.#close(CLOSE.unauthenticated, 'revoked', 'The credential no longer holds.');
      });
    }
    let behind = socket.outbox.overfull;
    for (const { feed } of this.#subscriptions.values()) behind ||= feed?.waiting === true;
    if (behind && socket.outbox.stalledMs(nowMs) > stallMsMax) {
      this.#close(CLOSE.slow, 'slow', 'Resume each subscription from its last position.');
    }
    if (this.#draining && this.#inbox.idle && this.#inFlight === 0) {
      this.#close(CLOSE.goingAway, 'draining', 'This node is going down.');
    }
  }

  drain(): void {
    this.#draining = true;
  }
  destroy(): void {
    this.#inbox.close();
    this.#socket.destroy();
  }

  #close(code: number, end: LiveEnd, reason: string): void {
    this.#inbox.close();
    for (const { feed } of this.#subscriptions.values()) feed?.close();
    this.#subscriptions.clear();
    this.#socket.close(code, end, reason);
  }

  #watchUnknown(): void {
    const { socket } = this.#socket.outbox;
    let left = UNKNOWN_BYTES_MAX;
    const count = (chunk: Buffer): void => {
      left -= chunk.length;
      if (this.#client !== null) socket.off('data', count);
      else if (left < 0) this.destroy();
    };
    socket.on('data', count);
  }

  #tell(message: Record<string, unknown>): void {
    this.#socket.text(JSON.stringify(message));
  }
  #tellError(id: string | null | undefined, status: number, detail: string): void {
    const { title } = problem(status, detail);
    this.#tell({ type: 'error', ...(id === null || id === undefined ? {} : { id }), status, title, detail });
  }

  #handle(frame: Buffer): Promise<void> | null {
    const read = readRequest(frame);
    if (read.kind === 'fault') {
      this.#tellError(read.id, 400, read.detail);
      if (++this.#faults >= FAULTS_MAX) this.#close(CLOSE.malformed, 'malformed', 'Too many malformed messages.');
      return null;
    }
    this.#faults = 0;
    const { request } = read;
    if (request.type === 'authenticate') return this.#guarded(request.id, this.#authenticate(request));
    const client = this.#client;
    if (client === null) {
      this.#close(CLOSE.unauthenticated, 'unauthenticated', 'Authenticate first.');
      return null;
    }
    if (request.type === 'publish') return this.#publish(client, request);
    if (request.type === 'subscribe') return this.#guarded(request.id, this.#subscribe(client, request));
    this.#unsubscribe(request.id);
    return null;
  }

  /** What fails in the registry or the log is told; all else is a fault of ours, and told too. */
  #guarded(id: string | undefined, work: Promise<void>): Promise<void> {
    return work.catch((error: unknown) => {
      if (error instanceof MillraceError && error.retry !== 'never') {
        if (error.code === GUESSED) this.#tellError(id, 429, TOO_MANY_GUESSES);
        else this.#tellError(id, 503, 'The registry or the log does not answer: try again later.');
      } else {
        this.#options.onFault(error);
        this.#tellError(id, 500, 'A fault on our side.');
      }
    });
  }

  async #authenticate(request: AuthenticateRequest): Promise<void> {
    const { gate, peer } = this.#options;
    const credential = credentialIn(request);
    if (this.#client !== null || credential === null) {
      const detail = credential === null ? 'Give one of ticket, key and token.' : 'This socket is authenticated.';
      this.#tellError(request.id, credential === null ? 400 : 409, detail);
      return;
    }
    const client = await Client.identify(gate, credential, Protocol.ws, peer);
    if (client instanceof Client) {
      this.#client = client;
      this.#options.onKnown(client);
      this.#tell({ type: 'authenticated', ...(request.id === undefined ? {} : { id: request.id }) });
      return;
    }
    const disabled = client === 'disabled';
    this.#tellError(request.id, disabled ? 403 : 401, disabled ? FORBIDDEN.subject_disabled : UNKNOWN);
    this.#close(CLOSE.unauthenticated, 'unauthenticated', 'The credential is not known.');
  }

  async #subscribe(client: Client, request: SubscribeRequest): Promise<void> {
    const { id, channel, subtopic, from = null, slow } = request;
    const { makeFeed, subscriptionsMax } = this.#options;
    if (this.#subscriptions.has(id)) {
      this.#tellError(id, 409, 'A subscription has this id already.');
      return;
    }
    if (this.#subscriptions.size >= subscriptionsMax) {
      this.#tellError(id, 503, `A socket has at most ${subscriptionsMax} subscriptions.`);
      return;
    }
    const subscription = new SocketSubscription(id, this.#socket, (ended) => this.#subscriptions.delete(ended.id));
    const feed = makeFeed(client, this.#socket.outbox, subscription, slow);
    subscription.feed = feed;
    let start: FeedStart | null = null;
    try {
      start = await feed.subscribe({ channel, subtopic }, from);
    } finally {
      if (start?.kind !== 'begun' || this.#closed || !this.#socket.open) feed.close();
    }
    if (start.kind === 'denied') {
      auditRefusal(this.#options.audit, client.principal, 'subscribe', request, start.reason, client.context);
    }
    if (start.kind !== 'begun') {
      const { status, detail } = startRefusal(start);
      this.#tellError(id, status, detail);
    } else if (this.#socket.open) {
      this.#subscriptions.set(id, subscription);
      this.#tell({ type: 'subscribed', id, channel: start.channel, position: positionText(start.position) });
      feed.open();
    }
  }

  #unsubscribe(id: string): void {
    const subscription = this.#subscriptions.get(id);
    if (subscription === undefined) {
      this.#tellError(id, 404, 'No subscription has this id.');
      return;
    }
    this.#subscriptions.delete(id);
    const position = subscription.feed?.positionText;
    subscription.feed?.close();
    this.#tell({ type: 'unsubscribed', id, position });
  }

  #publish(client: Client, request: PublishRequest): Promise<void> | null {
    const payload = payloadOf(request);
    if (payload === null) {
      this.#tellError(request.id, 400, 'Give exactly one of payload, payload_base64 and json.');
      return null;
    }
    if (payload.bytes.length === 0) {
      this.#refuse(client, request, EMPTY_MESSAGE);
      return null;
    }
    const destination = this.#destinationOf(request, payload.contentType);
    const decided = this.#options.publisher.decide(client, destination);
    const attempt = decided instanceof Promise ? null : this.#append(client, request, decided, payload.bytes);
    return attempt === 'done' ? null : this.#persist(client, request, destination, payload.bytes, decided);
  }

  /** The slow way: a decision that is cold, or a channel that takes no more just now. Who has left meanwhile does not wait
   *  for ever. */
  async #persist(
    client: Client,
    request: PublishRequest,
    destination: Destination,
    payload: Buffer,
    first: ReturnType<MessagePublisher['decide']>,
  ): Promise<void> {
    const { publisher, stallMsMax } = this.#options;
    const end = performance.now() + stallMsMax;
    for (let decided = await first; ; decided = await publisher.decide(client, destination)) {
      if (this.#append(client, request, decided, payload) === 'done') return;
      if (this.#closed && performance.now() >= end) {
        publisher.count(CHANNEL_TOO_FAST, client, request);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** @returns 'waits' if the channel takes no more just now */
  #append(
    client: Client,
    request: PublishRequest,
    decided: PublishTarget | PublishRefusal,
    payload: Buffer,
  ): 'done' | 'waits' {
    const { publisher } = this.#options;
    const { id } = request;
    const refusal =
      'kind' in decided
        ? decided
        : (publisher.fullness(payload.length) ?? publisher.limited(client, decided, payload.length));
    if (refusal === CHANNEL_TOO_FAST) return 'waits';
    if (refusal !== null || 'kind' in decided) {
      this.#refuse(client, request, refusal as PublishRefusal);
      return 'done';
    }
    this.#inFlight++;
    publisher.publish(decided, payload, {
      stored: (message) => {
        this.#inFlight--;
        if (id !== undefined) this.#tell({ type: 'ack', id, message });
        this.#inbox.pump();
      },
      refused: ({ status, detail }) => {
        this.#inFlight--;
        this.#tellError(id, status, detail);
        this.#inbox.pump();
      },
    });
    return 'done';
  }

  #refuse(client: Client, request: PublishRequest, refusal: PublishRefusal): void {
    this.#options.publisher.count(refusal, client, request);
    this.#tellError(request.id, refusal.status, refusal.detail);
  }

  #destinationOf({ channel, subtopic }: PublishRequest, contentType: string): Destination {
    const key = `${channel}\n${subtopic}\n${contentType}`;
    let destination = this.#destinations.get(key);
    if (destination === undefined) {
      if (this.#destinations.size >= DESTINATIONS_MAX) this.#destinations.clear();
      destination = new Destination(null, channel, subtopic, contentType);
      this.#destinations.set(key, destination);
    }
    return destination;
  }
}
