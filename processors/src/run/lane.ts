import {
  type Directory,
  type Enforcer,
  LogError,
  type Logger,
  MillraceError,
  type NormalisedBatch,
  type PartitionLease,
  type ReadingsStore,
  type Sealer,
  StoreError,
  unpackBatch,
} from '@millrace/core';
import { BatchNormaliser } from '../batch/normaliser.ts';
import { type BatchAnswer, type BatchTask, type Grant, grantKey, type RepeatWindow } from '../batch/task.ts';
import type { RawPolicy } from '../config.ts';
import { ProcessorsError } from '../errors.ts';
import { resolveNeeds } from './grants.ts';
import { type Commit, Ledger, type OffsetRange, type OpenRange } from './ledger.ts';
import { backoffMs, LaneOver, pause, unlessOver } from './patience.ts';
import type { WorkerPool } from './pool.ts';
import type { Profiles, ToldProfiles } from './profiles.ts';
import { RepeatIndex } from './repeat-index.ts';
import type { RunnerMetrics } from './runner-metrics.ts';
import { offsetAt, Source } from './source.ts';

export interface LaneOptions {
  readonly topic: string;
  readonly batchBytesMax: number;
  readonly lingerMs: number;
  readonly raw: RawPolicy;
  readonly repeatWindow: RepeatWindow;
  readonly store: ReadingsStore;
  readonly directory: Directory;
  readonly profiles: Profiles;
  readonly pool: WorkerPool;
  readonly metrics: RunnerMetrics;
  readonly logger: Logger;
  /** Nothing new is read once it aborts. */
  readonly draining: AbortSignal;
  /** All ends at once when it aborts. */
  readonly stopping: AbortSignal;
  /** Tells what a lane waits for, null when it goes on. */
  readonly trouble: (partition: number, what: string | null) => void;
}

/** A batch of the log that is normalised and may be inserted. */
interface Ready {
  readonly batch: NormalisedBatch;
  /** How long the next insert keeps its distance to this one's. @units ms */
  readonly lingerMs: number;
}

type Normalised =
  | { readonly kind: 'rows'; readonly batch: NormalisedBatch; readonly sizeBytes: number }
  /** The worker could not; of more than one message: split before this offset. */
  | { readonly kind: 'split'; readonly before: number };

const IDLE_READ_MS_MAX = 1_000;
const ATTEMPTS_MAX = 2;

/** Carries one partition from the log to the store, exactly once, until its lease is over.
 *  Bounds: one batch in the store's hands, one normalised behind it. */
export class Lane {
  readonly #lease: PartitionLease;
  readonly #options: LaneOptions;
  readonly #source: Source;
  readonly #over: AbortSignal;
  readonly #noMore: AbortSignal;
  #ledger: Ledger;
  /** Of what is carried on, and of what is done again, which may be both at the same time. */
  readonly #repeats: RepeatIndex;
  readonly #repeatsAgain: RepeatIndex;

  constructor(lease: PartitionLease, options: LaneOptions) {
    this.#lease = lease;
    this.#options = options;
    this.#source = new Source(lease);
    this.#over = AbortSignal.any([lease.signal, options.stopping]);
    this.#noMore = AbortSignal.any([this.#over, options.draining]);
    this.#ledger = this.#resume();
    this.#repeats = this.#newRepeats();
    this.#repeatsAgain = this.#newRepeats();
  }

  /** Resolves when the lease is over or, while draining, when all that was taken on is committed. */
  async run(): Promise<void> {
    try {
      await this.#redoAll();
      await this.#carry();
    } catch (error) {
      if (error instanceof LaneOver || isFenced(error)) return;
      throw error;
    } finally {
      this.#options.trouble(this.#lease.partition, null);
    }
  }

