import { type LogBatch, type NormalisedBatch, type PartitionLease, StoreError } from '@millrace/core';
import { Carrier } from './carrier.ts';
import type { CarrierEvent, Effect, Strand } from './effects.ts';
import type { OffsetRange } from './ledger.ts';
import { Maker } from './maker.ts';
import type { LaneOptions } from './options.ts';
import { backoffMs, isFenced, LaneOver, Patience, pause, unlessOver } from './patience.ts';
import { offsetAt, Source } from './source.ts';

const IDLE_READ_MS_MAX = 1_000;

/** A commit proves for so long that the range is this lane's to insert. Beyond, it is committed again before an insert:
 *  who was stopped for an hour must not insert what the store's window has forgotten. */
const PROOF_MS_MAX = 10_000;

type Doing<Kind extends Effect['kind']> = Extract<Effect, { readonly kind: Kind }>;

/** Carries one partition from the log to the store, exactly once, until its lease is over: does what its carrier
 *  decides.
 *  Bounds: one batch in the store's hands, one normalised behind it. */
export class Lane {
  readonly #lease: PartitionLease;
  readonly #options: LaneOptions;
  readonly #source: Source;
  readonly #patience: Patience;
  readonly #noMore: AbortSignal;
  readonly #carrier: Carrier;
  readonly #makers: Record<Strand, Maker>;
  readonly #beganMs = performance.now();
  /** Just read, not yet normalised. */
  #input: LogBatch | null = null;
  readonly #rows: Record<Strand, NormalisedBatch | null> = { hand: null, ahead: null };
  /** How long the next batch gathers, from the insert of the one that is ready. */
  #lingerMs = 0;
  /** By the clock that never goes back, and by the one that goes on while the machine sleeps. */
  #proven = { monotonicMs: Number.NEGATIVE_INFINITY, wallMs: 0 };
  #writeStartMs = 0;

  constructor(lease: PartitionLease, options: LaneOptions) {
    this.#lease = lease;
    this.#options = options;
    this.#source = new Source(lease, options.extent);
    const over = AbortSignal.any([lease.signal, options.stopping]);
    this.#noMore = AbortSignal.any([over, options.draining]);
    this.#patience = new Patience(lease.partition, over, options);
    this.#carrier = this.#resume();
    this.#makers = {
      hand: new Maker(lease, this.#source, options, this.#patience, true),
      ahead: new Maker(lease, this.#source, options, this.#patience, false),
    };
  }

  /** Resolves when the lease is over or, while draining, when all that was taken on is committed. */
  async run(): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        const go = (effects: readonly Effect[]): void => {
          for (const effect of effects) {
            if (effect.kind === 'over') resolve();
            else
              this.#do(effect)
                .then((event) => go(this.#carrier.on(event)), end)
                .catch(end);
          }
        };
        const end = (error: unknown): void => {
          this.#carrier.on({ kind: 'lost' });
          reject(error);
        };
        go(this.#carrier.begin());
      });
    } catch (error) {
      if (error instanceof LaneOver || isFenced(error)) return;
      throw error;
    } finally {
      this.#patience.trouble(null);
    }
  }

