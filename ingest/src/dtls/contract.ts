import type { PeerIdentity } from '../coap/contract.ts';

/** DTLS as the rest of us sees it. Narrow on purpose: Node's own, a native binding or a terminator in front can take its
 *  place (docs/adr/0017). */

export interface DtlsSession {
  /** One of its own, stable over changes of address. */
  readonly key: string;
  /** Where the peer was heard last. */
  readonly address: string;
  readonly port: number;
  readonly identity: PeerIdentity;
  /** @throws never: a closed session drops it */
  send(datagram: Buffer): void;
  close(): void;
}

export interface DtlsListener {
  /** A handshake is done. */
  opened(session: DtlsSession): void;
  /** One datagram, decrypted.  @holds may be kept */
  message(session: DtlsSession, datagram: Buffer): void;
  closed(session: DtlsSession): void;
}
