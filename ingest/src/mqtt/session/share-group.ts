import type {
  Attachment,
  DeliveredMessage,
  Delivery,
  Gate,
  Logger,
  Position,
  Principal,
  RequestContext,
  ShareGroupStore,
  Subscriber,
  Subscription,
  SubscriptionEnd,
} from '@millrace/core';
import type { ChannelFilter } from '../topic.ts';
import type { SessionFilter } from './filter.ts';
import type { InFlightEntry } from './in-flight.ts';
import { untilDone } from './retry.ts';
import type { ClientSession } from './session.ts';
import { type ShareGroupPlace, ShareParts } from './share-parts.ts';
import { type ReportedGroup, ShareRounds } from './share-rounds.ts';

/** Positions of groups that have no member just now, at most. */
const REMEMBERED_MAX = 10_000;
/** Messages of members that have left, waiting for another. */
const RETURNED_MAX = 10_000;

interface Place {
  readonly session: ClientSession;
  readonly filter: SessionFilter;
}

/** A message that a member had not acknowledged when it left. Until another has it, it stays in flight there. */
interface Returned {
  readonly from: ClientSession;
  readonly entry: InFlightEntry;
}

const NOWHERE: ShareGroupPlace = { positions: [], unacknowledged: new Map() };

interface Shared {
  readonly delivery: Delivery;
  readonly gate: Gate;
  readonly logger: Logger;
}

/** The groups of `$share/<group>/<filter>` on this node: of one organisation (or one user) each, so tenants never meet.
 *  A group that other nodes have members of as well is shared with them, by partitions of the log. */
export class ShareGroups {
  readonly #shared: Shared;
  readonly #groups = new Map<string, ShareGroup>();
  /** Where groups stood when their last member, who will come back, had left. */
  readonly #remembered = new Map<string, readonly Position[]>();

  /** null: there are no other nodes. */
  readonly #rounds: ShareRounds | null;

  constructor(shared: Shared, store: ShareGroupStore | undefined) {
    this.#shared = shared;
    this.#rounds = store === undefined ? null : new ShareRounds(store, shared.logger);
  }

  async flush(deadlineMs: number): Promise<void> {
    await this.#rounds?.flush(deadlineMs);
  }

  stop(): void {
    this.#rounds?.stop();
  }

  /** @param from where the member's session knows that the group stood
   *  @returns null when the member may not read what the filter names */
  async join(
    session: ClientSession,
    filter: SessionFilter,
    parsed: ChannelFilter,
    from: 'tail' | readonly Position[],
  ): Promise<ShareGroup | null> {
    const { subject } = session.principal;
    const key = `${subject.kind === 'thing' ? subject.org : subject.id}\0${filter.topic}`;
    for (;;) {
      const group = this.#groups.get(key);
      if (group === undefined) {
        const remembered = this.#remembered.get(key);
        this.#remembered.delete(key);
        const made = new ShareGroup(this.#shared, parsed, new ShareParts(this.#rounds !== null), (positions, place) => {
          if (this.#groups.get(key) === made) this.#groups.delete(key);
          if (positions.length > 0) this.#remember(key, positions);
          this.#rounds?.leave(key, made, positions.length > 0, place);
        });
        this.#groups.set(key, made);
        const known = remembered ?? from;
        if (!(await made.start({ session, filter }, known.length === 0 ? 'tail' : known))) return null;
        if (!made.over) await this.#rounds?.enter(key, made);
        return made;
      }
      if (!(await group.started)) continue;
      if (await group.admit({ session, filter })) return group;
      if (!group.over) return null;
    }
  }

  #remember(key: string, positions: readonly Position[]): void {
    this.#remembered.set(key, positions);
    if (this.#remembered.size <= REMEMBERED_MAX) return;
    for (const oldest of this.#remembered.keys()) {
      this.#remembered.delete(oldest);
      break;
    }
  }
}

/** One group: a cursor of its own, and each message for one member, in turn among those who have room and may read it.
 *  @holds the delivery judges for the member that has been in it longest, the group for the one who gets the message:
 *         what the first may not read, no member gets */
