import type { Peer, PeerIdentity } from '../coap/contract.ts';
import type { DtlsSession } from './contract.ts';

/** A session as CoAP sees it: the same peer wherever it is. */
export class SessionPeer implements Peer {
  readonly key: string;
  readonly identity: PeerIdentity | null;
  /** Its handshake has shown that it is where it says; who moves shows it anew (RFC 9146 §6). */
  verified = true;
  readonly #session: DtlsSession;

  constructor(session: DtlsSession) {
    this.key = session.key;
    this.identity = session.identity;
    this.#session = session;
  }
  get address(): string {
    return this.#session.name;
  }
  get port(): number {
    return this.#session.port;
  }
  send(datagram: Buffer): void {
    this.#session.send(datagram);
  }
}
