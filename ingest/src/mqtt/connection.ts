// hot
import type { Duplex } from 'node:stream';
import {
  type AuditTrail,
  type Credential,
  type Gate,
  type Logger,
  MillraceError,
  type Presence,
  type Principal,
  Protocol,
} from '@millrace/core';
import type { IConnectPacket } from 'mqtt-packet';
import type { WallClock } from '../clock.ts';
import type { Refusal } from '../http/answer.ts';
import type { RateLimit } from '../rate.ts';
import type { Claim, Claimant, Claims } from './claims.ts';
import type { MqttIngestConfig } from './config.ts';
import { type ConnectReason, readConnect, type Will } from './connect.ts';
import type { CloseReason, Outlet, Session, Sessions } from './contract.ts';
import { type ControlledConnection, control } from './controls.ts';
import { type OpenedClient, openClient } from './opening.ts';
import type { PacketReader } from './packet-reader.ts';
import { PacketStream } from './packet-stream.ts';
import { CONNACK_ACCEPTED, connack } from './packets.ts';
import { PublishReader, type ReadConnection } from './publish-reader.ts';
import type { Publisher } from './publisher.ts';
import type { Publishes } from './publishes.ts';

/** Largest packet of who is not known yet. */
const CONNECT_BYTES_MAX = 65_536;
/** A client is given so long to take what was written last. */
const FAREWELL_MS = 1_000;
const CONNECT = 1;
const PUBLISH = 3;

/** What a connection needs of the server. */
export interface ConnectionHost {
  readonly config: MqttIngestConfig;
  readonly gate: Gate;
  readonly publisher: Publisher;
  readonly sessions: Sessions;
  readonly claims: Claims;
  readonly packets: PacketReader;
  readonly rate: RateLimit;
  readonly clock: WallClock;
  readonly logger: Logger;
  readonly audit: AuditTrail | undefined;
  readonly presence: Presence | undefined;
  /** Monotonic time in ms, renewed a few times a second: for deadlines. */
  readonly coarseMs: number;
  /** Answers are due: `answer` is called before the loop turns. */
  acknowledgeSoon(publishes: Publishes): void;
  /** `roomMade` is called once there is room for publishes again. */
  waitForRoom(connection: Connection): void;
  connected(reason: ConnectReason): void;
  refused(reason: Refusal): void;
  /** @param claim released once the will is over */
  fire(will: Will, of: Connection, claim: Claim): void;
  onFault(error: unknown): void;
  onClosed(connection: Connection, reason: EndReason): void;
}
export type EndReason = CloseReason | 'client' | 'lost';

export interface Peer {
  readonly remoteAddress: string;
  readonly tls: boolean;
  readonly certificate: Extract<Credential, { kind: 'certificate' }> | null;
}

/** One client: bytes in, packets in order, publishes to the log, answers once they are durable.
 *
 *  stream ─► packet ─► PUBLISH ─► PublishReader ─► may ─► append ─► Publishes ─► PUBACK, PUBREC in their order
 *    ▲ not read  └─► SUBSCRIBE, PUBACK, … ─► session
 *    └── while a decision is cold, too much waits, or the client takes nothing
 *
 *  @holds one packet after the other; a packet that must wait holds those behind it */
export class Connection implements Outlet, Claimant, ReadConnection, ControlledConnection {
  readonly host: ConnectionHost;
  readonly context: {
    readonly protocol: Protocol;
    readonly remoteAddress: string;
    readonly tls: boolean;
    mutualTls: boolean;
    nowMs: number;
  };
  closed = false;
  paused = false;
  session: Session | null = null;
  readonly #stream: Duplex;
  readonly #peer: Peer;
  readonly #inbound: PacketStream;
  readonly #reader: PublishReader;
  #principal: Principal | null = null;
  #credential: Credential | null = null;
  #will: Will | null = null;
  #claim: Claim | null = null;
  /** Tells that the thing is gone. */
  #absent: (() => void) | null = null;
  /** What forbids to read on. */
  #holds = 0;
  #consuming = false;
  #corked = false;
  #draining = false;
  #connecting = false;
  #identifying = false;
  /** Nothing more comes. */
  #gone = false;
  readonly #openedMs: number;
  #heardMs: number;
  /** @units ms; 0: the client need not be heard of */
  #keepAliveMs = 0;
  #unsentBefore = 0;
  #takenMs: number;

