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
    // An IPv4 client of a dual-stack socket is known by its IPv4 address, as policies name it.
    const { address } = this.#session;
    return address.startsWith('::ffff:') ? address.slice(7) : address;
  }
  get port(): number {
    return this.#session.port;
  }
  send(datagram: Buffer): void {
    this.#session.send(datagram);
  }
}
