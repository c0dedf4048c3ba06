import type { LogBatch } from '@millrace/core';
import type { Cursor } from './cursor.ts';
import type { Crossing, Lane } from './lane.ts';
import { RecordWalk } from './records.ts';
import { pause, SLICE_MS } from './slice.ts';

// hot

/** Cursors so close to the follower need not wait for a long pass to come by. */
const NEAR_OFFSETS = 8_192;

/** Catches up all cursors of one partition that are behind, in passes from the oldest position upward: what is read
 *  once serves all of them. Between two reads the event loop turns. */
export class Sweeper {
  readonly #crossing: Crossing;
  readonly #lane: Lane;
  readonly #walk = new RecordWalk();
  readonly #ready = new Set<Cursor>();
  readonly #abort = new AbortController();
  #running = false;
  #failures = 0;
  /** Where the pass is. */
  #at = 0;
  #nearTurn = false;

  constructor(crossing: Crossing, lane: Lane) {
    this.#crossing = crossing;
    this.#lane = lane;
  }

  get idle(): boolean {
    return this.#ready.size === 0;
  }

  add(cursor: Cursor): void {
    this.#ready.add(cursor);
    if (this.#running || this.#abort.signal.aborted) return;
    this.#running = true;
    void this.#run();
  }

  remove(cursor: Cursor): void {
    this.#ready.delete(cursor);
  }

  stop(): void {
    this.#abort.abort();
  }

  async #run(): Promise<void> {
    const { log, limits, logger, turns } = this.#crossing;
    const { signal } = this.#abort;
    const { partition } = this.#lane;
    await turns.next();
    while (!signal.aborted) {
      this.#joinLevel();
      if (this.#ready.size === 0) break;
      try {
        const from = this.#choose();
        const batch = await log.peek(partition, from, { bytesMax: limits.readBytesMax });
        if (signal.aborted) break;
        if (batch === null) await this.#beyond(from);
        else await this.#serve(from, batch);
        this.#failures = 0;
      } catch (error) {
        logger.warn({ err: error, partition }, 'catching up from the log failed: it is tried again');
        await pause(Math.min(limits.retryMsMax, limits.retryMsMin * 2 ** Math.min(this.#failures++, 16)), signal);
      }
    }
    this.#running = false;
  }

  #joinLevel(): void {
    const lane = this.#lane;
    for (const cursor of this.#ready) if (cursor.offset >= lane.next) lane.join(cursor);
  }

  /** Where to read: in turn the next position of the pass, and that of those who are nearly there. */
  #choose(): number {
    let smallest = Number.POSITIVE_INFINITY;
    let ahead = Number.POSITIVE_INFINITY;
    let near = Number.POSITIVE_INFINITY;
    const nearFrom = this.#lane.next - NEAR_OFFSETS;
    for (const { offset } of this.#ready) {
      if (offset < smallest) smallest = offset;
      if (offset >= this.#at && offset < ahead) ahead = offset;
      if (offset >= nearFrom && offset < near) near = offset;
    }
    this.#nearTurn = !this.#nearTurn;
    if (this.#nearTurn && near !== Number.POSITIVE_INFINITY) return near;
    if (ahead === Number.POSITIVE_INFINITY) this.#crossing.tally.passes++;
    this.#at = ahead === Number.POSITIVE_INFINITY ? smallest : ahead;
    return this.#at;
  }

  async #serve(from: number, batch: LogBatch): Promise<void> {
    const lane = this.#lane;
    const crossing = this.#crossing;
    const { tally, turns } = crossing;
    const { signal } = this.#abort;
    tally.sweptBytes += batch.bytes.length;
    // Whatever is before the first record is gone if the log says so.
    const { earliest } = batch.first > from ? await lane.extent() : { earliest: 0 };
    await turns.next();
    if (signal.aborted) return;
    const pass = ++crossing.stamp;
    const served: Cursor[] = [];
    for (const cursor of this.#ready) {
      if (cursor.offset < from || cursor.offset > batch.last) continue;
      if (cursor.offset < Math.min(earliest, batch.first)) {
        lane.tellGap(cursor, cursor.offset, Math.min(earliest, batch.first));
        if (cursor.state !== 'ready') continue;
      }
      cursor.pass = pass;
      served.push(cursor);
    }
    const walk = this.#walk;
    walk.begin(batch);
    let sliceEndMs = performance.now() + SLICE_MS;
    while (walk.next()) {
      if (walk.wellFormed) lane.route(walk, walk.reader.channel, pass);
      if (performance.now() <= sliceEndMs) continue;
      advance(served, pass, walk.offset + 1);
      await turns.next();
      if (signal.aborted) return;
      sliceEndMs = performance.now() + SLICE_MS;
    }
    advance(served, pass, batch.last + 1);
    for (const cursor of served) {
      if (cursor.pass !== pass) continue;
      cursor.pass = 0;
      if (cursor.offset >= lane.next) lane.join(cursor);
    }
  }

  /** The log gave nothing at `from`, which is before what the follower has seen. */
  async #beyond(from: number): Promise<void> {
    const lane = this.#lane;
    const { limits } = this.#crossing;
    const { earliest, next } = await lane.extent();
    const to = Math.min(lane.next, earliest, next);
    if (to <= from) {
      // It will: a broker may be late.
      await pause(limits.retryMsMin, this.#abort.signal);
      return;
    }
    for (const cursor of this.#ready) {
      if (cursor.offset < from || cursor.offset >= to) continue;
      const { offset } = cursor;
      cursor.offset = to;
      lane.tellGap(cursor, offset, to);
    }
  }
}

function advance(served: readonly Cursor[], pass: number, offset: number): void {
  for (let index = 0; index < served.length; index++) {
    const cursor = served[index] as Cursor;
    if (cursor.pass === pass && cursor.offset < offset) cursor.offset = offset;
  }
}
