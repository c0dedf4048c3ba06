import {
  type AuditTrail,
  type ChannelRecord,
  type Gate,
  type Log,
  type Logger,
  type Metrics,
  Protocol,
} from '@millrace/core';
import type { WallClock } from '../clock.ts';
import { IngestCounts } from '../counts.ts';
import type { Client } from '../live/client.ts';
import type { PublishTarget } from '../message-encoder.ts';
import { Destination, MessagePublisher, type PublishRefusal } from '../message-publisher.ts';
import { RateLimit } from '../rate.ts';
import type { Bury, Taken } from './event-source.ts';
import type { LoraEvent } from './events/lora-event.ts';
import type { LoraMessage } from './messages.ts';
import type { ThingClient } from './thing-clients.ts';

/** Times further ahead than this are not believed: the event is as old as its reception then. */
const TIME_AHEAD_US_MAX = 86_400_000_000;
const utf8 = new TextEncoder();

export interface EventPublisherOptions {
  readonly log: Log;
  readonly gate: Gate;
  readonly clock: WallClock;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly audit?: AuditTrail | undefined;
}

/** An event of a device that is known, ready to be published. */
export interface PublishableEvent {
  readonly event: LoraEvent;
  readonly thing: ThingClient;
  readonly channel: ChannelRecord;
  readonly messages: readonly LoraMessage[];
  /** A repeat has the same. */
  readonly key: string;
  /** What its caller may; null: it has none. */
  readonly behalf: PublishTarget | null;
  readonly bury: Bury;
}

/** Publishes the messages of events as the devices' own. */
export class EventPublisher {
  readonly #publisher: MessagePublisher;
  readonly #clock: WallClock;

  constructor({ log, gate, clock, metrics, logger, audit }: EventPublisherOptions) {
    this.#clock = clock;
    this.#publisher = new MessagePublisher({
      protocol: Protocol.lora,
      log,
      gate,
      logger,
      audit,
      clock,
      counts: IngestCounts.of(metrics, 'lora'),
      // Channels have their own limits; of a device its network server sees to it.
      rate: new RateLimit(0, 1),
    });
  }

  /** What a caller needs to publish an event of a channel itself, so that things which are not connected may be spoken
   *  for. */
  async decideCaller(
    caller: Client,
    channel: ChannelRecord,
    event: LoraEvent,
  ): Promise<PublishTarget | PublishRefusal> {
    const subtopic = event.type === 'up' ? `up/${event.fPort}` : `event/${event.type}`;
    const destination = new Destination(null, channel.id, subtopic, '');
    const target = await this.#publisher.decide(caller, destination);
    if ('kind' in target) this.#publisher.count(target, caller, destination);
    return target;
  }

  /** Why a caller may not have a dead letter made just now: it counts as a message of theirs, or who must keep to a
   *  channel's rate could fill the log with events of devices that there are none of. */
  limitedLetter(caller: Client, behalf: PublishTarget): PublishRefusal | null {
    return this.#publisher.limited(caller, behalf, 0);
  }

  /** Appends the messages of one event, all of them or, as far as can be told before, none. */
  async publish({ event, thing, channel, messages, key, behalf, bury }: PublishableEvent): Promise<Taken> {
    const publisher = this.#publisher;
    const { client } = thing;
    const { id } = client.principal.subject;
    const targets: PublishTarget[] = [];
    for (const { subtopic, contentType } of messages) {
      const destination = thing.destination(channel.id, subtopic, contentType);
      let target = await publisher.decide(client, destination);
      if ('kind' in target && target.denied === 'not_allowed' && behalf !== null) {
        target = spokenFor(client, behalf, destination);
      }
      if (!('kind' in target)) {
        targets.push(target);
        continue;
      }
      if (target.denied === undefined) return { kind: 'refused', refusal: target };
      publisher.count(target, client, destination);
      const what = `The thing ${id} (DevEUI ${event.devEui}) may not publish to ${subtopic} of the channel ${channel.id}`;
      return bury('forbidden', `${what}: ${target.detail}`, channel.id, id);
    }
    const [largest] = messages.toSorted((a, b) => b.payload.length - a.payload.length);
    const [target] = targets;
    if (largest === undefined || target === undefined) throw new TypeError('an event becomes a message at least');
    const full = publisher.fullness(messages.reduce((bytes, { payload }) => bytes + payload.length, 0));
    if (full !== null) return { kind: 'refused', refusal: full };
    // All at once: where a channel takes less than two messages a second, one after the other would never both be taken.
    const limited = publisher.limited(client, target, largest.payload.length, messages.length);
    if (limited?.status === 413) return bury('bad_event', `${limited.detail} (${largest.subtopic})`, channel.id, id);
    if (limited !== null) return { kind: 'refused', refusal: limited };
    const timeUs = this.#believable(event.timeUs);
    const appended = messages.map(
      ({ payload, part }, index) =>
        new Promise<string | PublishRefusal>((resolve) => {
          const extras = { dedupKey: `${key}/${part}`, timeUs };
          publisher.publish(targets[index] as PublishTarget, payload, { stored: resolve, refused: resolve }, extras);
        }),
    );
    const ids = await Promise.all(appended);
    const refusal = ids.find((each) => typeof each !== 'string');
    if (refusal !== undefined) return { kind: 'refused', refusal };
    return { kind: 'stored', id: ids.find((each) => typeof each === 'string') ?? '' };
  }

  #believable(timeUs: number | null): number | undefined {
    if (timeUs === null || timeUs <= 0) return undefined;
    return timeUs <= this.#clock.nowUs() + TIME_AHEAD_US_MAX ? timeUs : undefined;
  }
}

/** A message of a thing that its caller answers for. */
function spokenFor(client: Client, behalf: PublishTarget, destination: Destination): PublishTarget {
  const { subject } = client.principal;
  return {
    ...behalf,
    admission: { ...behalf.admission, subject },
    subtopic: utf8.encode(destination.subtopic),
    subtopicText: destination.subtopic,
    publisher: utf8.encode(subject.id),
    contentType: utf8.encode(destination.contentType),
  };
}
