import {
  type Attachment,
  type DeliveredMessage,
  type Delivery,
  type DeliveryFilter,
  type DenyReason,
  type Position,
  type Principal,
  positionText,
  type RequestContext,
  type Subscriber,
  type Subscription,
  type SubscriptionEnd,
} from '@millrace/core';
import type { Client } from './client.ts';
import { LatestOnly, type Packet, sizeOf } from './latest.ts';
import type { LiveMeasures } from './measures.ts';
import type { Outbox } from './outbox.ts';

/** What a subscriber wants when it can't keep up: everything, from the log, as long as it goes on taking it; or only the
 *  last of each series. */
export type SlowPolicy = 'disconnect' | 'latest';

export type FeedStart =
  | { readonly kind: 'begun'; readonly channel: string; readonly position: Position }
  | { readonly kind: 'denied'; readonly reason: DenyReason }
  | { readonly kind: 'full' }
  /** The position was given out for another channel. */
  | { readonly kind: 'elsewhere' };

/** Who reads a feed. */
export interface Reader {
  /** A message in the reader's own form. What all readers share of it is kept in `message.encoded`. */
  packet(message: DeliveredMessage): Packet;
  gap(from: Position, to: Position): void;
  ended(reason: SubscriptionEnd): void;
}

/** One subscription of one reader: from the delivery into the reader's outbox.
 *  A reader that is behind has nothing waiting but what its outbox holds; the rest is in the log, and `position` tells
 *  where it stands.
 *  @holds nothing is written before `open` */
export class Feed implements Subscriber<null> {
  /** Where to go on: everything before was written. null until it is subscribed. */
  position: Position | null = null;
  readonly #client: Client;
  readonly #outbox: Outbox;
  readonly #reader: Reader;
  readonly #latest: LatestOnly | null;
  readonly #measures: LiveMeasures;
  readonly #attachment: Attachment<null>;
  #open = false;
  #over = false;
  #waiting = false;

  constructor(
    delivery: Delivery,
    client: Client,
    outbox: Outbox,
    reader: Reader,
    slow: SlowPolicy,
    options: { readonly measures: LiveMeasures; readonly bytesMax: number },
  ) {
    this.#client = client;
    this.#outbox = outbox;
    this.#reader = reader;
    this.#measures = options.measures;
    this.#latest = slow === 'latest' ? new LatestOnly(options.bytesMax) : null;
    this.#attachment = delivery.attach(this);
  }

  get principal(): Principal {
    return this.#client.principal;
  }
  get context(): RequestContext {
    return this.#client.context;
  }
  /** Messages wait in the log because the reader takes none. */
  get waiting(): boolean {
    return this.#waiting && this.#open;
  }
  /** What a client keeps to resume; "" if it is not subscribed. */
  get positionText(): string {
    return this.position === null ? '' : positionText(this.position);
  }

  /** @param from null: what comes from now on; a position that was given out for the channel: what came since
   *  @throws RegistryError, LogError (retry later) */
  async subscribe(filter: DeliveryFilter, from: Position | null): Promise<FeedStart> {
    const subscribed = await this.#attachment.subscribe(filter, null, from === null ? 'tail' : [from]);
    if (subscribed.kind !== 'subscribed') return subscribed;
    const [begin] = subscribed.from;
    if (begin === undefined || subscribed.subscription.channel === null) return { kind: 'full' };
    if (from !== null && begin.partition !== from.partition) return { kind: 'elsewhere' };
    // It may have been offered something since: then it stands further on.
    this.position ??= begin;
    return { kind: 'begun', channel: subscribed.subscription.channel, position: begin };
  }

  /** The reader may be written to from now on. */
  open(): void {
    this.#open = true;
    this.resume();
  }

  /** There is room in the outbox. */
  resume(): void {
    if (this.#over || !this.#open) return;
    const latest = this.#latest;
    if (latest !== null) {
      for (;;) {
        const packet = latest.take((size) => this.#outbox.room(size));
        if (packet === null) break;
        this.#write(packet);
      }
    }
    if (this.#waiting) {
      this.#waiting = false;
      this.#attachment.resume();
    }
  }

  close(): void {
    this.#over = true;
    this.#attachment.detach();
  }

  offer(message: DeliveredMessage): boolean {
    if (this.#over) return true;
    if (!this.#open) {
      this.#waiting = true;
      return false;
    }
    const packet = this.#reader.packet(message);
    const latest = this.#latest;
    if (latest !== null && (!latest.empty || !this.#outbox.room(sizeOf(packet)))) {
      const lost = latest.put(message, packet);
      if (lost > 0) this.#measures.dropped(lost);
    } else if (this.#outbox.room(sizeOf(packet))) {
      this.#write(packet);
    } else {
      this.#waiting = true;
      return false;
    }
    this.position = { partition: message.partition, offset: message.offset + 1 };
    return true;
  }

  gap(from: Position, to: Position): void {
    if (this.#over) return;
    this.position = to;
    this.#measures.gap();
    this.#reader.gap(from, to);
  }

  ended(_subscription: Subscription<null>, reason: SubscriptionEnd): void {
    if (this.#over) return;
    this.close();
    this.#reader.ended(reason);
  }

  #write(packet: Packet): void {
    for (const part of packet) this.#outbox.write(part);
    this.#measures.delivered();
  }
}