  #resume(): Carrier {
    const { committed, partition } = this.#lease;
    try {
      return Carrier.resume(committed);
    } catch (error) {
      this.#options.logger.error(
        { err: error, partition },
        'the plan beside the offset is not ours: it is passed over',
      );
      return Carrier.resume({ offset: committed.offset, metadata: '' });
    }
  }

  #do(effect: Exclude<Effect, { readonly kind: 'over' }>): Promise<CarrierEvent> {
    switch (effect.kind) {
      case 'read':
        return this.#read(effect.from);
      case 'normalise':
        return this.#normalise(effect);
      case 'probe':
        return this.#probe(effect);
      case 'bury':
        return this.#bury(effect);
      case 'weigh':
        return this.#weigh(effect.range);
      case 'write':
        return this.#write(effect);
      case 'commit':
        return this.#commit(effect);
      case 'wait':
        return this.#wait(effect);
    }
  }

  /** Reads what follows, not at once, so that it gathers while the batch before is inserted. */
  async #read(from: number): Promise<CarrierEvent> {
    await pause(this.#lingerMs, this.#noMore);
    for (;;) {
      if (this.#noMore.aborted) return { kind: 'drained' };
      const read = await this.#patience.until('reading the log', () =>
        this.#source.read(from, this.#options.batchBytesMax, IDLE_READ_MS_MAX, this.#noMore).catch((error: unknown) => {
          // A read that is broken off by draining is no trouble.
          if (this.#noMore.aborted && !isFenced(error)) return null;
          throw error;
        }),
      );
      if (read === null || read.last < from) continue;
      this.#makers.ahead.skipped(from, read.first);
      this.#input = read;
      return { kind: 'read', range: { first: read.first, last: read.last } };
    }
  }

  async #normalise({ strand, range }: Doing<'normalise'>): Promise<CarrierEvent> {
    const input = strand === 'ahead' ? this.#input : null;
    if (strand === 'ahead') this.#input = null;
    const made = await this.#makers[strand].make(range, input);
    if (made.kind === 'failed') return { ...made, strand };
    const { first, last } = made.batch;
    this.#rows[strand] = made.batch;
    if (strand === 'ahead') {
      const more = last < range.last || made.sizeBytes * 2 >= this.#options.batchBytesMax;
      this.#lingerMs = more ? 0 : this.#options.lingerMs;
    }
    return { kind: 'normalised', strand, range: { first, last } };
  }

  async #probe({ strand }: Doing<'probe'>): Promise<CarrierEvent> {
    const works = (await unlessOver(this.#options.pool.fault(), this.#patience.over)) === null;
    this.#patience.trouble(works ? null : 'no worker thread starts');
    return { kind: 'probed', strand, works };
  }

  async #bury({ strand, range, reason }: Doing<'bury'>): Promise<CarrierEvent> {
    this.#rows[strand] = await this.#makers[strand].bury(range, reason);
    return { kind: 'buried', strand };
  }

  async #weigh(range: OffsetRange): Promise<CarrierEvent> {
    const read = await this.#makers.hand.read(range);
    return { kind: 'weighed', before: read !== null && read.count > 1 ? offsetAt(read, read.count >>> 1) : null };
  }

  async #write({ range, verify, part, tries }: Doing<'write'>): Promise<CarrierEvent> {
    const { store, topic, metrics } = this.#options;
    if (this.#rows.ahead?.first === range.first) {
      this.#rows.hand = this.#rows.ahead;
      this.#rows.ahead = null;
    }
    const batch = this.#rows.hand;
    if (batch === null || batch.first !== range.first || batch.last !== range.last)
      throw new RangeError(`no rows of ${range.first}-${range.last} are in hand`);
    if (tries === 0) this.#writeStartMs = performance.now();
    // The store does not know what it means that a fence falls.
    let fallen: unknown = null;
    const fence = (): Promise<void> =>
      this.#prove().catch((error: unknown) => {
        fallen = error;
        throw error;
      });
    try {
      await unlessOver(store.write(topic, batch, { verify, part, fence }), this.#patience.over);
    } catch (error) {
      if (error instanceof LaneOver) throw error;
      if (fallen instanceof LaneOver || isFenced(fallen)) throw fallen;
      if (error instanceof StoreError && error.code === 'STORE_REFUSED') {
        metrics.retries.inc({ reason: 'store_refused' });
        return { kind: 'refused', messages: batch.tally.messages };
      }
      this.#patience.failed('writing to the store', error, tries + 1);
      return { kind: 'unreachable' };
    }
    if (tries > 0) this.#patience.trouble(null);
    metrics.count(batch.tally, (performance.now() - this.#writeStartMs) / 1_000);
    // A tick for a batch that became ready while the insert ran: one commit closes this one and opens that.
    await Promise.resolve();
    return { kind: 'written' };
  }

  /** Lets an insert begin if the range is surely this lane's.  @throws LaneOver, LogError */
  async #prove(): Promise<void> {
    if (this.#patience.over.aborted) throw new LaneOver();
    const now = clocks();
    const { monotonicMs, wallMs } = this.#proven;
    if (now.monotonicMs - monotonicMs < PROOF_MS_MAX && Math.abs(now.wallMs - wallMs) < PROOF_MS_MAX) return;
    const { offset, metadata } = this.#carrier.standing;
    await unlessOver(this.#lease.commit(offset, metadata), this.#patience.over);
    this.#proven = now;
  }

  async #commit({ offset, metadata }: Doing<'commit'>): Promise<CarrierEvent> {
    await this.#patience.until('committing to the log', async () => {
      const now = clocks();
      await this.#lease.commit(offset, metadata);
      this.#proven = now;
    });
    if (!this.#carrier.redoing) this.#makers.hand.rest();
    return { kind: 'committed' };
  }

  async #wait({ strand, why, tries }: Doing<'wait'>): Promise<CarrierEvent> {
    const { over } = this.#patience;
    // The last proof of the owner before, and the time of an insert.
    const lateMs = this.#beganMs + PROOF_MS_MAX + this.#options.insertMsMax - performance.now();
    if (why === 'dead_letters') this.#patience.trouble('the store refuses dead letters: check its tables');
    if (why === 'late_inserts') this.#patience.trouble('waits until no insert of the owner before can come any more');
    await unlessOver(pause(why === 'late_inserts' ? lateMs : backoffMs(tries), over), over);
    if (why === 'late_inserts') this.#patience.trouble(null);
    return { kind: 'waited', strand };
  }
}

const clocks = () => ({ monotonicMs: performance.now(), wallMs: Date.now() });
