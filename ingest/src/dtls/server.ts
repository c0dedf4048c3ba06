import { randomBytes } from 'node:crypto';
import { clientNames, type NameClient } from '../coap/relayed.ts';
import { AddressLimits } from './address-limits.ts';
import { Alert, alertBody, isFinal } from './alert.ts';
import type { Authority, DtlsListener, DtlsSettings, HandshakeOutcome } from './contract.ts';
import { Cookies } from './cookie.ts';
import { readClientHelloFront } from './handshake/client-hello.ts';
import { type HandshakeFragment, HandshakeType, readFragments, wholeMessage } from './handshake/message.ts';
import { type Established, type HandshakeHost, ServerHandshake } from './handshake/server-handshake.ts';
import { helloVerifyRequest } from './handshake/server-messages.ts';
import { Holders, holderOf } from './holders.ts';
import {
  ContentType,
  DTLS_1_0,
  DTLS_1_2,
  type DtlsRecord,
  ENCRYPTED_EPOCH,
  plainRecord,
  readRecord,
} from './record.ts';
import { Session, type SessionHost } from './session.ts';
import { MalformedError } from './wire.ts';

// hot

/** A session's place among the idle is looked after so often. */
const ORDER_MS = 10_000;
/** Records of one datagram: a flight of the smallest messages has six. */
const RECORDS_MAX = 16;
/** A ClientHello says with which numbers we go on: room is left for all that follows. No client has counted so far. */
const HELLO_RECORD_MAX = 2 ** 32;
const HELLO_MESSAGE_MAX = 255;
/** Sessions that strangers may have together: anybody can have some, from as many addresses as they have. */
const STRANGERS_SHARE = 0.5;
/** Ids that are tried before there are none left. */
const ID_TRIES_MAX = 32;

export interface DtlsServerOptions {
  readonly settings: DtlsSettings;
  readonly authority: Authority;
  readonly listener: DtlsListener;
  /** Puts one datagram on the wire.  @throws never */
  readonly send: (datagram: Buffer, address: string, port: number) => void;
  readonly counts: DtlsCounts;
  /** What a client is called where it is slowed down. */
  readonly nameOf?: NameClient;
  /** Monotonic, in ms. */
  readonly now: () => number;
  /** ms since 1970. */
  readonly wallClock: () => number;
}
/** Heard of what is worth counting. */
export interface DtlsCounts {
  handshake(outcome: HandshakeOutcome): void;
  /** `unknown`: of no session; `limit`: a handshake that may not begin. */
  refused(reason: 'malformed' | 'replayed' | 'forged' | 'unknown' | 'limit'): void;
  moved(): void;
  /** An error of our own. */
  fault(error: unknown): void;
}

/** Ends that count against an address: who brings about one after the other is guessing, or burning our time. */
const BLAMED: ReadonlySet<HandshakeOutcome> = new Set([
  'no_common_suite',
  'malformed',
  'unexpected',
  'wrong_key',
  'bad_certificate',
  'refused',
]);

/** A DTLS 1.2 server over any datagrams: no socket and no timer of its own, `tick` is called about four times a second.
 *  Nothing is kept of who has not shown by a cookie that its address is its own.
 *  @source RFC 6347, RFC 9146 */
export class DtlsServer implements HandshakeHost, SessionHost {
  readonly settings: DtlsSettings;
  readonly authority: Authority;
  readonly #listener: DtlsListener;
  readonly #counts: DtlsCounts;
  readonly #send: DtlsServerOptions['send'];
  readonly #now: () => number;
  readonly wallClock: () => number;
  readonly nameOf: NameClient;
  readonly #cookies = new Cookies();
  readonly #limits: AddressLimits;
  /** By address. */
  readonly #handshakes = new Map<string, ServerHandshake>();
  readonly #sessions = new Map<string, Session>();
  readonly #byId = new Map<string, Session | ServerHandshake>();
  /** Who was heard longest ago comes first, to some seconds. */
  readonly #idle = new Map<Session, number>();
  readonly #holders: Holders;
  /** Who has shown nothing of who it is, in the order of their handshakes. */
  readonly #strangers = new Set<Session>();
  readonly #prefix = randomBytes(6).toString('base64url');
  #opened = 0;
  #turns = 0;
  #closing = false;

