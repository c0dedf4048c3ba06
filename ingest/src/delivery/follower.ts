import { setMaxListeners } from 'node:events';
import type { LogBatch } from '@millrace/core';
import type { Crossing, Lane } from './lane.ts';
import { RecordWalk } from './records.ts';
import { nextTurn, pause } from './slice.ts';

// hot

/** Follows the partitions of its lanes, for all live cursors of them: one lane, or all where following costs the log a
 *  consumer of its own.
 *  @holds faults of the log cost time, never a record: it goes on at `lane.next` */
export class Follower {
  readonly #crossing: Crossing;
  readonly #lanes: Lane[] = [];
  readonly #walk = new RecordWalk();
  #abort: AbortController | null = null;
  #linger: NodeJS.Timeout | undefined;
  #failures = 0;

  constructor(crossing: Crossing) {
    this.#crossing = crossing;
  }

  serve(lane: Lane): void {
    this.#lanes.push(lane);
  }

  /** Somebody needs one of its lanes, of which `next` is set. */
  need(): void {
    clearTimeout(this.#linger);
    if (this.#abort !== null) return;
    this.#abort = new AbortController();
    // A log may listen for each partition.
    setMaxListeners(0, this.#abort.signal);
    void this.#run(this.#abort.signal);
  }

  /** Somebody has left: it ends when nobody needs any of its lanes for some time. */
  rest(): void {
    if (this.#lanes.some(({ cursors }) => cursors.size > 0)) return;
    clearTimeout(this.#linger);
    this.#linger = setTimeout(() => this.stop(), this.#crossing.limits.lingerMs);
    this.#linger.unref();
  }

  stop(): void {
    clearTimeout(this.#linger);
    this.#abort?.abort();
    this.#abort = null;
    for (const lane of this.#lanes) lane.next = -1;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { log, limits, logger } = this.#crossing;
    const partitions = this.#lanes.map(({ partition }) => partition);
    while (!signal.aborted) {
      try {
        // Also of lanes that nobody needs yet: who comes while following begins must not fall into a hole.
        await Promise.all(this.#lanes.map((lane) => this.#place(lane, signal)));
        if (signal.aborted) return;
        const from = new Map(this.#lanes.map(({ partition, next }) => [partition, next]));
        for await (const batch of log.follow(partitions, from, { bytesMax: limits.readBytesMax, signal })) {
          if (signal.aborted) return;
          this.#failures = 0;
          const lane = this.#lanes.find(({ partition }) => partition === batch.partition);
          if (lane !== undefined) await this.#take(lane, batch, signal);
          if (signal.aborted) return;
        }
      } catch (error) {
        if (!signal.aborted) logger.warn({ err: error, partitions }, 'following the log failed: it is tried again');
      }
      if (signal.aborted) return;
      await pause(Math.min(limits.retryMsMax, limits.retryMsMin * 2 ** Math.min(this.#failures++, 16)), signal);
    }
  }

  async #place(lane: Lane, signal: AbortSignal): Promise<void> {
    if (lane.next >= 0) return;
    const { next } = await lane.extent();
    if (lane.next < 0 && !signal.aborted) lane.next = next;
  }

  async #take(lane: Lane, batch: LogBatch, signal: AbortSignal): Promise<void> {
    if (lane.cursors.size === 0) {
      lane.next = Math.max(lane.next, batch.last + 1);
      return;
    }
    const { tally, limits } = this.#crossing;
    if (batch.first > lane.next) {
      await this.#skip(lane, batch.first, signal);
      if (signal.aborted) return;
    }
    const walk = this.#walk;
    const { notes } = lane;
    walk.begin(batch, lane.next);
    notes.begin(lane.next);
    let sliceEndMs = performance.now() + limits.sliceMs;
    let receivedUs = 0;
    while (walk.next()) {
      const { offset } = walk;
      if (walk.wellFormed) {
        const { channel } = walk.reader;
        notes.note(offset, channel, walk.reader);
        if (lane.live > 0) {
          const message = lane.route(walk, channel, 0, null);
          if (message !== null) receivedUs = message.receivedUs;
        }
      } else tally.malformed++;
      lane.next = offset + 1;
      if (performance.now() > sliceEndMs) {
        await nextTurn();
        if (signal.aborted) return;
        sliceEndMs = performance.now() + limits.sliceMs;
      }
    }
    lane.next = Math.max(lane.next, batch.last + 1);
    notes.end(lane.next);
    if (receivedUs > 0) tally.lag(this.#crossing.nowMs() / 1_000 - receivedUs / 1_000_000);
  }

  /** Nothing came between `lane.next` and `first`. What was removed from the log is gone; what may be there still is
   *  swept. */
  async #skip(lane: Lane, first: number, signal: AbortSignal): Promise<void> {
    const { earliest } = await lane.extent();
    if (signal.aborted) return;
    const to = Math.min(first, earliest);
    for (const cursor of lane.cursors) {
      if (cursor.state !== 'live') continue;
      if (cursor.position < to) lane.tellGap(cursor, cursor.position, to);
      if (cursor.position < first) lane.moveBack(cursor, cursor.position);
    }
    lane.next = first;
  }
}
