// hot
import { LogError, type Logger } from '@millrace/core';
import type { Measures } from '../measures.ts';
import { frameBytes, KIND } from './frame.ts';
import { type Journal, STATE_FRAME } from './journal.ts';
import type { Partition } from './partition.ts';
import type { Refusals } from './refusals.ts';
import type { Request, Round } from './round.ts';
import { type Change, encode, type State } from './state.ts';

/** A round takes no further frame beyond this. */
const ROUND_BYTES_MAX = 1024 * 1024;

export interface RoundsOptions {
  readonly journal: () => Journal;
  readonly partitions: readonly Partition[];
  readonly state: State;
  readonly measures: Measures;
  readonly refusals: Refusals;
  readonly logger: Logger;
  readonly nowMs: () => number;
  /** Bytes of records that are durable or refused now. */
  readonly released: (bytes: number) => void;
  /** Null when a round was written, else why none could be. */
  readonly wrote: (fault: LogError | null) => void;
}

/** What is gathered becomes rounds: when the event loop turns, and when one before is done. */
export class Rounds {
  readonly #options: RoundsOptions;
  #requests: Request[] = [];
  #scheduled = false;
  #timeMs = 0;
  /** Where the next round begins to take, so that no partition waits for the others for ever. */
  #turn = 0;

  constructor(options: RoundsOptions) {
    this.#options = options;
  }

  request(changes: readonly Change[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#requests.push({ changes, resolve, reject });
      this.schedule();
    });
  }

  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#begin());
  }

  /** A round may begin again. It does so a turn of the loop later: whom the one before has just answered may have the
   *  next record there by then, and one larger round costs less than two small ones. */
  ready(): void {
    if (this.#scheduled) return;
    if (this.#requests.length === 0 && this.#options.partitions.every((partition) => partition.frameBytes === 0))
      return;
    this.#scheduled = true;
    setImmediate(() => setImmediate(() => this.#begin()));
  }

  #begin(): void {
    this.#scheduled = false;
    const { partitions } = this.#options;
    const journal = this.#options.journal();
    if (!journal.mayBegin()) return;
    const data = this.#requests.length === 0 ? null : encode(this.#requests.flatMap(({ changes }) => changes));
    const stateBytes = data === null ? 0 : frameBytes(data.length);
    const { length } = partitions;
    let first = -1;
    for (let step = 0; step < length && first < 0; step++) {
      const at = (this.#turn + step) % length;
      if ((partitions[at] as Partition).frameBytes > 0) first = at;
    }
    if (first < 0 && data === null) return;
    const firstBytes = first < 0 ? 0 : (partitions[first] as Partition).frameBytes;
    let stateOnly = firstBytes === 0;
    if (!journal.fits(stateBytes + firstBytes, stateOnly)) {
      if (journal.inFlight > 0) return;
      const rolled = journal.roll(stateBytes + firstBytes);
      if (rolled === 'later') return;
      if (rolled !== 'rolled') {
        this.#refuseGathered(rolled);
        this.#options.wrote(rolled);
        stateOnly = true;
        if (data === null) return;
        if (!journal.fits(stateBytes, true)) {
          for (const request of this.#takeRequests()) request.reject(unreachable(rolled));
          return;
        }
      }
    }
    this.#timeMs = Math.max(this.#timeMs, this.#options.nowMs());
    const round = journal.begin(this.#timeMs);
    if (data !== null) {
      round.place(KIND.changes, data, { ...STATE_FRAME, timeMs: this.#timeMs });
      round.requests = this.#takeRequests();
    }
    if (!stateOnly) this.#fill(round, journal.limit(false), first);
    journal.submit(round);
  }

  /** The first partition's frame always fits; others go on until the round or the segment has enough. */
  #fill(round: Round, limit: number, first: number): void {
    const { partitions } = this.#options;
    const { length } = partitions;
    (partitions[first] as Partition).seal(round, this.#timeMs);
    const endMax = Math.min(limit, round.start + ROUND_BYTES_MAX);
    for (let step = 0; step < length; step++) {
      const at = (first + step) % length;
      const partition = partitions[at] as Partition;
      for (let bytes = partition.frameBytes; bytes > 0; bytes = partition.frameBytes) {
        if (round.end + bytes > endMax) {
          this.#turn = at;
          return;
        }
        partition.seal(round, this.#timeMs);
      }
    }
  }

  #takeRequests(): Request[] {
    const requests = this.#requests;
    this.#requests = [];
    return requests;
  }

  settled(round: Round): void {
    const { state, measures, released, logger, wrote } = this.#options;
    measures.commitSeconds.observe((performance.now() - round.begunMs) / 1_000);
    wrote(null);
    for (const { changes, resolve } of round.requests) {
      for (const change of changes) state.apply(change);
      resolve();
    }
    for (const sealed of round.sealed) {
      const { partition, receipts, recordBytes } = sealed;
      released(recordBytes);
      measures.appends.inc({ topic: partition.topic }, receipts.length);
      measures.appendBytes.inc({ topic: partition.topic }, recordBytes);
      for (const error of partition.settle(round, sealed)) {
        logger.error({ err: error, topic: partition.topic }, 'a receipt of the log threw');
      }
    }
  }

  /** Nothing of these rounds counts. */
  failed(rounds: readonly Round[], fault: LogError): void {
    const { partitions, refusals, released, logger, wrote } = this.#options;
    logger.error({ err: fault }, 'the log could not write');
    for (const partition of partitions) partition.giveBack();
    for (const round of rounds) {
      for (const { receipts, recordBytes } of round.sealed) {
        released(recordBytes);
        refusals.all(receipts, fault);
      }
      for (const request of round.requests) request.reject(unreachable(fault));
    }
    wrote(fault);
    if (fault.code === 'LOG_FULL') this.#refuseGathered(fault);
  }

  #refuseGathered(fault: LogError): void {
    for (const partition of this.#options.partitions) {
      for (const { receipts, recordBytes } of partition.abandon()) {
        this.#options.released(recordBytes);
        this.#options.refusals.all(receipts, fault);
      }
    }
  }

  /** Nothing is written any more: who waits hears so. */
  stop(): void {
    const closed = new LogError('LOG_CLOSED', 'never');
    this.#refuseGathered(closed);
    for (const request of this.#takeRequests()) request.reject(closed);
  }
}

function unreachable(cause: LogError): LogError {
  return new LogError('LOG_UNREACHABLE', 'later', cause.facts, { cause });
}
