import type { Arrivals, ArrivalsPage, Log, Logger, Metrics, StoredPlace } from '@millrace/core';
import { isBefore } from './places.ts';

/** Who is told what is stored of a partition, in order.  None of this throws. */
export interface Follower {
  readonly org: string;
  channelsIn(partition: number): readonly string[];
  /** What came between two places of the partition, of all channels that are followed. */
  arrived(partition: number, from: StoredPlace, page: ArrivalsPage): void;
  /** The tail stands at `head`: who is behind may catch up now. */
  looked(partition: number, head: StoredPlace): void;
}

/** Readings that the store is asked for at a time. */
export const PAGE_ROWS_MAX = 2_000;
/** Of more channels, all of their organisations are asked for. */
const CHANNELS_MAX = 10_000;
/** How far a look goes before it lets others do something. */
const PAGES_MAX = 16;

export interface TailsOptions {
  readonly arrivals: Arrivals;
  readonly log: Log;
  readonly group: string;
  readonly pollMs: number;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** One tail for each partition that is followed, shared by all who follow it: it asks the store when the processors have
 *  moved on, once for all channels together. Where nobody follows, or nothing comes, nothing is asked.
 *  @source ADR 0036 */
export class Tails {
  readonly #options: TailsOptions;
  readonly #tails = new Map<number, Tail>();

  constructor(options: TailsOptions) {
    this.#options = options;
  }

  get partitionCount(): number {
    return this.#options.log.partitionCount;
  }

  /** What is stored now.  @throws LogError (retry later) */
  async end(partition: number): Promise<StoredPlace> {
    const { log, group } = this.#options;
    const { offset } = await log.committed(group, partition);
    return { offset: Math.max(0, offset), index: 0 };
  }

  /** @param end what was stored when it asked: what came before, it looks for by itself */
  follow(partition: number, follower: Follower, end: StoredPlace): void {
    let tail = this.#tails.get(partition);
    if (tail === undefined) {
      tail = new Tail(partition, end, this.#options, () => this.end(partition));
      this.#tails.set(partition, tail);
    }
    tail.followers.add(follower);
    tail.start();
  }

  leave(partition: number, follower: Follower): void {
    const tail = this.#tails.get(partition);
    tail?.followers.delete(follower);
    if (tail?.followers.size !== 0) return;
    tail.stop();
    this.#tails.delete(partition);
  }
}

class Tail {
  readonly followers = new Set<Follower>();
  readonly #partition: number;
  readonly #options: TailsOptions;
  readonly #end: () => Promise<StoredPlace>;
  readonly #failures;
  #timer: NodeJS.Timeout | null = null;
  #head: StoredPlace;
  #over = false;

  constructor(partition: number, head: StoredPlace, options: TailsOptions, end: () => Promise<StoredPlace>) {
    this.#partition = partition;
    this.#head = head;
    this.#options = options;
    this.#end = end;
    this.#failures = options.metrics.counter(
      'millrace_live_questions_failures_total',
      'Looks for what was stored that failed; they are made again.',
    );
  }

  start(): void {
    if (this.#timer !== null || this.#over) return;
    this.#timer = setTimeout(() => void this.#look(), this.#options.pollMs);
  }
  stop(): void {
    this.#over = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    try {
      const end = await this.#end();
      for (let pages = 0; pages < PAGES_MAX && isBefore(this.#head, end) && !this.#over; pages++)
        this.#head = await this.#advance(this.#head, end.offset);
    } catch (error) {
      this.#failures.inc();
      this.#options.logger.warn(
        { err: error, partition: this.#partition },
        'live questions: what is stored can not be asked for',
      );
    }
    if (this.#over) return;
    for (const follower of this.followers) follower.looked(this.#partition, this.#head);
    this.#timer = null;
    this.start();
  }

  async #advance(from: StoredPlace, before: number): Promise<StoredPlace> {
    const partition = this.#partition;
    // Who comes meanwhile is not asked for.
    const asked = [...this.followers];
    const channels = new Set(asked.flatMap((follower) => follower.channelsIn(partition)));
    const page = await this.#options.arrivals.since({
      orgs: [...new Set(asked.map(({ org }) => org))],
      ...(channels.size > CHANNELS_MAX ? {} : { channels: [...channels] }),
      partition,
      from,
      before,
      limit: PAGE_ROWS_MAX,
    });
    for (const follower of asked) if (this.followers.has(follower)) follower.arrived(partition, from, page);
    return page.next;
  }
}
