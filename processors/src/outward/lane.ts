import {
  type AppendReceipt,
  type Log,
  type LogError,
  type Logger,
  type PartitionLease,
  type StoredPlace,
  StoreError,
} from '@millrace/core';
import { backoffMs, isFenced, LaneOver, pause, unlessOver } from '../run/patience.ts';
import type { OutwardRecord } from './records.ts';

/** What is stored between two places of a partition, as records. */
export interface Source {
  read(
    partition: number,
    range: { readonly from: StoredPlace; readonly before: number },
  ): Promise<{ readonly records: readonly OutwardRecord[]; readonly next: StoredPlace }>;
}

export interface OutwardLaneOptions {
  readonly source: Source;
  /** Where messages come from, and the group whose place says what is stored. */
  readonly messages: Log;
  readonly group: string;
  /** Where records go. */
  readonly topic: Log;
  readonly logger: Logger;
  readonly pollMs: number;
  readonly wrote: (records: number, bytes: number) => void;
  readonly leftOut: () => void;
}

/** `draining`: what is under way is still finished; `stopping`: nothing is. */
export interface OutwardSignals {
  readonly draining: AbortSignal;
  readonly stopping: AbortSignal;
}

/** While nothing comes, a look is made more rarely: so many times the usual pause at most. */
const IDLE_POLLS_MAX = 4;
/** Messages that one question covers, so that a long way back is no long question. */
const OFFSETS_MAX = 10_000;
/** Of records on their way; one record at least. */
const IN_FLIGHT_BYTES_MAX = 1_048_576;

/** Carries what is stored of one partition to a topic, in order, at least once: what is not acknowledged is appended
 *  again, and the place is written down after that.
 *  The lease is one on the topic's own partition of that number; the place among the messages is the commit's text. So
 *  the log of messages is not kept for it, on or off: what it does not have any more is still in the store. */
export class OutwardLane {
  readonly #lease: PartitionLease;
  readonly #options: OutwardLaneOptions;
  readonly #over: AbortSignal;
  readonly #draining: AbortSignal;
  #offsetsMax = OFFSETS_MAX;
  #end = 0;
  /** null: not known yet. */
  #place: StoredPlace | null = null;

  constructor(lease: PartitionLease, options: OutwardLaneOptions, until: OutwardSignals) {
    this.#lease = lease;
    this.#options = options;
    this.#over = AbortSignal.any([lease.signal, until.stopping]);
    this.#draining = AbortSignal.any([this.#over, until.draining]);
  }