  constructor(host: ConnectionHost, stream: Duplex, peer: Peer) {
    this.host = host;
    this.#stream = stream;
    this.#peer = peer;
    this.#inbound = new PacketStream(Math.min(CONNECT_BYTES_MAX, host.config.MILLRACE_MQTT_PACKET_BYTES_MAX));
    this.#reader = new PublishReader(this);
    this.#openedMs = host.coarseMs;
    this.#heardMs = host.coarseMs;
    this.#takenMs = host.coarseMs;
    const { remoteAddress, tls } = peer;
    this.context = { protocol: Protocol.mqtt, remoteAddress, tls, mutualTls: false, nowMs: host.clock.nowUs() / 1_000 };
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('drain', () => {
      this.session?.drained();
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

  /** @holds CONNECT was accepted */
  get credential(): Credential {
    return this.#credential as Credential;
  }

  get unsentBytes(): number {
    return this.#stream.writableLength;
  }

  /** Nothing of this client waits for the log. */
  get settled(): boolean {
    return this.#reader.publishes.count === 0;
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

  writeNow(bytes: Buffer): void {
    if (!this.closed) this.#stream.write(bytes);
  }

  uncork(): void {
    this.#corked = false;
    this.#stream.uncork();
  }

  close(reason: CloseReason): void {
    this.end(reason);
  }

  /** No further packet is read; what waits for the log is answered still. */
  drain(): void {
    this.#draining = true;
    this.#pauseAsNeeded();
  }

  /** Called a few times a second: ends what took too long, and whom the platform no longer knows. */
  sweep(nowMs: number): void {
    const { config, clock } = this.host;
    if (this.session === null) {
      if (nowMs - this.#openedMs > config.MILLRACE_MQTT_CONNECT_MS_MAX) this.end('keep_alive');
      return;
    }
    this.context.nowMs = clock.nowUs() / 1_000;
    const unsent = this.#stream.writableLength;
    if (unsent === 0 || unsent < this.#unsentBefore) this.#takenMs = nowMs;
    this.#unsentBefore = unsent;
    if (this.#keepAliveMs > 0 && !this.paused && nowMs - this.#heardMs > this.#keepAliveMs) this.end('keep_alive');
    else if (nowMs - this.#takenMs > config.MILLRACE_MQTT_SLOW_MS_MAX) this.end('slow');
    else if (this.#reader.publishes.stuckMs(nowMs) > config.MILLRACE_MQTT_LOG_AWAY_MS_MAX) {
      this.host.refused('log_full');
      this.end('slow');
    } else if (this.principal.revoked) this.identifyAnew();
  }

  /** Reads on, if nothing else forbids it. */
  go(): void {
    this.#consume();
  }

  waitFor(work: Promise<unknown>): void {
    this.#holds++;
    work.catch((error: unknown) => this.#unanswered(error)).finally(() => this.roomMade());
  }

  waitMs(ms: number): void {
    this.#holds++;
    setTimeout(() => this.roomMade(), ms).unref();
  }

  waitForRoom(): void {
    this.#holds++;
    this.host.waitForRoom(this);
  }

  /** What forbade to read on is over. */
  roomMade(): void {
    this.#holds--;
    this.go();
  }

  /** A change may concern the client: it stays while it is known by what it showed. With the registry away it is asked
   *  again: nothing is taken from the client meanwhile. */
  identifyAnew(): void {
    const { gate, onFault } = this.host;
    if (this.#identifying || this.#credential === null) return;
    this.#identifying = true;
    this.#holds++;
    Promise.resolve(gate.identify(this.#credential))
      .then((identified) => {
        if (identified.kind === 'known') this.#principal = identified.principal;
        else this.end('revoked');
      })
      .catch((error: unknown) => {
        if (!(error instanceof MillraceError)) onFault.call(this.host, error);
      })
      .finally(() => {
        this.#identifying = false;
        this.#holds--;
        if (this.principal.revoked) this.#pauseAsNeeded();
        else this.go();
      });
  }

  /** The client says good-bye. */
  leave(): void {
    this.#will = null;
    this.#end('client');
  }

  end(reason: CloseReason): void {
    this.#end(reason);
  }

  takenOver(): void {
    this.#end('taken_over');
  }

  buried(): void {
    this.#will = null;
    this.#end('session_lost');
  }

  // ── bytes in ──

  #receive(chunk: Buffer): void {
    if (this.closed || this.#draining) return;
    this.#heardMs = this.host.coarseMs;
    this.#inbound.push(chunk);
    this.#consume();
  }

  /** The client has gone. What it sent before counts, also what had to wait: many leave right behind their last word. */
  #left(): void {
    this.#gone = true;
    this.#consume();
  }

  get #blocked(): boolean {
    const { config } = this.host;
    const { publishes } = this.#reader;
    return (
      this.#holds > 0 ||
      this.#draining ||
      publishes.stuck ||
      publishes.count >= config.MILLRACE_MQTT_PUBLISHES_IN_FLIGHT_MAX ||
      (!this.#gone && this.#stream.writableLength > 2 * config.MILLRACE_MQTT_UNSENT_BYTES_MAX)
    );
  }

  #consume(): void {
    if (this.#consuming || this.closed) return;
    this.#consuming = true;
    try {
      while (!this.closed && !this.#blocked && this.#step());
    } catch (error) {
      this.host.onFault(error);
      this.end('fault');
    } finally {
      this.#consuming = false;
    }
    if (this.#gone && !this.#blocked) this.#end('lost');
    this.#pauseAsNeeded();
  }

  #pauseAsNeeded(): void {
    if (this.closed) return;
    const blocked = this.#blocked;
    if (blocked === this.paused) return;
    this.paused = blocked;
    if (blocked) this.#stream.pause();
    else {
      this.#heardMs = this.host.coarseMs;
      this.#stream.resume();
    }
  }

  /** One packet. @returns whether there may be more to do */
  #step(): boolean {
    const inbound = this.#inbound;
    const found = inbound.next();
    if (found !== 'packet') {
      if (found !== 'partial') this.end(found);
      return false;
    }
    const { bytes, start, body, end } = inbound;
    const first = bytes[start] as number;
    if (first >>> 4 === PUBLISH && this.session !== null) {
      // What is told to wait stays where it is.
      if (this.#reader.take(first, bytes, body, end) && !this.closed) inbound.pass();
      return true;
    }
    inbound.pass();
    if (this.session !== null) control(this, this.session, bytes, start, body, end);
    else if (first >>> 4 === CONNECT && !this.#connecting) this.#connect(bytes, start, body, end);
    else this.end('protocol');
    return true;
  }

  // ── CONNECT ──

  #connect(bytes: Buffer, start: number, body: number, end: number): void {
    this.#connecting = true;
    const packet = readConnect(this.host.packets, bytes, start, body, end);
    if (packet.cmd === 'connect') this.waitFor(this.#open(packet));
    else this.#refuse(packet.answer, packet.answer === null ? 'malformed' : 'protocol');
  }

  async #open(packet: IConnectPacket): Promise<void> {
    const opened = await openClient(packet, this.#peer.certificate, this.host, this.context, (admitted) => {
      this.#principal = admitted.principal;
      this.#credential = admitted.credential;
      this.context.mutualTls = admitted.byCertificate;
      return this.closed ? null : this;
    });
    if (opened === null) return;
    if (opened.kind === 'refused') this.#refuse(connack(opened.code, false), opened.reason);
    else if (this.closed) {
      opened.session.leave();
      this.host.claims.release(opened.claim);
    } else this.#begin(packet, opened);
  }

  #begin(packet: IConnectPacket, { session, present, will, claim }: OpenedClient): void {
    const { host } = this;
    this.session = session;
    this.#will = will;
    this.#claim = claim;
    this.#inbound.bytesMax = host.config.MILLRACE_MQTT_PACKET_BYTES_MAX;
    // @source MQTT 3.1.1 §3.1.2.10
    this.#keepAliveMs = (packet.keepalive ?? 0) * 1_500;
    this.#heardMs = host.coarseMs;
    this.#takenMs = host.coarseMs;
    this.write(connack(CONNACK_ACCEPTED, present));
    host.connected('accepted');
    const { subject } = this.principal;
    if (subject.kind === 'thing') {
      const { remoteAddress } = this.#peer;
      this.#absent = host.presence?.connected(subject.id, subject.org, Protocol.mqtt, remoteAddress) ?? null;
    }
    session.begin();
  }

  #refuse(answer: Buffer | null, reason: ConnectReason): void {
    if (answer !== null) this.write(answer);
    this.host.connected(reason);
    if (reason === 'malformed' || reason === 'protocol') this.end(reason);
    else this.end(reason === 'unavailable' ? 'slow' : 'forbidden');
  }

  /** Somebody could not be asked: the client comes again later. */
  #unanswered(error: unknown): void {
    if (error instanceof MillraceError && error.retry !== 'never') {
      this.host.refused('registry_unreachable');
      this.end('slow');
    } else {
      this.host.onFault(error);
      this.end('fault');
    }
  }

  #end(reason: EndReason): void {
    if (this.closed) return;
    this.closed = true;
    const will = this.#will;
    this.#will = null;
    this.#reader.publishes.end();
    this.session?.leave();
    this.#absent?.();
    if (this.#claim !== null) {
      if (will !== null) this.host.fire(will, this, this.#claim);
      else this.host.claims.release(this.#claim);
    }
    this.#inbound.clear();
    if (this.#corked) this.uncork();
    if (reason === 'lost') this.#stream.destroy();
    else {
      // A reset could overtake what was written last.
      this.#stream.end();
      this.#stream.resume();
      setTimeout(() => this.#stream.destroy(), FAREWELL_MS).unref();
    }
    this.host.onClosed(this, reason);
  }
}

const uncork = (connection: Connection): void => connection.uncork();
