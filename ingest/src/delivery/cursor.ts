import type { Admission, DeliveryFilter, Subscription } from '@millrace/core';
import { channelHash } from './channel-index.ts';
import type { FilterEntry, FilterNode } from './filter-trie.ts';
import type { Lane } from './lane.ts';
import type { Seat } from './seat.ts';

/** Why a subscriber does not follow with the others. */
export type Wait =
  /** It took no further message. */
  | 'room'
  /** The gate has to ask somebody whether it may read the next message. */
  | 'decision'
  /** Who it is must be found out anew. */
  | 'revoked';

/** How far one subscriber has come in one partition.
 *  @shape live: it follows with all others, its position is the lane's; ready: it is behind and can be caught up;
 *         waiting: it is behind and can't; gone: detached
 *  @holds `offset` is the next record that it has not been offered; a live cursor skips what is before it */
export class Cursor {
  readonly seat: Seat;
  readonly lane: Lane;
  state: 'live' | 'ready' | 'waiting' | 'gone' = 'live';
  wait: Wait | null = null;
  offset: number;
  /** The sweep that it takes part in; 0: none. */
  pass = 0;
  /** The record that `matched` is about. */
  stamp = 0;
  readonly routes: Route[] = [];
  readonly matched: Route[] = [];
  /** What the gate said about the record at `decidedOffset`, so that a gate that forgets can't hold it for ever. */
  decidedOffset = -1;
  decided: Admission | null = null;
  failures = 0;

  constructor(seat: Seat, lane: Lane, offset: number) {
    this.seat = seat;
    this.lane = lane;
    this.offset = offset;
  }

  get position(): number {
    return this.state === 'live' ? Math.max(this.offset, this.lane.next) : this.offset;
  }
}

/** A subscription, and where it stands in the router. */
export class Route implements Subscription, FilterEntry {
  readonly filter: DeliveryFilter;
  readonly channel: string | null;
  readonly tag: unknown;
  readonly seat: Seat;
  /** For a filter of every channel: the thing's organisation; null: of a user, any. */
  readonly org: string | null;
  /** Of the channel or organisation, as the index knows it; 0: it wants what comes from any. */
  readonly hash: number;
  /** The gate's word on the filter; null where each message is judged alone. */
  admission: Admission | null;
  /** While it is judged again. */
  judging = false;
  /** Its place on the patrol's round. */
  beat = -1;
  node: FilterNode<this> | null = null;
  rest = false;
  slot = 0;
  /** Of its only partition. */
  cursor: Cursor | null = null;
  /** By partition, where it wants every channel. */
  cursors: Cursor[] | null = null;
  /** It gets nothing before this offset.  */
  start = 0;
  starts: number[] | null = null;

  constructor(seat: Seat, filter: DeliveryFilter, tag: unknown, org: string | null, admission: Admission | null) {
    this.seat = seat;
    this.filter = filter;
    this.tag = tag;
    this.org = org;
    this.admission = admission;
    this.channel = admission?.kind === 'allow' ? admission.channel.id : null;
    const id = this.channel ?? org;
    this.hash = id === null ? 0 : channelHash(id);
  }

  cursorIn(partition: number): Cursor | undefined {
    return this.cursors === null ? (this.cursor ?? undefined) : this.cursors[partition];
  }

  startIn(partition: number): number {
    return this.starts === null ? this.start : (this.starts[partition] as number);
  }

  /** It gets what is at or beyond `offset` of the cursor's partition. */
  stand(cursor: Cursor, offset: number): void {
    if (this.channel !== null) {
      this.cursor = cursor;
      this.start = offset;
    } else {
      this.cursors ??= [];
      this.starts ??= [];
      this.cursors[cursor.lane.partition] = cursor;
      this.starts[cursor.lane.partition] = offset;
    }
  }

  /** Keeps from it what it has seen already. */
  raiseStart(partition: number, offset: number): void {
    if (this.starts === null) this.start = Math.max(this.start, offset);
    else this.starts[partition] = Math.max(this.starts[partition] as number, offset);
  }
}