  /** Never rejects: what fails is tried again until the lease is over. */
  async run(): Promise<void> {
    const { pollMs } = this.#options;
    let idleMs = pollMs;
    for (let tries = 0; !this.#draining.aborted; ) {
      try {
        this.#place ??= await this.#begin();
        const next = await this.#step(this.#place);
        tries = 0;
        if (next !== null) this.#place = next;
        if (next === null) await pause(idleMs, this.#draining);
        idleMs = next === null ? Math.min(IDLE_POLLS_MAX * pollMs, idleMs * 2) : pollMs;
      } catch (error) {
        if (this.#over.aborted || error instanceof LaneOver || isFenced(error)) return;
        if (error instanceof StoreError && error.code === 'STORE_QUERY_TOO_EXPENSIVE')
          this.#offsetsMax = Math.max(1, Math.floor(this.#offsetsMax / 4));
        tries++;
        const { logger, topic } = this.#options;
        if (tries === 1 || tries % 12 === 0)
          logger.warn({ err: error, topic: topic.topic, partition: this.#lease.partition, tries }, 'the topic waits');
        await pause(backoffMs(tries), this.#draining);
      }
    }
  }

  /** Messages that are stored and not in the topic yet.  @throws LogError */
  async lag(): Promise<number> {
    const { messages, group } = this.#options;
    const { offset } = await messages.committed(group, this.#lease.partition);
    return Math.max(0, offset - (this.#place?.offset ?? 0));
  }

  async #begin(): Promise<StoredPlace> {
    const { messages, topic, logger } = this.#options;
    const { partition, committed } = this.#lease;
    const kept = await unlessOver(messages.extent(partition), this.#over);
    this.#end = (await unlessOver(topic.extent(partition), this.#over)).next;
    let place = placeOf(committed.metadata);
    if (place !== null && place.offset > kept.next) {
      logger.warn(
        { topic: topic.topic, partition, place: place.offset },
        'the log of messages is another: from its start',
      );
      place = null;
    }
    place ??= { offset: kept.earliest, index: 0 };
    await this.#commit(place);
    return place;
  }

  /** @returns the next place; null if nothing is stored beyond this one yet */
  async #step(from: StoredPlace): Promise<StoredPlace | null> {
    const { source, messages, group } = this.#options;
    const { partition } = this.#lease;
    const stored = await unlessOver(messages.committed(group, partition), this.#over);
    if (stored.offset <= from.offset) return null;
    const before = Math.min(stored.offset, from.offset + this.#offsetsMax);
    const { records, next } = await unlessOver(source.read(partition, { from, before }), this.#over);
    this.#offsetsMax = Math.min(OFFSETS_MAX, this.#offsetsMax * 2);
    await this.#write(records);
    await this.#commit(next);
    return next;
  }

  #commit({ offset, index }: StoredPlace): Promise<void> {
    return unlessOver(this.#lease.commit(this.#end, `${offset}:${index}`), this.#over);
  }

  async #write(records: readonly OutwardRecord[]): Promise<void> {
    const { topic, logger } = this.#options;
    const fitting = records.filter(({ bytes, position }) => {
      if (bytes.length <= topic.recordBytesMax) return true;
      logger.warn({ topic: topic.topic, position, bytes: bytes.length }, 'a record is too large for its topic');
      this.#options.leftOut();
      return false;
    });
    for (let first = 0, tries = 0; first < fitting.length; ) {
      const part = someOf(fitting, first);
      const taken = await unlessOver(this.#append(part), this.#over);
      first += taken;
      if (taken === part.length) tries = 0;
      else await pause(backoffMs(++tries), this.#over);
      if (this.#over.aborted) throw new LaneOver();
    }
  }

  /** Appends some at once.  @returns how many are durable, up to the first that is not
   *  @throws LogError that no waiting mends */
  #append(records: readonly OutwardRecord[]): Promise<number> {
    const { topic, wrote } = this.#options;
    const bytes = records.reduce((sum, record) => sum + record.bytes.length, 0);
    // All of them or none, lest a later one stands before an earlier one.
    if (topic.refusalOf(bytes) !== null) return Promise.resolve(0);
    return new Promise((resolve, reject) => {
      let open = records.length;
      let durable = records.length;
      let fault: LogError | null = null;
      const settle = (): void => {
        if (--open > 0) return;
        if (fault?.retry === 'never') {
          reject(fault);
          return;
        }
        wrote(
          durable,
          records.slice(0, durable).reduce((sum, record) => sum + record.bytes.length, 0),
        );
        resolve(durable);
      };
      for (const [at, { key, bytes: record }] of records.entries()) {
        const receipt: AppendReceipt = {
          appended: (_partition, offset) => {
            this.#end = Math.max(this.#end, offset + 1);
            settle();
          },
          refused: (error) => {
            durable = Math.min(durable, at);
            fault ??= error;
            settle();
          },
        };
        topic.append(this.#lease.partition, key, record, receipt);
      }
    });
  }
}

function someOf(records: readonly OutwardRecord[], first: number): readonly OutwardRecord[] {
  let [end, bytes] = [first, 0];
  do bytes += (records[end++] as OutwardRecord).bytes.length;
  while (end < records.length && bytes + (records[end] as OutwardRecord).bytes.length <= IN_FLIGHT_BYTES_MAX);
  return records.slice(first, end);
}

/** null: nothing that this program has written. */
function placeOf(text: string): StoredPlace | null {
  const [, offset, index] = /^(\d{1,16}):(\d{1,10})$/.exec(text) ?? [];
  return offset === undefined ? null : { offset: Number(offset), index: Number(index) };
}
