import {
  type Enforcer,
  type LogBatch,
  type NormalisedBatch,
  type PartitionLease,
  type Sealer,
  unpackBatch,
} from '@millrace/core';
import { BatchNormaliser } from '../batch/normaliser.ts';
import { type BatchAnswer, type BatchTask, type Grant, grantKey } from '../batch/task.ts';
import { ProcessorsError } from '../errors.ts';
import type { Burial } from './effects.ts';
import { resolveNeeds } from './grants.ts';
import type { OffsetRange } from './ledger.ts';
import type { LaneOptions } from './options.ts';
import { type Patience, unlessOver } from './patience.ts';
import type { ToldProfiles } from './profiles.ts';
import { RepeatIndex } from './repeat-index.ts';
import { offsetAt, type Source } from './source.ts';

export type Made =
  | { readonly kind: 'rows'; readonly batch: NormalisedBatch; readonly sizeBytes: number }
  /** The worker could not.  @shape before: where to split what it failed on; null: it is one message */
  | { readonly kind: 'failed'; readonly before: number | null; readonly hung: boolean };

const DETAILS = {
  worker_failed: 'processing fails',
  worker_hung: 'processing takes too long',
  store_refused: 'the store refuses the rows of this message',
} as const satisfies Record<Burial, string>;

/** Makes rows of the ranges of one strand of a partition.
 *  @holds one range at a time */
export class Maker {
  readonly #lease: PartitionLease;
  readonly #source: Source;
  readonly #options: LaneOptions;
  readonly #patience: Patience;
  /** A range that is open keeps its ends, whatever the log still has of it: they are its token. */
  readonly #fixed: boolean;
  readonly #repeats: RepeatIndex;

  constructor(lease: PartitionLease, source: Source, options: LaneOptions, patience: Patience, fixed: boolean) {
    this.#lease = lease;
    this.#source = source;
    this.#options = options;
    this.#patience = patience;
    this.#fixed = fixed;
    this.#repeats = new RepeatIndex({
      window: options.repeatWindow,
      read: (first, last, bytesMax) => source.readPart({ first, last }, bytesMax, patience.over),
      learn: async (part, table) => {
        const task = this.#task({ ...part, offsets: part.offsets?.slice() ?? null }, [], null, table);
        await unlessOver(options.pool.run({ ...task, cutAtMonth: false, learns: true }), patience.over);
      },
    });
  }

  /** The log has nothing between two offsets. */
  skipped(from: number, to: number): void {
    this.#repeats.skipped(from, to);
  }

  /** Nothing follows what was made last. */
  rest(): void {
    this.#repeats.forget();
  }

  /** Makes the rows of a range, read again unless `input` has it. Asks for what the worker needs to know. */
  async make(range: OffsetRange, input: LogBatch | null): Promise<Made> {
    const { pool, directory, profiles } = this.#options;
    const grants = new Map<string, Grant>();
    const channels = new Map<string, string>();
    let told: ToldProfiles | null = null;
    for (let batch = input; ; batch = null) {
      batch ??= await this.read(range);
      if (batch === null) return { kind: 'rows', batch: this.#empty(range), sizeBytes: 0 };
      const { first, count } = batch;
      const last = this.#fixed ? range.last : batch.last;
      const sizeBytes = batch.bytes.length;
      const offsets = batch.offsets?.slice() ?? null;
      const table = this.#repeats.tableFor(range.first, count);
      const task = this.#task({ ...batch, last }, [...grants.values()], told, table);
      let answer: BatchAnswer;
      try {
        answer = await unlessOver(pool.run(task), this.#patience.over);
      } catch (error) {
        if (!(error instanceof ProcessorsError)) throw error;
        // It may have put down a part of what it found.
        this.#repeats.forget();
        this.#options.logger.error({ err: error }, 'a worker failed on a batch');
        this.#options.metrics.retries.inc({ reason: 'worker' });
        const before = count > 1 ? offsetAt({ first, offsets }, splitIndex(task, count)) : null;
        return { kind: 'failed', before, hung: error.code === 'WORKER_HUNG' };
      }
      if (answer.kind === 'needs') {
        // Those of earlier runs too: another worker may get the batch, and the directory may have moved on.
        const all = [...grants.values(), ...answer.needs];
        for (const grant of await this.#patience.until('asking the registry', () => resolveNeeds(directory, all)))
          grants.set(grantKey(grant.subject, grant.org, grant.channel), grant);
        for (const { channel, org } of answer.channels) channels.set(channel, org);
        const asked = [...channels].map(([channel, org]) => ({ channel, org }));
        told = await this.#patience.until('asking the registry', () => profiles.resolve(asked));
        if (answer.repeats)
          await this.#patience.until('reading the log back', () => this.#repeats.build(range.first, first));
        continue;
      }
      if (answer.kind === 'learned') throw new RangeError('rows were asked for');
      this.#repeats.passed(answer.last);
      const begin = this.#fixed ? range.first : first;
      return {
        kind: 'rows',
        batch: unpackBatch(answer.rows, this.#lease.partition, begin, answer.last),
        sizeBytes,
      };
    }
  }

  /** Makes a dead letter of the message that is alone in a range. */
  async bury(range: OffsetRange, reason: Burial): Promise<NormalisedBatch> {
    const { logger } = this.#options;
    logger.error({ partition: this.#lease.partition, offset: range.first, reason }, 'a message becomes a dead letter');
    const read = await this.read(range);
    if (read === null) return this.#empty(range);
    const task = this.#task(read, [], null, null);
    const code = reason === 'store_refused' ? reason : 'worker_failed';
    const answer = new BatchNormaliser(noSealer, noEnforcer).bury(task, code, DETAILS[reason]);
    if (answer.kind !== 'rows') throw new RangeError('burying needs nothing');
    return unpackBatch(answer.rows, task.partition, range.first, range.last);
  }

  read(range: OffsetRange): Promise<LogBatch | null> {
    return this.#patience.until('reading the log', () => this.#source.readRange(range, this.#patience.over));
  }

  #task(read: LogBatch, grants: Grant[], told: ToldProfiles | null, repeats: SharedArrayBuffer | null): BatchTask {
    return {
      partition: read.partition,
      first: read.first,
      last: read.last,
      bytes: read.bytes,
      offsets: read.offsets,
      cutAtMonth: !this.#fixed,
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
}

/** Before the message in hand when the worker failed, or after it when it was the first; 1 ≤ index < count. */
function splitIndex(task: BatchTask, count: number): number {
  const suspect = task.inHand === null ? 0 : Atomics.load(task.inHand, 0);
  return Math.min(Math.max(suspect, 1), count - 1);
}

const ignore = (): void => undefined;

/** Never asked: what is buried is not judged. */
const noSealer: Sealer = { seal: ignore, verify: () => false };
const noEnforcer: Enforcer = { mayPublish: () => false };
