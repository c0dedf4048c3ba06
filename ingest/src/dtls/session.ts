import type { PeerIdentity } from '../coap/contract.ts';
import { Alert, alertBody, isFinal } from './alert.ts';
import type { DtlsSession, Standing } from './contract.ts';
import type { Established } from './handshake/server-handshake.ts';
import {
  ContentType,
  type DirectionKeys,
  type DtlsRecord,
  eraseKeys,
  openRecord,
  plainRecord,
  sealRecord,
} from './record.ts';
import type { ReplayWindow } from './replay-window.ts';

// hot

/** Well before a number would come twice, and before so much under one key says anything about it (RFC 9325 §4.4): then
 *  the session ends, and the device makes another. */
const RECORDS_MAX = 2 ** 32;
const CHANGE_CIPHER_SPEC = Buffer.from([1]);
const CLIENT_HELLO = 1;
const FINISHED = 20;

export interface SessionHost {
  now(): number;
  send(datagram: Buffer, address: string, port: number): void;
  message(session: Session, datagram: Buffer): void;
  moved(session: Session, address: string, port: number): void;
  closed(session: Session): void;
  /** What a client there is called. */
  nameOf(address: string, port: number): string;
  /** A record that was not opened: seen before, or not authentic. */
  refused(reason: 'replayed' | 'forged'): void;
}

export class Session implements DtlsSession {
  readonly key: string;
  address: string;
  port: number;
  /** What its handshake's sender is called. */
  readonly first: string;
  readonly identity: PeerIdentity | null;
  readonly standing: Standing | null;
  /** By which it says who it is, ours; null: it goes by its address. */
  readonly connectionId: Buffer | null;
  heardMs: number;
  closed = false;
  readonly #host: SessionHost;
  readonly #receive: DirectionKeys;
  readonly #send: DirectionKeys;
  readonly #peerConnectionId: Buffer | null;
  readonly #window: ReplayWindow;
  #sequence = 0;
  #plainSequence: number;
  /** Ours, as long as the client may not have it. */
  #finished: Buffer | null;

  constructor(
    host: SessionHost,
    key: string,
    at: { readonly address: string; readonly port: number },
    ids: { readonly connectionId: Buffer | null; readonly peerConnectionId: Buffer | null },
    begun: Established,
  ) {
    this.#host = host;
    this.key = key;
    this.address = at.address;
    this.first = host.nameOf(at.address, at.port);
    this.port = at.port;
    this.identity = begun.identity;
    this.standing = begun.standing;
    this.connectionId = ids.connectionId;
    this.#peerConnectionId = ids.peerConnectionId;
    this.#receive = begun.secrets.client;
    this.#send = begun.secrets.server;
    this.#window = begun.window;
    this.#plainSequence = begun.plainSequence;
    this.#finished = begun.finished;
    this.heardMs = host.now();
  }

  get name(): string {
    return this.#host.nameOf(this.address, this.port);
  }

  send(datagram: Buffer): void {
    if (this.closed) return;
    this.#sealed(ContentType.applicationData, datagram);
    if (this.#sequence >= RECORDS_MAX) this.close();
  }

  close(): void {
    if (this.closed) return;
    this.#sealed(ContentType.alert, alertBody(Alert.closeNotify));
    this.end();
  }

  /** Without a word: it is not there any more, or somebody else is. */
  end(): void {
    if (this.closed) return;
    this.closed = true;
    eraseKeys(this.#receive);
    eraseKeys(this.#send);
    this.#finished = null;
    this.#host.closed(this);
  }

  /** ChangeCipherSpec and Finished in one datagram: the handshake is done on our side. */
  finish(): void {
    const finished = this.#finished;
    if (finished === null) return;
    this.#host.send(
      Buffer.concat([
        plainRecord(ContentType.changeCipherSpec, this.#plainSequence++, CHANGE_CIPHER_SPEC),
        sealRecord(this.#send, ContentType.handshake, this.#sequence++, finished, this.#peerConnectionId),
      ]),
      this.address,
      this.port,
    );
  }

  /** @returns false if it is none of this session */
  receive(record: DtlsRecord, address: string, port: number): boolean {
    if (this.closed || (this.connectionId !== null) !== (record.connectionId !== null)) return false;
    if (!this.#window.isFresh(record.sequence)) {
      this.#host.refused('replayed');
      return false;
    }
    const opened = openRecord(this.#receive, record);
    if (opened === null) {
      this.#host.refused('forged');
      return false;
    }
    const newest = this.#window.accept(record.sequence);
    // An older one may come late, or again, from where the device was before.
    if (newest && (port !== this.port || address !== this.address)) {
      if (record.connectionId === null) return false;
      this.#host.moved(this, address, port);
    }
    this.heardMs = this.#host.now();
    const { type, data } = opened;
    if (type === ContentType.applicationData) {
      this.#finished = null;
      this.#host.message(this, data);
    } else if (type === ContentType.alert) {
      if (isFinal(data)) this.close();
    } else if (type === ContentType.handshake) {
      if (data[0] === FINISHED) this.finish();
      else if (data[0] === CLIENT_HELLO) this.#sealed(ContentType.alert, alertBody(Alert.noRenegotiation));
    }
    return true;
  }

  #sealed(type: number, content: Buffer): void {
    this.#host.send(
      sealRecord(this.#send, type, this.#sequence++, content, this.#peerConnectionId),
      this.address,
      this.port,
    );
  }
}
