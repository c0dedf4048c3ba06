import {
  type Admission,
  type Attachment,
  type DeliveryFilter,
  type Position,
  partitionOf,
  type Subscribed,
  type Subscriber,
  type Subscription,
  type SubscriptionEnd,
} from '@millrace/core';
import { Cursor, Route } from './cursor.ts';
import { FILTER_LEVELS_MAX, filterLevels } from './filter-trie.ts';
import type { Crossing, Lane } from './lane.ts';

const utf8 = new TextEncoder();
/** Levels that one subscriber's filters may have together, for each subscription that it may have. */
const LEVELS_PER_SUBSCRIPTION = 8;
/** Nodes of the tries of all filters, for each subscription that there may be. */
const NODES_PER_SUBSCRIPTION = 4;

/** What a seat needs of the delivery that it belongs to. */
export interface Hall extends Crossing {
  laneOf(partition: number): Lane;
  /** Subscriptions of all seats that are being made. */
  pending: number;
  /** Looks after a seat whose principal must be identified anew. */
  watch(seat: Seat): void;
  leave(seat: Seat): void;
  /** Has what was granted looked at from time to time. */
  guard(route: Route): void;
  unguard(route: Route): void;
}

/** One subscriber's place: its routes and cursors. */
export class Seat implements Attachment {
  readonly subscriber: Subscriber;
  readonly routes = new Set<Route>();
  attached = true;
  /** Times that it said there is room. */
  resumes = 0;
  readonly #hall: Hall;
  #cursors: Cursor[] = [];
  /** Subscriptions being made. */
  #pending = 0;
  #levels = 0;

  constructor(hall: Hall, subscriber: Subscriber) {
    this.#hall = hall;
    this.subscriber = subscriber;
  }

