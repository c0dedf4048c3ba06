import {
  type ArrivalsPage,
  MillraceError,
  partitionOf,
  type ReadingsSelection,
  type SeriesQuestion,
  type StoredPlace,
  type StoredReading,
} from '@millrace/core';
import type { TimeFormat } from '../http/time.ts';
import { readingText } from '../readings/answers.ts';
import { Buckets } from './buckets.ts';
import type { LiveQuestionEnd, LiveQuestions } from './live-questions.ts';
import { matcherOf } from './matching.ts';
import { isBefore, type Places, placesText } from './places.ts';
import { type Follower, PAGE_ROWS_MAX } from './tails.ts';

/** What waits for a client at most, beside the page that filled it. @units characters */
const WAITING_CHARACTERS_MAX = 1024 * 1024;
const FLUSH_MS = 250;
const encoder = new TextEncoder();

/** What a client is told.
 *  @shape text: one JSON object without its braces */
export interface LiveEvent {
  readonly type: 'subscribed' | 'readings' | 'bucket' | 'heartbeat' | 'ended';
  readonly position: string;
  readonly text: string;
}
export interface LiveAsked {
  readonly org: string;
  readonly selection: ReadingsSelection;
  /** Buckets instead of readings. */
  readonly series: SeriesQuestion | null;
  readonly time: TimeFormat;
  readonly resume: Places | null;
}

/** One question that stays open: what is stored for it waits here until the client takes it.
 *  Full means: it falls behind its partitions' tails, and catches up from the store when there is room again. It delays
 *  nobody else.
 *  @holds its position is of what was given out: nothing before it is lost while it is stored */
export class LiveQuestion implements Follower {
  readonly org: string;
  readonly #live: LiveQuestions;
  readonly #asked: LiveAsked;
  readonly #matches: (reading: StoredReading) => boolean;
  readonly #channels = new Map<number, string[]>();
  readonly #places = new Map<number, StoredPlace>();
  readonly #catching = new Set<number>();
  readonly #heads = new Map<number, StoredPlace>();
  readonly #buckets: Buckets | null;
  readonly #events: LiveEvent[] = [];
  readonly #onEnd: () => void;
  #waiting = 0;
  #over = false;
  #wake: (() => void) | null = null;
  #timer: NodeJS.Timeout | null = null;
  #flushing = false;

  /** @param onEnd called once */
  constructor(live: LiveQuestions, asked: LiveAsked, onEnd: () => void) {
    this.org = asked.org;
    this.#live = live;
    this.#asked = asked;
    this.#onEnd = onEnd;
    this.#matches = matcherOf(asked.selection);
    this.#buckets = asked.series === null ? null : new Buckets(asked.series, live.options.questions, asked.time);
    for (const channel of asked.selection.channels) {
      const partition = partitionOf(encoder.encode(channel), live.tails.partitionCount);
      const others = this.#channels.get(partition);
      if (others === undefined) this.#channels.set(partition, [channel]);
      else others.push(channel);
    }
  }

  /** What waits for the client. @units characters */
  get waiting(): number {
    return this.#waiting;
  }

