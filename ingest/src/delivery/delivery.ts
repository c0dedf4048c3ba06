import type {
  Attachment,
  DeliveredMessage,
  Delivery,
  Gate,
  Log,
  Logger,
  Metrics,
  Position,
  Subscriber,
} from '@millrace/core';
import { LogError } from '@millrace/core';
import { type DeliveryLimits, deliveryLimits } from './config.ts';
import type { Cursor, Route } from './cursor.ts';
import { Follower } from './follower.ts';
import { Lane } from './lane.ts';
import { Patrol } from './patrol.ts';
import { RecordMessage, RecordWalk } from './records.ts';
import { Router } from './router.ts';
import { type Hall, Seat } from './seat.ts';
import { DeliveryTally } from './tally.ts';
import { Turns } from './turns.ts';

export interface DeliveryOptions {
  readonly log: Log;
  readonly gate: Gate;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Others may write to the log: what bears no valid admission is not delivered. */
  readonly verify: boolean;
  /** Following costs the log a consumer of its own: all partitions are followed by one, as soon as any is needed. */
  readonly followTogether?: boolean;
  /** Those of DeliveryConfig if absent. */
  readonly limits?: Partial<DeliveryLimits>;
  readonly nowMs?: () => number;
}

export type StoppableDelivery = Delivery & {
  /** Resolves when all that is on the log now has been offered, or at the deadline. */
  drain(deadlineMs: number): Promise<void>;
  stop(): Promise<void>;
};

/** The way back of a node: follows the partitions that its subscribers need. */
export function createDelivery(options: DeliveryOptions): StoppableDelivery {
  return new LogDelivery(options);
}

class LogDelivery implements StoppableDelivery, Hall {
  readonly log: Log;
  readonly gate: Gate;
  readonly logger: Logger;
  readonly verify: boolean;
  readonly limits: DeliveryLimits;
  readonly nowMs: () => number;
  readonly router = new Router();
  readonly turns = new Turns();
  readonly tally: DeliveryTally;
  readonly found: Route[] = [];
  readonly due: Cursor[] = [];
  stamp = 0;
  pending = 0;
  readonly #lanes = new Map<number, Lane>();
  readonly #seats = new Set<Seat>();
  readonly #patrol: Patrol;
  readonly #follower: Follower | null;

  constructor({ log, gate, logger, metrics, verify, followTogether, limits, nowMs }: DeliveryOptions) {
    this.log = log;
    this.gate = gate;
    this.logger = logger;
    this.verify = verify;
    this.limits = { ...deliveryLimits(), ...limits };
    this.nowMs = nowMs ?? Date.now;
    this.#follower = followTogether === true ? new Follower(this) : null;
    this.tally = new DeliveryTally(
      metrics,
      () => this.router.size,
      async (set) => {
        for (const { partition, next, cursors } of this.#lanes.values()) {
          if (cursors.size === 0) continue;
          const extent = await log.extent(partition).catch(() => null);
          if (extent !== null) set(partition, Math.max(0, extent.next - next));
        }
      },
    );
    this.#patrol = new Patrol(gate, logger, this.turns, this.nowMs, this.limits.patrolMs);
    // One that follows all must know all before it begins.
    if (followTogether === true) for (let index = 0; index < log.partitionCount; index++) this.laneOf(index);
  }

  attach<Tag>(subscriber: Subscriber<Tag>): Attachment<Tag> {
    const seat = new Seat(this, subscriber as Subscriber);
    this.#seats.add(seat);
    return seat as Attachment as Attachment<Tag>;
  }

  async at({ partition, offset }: Position): Promise<DeliveredMessage | null> {
    if (partition >= this.log.partitionCount) return null;
    const batch = await this.log.peek(partition, offset, { bytesMax: 1 }).catch((error: unknown) => {
      if (error instanceof LogError && error.code === 'LOG_CORRUPT') return null;
      throw error;
    });
    if (batch === null || batch.first !== offset) return null;
    const walk = new RecordWalk();
    walk.begin(batch, offset);
    if (!walk.next() || walk.offset !== offset || !walk.wellFormed) return null;
    const message = new RecordMessage(partition, offset, walk.reader);
    return this.verify && !(await this.laneOf(partition).mayBeDelivered(offset, walk.reader)) ? null : message;
  }

  laneOf(partition: number): Lane {
    const known = this.#lanes.get(partition);
    if (known !== undefined) return known;
    const lane = new Lane(this, partition, this.#follower ?? new Follower(this));
    this.#lanes.set(partition, lane);
    return lane;
  }

  watch(seat: Seat): void {
    this.#patrol.watch(seat);
  }

  guard(route: Route): void {
    if (route.admission !== null) this.#patrol.add(route);
  }

  unguard(route: Route): void {
    if (route.admission !== null) this.#patrol.remove(route);
  }

  leave(seat: Seat): void {
    this.#seats.delete(seat);
    this.#patrol.forget(seat);
  }

  async drain(deadlineMs: number): Promise<void> {
    const end = performance.now() + deadlineMs;
    const used = [...this.#lanes.values()].filter(({ cursors }) => cursors.size > 0);
    const targets = new Map<Lane, number>();
    for (const lane of used) {
      const extent = await lane.extent().catch(() => null);
      if (extent !== null) targets.set(lane, extent.next);
    }
    const done = (): boolean => {
      for (const [lane, next] of targets) {
        if (lane.cursors.size > 0 && (lane.next < next || !lane.sweeper.idle)) return false;
      }
      return true;
    };
    while (!done() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  async stop(): Promise<void> {
    this.#patrol.stop();
    for (const seat of [...this.#seats]) seat.detach();
    for (const lane of this.#lanes.values()) lane.stop();
  }
}
