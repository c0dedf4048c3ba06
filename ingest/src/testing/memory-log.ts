import { type AppendReceipt, type Log, type LogBatch, LogError } from '@millrace/core';

interface Pending {
  readonly partition: number;
  readonly offset: number;
  readonly receipt: AppendReceipt;
  readonly record: Uint8Array | null;
}

/** What a partition keeps and shows.  @shape records: from `earliest` on */
interface Kept {
  earliest: number;
  records: Uint8Array[];
}

/** A log in memory for tests: what is appended becomes durable when the event loop turns, or when told. It can be
 *  followed and looked into, and forgets when told; groups it has none. */
export class MemoryLog implements Omit<Log, 'consume' | 'committed'> {
  readonly topic = 'millrace.messages';
  readonly partitionCount: number;
  recordBytesMax = 2_097_152;
  pendingBytes = 0;
  /** Copies of the records, in order of appending; null: only counted. */
  records: Uint8Array[] | null = [];
  count = 0;
  /** The next appends meet this. */
  refusal: LogError['code'] | null = null;
  /** After so many more appends, `refusal` is LOG_FULL. */
  roomFor = Number.POSITIVE_INFINITY;
  /** While true nothing becomes durable. */
  stalled = false;
  /** Reading meets these. */
  readonly faults: { peek?: LogError['code']; follow?: LogError['code']; extent?: LogError['code'] } = {};
  /** Following begins only so many turns after the call, as with a broker far away. */
  tailTurns = 0;
  /** How many follow. */
  readers = 0;
  /** What was read by `peek`. */
  readonly peeked = { count: 0, bytes: 0, records: 0 };
  readonly #next = new Map<number, number>();
  readonly #kept = new Map<number, Kept>();
  readonly #waiting = new Set<() => void>();
  #pending: Pending[] = [];
  #scheduled = false;

  constructor(partitionCount = 8) {
    this.partitionCount = partitionCount;
  }

  append(partition: number, _key: string, record: Uint8Array, receipt: AppendReceipt): void {
    if (this.roomFor-- <= 0) this.refusal = 'LOG_FULL';
    const code = record.length > this.recordBytesMax ? 'LOG_RECORD_TOO_LARGE' : this.refusal;
    if (code !== null) {
      setImmediate(() => receipt.refused(new LogError(code, 'later')));
      return;
    }
    this.count++;
    const copy = this.records === null ? null : record.slice();
    if (copy !== null) this.records?.push(copy);
    const offset = this.#next.get(partition) ?? 0;
    this.#next.set(partition, offset + 1);
    this.#pending.push({ partition, offset, receipt, record: copy });
    if (this.#scheduled || this.stalled) return;
    this.#scheduled = true;
    setImmediate(() => this.commit());
  }

  refusalOf(): LogError | null {
    return this.refusal === null ? null : new LogError(this.refusal, 'later');
  }

  /** Makes durable what was appended. */
  commit(): void {
    this.#scheduled = false;
    const pending = this.#pending;
    this.#pending = [];
    for (const { partition, record } of pending) if (record !== null) this.#keptIn(partition).records.push(record);
    this.#wake();
    for (const { partition, offset, receipt } of pending) receipt.appended(partition, offset);
  }

  /** What is older than `earliest` is gone, as by retention. */
  trim(partition: number, earliest: number): void {
    const kept = this.#keptIn(partition);
    const count = Math.min(earliest - kept.earliest, kept.records.length);
    if (count <= 0) return;
    kept.records.splice(0, count);
    kept.earliest += count;
  }

  /** Breaks off all that follow, with what `faults.follow` says. */
  interrupt(): void {
    this.#wake();
  }

  async *follow(
    partitions: readonly number[],
    from: 'tail' | ReadonlyMap<number, number>,
    { bytesMax, signal }: { readonly bytesMax: number; readonly signal: AbortSignal },
  ): AsyncGenerator<LogBatch> {
    for (let turn = 0; turn < this.tailTurns; turn++) await new Promise((resolve) => setImmediate(resolve));
    const places = partitions.map((partition) => {
      const { next } = this.#extent(partition);
      return { partition, offset: from === 'tail' ? next : (from.get(partition) ?? next) };
    });
    this.readers++;
    try {
      while (!signal.aborted) {
        this.#fail('follow');
        let found = false;
        for (const place of places) {
          const batch = this.#batch(place.partition, place.offset, bytesMax);
          if (batch === null) continue;
          place.offset = batch.last + 1;
          found = true;
          yield batch;
          if (signal.aborted) return;
          this.#fail('follow');
        }
        if (!found) await this.#change(signal);
      }
    } finally {
      this.readers--;
    }
  }

  async peek(partition: number, from: number, { bytesMax }: { readonly bytesMax: number }): Promise<LogBatch | null> {
    this.#fail('peek');
    const batch = this.#batch(partition, from, bytesMax);
    this.peeked.count++;
    this.peeked.bytes += batch?.bytes.length ?? 0;
    this.peeked.records += batch?.count ?? 0;
    return batch;
  }

  async extent(partition: number): Promise<{ readonly earliest: number; readonly next: number }> {
    this.#fail('extent');
    return this.#extent(partition);
  }

  #fail(what: keyof MemoryLog['faults']): void {
    const code = this.faults[what];
    if (code !== undefined) throw new LogError(code, 'later', { what });
  }

  #keptIn(partition: number): Kept {
    let kept = this.#kept.get(partition);
    if (kept === undefined) {
      kept = { earliest: 0, records: [] };
      this.#kept.set(partition, kept);
    }
    return kept;
  }

  #extent(partition: number): { readonly earliest: number; readonly next: number } {
    const { earliest, records } = this.#keptIn(partition);
    return { earliest, next: earliest + records.length };
  }

  #batch(partition: number, from: number, bytesMax: number): LogBatch | null {
    const { earliest, records } = this.#keptIn(partition);
    const first = Math.max(from, earliest);
    const taken: Uint8Array[] = [];
    let size = 0;
    for (let index = first - earliest; index < records.length; index++) {
      const record = records[index] as Uint8Array;
      if (taken.length > 0 && size + 4 + record.length > bytesMax) break;
      taken.push(record);
      size += 4 + record.length;
    }
    if (taken.length === 0) return null;
    const bytes = new Uint8Array(new ArrayBuffer(size));
    const view = new DataView(bytes.buffer);
    let at = 0;
    for (const record of taken) {
      view.setUint32(at, record.length, true);
      bytes.set(record, at + 4);
      at += 4 + record.length;
    }
    return { partition, first, last: first + taken.length - 1, count: taken.length, bytes, offsets: null };
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake);
    });
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
