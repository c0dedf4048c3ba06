import type { Peer, PeerIdentity } from './contract.ts';
import { Generations } from './generations.ts';

// hot

/** Sends a datagram from our socket. @throws never */
export type SendDatagram = (datagram: Buffer, port: number, address: string) => void;

/** Somebody at an address and port of plain UDP. */
class UdpPeer implements Peer {
  readonly key: string;
  readonly address: string;
  readonly port: number;
  readonly identity: PeerIdentity | null;
  verified: boolean;
  readonly #send: SendDatagram;
  readonly #sendAddress: string;

  constructor(key: string, sendAddress: string, port: number, identity: PeerIdentity | null, send: SendDatagram) {
    this.key = key;
    // An IPv4 client of a dual-stack socket is known by its IPv4 address, as policies name it.
    this.address = sendAddress.startsWith('::ffff:') ? sendAddress.slice(7) : sendAddress;
    this.port = port;
    this.identity = identity;
    this.verified = identity !== null;
    this.#send = send;
    this.#sendAddress = sendAddress;
  }

  send(datagram: Buffer): void {
    this.#send(datagram, this.port, this.#sendAddress);
  }
}

/** Who is behind which address and port: one object as long as it is remembered.
 *  @holds at most `max` that nobody told us of; those that are busy (`keep`) are not forgotten */
export class Peers {
  readonly #send: SendDatagram;
  readonly #heard: Generations<string, UdpPeer>;
  readonly #busy = new Map<string, { readonly peer: Peer; count: number }>();
  /** Whom a terminator in front of us told of. */
  readonly #introduced = new Map<string, Peer>();

  constructor(max: number, send: SendDatagram) {
    this.#send = send;
    this.#heard = new Generations({ entries: max });
  }

  get size(): number {
    return this.#heard.size + this.#introduced.size;
  }

  /** @param address as the socket gave it */
  of(address: string, port: number): Peer {
    const key = `${address}|${port}`;
    const known = this.#heard.get(key);
    if (known !== undefined && this.#introduced.size === 0) return known;
    const told = this.#introduced.get(key);
    if (told !== undefined) return told;
    if (known !== undefined) return known;
    const peer =
      (this.#busy.get(key)?.peer as UdpPeer | undefined) ?? new UdpPeer(key, address, port, null, this.#send);
    this.#heard.set(key, peer);
    return peer;
  }

  /** Who comes from this port from now on, as somebody says whom we trust.  @param key of the session */
  introduce(address: string, port: number, key: string, identity: PeerIdentity): Peer {
    const peer = new UdpPeer(key, address, port, identity, this.#send);
    this.#introduced.set(`${address}|${port}`, peer);
    return peer;
  }

  /** Takes an introduction back, unless somebody else has been introduced there meanwhile. */
  dismiss(peer: Peer): void {
    const at = `${peer.address}|${peer.port}`;
    if (this.#introduced.get(at) === peer) this.#introduced.delete(at);
  }

  /** It must stay the same object until each `keep` has had its `release`. */
  keep(peer: Peer): void {
    const busy = this.#busy.get(peer.key);
    if (busy?.peer === peer) busy.count++;
    else if (peer.identity === null) this.#busy.set(peer.key, { peer, count: 1 });
  }

  release(peer: Peer): void {
    const busy = this.#busy.get(peer.key);
    if (busy?.peer === peer && --busy.count === 0) this.#busy.delete(peer.key);
  }
}
