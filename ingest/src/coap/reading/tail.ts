import type { Log } from '@millrace/core';
import { RecordWalk } from '../../delivery/records.ts';
import { IngestError } from '../../error.ts';

/** What a look at what waits to be processed may cost. */
const SCAN_BYTES_MAX = 64 * 1_024 * 1_024;
const SCAN_BATCH_BYTES = 1_024 * 1_024;
const SCAN_MS_MAX = 2_000;
/** Addresses whose last message is remembered, of one partition. */
const ADDRESSES_MAX = 16_384;

/** What was found on the log, as of one moment.
 *  @holds `last` has the newest record of every address that has one in [from, to) */
export interface TailView {
  readonly from: number;
  readonly to: number;
  /** What is before this is in the store. */
  readonly committed: number;
  readonly last: ReadonlyMap<string, number>;
}

export const addressKey = (channel: string, subtopic: string): string => `${channel}\n${subtopic}`;

/** The end of a partition that may not be in the store yet: which record of each address is the last one there.
 *  Read once for all who ask at the same time, and gone on with when the next ones do. */
export class PartitionTail {
  readonly #log: Log;
  readonly #group: string;
  readonly #partition: number;
  #from = 0;
  #to = 0;
  #last = new Map<string, number>();
  #running: Promise<TailView> | null = null;
  #next: Promise<TailView> | null = null;

  constructor(log: Log, group: string, partition: number) {
    this.#log = log;
    this.#group = group;
    this.#partition = partition;
  }

  /** As far as the log reaches now.
   *  @throws LogError (retry later); IngestError COAP_BACKLOG when more waits than may be looked through at once: what was
   *          looked through is not looked through again */
  view(): Promise<TailView> {
    // A look that has begun may have seen less than the caller knows to be there: those who come meanwhile share the next.
    this.#next ??= this.#lookNext();
    return this.#next;
  }

  async #lookNext(): Promise<TailView> {
    await this.#running?.catch(() => {});
    const looking = this.#look();
    this.#running = looking;
    this.#next = null;
    return looking;
  }

  async #look(): Promise<TailView> {
    const partition = this.#partition;
    const [{ earliest, next }, stored] = await Promise.all([
      this.#log.extent(partition),
      this.#log.committed(this.#group, partition),
    ]);
    const committed = Math.min(Math.max(earliest, stored.offset), next);
    // Further than we came everything is in the store; and what was learnt of old records only takes room.
    if (committed > this.#to || this.#last.size > ADDRESSES_MAX / 2) this.#begin(committed);
    const endMs = performance.now() + SCAN_MS_MAX;
    let bytes = 0;
    while (this.#to < next) {
      if (bytes > SCAN_BYTES_MAX || performance.now() > endMs) {
        throw new IngestError('COAP_BACKLOG', 'later', { partition, waiting: next - this.#to });
      }
      const batch = await this.#log.peek(partition, this.#to, { bytesMax: SCAN_BATCH_BYTES });
      if (batch === null) break;
      bytes += batch.bytes.length;
      const walk = new RecordWalk();
      walk.begin(batch, this.#to);
      while (walk.next()) {
        const { reader } = walk;
        if (walk.wellFormed) this.#last.set(addressKey(reader.channel, reader.subtopic), walk.offset);
      }
      this.#to = batch.last + 1;
      if (this.#last.size > ADDRESSES_MAX) this.#begin(this.#to);
    }
    return { from: this.#from, to: this.#to, committed, last: this.#last };
  }

  /** @holds views that were given out keep what they have */
  #begin(at: number): void {
    this.#from = at;
    this.#to = at;
    this.#last = new Map();
  }
}