  #resume(): Ledger {
    const { committed, partition } = this.#lease;
    try {
      return Ledger.resume(committed);
    } catch (error) {
      this.#options.logger.error(
        { err: error, partition },
        'the plan beside the offset is not ours: it is passed over',
      );
      return Ledger.resume({ offset: committed.offset, metadata: '' });
    }
  }

  /** Batch after batch: the next is read and normalised while one is inserted. */
  async #carry(): Promise<void> {
    let ready = await this.#prepare(this.#ledger.next, 0);
    while (ready !== null) {
      if (this.#ledger.head === null) await this.#commit(this.#ledger.intend(ready.batch));
      const following = this.#prepare(ready.batch.last + 1, performance.now() + ready.lingerMs);
      // Looked at below; a fault meanwhile must not be an unhandled one.
      following.catch(() => undefined);
      let settled: Ready | null | undefined;
      void following.then((value) => {
        settled = value;
      }, ignore);
      if (await this.#write(ready.batch, false)) {
        // A tick for a batch that became ready while the insert ran.
        await Promise.resolve();
        await this.#commit(this.#ledger.written(settled?.batch ?? null));
      } else {
        await this.#refused(ready.batch);
        await this.#redoAll();
      }
      ready = await following;
    }
  }

  /** Reads and normalises what follows, not before a time, so that it gathers while the batch before is inserted;
   *  null when nothing new is to be taken on. */
  async #prepare(from: number, notBeforeMs: number): Promise<Ready | null> {
    const { batchBytesMax, lingerMs } = this.#options;
    await pause(notBeforeMs - performance.now(), this.#noMore);
    let next = from;
    for (;;) {
      if (this.#noMore.aborted) return null;
      const read = await this.#patiently('reading the log', () =>
        this.#source.read(next, batchBytesMax, IDLE_READ_MS_MAX, this.#noMore).catch((error: unknown) => {
          // A read that is broken off by draining is no trouble.
          if (this.#noMore.aborted && !isFenced(error)) return null;
          throw error;
        }),
      );
      if (read === null || read.last < next) continue;
      this.#repeats.skipped(next, read.first);
      next = read.first;
      let range: OffsetRange = read;
      let input: typeof read | null = read;
      for (;;) {
        const result: Normalised = await this.#normalise(input, range, true);
        if (result.kind === 'rows') {
          const more = result.batch.last < read.last;
          return { batch: result.batch, lingerMs: more || result.sizeBytes * 2 >= batchBytesMax ? 0 : lingerMs };
        }
        range = { first: range.first, last: result.before - 1 };
        input = null;
      }
    }
  }

  async #redoAll(): Promise<void> {
    while (this.#ledger.head !== null) await this.#redo(this.#ledger.head);
    this.#repeatsAgain.forget();
  }

  /** Writes an open range again, or one that was split. */
  async #redo(range: OpenRange): Promise<void> {
    const result = await this.#normalise(null, range, false);
    if (result.kind === 'split') {
      await this.#commit(this.#ledger.split(result.before));
      return;
    }
    if (await this.#write(result.batch, range.verify)) await this.#commit(this.#ledger.written(null));
    else await this.#refused(range);
  }

  /** The store will never take the head as it is: halves, until the culprit is alone and becomes a dead letter. */
  async #refused(range: OffsetRange): Promise<void> {
    const { logger, metrics } = this.#options;
    metrics.retries.inc({ reason: 'store_refused' });
    const read = await this.#readRange(range);
    if (read !== null && read.count > 1) {
      await this.#commit(this.#ledger.split(offsetAt(read, read.count >>> 1)));
      return;
    }
    logger.error({ partition: this.#lease.partition, offset: range.first }, 'the store refuses a message: dead letter');
    const detail = 'the store refuses the rows of this message';
    const batch = read === null ? this.#empty(range) : bury(this.#task(read, false, []), 'store_refused', detail);
    for (let tries = 1; !(await this.#write(batch, true)); tries++) {
      // What refuses even a dead letter is the store's own fault: nothing may be lost to it.
      this.#options.trouble(this.#lease.partition, 'the store refuses dead letters: check its tables');
      await unlessOver(pause(backoffMs(tries + 4), this.#over), this.#over);
    }
    await this.#commit(this.#ledger.written(null));
  }

  /** Normalises a range, read again unless `input` has it. Two faults of the worker split it; a message that is alone
   *  becomes a dead letter. */
  async #normalise(input: Awaited<ReturnType<Source['read']>>, range: OffsetRange, cut: boolean): Promise<Normalised> {
    const { metrics, logger, pool, directory, profiles } = this.#options;
    const grants = new Map<string, Grant>();
    const channels = new Map<string, string>();
    const repeats = cut ? this.#repeats : this.#repeatsAgain;
    let told: ToldProfiles | null = null;
    let attempts = 0;
    let batch = input;
    for (;;) {
      batch ??= await this.#readRange(range);
      if (batch === null) return { kind: 'rows', batch: this.#empty(range), sizeBytes: 0 };
      const { first, count } = batch;
      const last = cut ? batch.last : range.last;
      const sizeBytes = batch.bytes.length;
      const offsets = batch.offsets?.slice() ?? null;
      const table = repeats.tableFor(range.first, count);
      const task = this.#task({ ...batch, last }, cut, [...grants.values()], told, table);
      batch = null;
      let answer: BatchAnswer;
      try {
        answer = await unlessOver(pool.run(task), this.#over);
      } catch (error) {
        if (!(error instanceof ProcessorsError)) throw error;
        // It may have put down a part of what it found.
        repeats.forget();
        attempts++;
        logger.error({ err: error, attempts }, 'a worker failed on a batch');
        metrics.retries.inc({ reason: 'worker' });
        if (attempts < ATTEMPTS_MAX) continue;
        if ((await unlessOver(pool.fault(), this.#over)) !== null) {
          // Not this batch's doing: no worker can be had.
          this.#options.trouble(this.#lease.partition, 'no worker thread starts');
          await pause(backoffMs(attempts), this.#over);
          continue;
        }
        this.#options.trouble(this.#lease.partition, null);
        if (count > 1) return { kind: 'split', before: offsetAt({ first, offsets }, splitIndex(task, count)) };
        const alone = await this.#readRange(range);
        if (alone === null) continue;
        const detail = error.code === 'WORKER_HUNG' ? 'processing takes too long' : 'processing fails';
        return { kind: 'rows', batch: bury(this.#task(alone, false, []), 'worker_failed', detail), sizeBytes };
      }
      if (answer.kind === 'needs') {
        // Those of earlier runs too: another worker may get the batch, and the directory may have moved on.
        const all = [...grants.values(), ...answer.needs];
        for (const grant of await this.#patiently('asking the registry', () => resolveNeeds(directory, all)))
          grants.set(grantKey(grant.subject, grant.org, grant.channel), grant);
        for (const { channel, org } of answer.channels) channels.set(channel, org);
        const asked = [...channels].map(([channel, org]) => ({ channel, org }));
        told = await this.#patiently('asking the registry', () => profiles.resolve(asked));
        if (answer.repeats) await this.#patiently('reading the log back', () => repeats.build(range.first, first));
        continue;
      }
      if (answer.kind === 'learned') throw new RangeError('rows were asked for');
      repeats.passed(answer.last);
      // A range that is fixed keeps its ends, whatever the log still has of it: they are its token.
      const rows = unpackBatch(answer.rows, this.#lease.partition, cut ? first : range.first, answer.last);
      return { kind: 'rows', batch: rows, sizeBytes };
    }
  }

  #task(
    read: NonNullable<Awaited<ReturnType<Source['read']>>>,
    cutAtMonth: boolean,
    grants: Grant[],
    told: ToldProfiles | null = null,
    repeats: SharedArrayBuffer | null = null,
  ): BatchTask {
    return {
      partition: read.partition,
      first: read.first,
      last: read.last,
      bytes: read.bytes,
      offsets: read.offsets,
      cutAtMonth,
      nowUs: Date.now() * 1_000,
      raw: this.#options.raw,
      directoryVersion: this.#options.directory.version,
      grants,
      profilesVersion: told?.version ?? this.#options.profiles.version,
      profiles: told?.profiles ?? [],
      repeats,
      repeatWindow: this.#options.repeatWindow,
      learns: false,
      inHand: new Int32Array(new SharedArrayBuffer(4)),
    };
  }

  #newRepeats(): RepeatIndex {
    const { repeatWindow: window, pool } = this.#options;
    return new RepeatIndex({
      window,
      read: (first, last, bytesMax) => this.#source.readPart({ first, last }, bytesMax, this.#over),
      learn: async (part, table) => {
        const task = this.#task({ ...part, offsets: part.offsets?.slice() ?? null }, false, [], null, table);
        await unlessOver(pool.run({ ...task, learns: true }), this.#over);
      },
    });
  }

  #readRange(range: OffsetRange) {
    return this.#patiently('reading the log', () => this.#source.readRange(range, this.#over));
  }

  /** A range of which the log keeps nothing any more. */
  #empty(range: OffsetRange): NormalisedBatch {
    this.#options.logger.warn({ partition: this.#lease.partition, ...range }, 'the log keeps nothing of this range');
    const nothing = { rowCount: 0, bytes: new Uint8Array(0) };
    return {
      partition: this.#lease.partition,
      first: range.first,
      last: range.last,
      blocks: { readings: nothing, messages: nothing, message_log: nothing, dead_letters: nothing },
      tally: { messages: 0, readings: 0, stored: 0, dropped: {}, dead: {}, deadRecords: {}, filteredReadings: 0 },
    };
  }

  /** @returns false if the store refuses the rows for good */
  async #write(batch: NormalisedBatch, verify: boolean): Promise<boolean> {
    const { store, topic, metrics } = this.#options;
    const startMs = performance.now();
    try {
      // From the second try on the first may have been inserted without a word: its token tells.
      await this.#patiently('writing to the store', () => store.write(topic, batch, { verify }));
    } catch (error) {
      if (error instanceof StoreError && error.code === 'STORE_REFUSED') return false;
      throw error;
    }
    metrics.count(batch.tally, (performance.now() - startMs) / 1_000);
    return true;
  }

  async #commit(commit: Commit): Promise<void> {
    await this.#patiently('committing to the log', () => this.#lease.commit(commit.offset, commit.metadata));
  }

  /** Tries until it succeeds, or until it is told never to. Every wait is visible in the status.
   *  @throws LaneOver, and errors that are not to be tried again */
  async #patiently<T>(what: string, attempt: () => Promise<T>): Promise<T> {
    const { logger, metrics, trouble } = this.#options;
    const partition = this.#lease.partition;
    for (let tries = 1; ; tries++) {
      try {
        const result = await unlessOver(attempt(), this.#over);
        if (tries > 1) trouble(partition, null);
        return result;
      } catch (error) {
        if (error instanceof LaneOver || isFenced(error)) throw error;
        if (error instanceof StoreError && error.code === 'STORE_REFUSED') throw error;
        const code = error instanceof MillraceError ? error.code : 'unexpected';
        trouble(partition, `${what}: ${code}`);
        metrics.retries.inc({ reason: reasonOf(error) });
        // The first time, and then with each longest delay.
        if (tries === 1 || tries % 12 === 0)
          logger.warn({ err: error, partition, tries }, `${what} fails, trying again`);
        await pause(backoffMs(tries), this.#over);
      }
    }
  }
}

function reasonOf(error: unknown): 'store' | 'log' | 'other' {
  return error instanceof StoreError ? 'store' : error instanceof LogError ? 'log' : 'other';
}

const isFenced = (error: unknown): boolean =>
  error instanceof LogError && (error.code === 'LOG_FENCED' || error.code === 'LOG_CLOSED');

/** Before the message in hand when the worker failed, or after it when it was the first; 1 ≤ index < count. */
function splitIndex(task: BatchTask, count: number): number {
  const suspect = task.inHand === null ? 0 : Atomics.load(task.inHand, 0);
  return Math.min(Math.max(suspect, 1), count - 1);
}

const ignore = (): void => undefined;

/** Never asked: what is buried is not judged. */
const noSealer: Sealer = { seal: ignore, verify: () => false };
const noEnforcer: Enforcer = { mayPublish: () => false };

function bury(task: BatchTask, reason: 'worker_failed' | 'store_refused', detail: string): NormalisedBatch {
  const answer = new BatchNormaliser(noSealer, noEnforcer).bury(task, reason, detail);
  if (answer.kind !== 'rows') throw new RangeError('burying needs nothing');
  return unpackBatch(answer.rows, task.partition, task.first, task.last);
}
