// hot
import { fdatasync, fdatasyncSync } from 'node:fs';
import type { LogError, Logger } from '@millrace/core';
import type { SegmentFiles } from './files.ts';
import { frameBytes, KIND } from './frame.ts';
import { Round, writeThrough } from './round.ts';
import { SEGMENT_HEADER_BYTES, type Segment } from './segment.ts';
import { Spare } from './spare.ts';
import { encode, type Head, type Summary, summaryOf } from './state.ts';

export const STATE_FRAME = { topic: 0, partition: 0, first: 0, count: 0 } as const;
const SYNC_EVERY_MS = 500;
const STOP_MS_MAX = 10_000;
const STATE_BYTES_KEPT = 512 * 1024;

export interface JournalOptions {
  readonly files: SegmentFiles;
  readonly logger: Logger;
  /** Of an ordinary segment. */
  readonly segmentBytes: number;
  readonly roundsInFlightMax: number;
  readonly overlapAfterMs: number;
  /** The small state, without the segment before. */
  readonly head: () => Omit<Head, 'previous'>;
  /** A round is durable; called in order. */
  readonly settled: (round: Round) => void;
  /** These and nothing of them count; called once no write is under way any more. */
  readonly failed: (rounds: readonly Round[], fault: LogError) => void;
  /** A segment is full, and the next one open. */
  readonly rolled: (full: Segment) => void;
  /** A round may begin that could not before. */
  readonly ready: () => void;
}

/** What was found at the start. */
export interface Found {
  readonly segments: Segment[];
  readonly spare: Segment | null;
  /** The highest that left a trace. */
  readonly round: number;
  /** The last one that is there whole. */
  readonly settled: number;
}

/** The writing end: rounds go to the open segment, some at the same time, and count strictly in order.
 *  @holds a new segment begins only when no write is under way, and its head is written alone: so a good head says that
 *         all before it is durable
 *  @holds after a failed write the next round begins where that one did. Rounds rise, so nothing that a failed one left
 *         behind is ever taken for a successor */
export class Journal {
  /** Oldest first; the last one is written. */
  readonly segments: Segment[];
  readonly #options: JournalOptions;
  #position: number;
  #round: number;
  /** The last round that is known to be durable. */
  #settledRound: number;
  #inFlight: Round[] = [];
  #failing = false;
  /** Nothing was written since the start: what a torn round of an earlier life left must be overwritten first. */
  #alone = true;
  /** The last round that counts; durable too, unless rounds do not wait for the disk. */
  #acknowledged: number;
  #head: Buffer | null = null;
  readonly #spare: Spare;
  #previousMirror: Buffer | null = null;
  #timer: NodeJS.Timeout | undefined;
  #overlap: NodeJS.Timeout | null = null;
  #syncing: Promise<void> | null = null;
  #stopped = false;

  /** @holds the last segment found has its mirror */
  constructor(found: Found, options: JournalOptions) {
    this.#options = options;
    this.segments = found.segments;
    this.#spare = new Spare(found.spare, options.files, options.logger, options.ready);
    this.#round = found.round;
    this.#settledRound = found.settled;
    this.#acknowledged = found.settled;
    this.#position = this.open.end;
    this.open.close();
    this.open.file(options.files.flags);
    this.open.writing = true;
    // What a killed process wrote last was found, but may not be on the disk.
    fdatasyncSync(this.open.file());
    if (options.files.durability === 'commit')
      this.#timer = setInterval(() => void this.#sync(), SYNC_EVERY_MS).unref();
    this.prepare();
  }

  get open(): Segment {
    return this.segments[this.segments.length - 1] as Segment;
  }

  get inFlight(): number {
    return this.#inFlight.length;
  }

  get spareReady(): boolean {
    return this.#spare.ready !== null;
  }