  constructor(options: DtlsServerOptions) {
    this.settings = options.settings;
    this.authority = options.authority;
    this.#listener = options.listener;
    this.#counts = options.counts;
    this.#send = options.send;
    this.#now = options.now;
    this.wallClock = options.wallClock;
    this.nameOf = options.nameOf ?? clientNames('');
    const { limits } = options.settings;
    this.#holders = new Holders(limits.sessionsPerIdentityMax);
    this.#limits = new AddressLimits({
      perSecond: limits.handshakesPerAddressPerSecond,
      failuresPerSecond: limits.failuresPerAddressPerSecond,
      underWayMax: limits.handshakesPerAddressMax,
    });
  }

  get handshakeCount(): number {
    return this.#handshakes.size;
  }
  get sessionCount(): number {
    return this.#idle.size;
  }

  /** One datagram. @throws never, whatever is in it */
  receive(datagram: Buffer, address: string, port: number): void {
    if (port === 0 || this.#closing) return;
    try {
      this.#records(datagram, address, port);
    } catch (error) {
      this.fault(error);
    }
  }

  /** Sends again what was not answered, ends what has taken too long, and who may no longer stay. */
  tick(): void {
    const now = this.#now();
    const { handshakeMsMax, idleMsMax, idleWithIdMsMax } = this.settings.limits;
    for (const handshake of this.#handshakes.values()) {
      try {
        if (now - handshake.startedMs > handshakeMsMax) handshake.fail('timeout');
        else if (now >= handshake.retryAtMs) handshake.resend();
      } catch (error) {
        // Whoever calls is a timer: an error here would end all of the process.
        this.fault(error);
        handshake.fail('fault');
      }
    }
    const idleMsMin = Math.min(idleMsMax, idleWithIdMsMax);
    for (const session of this.#idle.keys()) {
      const idleMs = now - session.heardMs;
      // All after it are younger, but for the order's coarseness.
      if (idleMs + ORDER_MS < idleMsMin) break;
      if (idleMs > (session.connectionId === null ? idleMsMax : idleWithIdMsMax)) session.close();
    }
    // Of many sessions this takes a millisecond or two, so not at each turn.
    this.#turns++;
    if (this.#turns % 2 === 0)
      for (const session of this.#idle.keys()) if (session.standing?.doubtful === true) this.#ask(session);
  }

  /** Says goodbye to all. */
  close(): void {
    this.#closing = true;
    for (const handshake of this.#handshakes.values()) handshake.fail('closed');
    for (const session of this.#idle.keys()) session.close();
  }

  // ---- what sessions and handshakes ask for

  now(): number {
    return this.#now();
  }

  send(datagram: Buffer, address: string, port: number): void {
    this.#send(datagram, address, port);
  }

  unusedConnectionId(): Buffer | null {
    const { connectionIdBytes } = this.settings.limits;
    if (connectionIdBytes === 0) return null;
    // Short ids do come twice: two sessions with one would take each other's place.
    for (let tries = 0; tries < ID_TRIES_MAX; tries++) {
      const id = randomBytes(connectionIdBytes);
      if (!this.#byId.has(idKey(id))) return id;
    }
    return null;
  }

  established(handshake: ServerHandshake, begun: Established): void {
    this.#over(handshake, 'established', true);
    const { address, port, connectionId, peerConnectionId } = handshake;
    if (begun.identity === null) this.#makeRoomAmongStrangers();
    while (this.#idle.size >= this.settings.limits.sessionsMax) {
      const [oldest] = this.#idle;
      if (oldest === undefined) break;
      const [other, orderedMs] = oldest;
      // Heard since it got its place: the order is coarse, and many that come at once must not push out who speaks.
      if (other.heardMs > orderedMs) this.#reorder(other);
      else other.close();
    }
    const session = new Session(
      this,
      `dtls-${this.#prefix}-${++this.#opened}`,
      { address, port },
      { connectionId, peerConnectionId },
      begun,
    );
    this.#idle.set(session, session.heardMs);
    if (begun.identity === null) this.#strangers.add(session);
    this.#holders.add(session)?.close();
    if (connectionId !== null) this.#byId.set(idKey(connectionId), session);
    this.#claim(session);
    session.finish();
    this.#listener.opened(session);
    for (const datagram of begun.ahead) if (!session.closed) this.message(session, datagram);
    for (const record of begun.waiting) if (record.epoch === ENCRYPTED_EPOCH) session.receive(record, address, port);
  }

  mayTry({ address, port }: ServerHandshake): boolean {
    const may = this.#limits.mayTry(this.nameOf(address, port), this.#now());
    if (!may) this.#counts.refused('limit');
    return may;
  }

  failed(handshake: ServerHandshake, outcome: HandshakeOutcome): void {
    this.#over(handshake, outcome, false);
  }

  message(session: Session, datagram: Buffer): void {
    this.#listener.message(session, datagram);
  }

  moved(session: Session, address: string, port: number): void {
    const before = addressKey(session);
    if (this.#sessions.get(before) === session) this.#sessions.delete(before);
    session.address = address;
    session.port = port;
    // Nobody has proved that it can be reached there: whoever is there stays.
    const key = addressKey(session);
    if (!this.#sessions.has(key)) this.#sessions.set(key, session);
    this.#counts.moved();
    this.#listener.moved(session);
  }

  closed(session: Session): void {
    this.#idle.delete(session);
    this.#strangers.delete(session);
    this.#holders.remove(session);
    const key = addressKey(session);
    if (this.#sessions.get(key) === session) this.#sessions.delete(key);
    if (session.connectionId !== null) this.#byId.delete(idKey(session.connectionId));
    this.#listener.closed(session);
  }

  refused(reason: 'replayed' | 'forged'): void {
    this.#counts.refused(reason);
  }

  fault(error: unknown): void {
    this.#counts.fault(error);
  }

  // ---- records

  #records(datagram: Buffer, address: string, port: number): void {
    const key = `${address}|${port}`;
    let offset = 0;
    for (let count = 0; offset < datagram.length && count < RECORDS_MAX; count++) {
      const record = readRecord(datagram, offset, this.settings.limits.connectionIdBytes);
      if (record === null) {
        this.#counts.refused('malformed');
        return;
      }
      offset = record.end;
      if (record.epoch === ENCRYPTED_EPOCH) this.#encrypted(record, key, address, port);
      else if (record.epoch === 0 && !this.#plain(record, key, address, port)) return;
    }
  }

  #encrypted(record: DtlsRecord, key: string, address: string, port: number): void {
    const known =
      record.connectionId === null
        ? (this.#handshakes.get(key) ?? this.#sessions.get(key))
        : this.#byId.get(idKey(record.connectionId));
    if (known === undefined) {
      this.#counts.refused('unknown');
      return;
    }
    if (known instanceof Session) {
      this.#deliver(known, record, address, port);
      return;
    }
    // A handshake is where it began. A session there goes on until it is done.
    if (known.address !== address || known.port !== port) return;
    const before = record.connectionId === null ? this.#sessions.get(key) : undefined;
    if (before === undefined || !this.#deliver(before, record, address, port)) known.receive(record);
  }

  #deliver(session: Session, record: DtlsRecord, address: string, port: number): boolean {
    if (!session.receive(record, address, port)) return false;
    const orderedMs = this.#idle.get(session);
    if (orderedMs !== undefined && session.heardMs - orderedMs > ORDER_MS) this.#reorder(session);
    return true;
  }

  #reorder(session: Session): void {
    this.#idle.delete(session);
    this.#idle.set(session, session.heardMs);
  }

  /** @returns false: the rest of the datagram is dropped. Who has not answered with a cookie gets one of us for each
   *  datagram, or a large one would become many. */
  #plain(record: DtlsRecord, key: string, address: string, port: number): boolean {
    if (record.type === ContentType.handshake && record.body[0] === HandshakeType.clientHello) {
      try {
        return readFragments(record.body).every((each) => this.#hello(each, record.sequence, key, address, port));
      } catch (error) {
        if (!(error instanceof MalformedError)) throw error;
        this.#counts.refused('malformed');
        return true;
      }
    }
    const handshake = this.#handshakes.get(key);
    if (handshake !== undefined) handshake.receive(record);
    else if (!(record.type === ContentType.alert && isFinal(record.body))) this.#counts.refused('unknown');
    return true;
  }

  /** @returns false: it was answered with a cookie */
  #hello(fragment: HandshakeFragment, sequence: number, key: string, address: string, port: number): boolean {
    if (fragment.type !== HandshakeType.clientHello) return true;
    if (sequence > HELLO_RECORD_MAX || fragment.sequence > HELLO_MESSAGE_MAX) throw new MalformedError();
    const underWay = this.#handshakes.get(key);
    if (fragment.offset > 0) {
      if (underWay !== undefined) this.#greet(underWay, fragment, sequence);
      return true;
    }
    const front = readClientHelloFront(fragment.bytes);
    const now = this.#now();
    if (!this.#cookies.holds(front, address, port, now)) {
      const body = helloVerifyRequest(this.#cookies.make(front, address, port, now));
      const message = { type: HandshakeType.helloVerifyRequest, sequence: fragment.sequence, body };
      this.#send(plainRecord(ContentType.handshake, sequence, wholeMessage(message), DTLS_1_0), address, port);
      return false;
    }
    if (front.version !== DTLS_1_2) {
      this.#send(plainRecord(ContentType.alert, sequence, alertBody(Alert.protocolVersion)), address, port);
      this.#counts.handshake('version');
      return true;
    }
    if (underWay !== undefined) {
      if (underWay.clientRandom.equals(front.random)) {
        this.#greet(underWay, fragment, sequence);
        return true;
      }
      underWay.fail('restarted');
    }
    const { handshakesMax } = this.settings.limits;
    if (this.#handshakes.size >= handshakesMax || !this.#limits.begin(this.nameOf(address, port), now)) {
      this.#counts.refused('limit');
      return true;
    }
    const handshake = new ServerHandshake(this, address, port, fragment, front.random);
    this.#handshakes.set(key, handshake);
    this.#greet(handshake, fragment, sequence);
    return true;
  }

  #greet(handshake: ServerHandshake, fragment: HandshakeFragment, sequence: number): void {
    handshake.hello(fragment, sequence);
    if (handshake.connectionId !== null && !handshake.over) this.#byId.set(idKey(handshake.connectionId), handshake);
  }

  #over(handshake: ServerHandshake, outcome: HandshakeOutcome, established: boolean): void {
    const key = addressKey(handshake);
    if (this.#handshakes.get(key) !== handshake) return;
    this.#handshakes.delete(key);
    if (!established && handshake.connectionId !== null) this.#byId.delete(idKey(handshake.connectionId));
    this.#limits.end(this.nameOf(handshake.address, handshake.port), BLAMED.has(outcome), this.#now());
    this.#counts.handshake(outcome);
  }

  /** The address is this session's now. One without a connection id that was there can't be reached any more; one of the
   *  same device has been replaced. */
  #claim(session: Session): void {
    const key = addressKey(session);
    const before = this.#sessions.get(key);
    this.#sessions.set(key, session);
    if (before === undefined || before === session) return;
    if (before.connectionId === null || holderOf(before) === holderOf(session)) before.end();
  }

  /** Strangers push out strangers, and devices that sleep only where there are no others. */
  #makeRoomAmongStrangers(): void {
    const { sessionsMax } = this.settings.limits;
    if (this.#idle.size < sessionsMax && this.#strangers.size < sessionsMax * STRANGERS_SHARE) return;
    const [first] = this.#strangers;
    first?.close();
  }

  #ask(session: Session): void {
    session.standing?.renew().then(
      (stays) => {
        if (!stays) session.close();
      },
      () => undefined,
    );
  }
}

const addressKey = (at: { readonly address: string; readonly port: number }): string => `${at.address}|${at.port}`;
const idKey = (id: Buffer): string => id.toString('latin1');
