import type {
  Admission,
  DeliveredMessage,
  EnvelopeReader,
  Gate,
  Log,
  Logger,
  Principal,
  SealedFields,
} from '@millrace/core';
import { ChannelIndex, ChannelNotes } from './channel-index.ts';
import type { DeliveryLimits } from './config.ts';
import type { Cursor, Route, Wait } from './cursor.ts';
import { filterMatches } from './filter-trie.ts';
import type { Follower } from './follower.ts';
import { RecordMessage, type RecordWalk } from './records.ts';
import type { Router } from './router.ts';
import { Sweeper } from './sweeper.ts';
import type { DeliveryTally } from './tally.ts';
import { ThirdParties } from './third-parties.ts';
import type { Turns } from './turns.ts';

// hot

/** What all lanes share. */
export interface Crossing {
  readonly log: Log;
  readonly gate: Gate;
  readonly router: Router;
  readonly tally: DeliveryTally;
  readonly turns: Turns;
  readonly limits: DeliveryLimits;
  readonly logger: Logger;
  readonly verify: boolean;
  nowMs(): number;
  /** Of the last record, or sweep, that was begun. */
  stamp: number;
  readonly found: Route[];
  readonly due: Cursor[];
}

/** The road from one partition to its subscribers: one follower for all that are live, one sweeper for all that are
 *  behind.
 *  @holds every record below `next` was offered to each live cursor that wants it, or the cursor is not live any more;
 *         `next` moves in the same turn as the offers, so no cursor changes over with a gap or a repetition */
export class Lane {
  readonly partition: number;
  readonly cursors = new Set<Cursor>();
  readonly follower: Follower;
  readonly sweeper: Sweeper;
  readonly index: ChannelIndex;
  /** What the follower tells the index. */
  readonly notes: ChannelNotes;
  /** How many cursors are live. */
  live = 0;
  /** The next record of the follower; −1 while it does not run, or nothing has come yet and nobody needs it. */
  next = -1;
  readonly #crossing: Crossing;
  readonly #thirdParties: ThirdParties;
  #asking: Promise<{ readonly earliest: number; readonly next: number }> | null = null;

  constructor(crossing: Crossing, partition: number, follower: Follower) {
    this.#crossing = crossing;
    this.#thirdParties = new ThirdParties(crossing.gate, () => crossing.nowMs());
    this.follower = follower;
    this.partition = partition;
    const { indexBytesMax, indexBlockOffsets } = crossing.limits;
    this.index = new ChannelIndex(indexBytesMax / crossing.log.partitionCount, indexBlockOffsets);
    this.notes = new ChannelNotes(this.index);
    this.sweeper = new Sweeper(crossing, this);
    follower.serve(this);
  }

