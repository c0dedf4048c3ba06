import type { Peer, PeerIdentity } from './contract.ts';
import { Generations } from './generations.ts';
import { clientNames, type NameClient, plainAddress } from './relayed.ts';

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
  /** Where its datagrams come from and go to, as the socket writes it. */
  sendAddress: string;
  readonly sendPort: number;
  readonly #send: SendDatagram;

  /** @param from where it is itself, if somebody else sends its datagrams */
  constructor(
    key: string,
    sendAddress: string,
    sendPort: number,
    identity: PeerIdentity | null,
    send: SendDatagram,
    from: { readonly address: string; readonly port: number },
  ) {
    this.key = key;
    this.address = from.address;
    this.port = from.port;
    this.identity = identity;
    this.verified = identity !== null;
    this.sendAddress = sendAddress;
    this.sendPort = sendPort;
    this.#send = send;
  }

  send(datagram: Buffer): void {
    this.#send(datagram, this.sendPort, this.sendAddress);
  }
}

/** Who is behind which address and port: one object as long as it is remembered.
 *  @holds at most `max` that nobody told us of; those that are busy (`keep`) are not forgotten */
export class Peers {
  readonly #send: SendDatagram;
  readonly #nameOf: NameClient;
  readonly #heard: Generations<string, UdpPeer>;
  readonly #busy = new Map<string, { readonly peer: Peer; count: number }>();
  /** Whom a terminator in front of us told of. */
  readonly #introduced = new Map<string, UdpPeer>();

  constructor(max: number, send: SendDatagram, nameOf: NameClient = clientNames('')) {
    this.#send = send;
    this.#nameOf = nameOf;
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
    const told = this.#introduced.size === 0 ? undefined : this.#introduced.get(`${plainAddress(address)}|${port}`);
    if (told !== undefined) {
      told.sendAddress = address;
      return told;
    }
    if (known !== undefined) return known;
    const from = { address: this.#nameOf(address, port), port };
    const peer =
      (this.#busy.get(key)?.peer as UdpPeer | undefined) ?? new UdpPeer(key, address, port, null, this.#send, from);
    this.#heard.set(key, peer);
    return peer;
  }

  /** Who comes from this port from now on, as somebody says whom we trust.
   *  @param key of the session  @param from where it is itself */
  introduce(
    address: string,
    port: number,
    key: string,
    identity: PeerIdentity,
    from: { readonly address: string; readonly port: number } = { address: plainAddress(address), port },
  ): Peer {
    const peer = new UdpPeer(key, address, port, identity, this.#send, from);
    this.#introduced.set(`${address}|${port}`, peer);
    return peer;
  }

  /** Takes an introduction back, unless somebody else has been introduced there meanwhile. */
  dismiss(peer: Peer): void {
    if (!(peer instanceof UdpPeer)) return;
    const at = `${plainAddress(peer.sendAddress)}|${peer.sendPort}`;
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
