import type { LogBatch } from '@millrace/core';
import { ChannelNotes } from './channel-index.ts';
import type { Crossing, Lane } from './lane.ts';
import { RecordWalk } from './records.ts';
import { nextTurn, pause } from './slice.ts';

// hot

/** Follows one partition from where its lane begins, for all live cursors of it.
 *  @holds faults of the log cost time, never a record: it goes on at `lane.next` */
export class Follower {
  readonly #crossing: Crossing;
  readonly #lane: Lane;
  readonly #walk = new RecordWalk();
  readonly #notes: ChannelNotes;
  #abort: AbortController | null = null;
  #linger: NodeJS.Timeout | undefined;
  #failures = 0;

  constructor(crossing: Crossing, lane: Lane) {
    this.#crossing = crossing;
    this.#lane = lane;
    this.#notes = new ChannelNotes(lane.index);
  }

  /** Somebody needs the partition. */
  need(): void {
    clearTimeout(this.#linger);
    if (this.#abort !== null) return;
    this.#abort = new AbortController();
    void this.#run(this.#abort.signal);
  }

  /** Nobody needs it any more. */
  rest(): void {
    clearTimeout(this.#linger);
    this.#linger = setTimeout(() => this.stop(), this.#crossing.limits.lingerMs);
    this.#linger.unref();
  }

  stop(): void {
    clearTimeout(this.#linger);
    this.#abort?.abort();
    this.#abort = null;
    this.#lane.next = -1;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { log, limits, logger } = this.#crossing;
    const { partition } = this.#lane;
    while (!signal.aborted) {
      try {
        const from = new Map([[partition, this.#lane.next]]);
        for await (const batch of log.follow([partition], from, { bytesMax: limits.readBytesMax, signal })) {
          if (signal.aborted) return;
          this.#failures = 0;
          await this.#take(batch, signal);
          if (signal.aborted) return;
        }
      } catch (error) {
        if (!signal.aborted) logger.warn({ err: error, partition }, 'following the log failed: it is tried again');
      }
      if (signal.aborted) return;
      await pause(Math.min(limits.retryMsMax, limits.retryMsMin * 2 ** Math.min(this.#failures++, 16)), signal);
    }
  }

  async #take(batch: LogBatch, signal: AbortSignal): Promise<void> {
    const lane = this.#lane;
    const { tally, limits } = this.#crossing;
    if (batch.first > lane.next) {
      await this.#skip(batch.first, signal);
      if (signal.aborted) return;
    }
    const walk = this.#walk;
    const notes = this.#notes;
    walk.begin(batch);
    notes.begin(lane.next);
    let sliceEndMs = performance.now() + limits.sliceMs;
    let receivedUs = 0;
    while (walk.next()) {
      const { offset } = walk;
      if (offset < lane.next) continue;
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

  /** The log has nothing between `lane.next` and `first`: it was removed, or never was. */
  async #skip(first: number, signal: AbortSignal): Promise<void> {
    const lane = this.#lane;
    const { earliest } = await lane.extent();
    if (signal.aborted) return;
    const to = Math.min(first, earliest);
    for (const cursor of lane.cursors) {
      if (cursor.state === 'live' && cursor.position < to) lane.tellGap(cursor, cursor.position, to);
    }
    lane.next = Math.max(lane.next, first);
  }
}
