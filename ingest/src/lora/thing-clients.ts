import { type Gate, type IdentifyRefusal, Protocol, type ThingRecord } from '@millrace/core';
import { Client, type Peer } from '../live/client.ts';
import { Destination } from '../message-publisher.ts';

const DESTINATIONS_MAX = 64;

/** A device as somebody who publishes: its network server vouches for it. */
export class ThingClient {
  readonly client: Client;
  readonly #destinations = new Map<string, Destination>();

  constructor(client: Client) {
    this.client = client;
  }

  /** Where a message goes, with what the gate said last about it. */
  destination(channel: string, subtopic: string, contentType: string): Destination {
    const key = `${channel} ${subtopic} ${contentType}`;
    let destination = this.#destinations.get(key);
    if (destination === undefined) {
      if (this.#destinations.size >= DESTINATIONS_MAX) this.#destinations.clear();
      destination = new Destination(null, channel, subtopic, contentType);
      this.#destinations.set(key, destination);
    }
    return destination;
  }
}

/** The devices that were heard of late.
 *  @holds at most `max`, the first of them are forgotten */
export class ThingClients {
  readonly #gate: Gate;
  readonly #max: number;
  readonly #clients = new Map<string, ThingClient>();

  constructor(gate: Gate, max: number) {
    this.#gate = gate;
    this.#max = max;
  }

  /** @throws RegistryError (retry later) */
  async of(thing: ThingRecord, peer: Peer): Promise<ThingClient | IdentifyRefusal> {
    const key = `${thing.id} ${peer.remoteAddress}`;
    const known = this.#clients.get(key);
    if (known !== undefined) {
      const renewed = await known.client.renew();
      if (renewed === 'known' || renewed === 'later') return known;
      this.#clients.delete(key);
    }
    const client = await Client.identify(this.#gate, { kind: 'subject', id: thing.id }, Protocol.lora, peer);
    if (typeof client === 'string') return client;
    const made = new ThingClient(client);
    if (this.#clients.size >= this.#max) {
      let left = Math.ceil(this.#max / 16);
      for (const each of this.#clients.keys()) {
        if (left-- === 0) break;
        this.#clients.delete(each);
      }
    }
    this.#clients.set(key, made);
    return made;
  }
}