export class ShareGroup implements Subscriber<null>, ReportedGroup {
  started: Promise<boolean> = Promise.resolve(false);
  over = false;
  readonly parts: ShareParts;
  readonly #shared: Shared;
  readonly #parsed: ChannelFilter;
  readonly #onOver: (positions: readonly Position[], place: ShareGroupPlace) => void;
  readonly #places: Place[] = [];
  readonly #attachment: Attachment<null>;
  #lead: ClientSession | null = null;
  #turn = 0;
  #refused = false;
  #returned: Returned[] = [];
  #giving = false;
  #room: (() => void) | null = null;

  /** @param onOver with where it stood for members that come back, and for other nodes */
  constructor(
    shared: Shared,
    parsed: ChannelFilter,
    parts: ShareParts,
    onOver: (positions: readonly Position[], place: ShareGroupPlace) => void,
  ) {
    this.#shared = shared;
    this.#parsed = parsed;
    this.parts = parts;
    this.#onOver = onOver;
    this.#attachment = shared.delivery.attach<null>(this);
  }

  get principal(): Principal {
    return (this.#lead as ClientSession).principal;
  }

  get context(): RequestContext {
    return (this.#lead as ClientSession).context;
  }

  /** The first member comes. @throws as Attachment.subscribe; then the group is over */
  start(place: Place, from: 'tail' | readonly Position[]): Promise<boolean> {
    this.#lead = place.session;
    const start = this.#attachment.subscribe(this.#parsed.filter, null, from).then((subscribed) => {
      if (subscribed.kind === 'denied') place.session.subscriptions.refused(place.filter, subscribed.reason);
      if (subscribed.kind !== 'subscribed') return false;
      this.parts.start(subscribed.from);
      this.#places.push(place);
      return true;
    });
    this.started = start.catch(() => false);
    return start.then(
      (done) => {
        if (!done) this.#end([]);
        return done;
      },
      (error: unknown) => {
        this.#end([]);
        throw error;
      },
    );
  }

  /** A further member comes. */
  async admit(place: Place): Promise<boolean> {
    const { channel, subtopic } = this.#parsed.filter;
    const { principal, context } = place.session;
    if (channel !== null) {
      const admission = await this.#shared.gate.may(principal, 'subscribe', channel, subtopic, context);
      if (admission.kind === 'deny') place.session.subscriptions.refused(place.filter, admission.reason);
      if (admission.kind === 'deny' || this.over) return false;
    } else if (this.over) return false;
    this.#places.push(place);
    return true;
  }

  positions(): readonly Position[] {
    return this.over ? [] : this.#attachment.positions();
  }

  get members(): number {
    return this.#places.length;
  }

