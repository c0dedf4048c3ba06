import { type Log, type LogBatch, LogError, type PartitionLease } from '@millrace/core';
import type { OffsetRange } from './ledger.ts';

/** Reads of a lease, one at a time. A read that only waits for something new makes way for one of a range. */
export class Source {
  readonly #lease: PartitionLease;
  readonly #extent: Log['extent'];
  #waiting: AbortController | null = null;
  #rangesAhead = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(lease: PartitionLease, extent: Log['extent']) {
    this.#lease = lease;
    this.#extent = extent;
  }

  /** The records from an offset on, or null when none came in time or another read went before. */
  read(from: number, bytesMax: number, waitMsMax: number, signal: AbortSignal): Promise<LogBatch | null> {
    return this.#next(async () => {
      if (this.#rangesAhead > 0) return null;
      const waiting = new AbortController();
      this.#waiting = waiting;
      try {
        return await this.#lease.read(from, {
          bytesMax,
          waitMsMax,
          signal: AbortSignal.any([signal, waiting.signal]),
        });
      } catch (error) {
        if (waiting.signal.aborted && !(error instanceof LogError)) return null;
        throw error;
      } finally {
        this.#waiting = null;
      }
    });
  }

  /** All that is kept of a range, in one batch; null if nothing is.
   *  @throws LogError LOG_UNREACHABLE when something is kept and does not come, and what the lease throws */
  readRange(range: OffsetRange, signal: AbortSignal): Promise<LogBatch | null> {
    return this.#ahead(async () => {
      const parts: LogBatch[] = [];
      for (let from = range.first; from <= range.last; ) {
        const part = await this.#part(from, range.last, Number.MAX_SAFE_INTEGER, signal);
        if (part === null || part.first > range.last) break;
        parts.push(part);
        from = part.last + 1;
      }
      return joined(parts, range);
    });
  }

  /** A part of a range: what of it fits, from its beginning; null if nothing of it is kept.
   *  @throws as readRange */
  readPart({ first, last }: OffsetRange, bytesMax: number, signal: AbortSignal): Promise<LogBatch | null> {
    return this.#ahead(() => this.#part(first, last, bytesMax, signal));
  }

  /** A read that gives nothing in time is no word that there is nothing: a broker may hang, or its leader have moved. */
  async #part(from: number, last: number, bytesMax: number, signal: AbortSignal): Promise<LogBatch | null> {
    const { partition } = this.#lease;
    for (let silent = 0; silent < SILENT_READS_MAX; silent++) {
      const part = await this.#lease.read(from, { bytesMax, last, waitMsMax: RANGE_WAIT_MS_MAX, signal });
      if (part !== null) return part;
      if (signal.aborted) break;
      if ((await this.#extent(partition)).earliest > last) return null;
      // What is kept may begin behind the range also where a log has gaps.
      const next = await this.#lease.read(from, { bytesMax: 1, waitMsMax: RANGE_WAIT_MS_MAX, signal });
      if (next !== null) return next.first > last ? null : next;
    }
    const problem = 'the log gives nothing of what it should have';
    throw new LogError('LOG_UNREACHABLE', 'later', { partition, first: from, last, problem });
  }

  #ahead<T>(read: () => Promise<T>): Promise<T> {
    this.#rangesAhead++;
    this.#waiting?.abort();
    return this.#next(() => {
      this.#rangesAhead--;
      return read();
    });
  }

  #next<T>(read: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(read);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

/** A range that was read once is there at once, unless it is gone or its broker is in trouble. */
const RANGE_WAIT_MS_MAX = 2_000;
/** A broker may take its time to find old records. */
const SILENT_READS_MAX = 5;

function joined(parts: readonly LogBatch[], range: OffsetRange): LogBatch | null {
  const [first] = parts;
  if (first === undefined) return null;
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  if (parts.length === 1) return { ...first, last: Math.max(first.last, range.last) };
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.bytes.length, 0));
  const offsets = new Float64Array(count);
  let at = 0;
  let row = 0;
  for (const part of parts) {
    bytes.set(part.bytes, at);
    at += part.bytes.length;
    for (let index = 0; index < part.count; index++)
      offsets[row++] = part.offsets === null ? part.first + index : (part.offsets[index] as number);
  }
  return { partition: first.partition, first: first.first, last: range.last, count, bytes, offsets };
}

/** Offset of a record by its index in the batch. */
export const offsetAt = (batch: { readonly first: number; readonly offsets: Float64Array | null }, index: number) =>
  batch.offsets === null ? batch.first + index : (batch.offsets[index] ?? batch.first);
