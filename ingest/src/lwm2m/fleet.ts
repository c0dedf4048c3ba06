import type { Peer } from '../coap/contract.ts';
import type { Device } from './device.ts';

const CONTESTED_MAX = 16_384;

/** The devices that are registered with this node. */
export class Fleet {
  readonly #byLocation = new Map<string, Device>();
  readonly #byThing = new Map<string, Device>();
  /** Of plain CoAP: a session is known by its thing. */
  readonly #byPeer = new Map<string, Device>();
  /** Addresses that several things have claimed. */
  readonly #contested = new Set<string>();
  readonly #max: number;
  /** What we ask of a device is bound to its peer: the same object while it is registered. */
  readonly #peers: { keep(peer: Peer): void; release(peer: Peer): void };

  constructor(max: number, peers: { keep(peer: Peer): void; release(peer: Peer): void }) {
    this.#max = max;
    this.#peers = peers;
  }

  get size(): number {
    return this.#byLocation.size;
  }
  get observationCount(): number {
    let count = 0;
    for (const device of this.#byLocation.values()) count += device.observations.size;
    return count;
  }

  /** Whether there is room for a thing's device. */
  hasRoom(thing: string): boolean {
    return this.#byThing.has(thing) || this.#byLocation.size < this.#max;
  }

  byLocation(location: string): Device | undefined {
    return this.#byLocation.get(location);
  }
  byThing(thing: string): Device | undefined {
    return this.#byThing.get(thing);
  }
  byPeer(key: string): Device | undefined {
    return this.#byPeer.get(key);
  }
  all(): IterableIterator<Device> {
    return this.#byLocation.values();
  }

  /** Takes a device in, in the place of the thing's earlier one. */
  put(device: Device): void {
    const earlier = this.#byThing.get(device.thing);
    if (earlier !== undefined) this.remove(earlier);
    this.#byLocation.set(device.registration.location, device);
    this.#byThing.set(device.thing, device);
    this.#claim(device);
    this.#peers.keep(device.peer);
  }

  /** An address that two things claim is nobody's until one shows that it is there: a NAT may have given it to somebody
   *  else, or somebody may have made it up.
   *  @param proven it was told something there that it knows now */
  #claim(device: Device, proven = false): void {
    const { key } = device.peer;
    const other = this.#byPeer.get(key);
    const isFree = other === undefined ? !this.#contested.has(key) : other.thing === device.thing;
    if (isFree || proven) {
      this.#byPeer.set(key, device);
      return;
    }
    this.#byPeer.delete(key);
    this.#contested.add(key);
    if (this.#contested.size <= CONTESTED_MAX) return;
    for (const oldest of this.#contested) {
      this.#contested.delete(oldest);
      return;
    }
  }

  /** It speaks, maybe from elsewhere. */
  move(device: Device, peer: Peer): void {
    const { key } = device.peer;
    if (device.peer !== peer) {
      this.#peers.keep(peer);
      this.#peers.release(device.peer);
      device.peer = peer;
    }
    if (key !== peer.key) {
      if (this.#byPeer.get(key) === device) this.#byPeer.delete(key);
      device.home = null;
    }
    this.#claim(device, device.home === peer.key);
  }

  remove(device: Device): void {
    if (device.gone) return;
    device.gone = true;
    device.dropObservations(true);
    this.#peers.release(device.peer);
    this.#byLocation.delete(device.registration.location);
    if (this.#byThing.get(device.thing) === device) this.#byThing.delete(device.thing);
    if (this.#byPeer.get(device.peer.key) === device) this.#byPeer.delete(device.peer.key);
  }
}