  async subscribe(
    filter: DeliveryFilter,
    tag: unknown,
    from: 'tail' | readonly Position[] = 'tail',
  ): Promise<Subscribed> {
    const { gate, log, limits } = this.#hall;
    const levels = filterLevels(filter.subtopic);
    if (!this.#hasRoom(levels)) return { kind: 'full' };
    this.#pending++;
    this.#hall.pending++;
    this.#levels += levels;
    let added = false;
    try {
      const { principal, context } = this.subscriber;
      let admission: Admission | null = null;
      let partitions: readonly number[];
      if (filter.channel === null) {
        partitions = Array.from({ length: log.partitionCount }, (_, index) => index);
      } else {
        const answer = gate.may(principal, 'subscribe', filter.channel, filter.subtopic, context);
        admission = answer instanceof Promise ? await answer : answer;
        if (admission.kind === 'deny') return { kind: 'denied', reason: admission.reason };
        partitions = [partitionOf(utf8.encode(admission.channel.id), log.partitionCount)];
      }
      const extents = await Promise.all(partitions.map((partition) => this.#hall.laneOf(partition).extent()));
      if (!this.attached) return DENIED;
      if (this.#hall.router.nodes > limits.subscriptionsMax * NODES_PER_SUBSCRIPTION) return { kind: 'full' };
      const { subject } = principal;
      const org = filter.channel === null && subject.kind === 'thing' ? subject.org : null;
      const route = new Route(this, filter, tag, org, admission);
      const begun = partitions.map((partition, index) =>
        this.#stand(route, partition, (extents[index] as { next: number }).next, from),
      );
      this.routes.add(route);
      this.#hall.router.add(route);
      this.#hall.guard(route);
      added = true;
      return { kind: 'subscribed', subscription: route, from: begun };
    } finally {
      this.#pending--;
      this.#hall.pending--;
      if (!added) this.#levels -= levels;
    }
  }

  unsubscribe(subscription: Subscription): void {
    const route = subscription as Route;
    if (!this.routes.delete(route)) return;
    this.#levels -= filterLevels(route.filter.subtopic);
    this.#hall.router.remove(route);
    this.#hall.unguard(route);
    const cursors = route.cursors ?? (route.cursor === null ? [] : [route.cursor]);
    for (const cursor of cursors) {
      cursor.routes.splice(cursor.routes.indexOf(route), 1);
      if (cursor.routes.length > 0) continue;
      cursor.lane.remove(cursor);
      this.#cursors.splice(this.#cursors.indexOf(cursor), 1);
    }
  }

  resume(): void {
    this.resumes++;
    for (const cursor of this.#cursors) if (cursor.wait === 'room') cursor.lane.ready(cursor);
  }

  moveBack(positions: readonly Position[]): void {
    for (const { partition, offset } of positions) {
      const cursor = this.#cursors.find(({ lane }) => lane.partition === partition);
      if (cursor === undefined || offset >= cursor.position) continue;
      for (const route of cursor.routes) route.stand(cursor, offset);
      cursor.lane.moveBack(cursor, offset);
    }
  }

  positions(): Position[] {
    return this.#cursors.map(({ lane, position }) => ({ partition: lane.partition, offset: position }));
  }

  detach(): void {
    if (!this.attached) return;
    this.attached = false;
    for (const route of this.routes) {
      this.#hall.router.remove(route);
      this.#hall.unguard(route);
    }
    for (const cursor of this.#cursors) cursor.lane.remove(cursor);
    this.routes.clear();
    this.#cursors = [];
    this.#hall.leave(this);
  }

  /** Has the patrol look when its principal is known again. */
  watch(): void {
    this.#hall.watch(this);
  }

  /** Its principal is known again. */
  recognise(): void {
    for (const cursor of this.#cursors) if (cursor.wait === 'revoked') cursor.lane.ready(cursor);
  }

  /** A subscription may no longer be.
   *  @param offset which it was not offered any more; by default where it stands */
  end(route: Route, reason: SubscriptionEnd, offset?: number): void {
    if (!this.routes.has(route)) return;
    const { cursor } = route;
    const at = cursor === null ? [] : [{ partition: cursor.lane.partition, offset: offset ?? cursor.position }];
    this.unsubscribe(route);
    this.#hall.tally.ended++;
    try {
      this.subscriber.ended(route, reason, at);
    } catch (error) {
      this.fault(error);
    }
  }

  /** The subscriber threw, which it must not. */
  fault(error: unknown): void {
    const { tally, logger } = this.#hall;
    tally.faults++;
    logger.error({ err: error }, 'a subscriber failed and gets nothing more');
    this.detach();
  }

  #hasRoom(levels: number): boolean {
    const { limits, router, pending } = this.#hall;
    const { subscriberSubscriptionsMax: most } = limits;
    return (
      levels <= FILTER_LEVELS_MAX &&
      this.routes.size + this.#pending < most &&
      this.#levels + levels <= Math.max(FILTER_LEVELS_MAX, most * LEVELS_PER_SUBSCRIPTION) &&
      router.size + pending < limits.subscriptionsMax
    );
  }

  /** Lets a route begin in a partition. What others of this subscriber have seen there, they do not see again. */
  #stand(route: Route, partition: number, tail: number, from: 'tail' | readonly Position[]): Position {
    const lane = this.#hall.laneOf(partition);
    const asked = from === 'tail' ? undefined : from.find((position) => position.partition === partition);
    let cursor = this.#cursors.find((one) => one.lane === lane);
    // All that was followed or swept already is older than now.
    const now = Math.max(tail, lane.next, cursor?.position ?? 0);
    const offset = asked === undefined ? now : Math.max(0, Math.min(asked.offset, now));
    if (cursor === undefined) {
      cursor = new Cursor(this, lane, offset);
      this.#cursors.push(cursor);
      lane.add(cursor, tail);
    } else if (offset < cursor.position) {
      const { position } = cursor;
      for (const other of cursor.routes) other.raiseStart(partition, position);
      lane.moveBack(cursor, offset);
    }
    lane.sweeper.letGo(cursor);
    cursor.routes.push(route);
    route.stand(cursor, offset);
    return { partition, offset };
  }
}

const DENIED: Subscribed = { kind: 'denied', reason: 'not_allowed' };
