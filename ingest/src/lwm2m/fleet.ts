import type { Peer } from '../coap/contract.ts';
import type { Device } from './device.ts';

/** The devices that are registered with this node. */
export class Fleet {
  readonly #byLocation = new Map<string, Device>();
  readonly #byThing = new Map<string, Device>();
  /** Of plain CoAP: a session is known by its thing. */
  readonly #byPeer = new Map<string, Device>();
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
    this.#byPeer.set(device.peer.key, device);
    this.#peers.keep(device.peer);
  }

  /** It speaks from elsewhere. */
  move(device: Device, peer: Peer): void {
    if (device.peer === peer) return;
    this.#peers.keep(peer);
    this.#peers.release(device.peer);
    if (this.#byPeer.get(device.peer.key) === device) this.#byPeer.delete(device.peer.key);
    device.peer = peer;
    this.#byPeer.set(peer.key, device);
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
