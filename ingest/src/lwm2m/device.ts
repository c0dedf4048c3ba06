import type { Command, Lwm2mAccount, Lwm2mRegistration } from '@millrace/core';
import type { CoapClient } from '../coap/client.ts';
import type { Peer } from '../coap/contract.ts';
import { Destination } from '../message-publisher.ts';

/** Messages of LwM2M devices are on this subtopic. */
export const SUBTOPIC = 'lwm2m';
const SAID_UNITS_MAX = 128;

/** What is observed of a device. */
export interface Observation {
  readonly path: string;
  /** @param quietly the device has forgotten it too, or is gone */
  cancel(quietly: boolean): void;
}

/** A device that is registered with this node, and who it is. */
export class Device {
  registration: Lwm2mRegistration;
  account: Lwm2mAccount;
  client: CoapClient;
  /** Where it was heard last. */
  peer: Peer;
  /** Key of the peer that its location was told to, as long as it speaks from there. */
  home: string | null = null;
  /** By path. */
  readonly observations = new Map<string, Observation>();
  /** Paths that commands asked to observe, with their attributes. */
  readonly commanded = new Map<string, string>();
  /** Units that the device said of its sensors, by instance: `/3303/0`. */
  readonly #units = new Map<string, string>();
  /** Commands may wait for it. */
  commandsWait = true;
  /** One that it did not answer, to be tried again while it is ours. */
  held: { readonly command: Command; readonly leaseUntilMs: number } | null = null;
  /** Somebody is at work for it. */
  busy = false;
  gone = false;
  /** It did not answer the last request. */
  #unheard = false;
  #awakeUntilMs = 0;
  #destination: Destination | null = null;

  constructor(registration: Lwm2mRegistration, account: Lwm2mAccount, client: CoapClient, peer: Peer) {
    this.registration = registration;
    this.account = account;
    this.client = client;
    this.peer = peer;
  }

  get thing(): string {
    return this.registration.thing;
  }

  /** It gave a sign of life. @param awakeMs for how long a device in queue mode hears from now on */
  heard(nowMs: number, awakeMs: number): void {
    this.#awakeUntilMs = nowMs + awakeMs;
    this.#unheard = false;
  }

  /** It did not answer. */
  unheard(): void {
    this.#unheard = true;
  }

  hears(nowMs: number): boolean {
    if (this.gone || this.#unheard) return false;
    return !this.registration.queueMode || nowMs < this.#awakeUntilMs;
  }

  /** Where its readings go; null: nobody said, or there are several. */
  get destination(): Destination | null {
    const { channel, org } = this.account;
    if (channel === null) return null;
    if (this.#destination?.channel !== channel) {
      this.#destination = new Destination(org, channel, SUBTOPIC, 'application/senml+json');
    }
    return this.#destination;
  }

  /** The unit that it said of an instance's sensor; "" if it said none. */
  saidUnit(instance: string): string {
    return this.#units.get(instance) ?? '';
  }

  sayUnit(instance: string, unit: string): void {
    if (this.#units.has(instance) || this.#units.size < SAID_UNITS_MAX) this.#units.set(instance, unit);
  }

  /** Paths that are observed whenever it has come anew, with their attributes. */
  get wanted(): ReadonlyMap<string, string> {
    const own = this.account.observe.map(({ path, attributes }) => [path, attributes] as const);
    return new Map([...own, ...this.commanded]);
  }

  dropObservations(quietly: boolean): void {
    for (const observation of this.observations.values()) observation.cancel(quietly);
    this.observations.clear();
  }
}
