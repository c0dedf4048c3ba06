import type { LogBatch } from '@millrace/core';
import { ChannelNotes } from './channel-index.ts';
import type { Cursor, Route } from './cursor.ts';
import type { Crossing, Lane } from './lane.ts';
import { RecordWalk } from './records.ts';
import { pause } from './slice.ts';

// hot

/** Cursors so close to the follower need not wait for a long pass to come by. */
const NEAR_OFFSETS = 8_192;
/** Up to so many routes are matched one by one; more through the router, with those of all other subscribers. */
const FEW_ROUTES = 64;
/** Looks into the index before the event loop turns. */
const LOOKS_PER_TURN = 20_000;

const NOTHING = { first: 0, last: -1 };

/** Catches up all cursors of one partition that are behind, in passes from the oldest position upward: what is read
 *  once serves all of them. Between two reads the event loop turns. */
export class Sweeper {
  readonly #crossing: Crossing;
  readonly #lane: Lane;
  readonly #walk = new RecordWalk();
  readonly #ready = new Set<Cursor>();
  readonly #abort = new AbortController();
  readonly #notes: ChannelNotes;
  #running = false;
  #failures = 0;
  /** Where the pass is. */
  #at = 0;
  #nearTurn = false;
  /** The step belongs to the pass. */
  #noting = false;
  /** What was read last for the pass, and for those who are nearly there: who takes little at a time costs no new read
   *  each time. Kept while anybody is behind. */
  #ofPass: LogBatch | null = null;
  #ofNear: LogBatch | null = null;
  /** Cursors that the step under way still serves. */
  #active = 0;

  constructor(crossing: Crossing, lane: Lane) {
    this.#crossing = crossing;
    this.#lane = lane;
    this.#notes = new ChannelNotes(lane.index);
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
    this.letGo(cursor);
  }

  /** The step under way goes on without it. */
  letGo(cursor: Cursor): void {
    if (cursor.pass === 0) return;
    cursor.pass = 0;
    this.#active--;
  }

  stop(): void {
    this.#abort.abort();
  }

  async #run(): Promise<void> {
    const { limits, logger, turns } = this.#crossing;
    const { signal } = this.#abort;
    const { partition } = this.#lane;
    await turns.next();
    while (!signal.aborted) {
      this.#joinLevel();
      if (this.#ready.size === 0) break;
      try {
        const from = await this.#skipBlocks(this.#choose());
        if (signal.aborted) break;
        if (from < 0) continue;
        const batch = this.#keptAt(from) ?? (await this.#read(from));
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
    this.forget();
  }

  /** Lets go of what was read, if nobody is behind. */
  forget(): void {
    if (this.#lane.cursors.size > this.#lane.live) return;
    this.#ofPass = null;
    this.#ofNear = null;
  }

  #keptAt(offset: number): LogBatch | null {
    const { first, last } = this.#ofPass ?? NOTHING;
    if (first <= offset && offset <= last) return this.#ofPass;
    const { first: nearFirst, last: nearLast } = this.#ofNear ?? NOTHING;
    return nearFirst <= offset && offset <= nearLast ? this.#ofNear : null;
  }

  async #read(from: number): Promise<LogBatch | null> {
    const { log, limits, tally } = this.#crossing;
    const batch = await log.peek(this.#lane.partition, from, { bytesMax: limits.readBytesMax });
    tally.sweptBytes += batch?.bytes.length ?? 0;
    if (this.#noting) this.#ofPass = batch;
    else this.#ofNear = batch;
    return batch;
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
    this.#noting = !this.#nearTurn || near === Number.POSITIVE_INFINITY;
    if (!this.#noting) return near;
    this.#at = ahead === Number.POSITIVE_INFINITY ? smallest : ahead;
    return this.#at;
  }

  /** Lets who reads at `from` pass by blocks that hold nothing for them.
   *  @returns where to read; −1: nobody is left there */
  async #skipBlocks(from: number): Promise<number> {
    const lane = this.#lane;
    const { tally, turns } = this.#crossing;
    let looks = 0;
    for (let at = from; at < lane.next; ) {
      const block = lane.index.blockOf(at);
      if (!lane.index.has(block)) return at;
      const end = (block + 1) * lane.index.blockOffsets;
      let anybody = false;
      for (const cursor of this.#ready) {
        if (cursor.offset < at || cursor.offset >= end) continue;
        anybody = true;
        looks += cursor.routes.length;
        if (this.#wants(cursor, block, end)) return at;
      }
      if (!anybody) return -1;
      for (const cursor of this.#ready) if (cursor.offset >= at && cursor.offset < end) cursor.offset = end;
      tally.skippedBlocks++;
      at = end;
      if (looks < LOOKS_PER_TURN) continue;
      looks = 0;
      await turns.next();
      if (this.#abort.signal.aborted) return -1;
    }
    return -1;
  }

  #wants({ routes, lane }: Cursor, block: number, end: number): boolean {
    for (let index = 0; index < routes.length; index++) {
      const route = routes[index] as Route;
      if (route.startIn(lane.partition) >= end) continue;
      if (route.hash === 0 || lane.index.mayHold(block, route.hash)) return true;
    }
    return false;
  }

  async #serve(from: number, batch: LogBatch): Promise<void> {
    const lane = this.#lane;
    const crossing = this.#crossing;
    const { turns } = crossing;
    const { signal } = this.#abort;
    // Whatever is before the first record is gone if the log says so.
    const { earliest } = batch.first > from ? await lane.extent() : { earliest: 0 };
    await turns.next();
    if (signal.aborted) return;
    const pass = ++crossing.stamp;
    const served: Cursor[] = [];
    let few: Route[] | null = [];
    this.#active = 0;
    for (const cursor of this.#ready) {
      if (cursor.offset < from || cursor.offset > batch.last) continue;
      if (cursor.offset < Math.min(earliest, batch.first)) {
        lane.tellGap(cursor, cursor.offset, Math.min(earliest, batch.first));
        if (cursor.state !== 'ready') continue;
      }
      cursor.pass = pass;
      this.#active++;
      served.push(cursor);
      if (few !== null) few = few.length + cursor.routes.length > FEW_ROUTES ? null : few.concat(cursor.routes);
    }
    if (await this.#walkThrough(batch, from, pass, served, few)) {
      advance(served, pass, batch.last + 1);
      for (const cursor of served) {
        if (cursor.pass !== pass) continue;
        cursor.pass = 0;
        if (cursor.offset >= lane.next) lane.join(cursor);
      }
    }
  }

  /** @returns false if nobody was left to go through it for */
  async #walkThrough(
    batch: LogBatch,
    from: number,
    pass: number,
    served: readonly Cursor[],
    few: readonly Route[] | null,
  ): Promise<boolean> {
    const lane = this.#lane;
    const { turns, limits } = this.#crossing;
    const walk = this.#walk;
    const notes = this.#notes;
    walk.begin(batch, from);
    const noting = this.#noting;
    if (noting) notes.begin(from);
    let sliceEndMs = performance.now() + limits.sliceMs;
    while (walk.next()) {
      if (walk.wellFormed) {
        const { channel } = walk.reader;
        if (noting) notes.note(walk.offset, channel, walk.reader);
        lane.route(walk, channel, pass, few);
      }
      if (this.#active === 0) {
        if (noting) notes.breakOff();
        return false;
      }
      if (performance.now() <= sliceEndMs) continue;
      advance(served, pass, walk.offset + 1);
      await turns.next();
      if (this.#abort.signal.aborted) return false;
      sliceEndMs = performance.now() + limits.sliceMs;
    }
    if (noting) notes.end(batch.last + 1);
    return true;
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
