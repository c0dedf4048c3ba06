// hot
import { isUtf8 } from 'node:buffer';
import type { Duplex } from 'node:stream';
import {
  type Admission,
  type Credential,
  type Gate,
  type LogError,
  type Logger,
  MillraceError,
  type Principal,
  Protocol,
  uuidV7,
} from '@millrace/core';
import type { IConnectPacket, ISubscribePacket, IUnsubscribePacket, Packet } from 'mqtt-packet';
import type { WallClock } from '../clock.ts';
import type { Refusal } from '../http/answer.ts';
import type { PublishTarget } from '../message-encoder.ts';
import type { RateLimit } from '../rate.ts';
import type { MqttIngestConfig } from './config.ts';
import { admit, type ConnectReason, clientIdFault, type Will } from './connect.ts';
import type { CloseReason, MqttQos, Outlet, Session, Sessions } from './contract.ts';
import { type PacketReader, protocolOf } from './packet-reader.ts';
import { PacketStream } from './packet-stream.ts';
import {
  CONNACK_ACCEPTED,
  CONNACK_OF_5,
  CONNACK_PROTOCOL,
  CONNACK_UNAVAILABLE,
  connack,
  PINGRESP,
  PUBACK,
  PUBREC,
  pubcomp,
  pubrec,
  suback,
  unsuback,
} from './packets.ts';
import { Publication, type Publisher, type Publishing, Route } from './publisher.ts';
import { filterFault, parsePublishTopic } from './topic.ts';

const EMPTY = Buffer.alloc(0);
/** Topics of one connection of which is kept where they lead. */
const ROUTES_MAX = 64;
const RETRY_MS = 200;
/** Largest packet of who is not known yet. */
const CONNECT_BYTES_MAX = 65_536;

/** What a connection needs of the server. */
export interface ConnectionHost {
  readonly config: MqttIngestConfig;
  readonly gate: Gate;
  readonly publisher: Publisher;
  readonly sessions: Sessions;
  readonly packets: PacketReader;
  readonly rate: RateLimit;
  readonly clock: WallClock;
  readonly logger: Logger;
  /** Monotonic time in ms, renewed a few times a second: for deadlines. */
  readonly coarseMs: number;
  /** Acknowledgements are due: `writeAcks` is called before the loop turns. */
  acknowledgeSoon(connection: Connection): void;
  /** Nothing is read before there is room for publishes again: then `go`. */
  waitForRoom(connection: Connection): void;
  connected(reason: ConnectReason): void;
  refused(reason: Refusal): void;
  /** Fires a will. */
  fire(will: Will, of: Connection): void;
  onFault(error: unknown): void;
  onClosed(connection: Connection, reason: CloseReason | 'client' | 'lost'): void;
}

export interface Peer {
  readonly remoteAddress: string;
  readonly tls: boolean;
  readonly certificate: Extract<Credential, { kind: 'certificate' }> | null;
}

/** One client: bytes in, packets in order, publishes to the log, acknowledgements once they are durable.
 *
 *  rest ─► packet ─► PUBLISH ─► may ─► append ─► publications ─► PUBACK, PUBREC in their order
 *    ▲ not read          └─► SUBSCRIBE, PUBACK, … ─► session
 *    └── while a decision is cold, too much waits, or the client takes nothing
 *
 *  @holds one packet after the other; a packet that must wait holds those behind it */
export class Connection implements Outlet, Publishing {
  readonly context: {
    readonly protocol: Protocol;
    readonly remoteAddress: string;
    readonly tls: boolean;
    mutualTls: boolean;
    nowMs: number;
  };
  closed = false;
  /** Nothing more comes. */
  #gone = false;
  readonly #host: ConnectionHost;
  readonly #stream: Duplex;
  readonly #peer: Peer;
  #principal: Principal | null = null;
  #credential: Credential | null = null;
  #session: Session | null = null;
  #will: Will | null = null;
  readonly #inbound: PacketStream;
  #holds = 0;
  #paused = false;
  #consuming = false;
  #corked = false;
  #draining = false;
  #connecting = false;
  readonly #openedMs: number;
  #heardMs: number;
  /** @units ms; 0: the client need not be heard of */
  #keepAliveMs = 0;
  #unsentBefore = 0;
  #takenMs: number;
  /** What the gate said of the publish that waits, when it had to be asked. */
  #decided: Admission | null = null;
  /** Since when the log refuses; 0: it does not. */
  #refusedMs = 0;
  /** Publishes that it refused at least once. */
  #late = 0;
  #retrying = false;
  #identifying = false;
  /** Publishes in order, those at the front being acknowledged first. */
  #publications: Publication[] = [];
  #acked = 0;
  #acksDue = false;
  #routes = new Map<string, Route>();
  #lastTopic: Buffer = EMPTY;
  #lastRoute: Route | null = null;