  place(): ShareGroupPlace {
    const unacknowledged = new Map<number, number>();
    const note = ({ partition, offset }: Position): void => {
      unacknowledged.set(partition, Math.min(offset, unacknowledged.get(partition) ?? offset));
    };
    for (const { session } of this.#places) for (const entry of this.#takeable(session)) note(entry);
    for (const { entry } of this.#returned) note(entry);
    return { positions: this.over ? [] : this.#attachment.positions(), unacknowledged };
  }

  moveBack(positions: readonly Position[]): void {
    if (positions.length > 0) this.#attachment.moveBack(positions);
  }

  offer(message: DeliveredMessage, _matched: readonly Subscription<null>[]): boolean {
    return !this.parts.reads(message) || this.#give(message);
  }

  gap(): void {}

  /** The member that the group was judged for may not read it any more: the next is judged. */
  ended(_subscription: Subscription<null>, _reason: SubscriptionEnd, at: readonly Position[]): void {
    const lead = this.#places[0];
    const positions = at.length > 0 ? at : this.#attachment.positions();
    if (lead === undefined) return;
    lead.session.subscriptions.ended(lead.filter);
    if (!this.over) void this.#restart(positions);
  }

  /** @param handOver what the member has in flight stays with it */
  leave(session: ClientSession, handOver: boolean): void {
    const index = this.#places.findIndex((place) => place.session === session);
    if (index < 0 || this.over) return;
    if (this.#places.length === 1) {
      const { persistent } = session.record;
      const { positions, unacknowledged } = this.place();
      this.#places.length = 0;
      // What a member takes with it, to come back to it, is not for others.
      const stays = handOver || persistent;
      this.#end(persistent ? positions : [], { positions, unacknowledged: stays ? new Map() : unacknowledged });
      return;
    }
    const [left] = this.#places.splice(index, 1);
    const next = this.#places[0] as Place;
    this.#lead = next.session;
    if (left !== undefined && !handOver) this.#takeBack(session);
    this.#attachment.resume();
  }

  roomMade(): void {
    this.#room?.();
    if (!this.#refused) return;
    this.#refused = false;
    this.#attachment.resume();
  }

  /** @returns false if no member has room now */
  #give(message: DeliveredMessage): boolean {
    const places = this.#places;
    let waiting = false;
    for (let tried = 0; tried < places.length; tried++) {
      const index = (this.#turn + tried) % places.length;
      const { session, filter } = places[index] as Place;
      if (!filter.open || session.resuming) {
        waiting = true;
        continue;
      }
      if (!filter.accepts(message)) return true;
      const { gate } = this.#shared;
      const admission = gate.may(session.principal, 'subscribe', message.channel, message.subtopic, session.context);
      if (admission instanceof Promise) {
        waiting = true;
        const again = (): void => this.roomMade();
        admission.then(again, () => setTimeout(again, 100).unref());
      } else if (admission.kind === 'allow') {
        if (session.send(message, filter, false, this)) {
          this.#turn = (index + 1) % places.length;
          return true;
        }
        waiting = true;
      }
    }
    this.#refused ||= waiting;
    return !waiting;
  }

  /** What a member that has left did not acknowledge goes to others. What may have reached it at QoS 2 does not, if it
   *  will come back. */
  #takeBack(session: ClientSession): void {
    for (const entry of this.#takeable(session)) {
      if (this.#returned.length >= RETURNED_MAX) return;
      this.#returned.push({ from: session, entry });
    }
    if (this.#returned.length === 0 || this.#giving) return;
    this.#giving = true;
    this.#giveReturned()
      .catch((error: unknown) => this.#shared.logger.error({ err: error }, 'mqtt: a share group could not redeliver'))
      .finally(() => {
        this.#giving = false;
      });
  }

  /** What others get if it leaves. */
  #takeable({ record }: ClientSession): InFlightEntry[] {
    const { inFlight, persistent } = record;
    return inFlight
      .entries()
      .filter((entry) => entry.origin === this && !entry.released && !(entry.qos === 2 && persistent));
  }

  async #giveReturned(): Promise<void> {
    const over = (): boolean => this.over;
    for (let returned = this.#returned.shift(); returned !== undefined; returned = this.#returned.shift()) {
      const { entry, from } = returned;
      const { record, node } = from;
      const found = await untilDone(over, () => this.#shared.delivery.at(entry));
      if (found === null) return;
      // Its client has come back meanwhile, and gets it itself.
      const isBack = (): boolean => record.holder !== null;
      while (!this.over && !isBack() && found.value !== null && !this.#give(found.value)) {
        await new Promise<void>((resolve) => {
          this.#room = resolve;
        });
        this.#room = null;
      }
      if (this.over) return;
      if (isBack()) continue;
      record.inFlight.drop(entry);
      node.amend(record);
    }
  }

  async #restart(positions: readonly Position[]): Promise<void> {
    while (!this.over) {
      const lead = this.#places[0];
      if (lead === undefined) return;
      const subscribed = await untilDone(
        () => this.over,
        () => this.#attachment.subscribe(this.#parsed.filter, null, positions),
      ).catch((error: unknown) => {
        this.#shared.logger.error({ err: error }, 'mqtt: a share group could not go on');
        return null;
      });
      if (subscribed === null || subscribed.value.kind === 'subscribed') return;
      lead.session.subscriptions.ended(lead.filter);
    }
  }

  #end(positions: readonly Position[], place: ShareGroupPlace = NOWHERE): void {
    if (this.over) return;
    this.over = true;
    this.#attachment.detach();
    this.#onOver(positions, place);
    this.#room?.();
  }
}