  /** Whether a round may begin now; if not, `ready` will tell. Beside one that is under way another begins only once
   *  that takes its time: where the disk is quick, more and smaller rounds cost more than they gain. */
  mayBegin(): boolean {
    if (this.#failing || this.#stopped) return false;
    const { length } = this.#inFlight;
    if (length === 0) return true;
    if (length >= this.#options.roundsInFlightMax || this.#head !== null || this.#alone) return false;
    const { overlapAfterMs } = this.#options;
    if (performance.now() - (this.#inFlight[length - 1] as Round).begunMs >= overlapAfterMs) return true;
    this.#overlap ??= setTimeout(() => {
      this.#overlap = null;
      this.#options.ready();
    }, overlapAfterMs);
    return false;
  }

  /** Whether so many bytes of frames fit behind what is written. */
  fits(bytes: number, forState: boolean): boolean {
    return this.#position + this.#headBytes() + bytes <= this.limit(forState);
  }

  /** How far the open segment may be filled. Its end is for the small state alone while no other segment is there to go
   *  on in: what makes room must never lack it. */
  limit(forState: boolean): number {
    const { size } = this.open;
    return forState || this.#spare.ready !== null ? size : size - Math.min(Math.floor(size / 16), STATE_BYTES_KEPT);
  }

  #headBytes(): number {
    if (this.#position !== SEGMENT_HEADER_BYTES) return 0;
    this.#head ??= encode({ ...this.#options.head(), previous: this.#previous() });
    return frameBytes(this.#head.length);
  }

  #previous(): Summary | null {
    const before = this.segments[this.segments.length - 2];
    return before === undefined ? null : summaryOf(before);
  }

  /** Goes on in the next segment.
   *  @holds nothing is under way
   *  @returns 'later' when it is not there yet: `ready` will tell; why there can't be one, once each time it is tried */
  roll(bytes: number): 'rolled' | 'later' | LogError {
    const fault = this.#spare.fault();
    if (fault !== null) return fault;
    const head = frameBytes(encode({ ...this.#options.head(), previous: summaryOf(this.open) }).length);
    const needed = SEGMENT_HEADER_BYTES + head + bytes;
    const spare = this.#spare.ready;
    if (spare === null || spare.size < needed) {
      this.prepare(needed);
      return 'later';
    }
    try {
      spare.file(this.#options.files.flags);
    } catch (cause) {
      return this.#options.files.fault(cause);
    }
    const full = this.open;
    spare.mirror = this.#takeMirror(spare.size, full);
    this.#spare.take();
    this.segments.push(spare);
    spare.writing = true;
    full.writing = false;
    this.#position = SEGMENT_HEADER_BYTES;
    this.#head = null;
    this.#options.rolled(full);
    this.prepare();
    return 'rolled';
  }

  /** Memory for the next segment: that of the last but one, which nobody reads from memory any more. */
  #takeMirror(size: number, full: Segment): Buffer {
    const before = this.segments[this.segments.length - 2];
    const free = this.#previousMirror;
    if (before !== undefined && before.mirror === free) before.mirror = null;
    this.#previousMirror = full.mirror;
    return free !== null && free.length === size ? free : Buffer.allocUnsafeSlow(size);
  }

  /** Makes the next segment ready, in the background. */
  prepare(bytes = 0): void {
    if (this.#stopped) return;
    // With room for the part that is kept for the small state.
    const size = Math.max(this.#options.segmentBytes, Math.ceil((bytes * 17) / 16 / 4_096) * 4_096);
    this.#spare.prepare(this.open.sequence + 1, size, bytes > 0);
  }

  /** A round at the end of what is written, begun with the head where one is due. */
  begin(timeMs: number): Round {
    const round = new Round(this.open, this.#position, ++this.#round, this.#settledRound);
    if (this.#headBytes() > 0) round.place(KIND.head, this.#head as Buffer, { ...STATE_FRAME, timeMs });
    return round;
  }

  submit(round: Round): void {
    round.seal();
    this.#inFlight.push(round);
    this.#position = round.end;
    const { files } = this.#options;
    const told = (error: unknown): void => {
      round.done = true;
      round.error = error;
      if (error !== null) this.#failing = true;
      this.#advance();
    };
    const { segment, start, end } = round;
    const mirror = segment.mirror as Buffer;
    if (files.durability === 'commit' && start === SEGMENT_HEADER_BYTES) {
      void this.#writeHeadDurably(round).then(() => told(null), told);
      return;
    }
    writeThrough(segment.file(), mirror, start, end, files.mustSync, told);
  }

  /** Without a sync for each round, a head must still never be on the disk before what it closes. */
  async #writeHeadDurably({ segment, start, end }: Round): Promise<void> {
    await this.#syncing;
    const before = this.segments[this.segments.length - 2];
    if (before !== undefined)
      await new Promise<void>((resolve, reject) => {
        fdatasync(before.file(this.#options.files.flags), (error) => (error === null ? resolve() : reject(error)));
      });
    await new Promise<void>((resolve, reject) => {
      const told = (error: unknown): void => (error === null ? resolve() : reject(error));
      writeThrough(segment.file(), segment.mirror as Buffer, start, end, true, told);
    });
  }

  /** Tells of the rounds that are over, in order. */
  #advance(): void {
    const rounds = this.#inFlight;
    while (rounds.length > 0 && (rounds[0] as Round).done && (rounds[0] as Round).error === null) {
      const round = rounds.shift() as Round;
      const { segment } = round;
      segment.end = round.end;
      this.#alone = false;
      this.#acknowledged = round.number;
      if (round.start === SEGMENT_HEADER_BYTES) this.#head = null;
      if (this.#options.files.durability === 'fsync' || round.start === SEGMENT_HEADER_BYTES) {
        this.#settledRound = round.number;
      }
      this.#options.settled(round);
    }
    const failed = rounds[0];
    if (failed?.done) {
      if (!rounds.every(({ done }) => done)) return;
      this.#inFlight = [];
      this.#failing = false;
      this.#position = failed.start;
      this.#options.failed(rounds, this.#options.files.fault(failed.error));
    }
    this.#options.ready();
  }

  /** Every so often, where rounds do not wait for the disk. */
  #sync(): Promise<void> {
    const round = this.#acknowledged;
    if (this.#syncing !== null || this.#settledRound >= round) return Promise.resolve();
    this.#syncing = new Promise((resolve) => {
      fdatasync(this.open.file(), (error) => {
        if (error === null) this.#settledRound = Math.max(this.#settledRound, round);
        else this.#options.logger.error({ err: error }, 'the log could not be synced');
        this.#syncing = null;
        resolve();
      });
    });
    return this.#syncing;
  }

  /** Takes segments out of sight and away.  @holds none of them is the open one */
  async drop(segment: Segment): Promise<void> {
    const at = this.segments.indexOf(segment);
    if (at < 0 || segment === this.open) return;
    this.segments.splice(at, 1);
    await this.#options.files.retire(segment, segment.size === this.#options.segmentBytes);
    this.prepare();
  }

  /** Waits for what is under way, marks the end as deliberate, and closes all files. */
  async stop(timeMs: number): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#spare.stop();
    const end = performance.now() + STOP_MS_MAX;
    while (this.#inFlight.length > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 2));
    if (this.#inFlight.length > 0) return;
    await this.#syncing;
    if (this.#options.files.durability === 'commit') await this.#sync();
    const last = encode([]);
    if (this.#position > SEGMENT_HEADER_BYTES && this.fits(frameBytes(last.length), true)) {
      const round = this.begin(timeMs);
      round.place(KIND.changes, last, { ...STATE_FRAME, timeMs });
      round.seal();
      const { segment, start, end } = round;
      await new Promise<void>((resolve) => {
        const mirror = segment.mirror as Buffer;
        writeThrough(segment.file(), mirror, start, end, true, () => resolve());
      });
    }
    for (const segment of this.segments) segment.close();
  }
}
