import type { DeadReason, NetworkServer } from '@millrace/core';
import type { Client, Peer } from '../live/client.ts';
import type { PublishRefusal } from '../message-publisher.ts';
import type { SentDownlink } from './downlink/sent-downlinks.ts';
import type { LoraEvent } from './events/lora-event.ts';

/** Who tells an event. */
export interface EventSource {
  readonly org: string;
  /** By whose settings unknown devices are provisioned; null: nobody's. */
  readonly server: NetworkServer | null;
  /** Who shows a credential with each event; null: a broker that we connected to ourselves. */
  readonly caller: Client | null;
  readonly peer: Peer;
  /** As it came, for dead letters. */
  readonly contentType: string;
  /** Until it aborts, what is refused for now is tried again, before the device's next event; null: its sender does. */
  readonly patience: AbortSignal | null;
}

/** What became of an event. */
export type Taken =
  | { readonly kind: 'stored'; readonly id: string }
  /** It had been taken already, perhaps as a dead letter. */
  | { readonly kind: 'repeated'; readonly id: string }
  | { readonly kind: 'dead'; readonly id: string; readonly reason: DeadReason; readonly detail: string }
  /** Nothing of it is certain to be kept. */
  | { readonly kind: 'refused'; readonly refusal: PublishRefusal };

/** Makes a dead letter of the event in hand. */
export type Bury = (reason: DeadReason, detail: string, channel: string, publisher?: string) => Promise<Taken>;

/** Knows whose downlinks events are about, and hears of those that are durable. */
export interface TakenEvents {
  /** The downlink of ours that an event is about; null if of none. Asked once an event. */
  about(org: string, event: LoraEvent): SentDownlink | null;
  taken(source: EventSource, event: LoraEvent, thing: string, about: SentDownlink | null): void;
}

/** What is known about the place of an event that cannot be read. */
export interface Whereabouts {
  /** "" if nothing says it. */
  readonly applicationId: string;
  /** What takes the channel's place where none is known. */
  readonly otherwise: string;
}
