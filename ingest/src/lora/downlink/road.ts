import {
  type Consumer,
  EnvelopeReader,
  type Log,
  type LogBatch,
  LogError,
  type Logger,
  MillraceError,
  type PartitionLease,
} from '@millrace/core';
import { RecordWalk } from '../../delivery/records.ts';
import { pause } from '../pause.ts';
import type { DownlinkMessages } from './messages.ts';

export const LORA_GROUP = 'millrace.lora';
/** Kept beside the offset: the group has begun. */
const BEGUN = 'downlinks';
const READ_BYTES_MAX = 1_048_576;
const READ_MS_MAX = 1_000;
const COMMIT_MS = 5_000;
const PARKED_MS = 60_000;
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;
const START_RETRY_MS = 5_000;
/** What was published shortly before the first network server was there is meant for it too. */
const LOOK_BACK_MS = 60_000;

export interface DownlinkRoadOptions {
  readonly log: Log;
  readonly messages: Pick<DownlinkMessages, 'take'>;
  readonly logger: Logger;
}

/** Finds downlinks among all messages on the log, as the consumer group `millrace.lora`: each exactly once becomes a
 *  command, since a command bears its message's id.
 *  @holds begins with the first network server that is there; once it has begun, its place moves on also while there is
 *         none, since the log keeps what a group has not passed */
export class DownlinkRoad {
  readonly #options: DownlinkRoadOptions;
  readonly #stopping = new AbortController();
  #consumer: Promise<Consumer | null> | null = null;
  /** null: not known yet. */
  #wanted: boolean | null = null;
  #wake: (() => void)[] = [];

  constructor(options: DownlinkRoadOptions) {
    this.#options = options;
    void this.#begunBefore().then((begun) => {
      if (begun) this.#join();
    });
  }

  /** Whether there is a network server that downlinks could go to. Until it is said, nothing is read or passed over. */
  want(wanted: boolean): void {
    const known = this.#wanted;
    this.#wanted = wanted;
    if (wanted) this.#join();
    if (wanted !== known) for (const wake of this.#wake.splice(0)) wake();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const wake of this.#wake.splice(0)) wake();
    const consumer = await this.#consumer;
    await consumer?.stop();
  }

  async #begunBefore(): Promise<boolean> {
    const { log, logger } = this.#options;
    while (!this.#stopping.signal.aborted) {
      try {
        for (let partition = 0; partition < log.partitionCount; partition++) {
          const { offset } = await log.committed(LORA_GROUP, partition);
          if (offset >= 0) return true;
        }
        return false;
      } catch (error) {
        logger.warn({ err: error }, 'lora: the log cannot be asked for the place of the downlinks');
        await pause(START_RETRY_MS, this.#stopping.signal);
      }
    }
    return false;
  }

  #join(): void {
    this.#consumer ??= this.#joined();
  }

  async #joined(): Promise<Consumer | null> {
    const { log, logger } = this.#options;
    while (!this.#stopping.signal.aborted) {
      try {
        return await log.consume(LORA_GROUP, (lease) => this.#follow(lease));
      } catch (error) {
        logger.warn({ err: error }, 'lora: downlinks cannot be looked for');
        await pause(START_RETRY_MS, this.#stopping.signal);
      }
    }
    return null;
  }

  async #follow(lease: PartitionLease): Promise<void> {
    const over = AbortSignal.any([lease.signal, this.#stopping.signal]);
    const place = new Place(lease);
    let pauseMs = RETRY_MS_MIN;
    while (!over.aborted) {
      try {
        if (!place.begun) await place.begin(await this.#beginning(lease));
        await this.#step(lease, place, over);
        pauseMs = RETRY_MS_MIN;
      } catch (error) {
        if (over.aborted) break;
        if (error instanceof LogError && error.code === 'LOG_FENCED') break;
        const { logger } = this.#options;
        if (error instanceof MillraceError && error.retry !== 'never') {
          logger.warn({ code: error.code, partition: lease.partition }, 'lora: downlinks wait');
        } else logger.error({ err: error, partition: lease.partition }, 'lora: a fault in reading downlinks');
        await pause(pauseMs, over);
        pauseMs = Math.min(RETRY_MS_MAX, pauseMs * 2);
      }
    }
    // The lease is ours until it ends: who returns is not given the partition again.
    await new Promise<void>((resolve) => {
      if (over.aborted) resolve();
      else over.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  async #step(lease: PartitionLease, place: Place, over: AbortSignal): Promise<void> {
    if (this.#wanted === null) {
      await this.#parked(over);
      return;
    }
    if (!this.#wanted) {
      const { next } = await this.#options.log.extent(lease.partition);
      await place.commit(Math.max(next, place.next), 0);
      await this.#parked(over);
      return;
    }
    const batch = await lease.read(place.next, { bytesMax: READ_BYTES_MAX, waitMsMax: READ_MS_MAX, signal: over });
    if (batch === null) {
      await place.commit(place.next, COMMIT_MS);
      return;
    }
    const found = await this.#batch(batch, place.next);
    await place.commit(batch.last + 1, found ? 0 : COMMIT_MS);
  }

  /** @returns whether there was a downlink in it */
  async #batch(batch: LogBatch, from: number): Promise<boolean> {
    const walk = new RecordWalk();
    walk.begin(batch, from);
    let found = false;
    while (walk.next()) {
      if (walk.wellFormed && (await this.#options.messages.take(walk.reader))) found = true;
    }
    return found;
  }

  /** Where to begin when nobody has: at the first record that is not older than a minute. */
  async #beginning({ partition }: PartitionLease): Promise<number> {
    const { log } = this.#options;
    const sinceUs = (Date.now() - LOOK_BACK_MS) * 1_000;
    const reader = new EnvelopeReader();
    const { earliest, next } = await log.extent(partition);
    let low = earliest;
    let high = next;
    while (low < high) {
      const middle = low + Math.floor((high - low) / 2);
      const batch = await log.peek(partition, middle, { bytesMax: 1 });
      if (batch === null || batch.first >= high) high = middle;
      else if (reader.open(batch.bytes, 4, 4 + firstSize(batch)) && reader.receivedUs >= sinceUs) high = middle;
      else low = batch.first + 1;
    }
    return low;
  }

  async #parked(over: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const wake = (): void => woken.abort();
    this.#wake.push(wake);
    await pause(PARKED_MS, AbortSignal.any([over, woken.signal]));
    this.#wake = this.#wake.filter((each) => each !== wake);
  }
}

const firstSize = ({ bytes }: LogBatch): number =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0, true);

/** How far a lease has come. */
class Place {
  next: number;
  begun: boolean;
  readonly #lease: PartitionLease;
  #committed: number;
  #atMs = performance.now();

  constructor(lease: PartitionLease) {
    this.#lease = lease;
    this.next = lease.committed.offset;
    this.begun = lease.committed.metadata === BEGUN;
    this.#committed = this.begun ? this.next : -1;
  }

  async begin(offset: number): Promise<void> {
    await this.commit(offset, 0);
    this.begun = true;
  }

  /** Moves on, and writes it down unless that was done within `everyMs`. */
  async commit(next: number, everyMs: number): Promise<void> {
    this.next = next;
    if (next === this.#committed || performance.now() - this.#atMs < everyMs) return;
    await this.#lease.commit(next, BEGUN);
    this.#committed = next;
    this.#atMs = performance.now();
  }
}