  constructor(host: ConnectionHost, stream: Duplex, peer: Peer) {
    this.#host = host;
    this.#stream = stream;
    this.#peer = peer;
    this.#inbound = new PacketStream(Math.min(CONNECT_BYTES_MAX, host.config.MILLRACE_MQTT_PACKET_BYTES_MAX));
    this.#openedMs = host.coarseMs;
    this.#heardMs = host.coarseMs;
    this.#takenMs = host.coarseMs;
    const { remoteAddress, tls } = peer;
    this.context = { protocol: Protocol.mqtt, remoteAddress, tls, mutualTls: false, nowMs: host.clock.nowUs() / 1_000 };
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('drain', () => {
      this.#session?.drained();
      this.go();
    });
    stream.on('error', () => {});
    stream.once('end', () => this.#left());
    stream.once('close', () => this.#left());
  }

  /** @holds CONNECT was accepted */
  get principal(): Principal {
    return this.#principal as Principal;
  }

  get credential(): Credential | null {
    return this.#credential;
  }

  get unsentBytes(): number {
    return this.#stream.writableLength;
  }

  get connected(): boolean {
    return this.#session !== null;
  }

  write(head: Buffer, payload?: Buffer): void {
    if (this.closed) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#stream.cork();
      process.nextTick(uncork, this);
    }
    this.#stream.write(head);
    if (payload !== undefined) this.#stream.write(payload);
  }

  uncork(): void {
    this.#corked = false;
    this.#stream.uncork();
  }

  close(reason: CloseReason): void {
    this.#end(reason);
  }

  /** No further packet is read; what waits for the log is acknowledged still. */
  drain(): void {
    this.#draining = true;
    this.#pauseAsNeeded();
  }

  /** Nothing of this client waits for the log. */
  get settled(): boolean {
    return this.#publications.length === this.#acked;
  }

  /** Called a few times a second: ends what took too long, and whom the platform no longer knows. */
  sweep(nowMs: number): void {
    const { config } = this.#host;
    if (this.#session === null) {
      if (nowMs - this.#openedMs > config.MILLRACE_MQTT_CONNECT_MS_MAX) this.#end('keep_alive');
      return;
    }
    this.context.nowMs = this.#host.clock.nowUs() / 1_000;
    if (this.#keepAliveMs > 0 && !this.#paused && nowMs - this.#heardMs > this.#keepAliveMs) {
      this.#end('keep_alive');
      return;
    }
    const unsent = this.#stream.writableLength;
    if (unsent === 0 || unsent < this.#unsentBefore) this.#takenMs = nowMs;
    this.#unsentBefore = unsent;
    if (nowMs - this.#takenMs > config.MILLRACE_MQTT_SLOW_MS_MAX) this.#end('slow');
    else if (this.#refusedMs > 0 && nowMs - this.#refusedMs > config.MILLRACE_MQTT_LOG_AWAY_MS_MAX) {
      this.#host.refused('log_full');
      this.#end('slow');
    }
    if (this.principal.revoked) this.#identifyAnew();
  }

  /** Reads on, if nothing else forbids it. */
  go(): void {
    this.#consume();
  }

  // ── bytes in ──

  #receive(chunk: Buffer): void {
    if (this.closed || this.#draining) return;
    this.#heardMs = this.#host.coarseMs;
    this.#inbound.push(chunk);
    this.#consume();
  }

  /** The client has gone. What it sent before counts, also what had to wait: many leave right behind their last word. */
  #left(): void {
    this.#gone = true;
    this.#consume();
  }

  get #blocked(): boolean {
    const { config } = this.#host;
    return (
      this.#holds > 0 ||
      this.#draining ||
      this.#refusedMs > 0 ||
      this.#publications.length - this.#acked >= config.MILLRACE_MQTT_PUBLISHES_IN_FLIGHT_MAX ||
      (!this.#gone && this.#stream.writableLength > 2 * config.MILLRACE_MQTT_UNSENT_BYTES_MAX)
    );
  }

  #consume(): void {
    if (this.#consuming || this.closed) return;
    this.#consuming = true;
    try {
      while (!this.closed && !this.#blocked && this.#step());
    } catch (error) {
      this.#host.onFault(error);
      this.#end('fault');
    } finally {
      this.#consuming = false;
    }
    if (this.#gone && !this.#blocked) this.#end('lost');
    this.#pauseAsNeeded();
  }

  #pauseAsNeeded(): void {
    if (this.closed) return;
    const blocked = this.#blocked;
    if (blocked === this.#paused) return;
    this.#paused = blocked;
    if (blocked) this.#stream.pause();
    else {
      this.#heardMs = this.#host.coarseMs;
      this.#stream.resume();
    }
  }

  /** One packet. @returns whether there may be more to do */
  #step(): boolean {
    const inbound = this.#inbound;
    const found = inbound.next();
    if (found !== 'packet') {
      if (found !== 'partial') this.#end(found);
      return false;
    }
    const { bytes, start, body, end } = inbound;
    const first = bytes[start] as number;
    if (first >>> 4 === 3 && this.#session !== null) {
      // What is told to wait stays where it is.
      if (this.#publish(first, bytes, body, end) && !this.closed) inbound.pass();
      return true;
    }
    inbound.pass();
    this.#control(first, bytes, start, body, end);
    return true;
  }

  // ── PUBLISH ──

  /** @returns false when it must be looked at again */
  #publish(first: number, rest: Buffer, body: number, end: number): boolean {
    const qos = ((first >>> 1) & 3) as MqttQos;
    const topicEnd = body + 2 + (end - body < 2 ? 0 : rest.readUInt16BE(body));
    const payloadAt = topicEnd + (qos > 0 ? 2 : 0);
    if (payloadAt > end || end - body < 2 || (qos as number) === 3 || (qos === 0 && (first & 8) !== 0)) {
      this.#end('malformed');
      return true;
    }
    const packetId = qos > 0 ? rest.readUInt16BE(topicEnd) : 0;
    const route = this.#routeOf(rest, body + 2, topicEnd);
    if (route === null) return true;
    if (qos > 0 && packetId === 0) {
      this.#end('malformed');
      return true;
    }
    const { publisher, rate } = this.#host;
    const principal = this.#principal as Principal;
    if (publisher.full) {
      this.#holds++;
      this.#host.waitForRoom(this);
      return false;
    }
    if (principal.revoked) {
      this.#identifyAnew();
      return false;
    }
    const admission = this.#decided ?? publisher.may(principal, route, this.context);
    if (admission instanceof Promise) {
      this.#waitFor(
        admission.then((decided) => {
          this.#decided = decided;
        }),
      );
      return false;
    }
    this.#decided = null;
    const waitMs = rate.take(principal, 1, performance.now());
    if (waitMs > 0) {
      this.#throttle(waitMs);
      return false;
    }
    if (admission.kind === 'deny' || !publisher.aim(route, admission)) {
      this.#forbid(route, admission);
      return true;
    }
    const retain = (first & 1) === 1;
    const payload = rest.subarray(payloadAt, end);
    if (qos === 2) {
      const session = this.#session as Session;
      const { partition, admission } = route.target as PublishTarget;
      const again =
        (first & 8) === 0
          ? undefined
          : { partition, channel: admission.channel.id, subtopic: route.to.subtopic, payload };
      const known = session.receive(packetId, again);
      if (known instanceof Promise) {
        this.#waitFor(known);
        return false;
      }
      if (known === 'known') {
        this.#again(packetId);
        return true;
      }
      if (known === 'full') {
        this.#end('protocol');
        return true;
      }
    }
    const publication = new Publication(publisher, this, route, packetId, qos, retain, payload);
    if (qos === 2) publication.dedupKey = this.#session?.dedupKey(packetId);
    this.#publications.push(publication);
    publisher.append(publication);
    return true;
  }

  /** A QoS 2 publish came again: PUBREC now if it is durable, else when it is. */
  #again(packetId: number): void {
    for (let index = this.#acked; index < this.#publications.length; index++) {
      const publication = this.#publications[index] as Publication;
      if (publication.qos === 2 && publication.packetId === packetId && !publication.done) return;
    }
    this.write(pubrec(packetId));
  }

  /** The client is faster than it may be: its socket is not read for a while. */
  #throttle(waitMs: number): void {
    this.#holds++;
    setTimeout(() => {
      this.#holds--;
      this.go();
    }, waitMs).unref();
  }

  /** null: the connection ends for the topic's sake */
  #routeOf(rest: Buffer, from: number, to: number): Route | null {
    const last = this.#lastTopic;
    if (this.#lastRoute !== null && last.length === to - from && last.compare(rest, from, to) === 0) {
      return this.#lastRoute;
    }
    const bytes = rest.subarray(from, to);
    const text = bytes.toString('utf8');
    let route = this.#routes.get(text);
    if (route === undefined) {
      const parsed = isUtf8(bytes) ? parsePublishTopic(text) : null;
      if (parsed === null || parsed.kind !== 'channel') {
        this.#host.refused(parsed?.kind === 'reserved' ? 'forbidden' : 'malformed_topic');
        this.#host.logger.warn(
          {
            client: this.#principal?.subject.id,
            problem: parsed === null ? 'not UTF-8' : parsed.kind === 'reserved' ? 'reserved' : parsed.detail,
          },
          'mqtt: a publish to a topic that there is not; the client is disconnected',
        );
        this.#end(parsed?.kind === 'reserved' ? 'forbidden' : 'malformed');
        return null;
      }
      route = new Route(parsed);
      if (this.#routes.size >= ROUTES_MAX) this.#routes.clear();
      this.#routes.set(text, route);
    }
    this.#lastTopic = Buffer.from(bytes);
    this.#lastRoute = route;
    return route;
  }

