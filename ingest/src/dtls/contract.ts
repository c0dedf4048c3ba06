import type { KeyObject } from 'node:crypto';
import type { PeerIdentity } from '../coap/contract.ts';

/** DTLS as the rest of us sees it. Narrow on purpose: Node's own, a native binding or a terminator in front can take its
 *  place (docs/adr/0017). */

export interface DtlsSession {
  /** One of its own, stable over changes of address. */
  readonly key: string;
  /** Where the peer was heard last. */
  readonly address: string;
  readonly port: number;
  /** What it is called where it is judged: its address, unless a balancer hides that. */
  readonly name: string;
  /** null: it showed no certificate where that is optional, so its requests say who asks, as over plain CoAP. */
  readonly identity: PeerIdentity | null;
  /** @throws never: a closed session drops it */
  send(datagram: Buffer): void;
  /** Says goodbye, and forgets its keys. */
  close(): void;
}

export interface DtlsListener {
  /** A handshake is done. */
  opened(session: DtlsSession): void;
  /** One datagram, decrypted.  @holds may be kept */
  message(session: DtlsSession, datagram: Buffer): void;
  /** It came from another address, by its connection id, authentic and newest. That it can be reached there, nobody has
   *  proved: the network can show us a datagram from anywhere (RFC 9146 §6). */
  moved(session: DtlsSession): void;
  closed(session: DtlsSession): void;
}

/** A key that may be meant by an identity, and who its holder is.  @holds the key is overwritten once it was used */
export interface PskCandidate {
  readonly key: Buffer;
  readonly identity: PeerIdentity;
}
/** Somebody who was let in: asked now and then whether they still may be. */
export interface Standing {
  /** Something about them has changed: `renew` tells whether they may stay. */
  readonly doubtful: boolean;
  /** @returns false: no longer  @throws never: what can't be asked now is asked again */
  renew(): Promise<boolean>;
}
/** Who may have a session. */
export interface Authority {
  /** The keys of a PSK identity, bounded; none: nobody has it.  @throws MillraceError when it can't be asked now */
  candidates(identity: Buffer, address: string): Promise<readonly PskCandidate[]>;
  /** Of who has proved to hold the key; null: refused.  @throws MillraceError when it can't be asked now */
  admit(identity: PeerIdentity, address: string): Promise<Standing | null>;
}

/** @units …Ms milliseconds, …Bytes bytes, …PerSecond: 0 is no limit */
export interface DtlsLimits {
  /** Of ids that we give out; 0: none. */
  readonly connectionIdBytes: number;
  /** Largest datagram of a handshake. */
  readonly datagramBytesMax: number;
  readonly handshakesMax: number;
  readonly handshakesPerAddressMax: number;
  readonly handshakesPerAddressPerSecond: number;
  readonly failuresPerAddressPerSecond: number;
  readonly handshakeMsMax: number;
  readonly sessionsMax: number;
  readonly sessionsPerIdentityMax: number;
  readonly idleMsMax: number;
  readonly idleWithIdMsMax: number;
}
export interface DtlsSettings {
  readonly psk: boolean;
  /** EC P-256. @shape chain: DER, the server's own first */
  readonly certificate: { readonly key: KeyObject; readonly chain: readonly Buffer[] } | null;
  readonly clientCertificates: 'off' | 'optional' | 'required';
  readonly limits: DtlsLimits;
}

/** How handshakes end. `wrong_key` also stands for an identity that nobody has: which of the two, nobody is told. */
export const HANDSHAKE_OUTCOMES = [
  'established',
  'timeout',
  'restarted',
  'version',
  'no_common_suite',
  'malformed',
  'unexpected',
  'wrong_key',
  'bad_certificate',
  'refused',
  'peer_alert',
  'away',
  'fault',
  'closed',
] as const;
export type HandshakeOutcome = (typeof HANDSHAKE_OUTCOMES)[number];