  get behind(): boolean {
    return [...this.#heads].some(([partition, head]) => this.#isBehind(partition, head));
  }

  /** Begins where it ended before, or with what is stored from now on.  @throws LogError (retry later) */
  async open(): Promise<void> {
    const { resume } = this.#asked;
    const ends = await Promise.all(
      [...this.#channels.keys()].map(async (partition) => [partition, await this.#live.tails.end(partition)] as const),
    );
    for (const [partition, end] of ends) {
      const place = resume?.get(partition);
      // A place beyond the end is of another log.
      this.#places.set(partition, place !== undefined && isBefore(place, end) ? place : end);
    }
    if (this.#over) return;
    this.#put({ type: 'subscribed', position: placesText(this.#places), text: '' });
    for (const [partition, end] of ends) this.#live.tails.follow(partition, this, end);
    if (this.#buckets !== null) this.#timer = setInterval(() => void this.#flush(), FLUSH_MS);
    this.#live.add(this);
  }

  channelsIn(partition: number): readonly string[] {
    return this.#channels.get(partition) ?? [];
  }

  arrived(partition: number, from: StoredPlace, page: ArrivalsPage): void {
    const place = this.#places.get(partition);
    this.#heads.set(partition, page.next);
    // Who is behind reads by themselves.
    if (this.#over || place === undefined || isBefore(place, from) || !this.#room) return;
    this.#take(partition, page, place);
  }

  looked(partition: number, head: StoredPlace): void {
    this.#heads.set(partition, head);
    void this.#catchUp(partition);
  }

  /** The next event; null when it has ended. Waits, but only so long, then it is a heartbeat. */
  async next(): Promise<LiveEvent | null> {
    if (this.#events.length === 0 && !this.#over) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, this.#live.options.heartbeatMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = null;
    }
    const event = this.#events.shift();
    if (event === undefined) return this.#over ? null : { type: 'heartbeat', position: this.#position, text: '' };
    this.#waiting -= event.text.length;
    if (this.#room) for (const partition of this.#heads.keys()) void this.#catchUp(partition);
    return event;
  }

  end(reason: LiveQuestionEnd): void {
    if (this.#over) return;
    // What waits is given out, so this stands after it.
    if (reason !== 'client')
      this.#put({ type: 'ended', position: this.#position, text: `"reason":${JSON.stringify(reason)}` });
    this.#over = true;
    if (reason === 'client' || reason === 'revoked' || reason === 'forbidden') this.#forget(reason);
    for (const partition of this.#channels.keys()) this.#live.tails.leave(partition, this);
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#live.remove(this);
    this.#live.ends.inc({ reason });
    this.#onEnd();
    this.#wake?.();
  }

  /** Who may not read any more is given nothing of what waits. */
  #forget(reason: LiveQuestionEnd): void {
    const last = reason === 'client' ? undefined : this.#events.at(-1);
    this.#events.length = 0;
    this.#waiting = 0;
    if (last !== undefined) this.#events.push({ ...last, position: '' });
  }

  get #room(): boolean {
    return this.#waiting < WAITING_CHARACTERS_MAX && this.#buckets?.full !== true;
  }

  /** Where to go on if nothing of what was read, but not told, is to be missed. */
  get #position(): string {
    return this.#buckets?.since ?? placesText(this.#places);
  }

  #isBehind(partition: number, head: StoredPlace): boolean {
    const place = this.#places.get(partition);
    return place !== undefined && isBefore(place, head);
  }

  #take(partition: number, { readings, next }: ArrivalsPage, place: StoredPlace): void {
    const before = placesText(this.#places);
    const matching = readings.filter((reading) => !isBefore(reading, place) && this.#matches(reading));
    if (isBefore(place, next)) this.#places.set(partition, next);
    if (matching.length === 0) return;
    if (this.#buckets !== null) {
      this.#buckets.touch(matching, before, Date.now());
      return;
    }
    const rows = matching.map((reading) => readingText(reading, this.#asked.time)).join(',');
    this.#live.rows.inc({ kind: 'reading' }, matching.length);
    this.#put({ type: 'readings', position: placesText(this.#places), text: `"readings":[${rows}]` });
  }

  async #catchUp(partition: number): Promise<void> {
    if (this.#catching.has(partition)) return;
    this.#catching.add(partition);
    try {
      for (;;) {
        const head = this.#heads.get(partition);
        const place = this.#places.get(partition);
        if (this.#over || !this.#room || head === undefined || place === undefined) return;
        // Of a message that the tail has read in part, the rest comes when it has all of it.
        if (place.offset >= head.offset) return;
        const page = await this.#live.options.arrivals.since({
          orgs: [this.org],
          channels: this.channelsIn(partition),
          partition,
          from: place,
          before: head.offset,
          limit: PAGE_ROWS_MAX,
        });
        if (this.#over) return;
        this.#take(partition, page, place);
      }
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#catching.delete(partition);
    }
  }

  async #flush(): Promise<void> {
    if (this.#buckets === null || this.#flushing || this.#over || this.#waiting >= WAITING_CHARACTERS_MAX) return;
    this.#flushing = true;
    try {
      const told = await this.#buckets.finished(Date.now());
      if (this.#over) return;
      this.#live.rows.inc({ kind: 'bucket' }, told.length);
      for (const [index, text] of told.entries()) {
        // Only after the last of them may a client go on behind them.
        const position = index === told.length - 1 ? this.#position : '';
        this.#put({ type: 'bucket', position, text });
      }
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#flushing = false;
    }
  }

  /** What is out of reach for now is asked for again at the next look. */
  #failed(error: unknown): void {
    if (error instanceof MillraceError && error.retry !== 'never') return;
    const tooMuch = error instanceof MillraceError && error.code === 'STORE_QUERY_TOO_EXPENSIVE';
    if (!tooMuch) this.#live.options.logger.error({ err: error }, 'a live question failed');
    this.end(tooMuch ? 'too_expensive' : 'fault');
  }

  #put(event: LiveEvent): void {
    this.#events.push(event);
    this.#waiting += event.text.length;
    this.#wake?.();
  }
}
