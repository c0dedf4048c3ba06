import type { Protocol } from '../envelope/envelope.ts';
import type { DenyReason, Principal, RequestContext } from './gate.ts';

/** A place in the log, between two records: delivery goes on with the record at `offset`. */
export interface Position {
  readonly partition: number;
  readonly offset: number;
}

/** As clients keep it: `<partition>-<offset>`. */
export const positionText = ({ partition, offset }: Position): string => `${partition}-${offset}`;

/** @returns null if the text is no position */
export function parsePosition(text: string): Position | null {
  const [, partition, offset] = /^(\d{1,5})-(\d{1,15})$/.exec(text) ?? [];
  return partition === undefined ? null : { partition: Number(partition), offset: Number(offset) };
}

/** What a subscriber wants.
 *  @shape channel: id or alias; null: every channel that the subscriber may read.
 *         subtopic: segments joined by '/', where '+' stands for one segment and '#' at the end for any rest, none
 *         included; "" is only what has no subtopic */
export interface DeliveryFilter {
  readonly channel: string | null;
  readonly subtopic: string;
}

/** A message on its way to subscribers. Made once for all of them; immutable.
 *  @holds payload is a view of the batch that was read from the log: nobody writes to it */
export interface DeliveredMessage extends Position {
  /** Text of the UUID. */
  readonly id: string;
  readonly org: string;
  readonly channel: string;
  readonly subtopic: string;
  readonly publisher: string;
  readonly protocol: Protocol;
  readonly contentType: string;
  /** µs since 1970. */
  readonly receivedUs: number;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly payload: Buffer;
  /** What a protocol encoded once for all its subscribers, by a key of its own. */
  readonly encoded: Map<string, Buffer>;
}

/** One filter of one subscriber. */
export interface Subscription<Tag = unknown> {
  readonly filter: DeliveryFilter;
  /** The id of the channel; null for any. */
  readonly channel: string | null;
  /** The subscriber's own. */
  readonly tag: Tag;
}

export type SubscriptionEnd = DenyReason | 'revoked';

/** Who is delivered to: a session, a socket, an event stream.
 *  Its methods are called from the event loop, must not throw and must not wait. */
export interface Subscriber<Tag = unknown> {
  /** Who it is; asked at each decision, so it may be identified anew meanwhile. */
  readonly principal: Principal;
  readonly context: RequestContext;
  /** A message that it may read, once, in the order of its partition, with every subscription that it matches (at least
   *  one; the array is valid during the call).
   *  @returns false when there is no room: it is offered again, before anything later of its partition, once
   *           `Attachment.resume` is called. Nothing is kept for it meanwhile but where it stands in the log. */
  offer(message: DeliveredMessage, matched: readonly Subscription<Tag>[]): boolean;
  /** Messages are gone that it should have had: its position was older than what the log keeps. */
  gap(from: Position, to: Position): void;
  /** A subscription is over: it may no longer read the channel.
   *  @param at where it stood: nothing at or after it was offered by this subscription; empty for every channel */
  ended(subscription: Subscription<Tag>, reason: SubscriptionEnd, at: readonly Position[]): void;
}

export type Subscribed<Tag = unknown> =
  | { readonly kind: 'subscribed'; readonly subscription: Subscription<Tag>; readonly from: readonly Position[] }
  | { readonly kind: 'denied'; readonly reason: DenyReason }
  /** More subscriptions than one subscriber, or the node, may have. */
  | { readonly kind: 'full' };

/** A subscriber's place in the delivery: its subscriptions and how far it has come in each partition. */
export interface Attachment<Tag = unknown> {
  /** Judges and adds a filter. What is appended once the promise has settled is delivered.
   *  @param from where to begin: the tail, or a position that was given out for the partition of the filter's channel.
   *         A filter that begins at the tail gets nothing older, even while the subscriber still catches up
   *  @throws RegistryError, LogError (retry later) */
  subscribe(filter: DeliveryFilter, tag: Tag, from?: 'tail' | readonly Position[]): Promise<Subscribed<Tag>>;
  unsubscribe(subscription: Subscription<Tag>): void;
  /** There is room again. */
  resume(): void;
  /** Goes on at earlier places: what was offered since is offered again. Later ones are not heeded. */
  moveBack(positions: readonly Position[]): void;
  /** Where it stands in each partition that it reads: everything before was offered and taken, or did not match. */
  positions(): Position[];
  /** No further offer. */
  detach(): void;
}

/** The way back: from the log to subscribers of every protocol. */
export interface Delivery {
  attach<Tag>(subscriber: Subscriber<Tag>): Attachment<Tag>;
  /** One record again, as when an unacknowledged message is sent anew; null if it is no longer kept. */
  at(position: Position): Promise<DeliveredMessage | null>;
}