  /** The log's extent, asked once for all who want it in this turn. */
  extent(): Promise<{ readonly earliest: number; readonly next: number }> {
    if (this.#asking === null) {
      const { log } = this.#crossing;
      this.#asking = new Promise((resolve, reject) => {
        setImmediate(() => {
          this.#asking = null;
          log.extent(this.partition).then(resolve, reject);
        });
      });
    }
    return this.#asking;
  }

  /** @param tail the log's next offset, in case nobody follows it yet */
  add(cursor: Cursor, tail: number): void {
    const { tally } = this.#crossing;
    this.cursors.add(cursor);
    if (this.next < 0) this.next = tail;
    this.follower.need();
    this.live++;
    tally.live++;
    if (cursor.offset < this.next) this.#leave(cursor, cursor.offset, null);
  }

  remove(cursor: Cursor): void {
    if (!this.cursors.delete(cursor)) return;
    const { tally } = this.#crossing;
    if (cursor.state === 'live') {
      this.live--;
      tally.live--;
    } else tally.behind--;
    if (cursor.state === 'ready') this.sweeper.remove(cursor);
    cursor.state = 'gone';
    cursor.wait = null;
    if (this.cursors.size > 0) return;
    this.sweeper.forget();
    this.follower.rest();
  }

  /** The cursor goes on at an earlier offset. */
  moveBack(cursor: Cursor, offset: number): void {
    if (cursor.state === 'live') this.#leave(cursor, offset, null);
    else {
      this.sweeper.letGo(cursor);
      cursor.offset = offset;
    }
  }

  /** A waiting cursor can go on. */
  ready(cursor: Cursor): void {
    if (cursor.state !== 'waiting') return;
    cursor.state = 'ready';
    cursor.wait = null;
    this.sweeper.add(cursor);
  }

  /** A cursor that was behind has come as far as the follower. */
  join(cursor: Cursor): void {
    this.sweeper.remove(cursor);
    cursor.state = 'live';
    this.live++;
    this.#crossing.tally.behind--;
    this.#crossing.tally.live++;
  }

  /** Offers a record to the cursors that want it.
   *  @param pass of the sweep; 0: to those that are live
   *  @param few all routes of those that are swept, when they are so few that the router would only cost time */
  route(walk: RecordWalk, channel: string, pass: number, few: readonly Route[] | null): DeliveredMessage | null {
    const crossing = this.#crossing;
    const { found, due, router } = crossing;
    const { reader, offset } = walk;
    const { partition } = this;
    found.length = 0;
    if (few === null) router.match(channel, reader, found);
    else matchFew(few, channel, reader, found);
    if (found.length === 0) return null;
    due.length = 0;
    const stamp = ++crossing.stamp;
    for (let index = 0; index < found.length; index++) {
      const route = found[index] as Route;
      const cursor = route.cursorIn(partition);
      if (cursor === undefined || (pass === 0 ? cursor.state !== 'live' : cursor.pass !== pass)) continue;
      if (cursor.offset > offset || route.startIn(partition) > offset) continue;
      if (cursor.stamp !== stamp) {
        cursor.stamp = stamp;
        cursor.matched.length = 0;
        due.push(cursor);
      }
      cursor.matched.push(route);
    }
    if (due.length === 0) return null;
    if (crossing.verify && !this.admitted(reader)) {
      const judged = this.#thirdParties.judge(offset, reader);
      if (judged === false) {
        crossing.tally.unadmitted++;
        return null;
      }
      if (judged !== true) {
        this.#awaitVerdict([...due], offset, judged);
        return null;
      }
    }
    return this.#offerAll(due, walk, channel);
  }

  #offerAll(due: readonly Cursor[], walk: RecordWalk, channel: string): DeliveredMessage | null {
    const { gate, tally } = this.#crossing;
    const { reader, offset } = walk;
    const { subtopic } = reader;
    let message: DeliveredMessage | null = null;
    for (let index = 0; index < due.length; index++) {
      const cursor = due[index] as Cursor;
      // Detached by whom was offered before.
      if (cursor.state === 'gone') continue;
      const { seat } = cursor;
      try {
        const { subscriber } = seat;
        const principal: Principal = subscriber.principal;
        if (principal.revoked) {
          this.#leave(cursor, offset, 'revoked');
          seat.watch();
          continue;
        }
        const answer =
          decidedOn(cursor, offset) ?? gate.may(principal, 'subscribe', channel, subtopic, subscriber.context);
        if (answer instanceof Promise) {
          this.#leave(cursor, offset, 'decision');
          this.#await(cursor, offset, answer);
          continue;
        }
        if (answer.kind === 'deny') {
          tally.denied++;
          cursor.offset = offset + 1;
          // What waits behind it is for later: who may go on then must know from where.
          if (answer.reason === 'channel_disabled') endAt(cursor, offset);
          continue;
        }
        message ??= new RecordMessage(this.partition, offset, reader);
        cursor.offset = offset;
        const { resumes } = seat;
        if (subscriber.offer(message, cursor.matched)) {
          cursor.offset = offset + 1;
          tally.delivered++;
        } else {
          this.#leave(cursor, offset, 'room');
          if (seat.resumes !== resumes) this.ready(cursor);
        }
      } catch (error) {
        // A subscriber must not throw: it alone pays for it.
        seat.fault(error);
      }
    }
    return message;
  }

  /** Tells a subscriber what it missed for good, and goes on behind it.
   *  @holds who began later than `to` misses nothing */
  tellGap(cursor: Cursor, from: number, to: number): void {
    const { partition } = this;
    cursor.offset = Math.max(cursor.offset, to);
    if (!cursor.routes.some((route) => route.startIn(partition) < to)) return;
    this.#crossing.tally.gaps++;
    try {
      cursor.seat.subscriber.gap({ partition, offset: from }, { partition, offset: to });
    } catch (error) {
      cursor.seat.fault(error);
    }
  }

  stop(): void {
    this.follower.stop();
    this.sweeper.stop();
  }

  /** From live or a sweep to behind. */
  #leave(cursor: Cursor, offset: number, wait: Wait | null): void {
    // Detached in its own offer.
    if (cursor.state === 'gone') return;
    const { tally } = this.#crossing;
    if (cursor.state === 'live') {
      this.live--;
      tally.live--;
      tally.behind++;
    } else if (cursor.state === 'ready') this.sweeper.remove(cursor);
    cursor.offset = offset;
    cursor.state = 'waiting';
    cursor.wait = wait;
    if (wait === null) this.ready(cursor);
    else tally.fellBehind[wait]++;
  }

  /** All who want a record that bears no admission wait until it is judged. */
  #awaitVerdict(due: readonly Cursor[], offset: number, judged: Promise<boolean>): void {
    for (const cursor of due) this.#leave(cursor, offset, 'decision');
    const goOn = (): void => {
      for (const cursor of due) if (cursor.wait === 'decision' && cursor.offset === offset) this.ready(cursor);
    };
    judged.then(goOn, (error: unknown) => {
      const { limits, logger } = this.#crossing;
      logger.debug({ err: error, partition: this.partition }, 'a message of others could not be judged yet');
      setTimeout(goOn, limits.retryMsMax).unref();
    });
  }

  /** Whether a record may be delivered at all: it bears our admission, or its publisher has the right. */
  mayBeDelivered(offset: number, reader: EnvelopeReader): boolean | Promise<boolean> {
    return this.admitted(reader) || this.#thirdParties.judge(offset, reader);
  }

  #await(cursor: Cursor, offset: number, answer: Promise<Admission>): void {
    answer.then(
      (admission) => {
        cursor.failures = 0;
        cursor.decidedOffset = offset;
        cursor.decided = admission;
        if (cursor.wait === 'decision') this.ready(cursor);
      },
      (error: unknown) => {
        const { limits, logger } = this.#crossing;
        const pauseMs = Math.min(limits.retryMsMax, limits.retryMsMin * 2 ** Math.min(cursor.failures++, 16));
        logger.debug({ err: error, partition: this.partition }, 'a decision on delivery could not be made yet');
        setTimeout(() => {
          if (cursor.wait === 'decision') this.ready(cursor);
        }, pauseMs).unref();
      },
    );
  }

  /** Whether its admission is genuine. */
  admitted(reader: EnvelopeReader): boolean {
    const { mac } = reader;
    if (mac === null) return false;
    const { id, org, channel, subtopic, publisher, receivedUs, payload } = reader;
    const version = reader.admissionVersion;
    const fields: SealedFields = { id, org, channel, subtopic, publisher, version, receivedUs, payload };
    return this.#crossing.gate.sealer.verify(fields, mac);
  }
}

/** Ends the subscriptions to the channel of a record that may not be read now. Those to every channel go on without. */
function endAt({ seat, matched }: Cursor, offset: number): void {
  for (const route of [...matched]) if (route.channel !== null) seat.end(route, 'channel_disabled', offset);
}

function matchFew(routes: readonly Route[], channel: string, reader: EnvelopeReader, out: Route[]): void {
  for (let index = 0; index < routes.length; index++) {
    const route = routes[index] as Route;
    // Unsubscribed since.
    if (route.node === null) continue;
    if (route.channel === null ? route.org !== null && route.org !== reader.org : route.channel !== channel) continue;
    if (filterMatches(route.filter.subtopic, reader.subtopic)) out.push(route);
  }
}

function decidedOn(cursor: Cursor, offset: number): Admission | null {
  if (cursor.decidedOffset !== offset) return null;
  const { decided } = cursor;
  return decided?.kind === 'allow' && !decided.valid ? null : decided;
}