  #forbid(route: Route, admission: Admission): void {
    const reason = admission.kind === 'deny' ? admission.reason : 'no_such_channel';
    this.#host.refused(reason === 'no_such_channel' ? 'no_such_channel' : 'forbidden');
    this.#host.logger.warn(
      { client: this.#principal?.subject.id, channel: route.to.channel, subtopic: route.to.subtopic, reason },
      'mqtt: a publish was denied; the client is disconnected',
    );
    this.#end('forbidden');
  }

  /** The cold way: what comes behind waits until it is decided. */
  #waitFor(decision: Promise<unknown>): void {
    this.#holds++;
    decision
      .catch((error: unknown) => this.#asked(error))
      .finally(() => {
        this.#holds--;
        this.go();
      });
  }

  /** The registry could not be asked: the client comes again later. */
  #asked(error: unknown): void {
    if (error instanceof MillraceError && error.retry !== 'never') {
      this.#host.refused('registry_unreachable');
      this.#end('slow');
    } else {
      this.#host.onFault(error);
      this.#end('fault');
    }
  }

  // ── from the log ──

  published(publication: Publication): void {
    if (this.closed) return;
    if (publication.late) {
      publication.late = false;
      if (--this.#late === 0) this.#refusedMs = 0;
    }
    if (publication !== this.#publications[this.#acked] || this.#acksDue) return;
    this.#acksDue = true;
    this.#host.acknowledgeSoon(this);
  }

  refused(publication: Publication, error: LogError): void {
    const tooLarge = error.code === 'LOG_RECORD_TOO_LARGE';
    if (this.closed) {
      if (publication.qos === 2) this.#session?.forget(publication.packetId);
      return;
    }
    if (publication.qos === 0 || tooLarge) {
      this.#host.refused(tooLarge ? 'too_large' : error.code === 'LOG_FULL' ? 'log_full' : 'log_unreachable');
    }
    if (tooLarge || error.retry === 'never') this.#end(tooLarge ? 'too_large' : 'fault');
    else if (publication.qos === 0) {
      publication.done = true;
      this.published(publication);
    } else this.#tryLater(publication);
  }

  /** Nothing more is read before the log takes it. */
  #tryLater(publication: Publication): void {
    if (!publication.late) {
      publication.late = true;
      if (this.#late++ === 0) this.#refusedMs = Math.max(1, this.#host.coarseMs);
    }
    if (this.#retrying) return;
    this.#retrying = true;
    setTimeout(() => this.#retry(), RETRY_MS);
    this.#pauseAsNeeded();
  }

  unkept(publication: Publication): void {
    this.#host.refused('registry_unreachable');
    if (publication.qos > 0) this.#end('slow');
    else {
      // Nothing was promised but that it is delivered.
      publication.done = true;
      this.published(publication);
    }
  }

  /** What the log refused goes again, in order. */
  #retry(): void {
    this.#retrying = false;
    if (this.closed) return;
    const failed = this.#publications.filter((each, index) => index >= this.#acked && each.failed);
    for (const publication of failed) if (!this.closed) this.#host.publisher.append(publication);
  }

  /** Acknowledges, in one write, what is durable and has nothing before it that is not. */
  writeAcks(): void {
    this.#acksDue = false;
    if (this.closed) return;
    const publications = this.#publications;
    let at = this.#acked;
    let size = 0;
    for (; at < publications.length && (publications[at] as Publication).done; at++) {
      if ((publications[at] as Publication).qos > 0) size += 4;
    }
    if (size > 0) {
      const bytes = Buffer.allocUnsafe(size);
      let to = 0;
      for (let index = this.#acked; index < at; index++) {
        const { qos, packetId } = publications[index] as Publication;
        if (qos === 0) continue;
        bytes[to++] = qos === 1 ? PUBACK : PUBREC;
        bytes[to++] = 2;
        bytes[to++] = packetId >>> 8;
        bytes[to++] = packetId & 0xff;
      }
      this.#stream.write(bytes);
    }
    this.#acked = at;
    if (at === publications.length || at >= 256) {
      this.#publications = publications.slice(at);
      this.#acked = 0;
    }
    if (this.#paused) this.go();
  }

  // ── everything else ──

  #control(first: number, rest: Buffer, at: number, body: number, end: number): void {
    const type = first >>> 4;
    if (this.#session === null) {
      if (type === 1 && !this.#connecting) this.#connect(rest, at, body, end);
      else this.#end('protocol');
      return;
    }
    if (type >= 4 && type <= 7) {
      this.#acknowledged(first, rest, body, end);
      return;
    }
    const packet = this.#host.packets.read(rest.subarray(at, end));
    if (packet === null) this.#end('malformed');
    else this.#handle(packet);
  }

  #acknowledged(first: number, rest: Buffer, body: number, end: number): void {
    const packetId = end - body === 2 ? rest.readUInt16BE(body) : 0;
    const session = this.#session as Session;
    if (packetId === 0 || (first & 15) !== (first >>> 4 === 6 ? 2 : 0)) this.#end('malformed');
    else if (first >>> 4 === 4) session.onPuback(packetId);
    else if (first >>> 4 === 5) session.onPubrec(packetId);
    else if (first >>> 4 === 7) session.onPubcomp(packetId);
    else {
      session.release(packetId);
      this.write(pubcomp(packetId));
    }
  }

  #handle(packet: Packet): void {
    if (packet.cmd === 'pingreq') this.write(PINGRESP);
    else if (packet.cmd === 'subscribe') this.#subscribe(packet);
    else if (packet.cmd === 'unsubscribe') this.#unsubscribe(packet);
    else if (packet.cmd === 'disconnect') {
      this.#will = null;
      this.#end('client');
    } else this.#end('protocol');
  }

  #subscribe(packet: ISubscribePacket): void {
    const { subscriptions, messageId = 0 } = packet;
    const filters: { topic: string; qos: MqttQos }[] = [];
    for (const { topic, qos } of subscriptions) {
      // A filter that no topic of ours matches is none to end the connection for: it is not granted.
      if (textFault(topic) || filterFault(topic) !== null) {
        this.#end('malformed');
        return;
      }
      filters.push({ topic, qos });
    }
    const session = this.#session as Session;
    if (messageId === 0 || filters.length === 0) {
      this.#end('malformed');
      return;
    }
    this.#waitFor(
      session.subscribe(filters).then((results) => {
        if (this.closed) return;
        this.write(suback(messageId, results));
        session.granted(filters, results);
      }),
    );
  }

  #unsubscribe(packet: IUnsubscribePacket): void {
    const { unsubscriptions, messageId = 0 } = packet;
    if (messageId === 0 || unsubscriptions.length === 0 || unsubscriptions.some(textFault)) {
      this.#end('malformed');
      return;
    }
    (this.#session as Session).unsubscribe(unsubscriptions);
    this.write(unsuback(messageId));
  }

  // ── CONNECT ──

  #connect(rest: Buffer, at: number, body: number, end: number): void {
    this.#connecting = true;
    const protocol = protocolOf(rest, body, end);
    const level = (protocol?.level ?? 0) & 0x7f;
    if (protocol === null || (protocol.name !== 'MQTT' && protocol.name !== 'MQIsdp')) {
      this.#host.connected('malformed');
      this.#end('malformed');
      return;
    }
    if (level !== (protocol.name === 'MQTT' ? 4 : 3)) {
      this.write(protocol.name === 'MQTT' && level === 5 ? CONNACK_OF_5 : connack(CONNACK_PROTOCOL, false));
      this.#host.connected('protocol');
      this.#end('protocol');
      return;
    }
    const packet = this.#host.packets.read(rest.subarray(at, end));
    if (packet?.cmd !== 'connect') {
      this.#host.connected('malformed');
      this.#end('malformed');
      return;
    }
    this.#waitFor(this.#open(packet));
  }

  async #open(packet: IConnectPacket): Promise<void> {
    const host = this.#host;
    const { config } = host;
    const admitted =
      clientIdFault(packet, config.MILLRACE_MQTT_CLIENT_ID_BYTES_MAX) ??
      (await admit(packet, this.#peer.certificate, host.gate, this.context, (route, admission) =>
        host.publisher.aim(route, admission),
      ));
    if (this.closed) return;
    if (admitted.kind === 'refused') {
      this.#refuse(admitted.code, admitted.reason);
      return;
    }
    this.#principal = admitted.principal;
    this.#credential = admitted.credential;
    this.context.mutualTls = admitted.byCertificate;
    const clean = packet.clean === true;
    const clientId = packet.clientId === '' ? `millrace-${uuidV7()}` : packet.clientId;
    const key = { owner: admitted.principal.subject.id, clientId };
    let opened: Awaited<ReturnType<Sessions['open']>>;
    try {
      opened = await host.sessions.open({ key, clean, outlet: this });
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      host.logger.warn({ code: error.code, client: key.owner }, 'mqtt: a session could not be opened');
      this.#refuse(CONNACK_UNAVAILABLE, 'unavailable');
      return;
    }
    const { session, present } = opened;
    if (this.closed) {
      session.leave();
      return;
    }
    this.#session = session;
    this.#inbound.bytesMax = config.MILLRACE_MQTT_PACKET_BYTES_MAX;
    this.#will = admitted.will;
    // @source MQTT 3.1.1 §3.1.2.10
    this.#keepAliveMs = (packet.keepalive ?? 0) * 1_500;
    this.#heardMs = host.coarseMs;
    this.write(connack(CONNACK_ACCEPTED, present));
    host.connected('accepted');
    session.begin();
  }

  #refuse(code: number, reason: ConnectReason): void {
    this.write(connack(code, false));
    this.#host.connected(reason);
    this.#end(reason === 'unavailable' ? 'slow' : 'forbidden');
  }

  /** A change may concern the client: it stays while it is known by what it showed. */
  #identifyAnew(): void {
    const { gate } = this.#host;
    const shown = this.#credential;
    if (this.#identifying || shown === null) return;
    this.#identifying = true;
    this.#decided = null;
    const asked = Promise.resolve(gate.identify(shown)).then((identified) => {
      if (identified.kind === 'known') this.#principal = identified.principal;
      else this.#end('revoked');
    });
    // With the registry away it is asked again: nothing is taken from the client meanwhile.
    this.#holds++;
    asked
      .catch((error: unknown) => {
        if (!(error instanceof MillraceError)) this.#host.onFault(error);
      })
      .finally(() => {
        this.#identifying = false;
        this.#holds--;
        if (!this.closed && !this.principal.revoked) this.go();
        else this.#pauseAsNeeded();
      });
  }

  /** Room was made for publishes. */
  roomMade(): void {
    this.#holds--;
    this.go();
  }

  #end(reason: CloseReason | 'client' | 'lost'): void {
    if (this.closed) return;
    this.closed = true;
    const will = this.#will;
    this.#will = null;
    // What was refused and not yet tried again never came: its QoS 2 ids may be used by what comes in its place.
    for (let index = this.#acked; index < this.#publications.length; index++) {
      const publication = this.#publications[index] as Publication;
      if (publication.qos === 2 && publication.failed) this.#session?.forget(publication.packetId);
    }
    this.#session?.leave();
    if (will !== null) this.#host.fire(will, this);
    this.#inbound.clear();
    if (this.#corked) this.uncork();
    if (reason === 'lost') this.#stream.destroy();
    else {
      // A reset could overtake what was written last.
      this.#stream.end();
      this.#stream.resume();
      setTimeout(() => this.#stream.destroy(), 1_000).unref();
    }
    this.#host.onClosed(this, reason);
  }
}

const uncork = (connection: Connection): void => connection.uncork();

/** Ill-formed UTF-8 or U+0000.  @source MQTT 3.1.1 §1.5.3 */
const textFault = (text: string): boolean => text.includes('\u0000') || text.includes('\ufffd');
