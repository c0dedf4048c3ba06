import {
  type AppendReceipt,
  type Committed,
  type Consumer,
  type Log,
  type LogBatch,
  LogError,
  type PartitionLease,
  type ReadOptions,
} from '@millrace/core';

/** A log of one partition in memory, for tests: the contract of the port, and nothing durable. */
export class MemoryLog implements Log {
  readonly topic = 'millrace.messages';
  readonly partitionCount = 1;
  readonly recordBytesMax = 1_048_576;
  readonly pendingBytes = 0;
  readonly commits: Committed[] = [];
  readonly #records: Buffer[] = [];
  #committed: Committed = { offset: 0, metadata: '' };
  #wake: (() => void)[] = [];
  /** Called before each commit: throws what the commit is to fail with. */
  beforeCommit: (commit: Committed) => void = () => {};
  /** So many reads of what is there give nothing, as those of a broker in trouble. */
  silences = 0;

  refusalOf(): null {
    return null;
  }

  push(...records: Uint8Array[]): void {
    for (const record of records) this.#records.push(Buffer.from(record));
    for (const wake of this.#wake.splice(0)) wake();
  }

  append(_partition: number, _key: string, record: Uint8Array, receipt: AppendReceipt): void {
    this.push(record);
    receipt.appended(0, this.#records.length - 1);
  }

  async consume(_group: string, onLease: (lease: PartitionLease) => Promise<void>): Promise<Consumer> {
    const over = new AbortController();
    const lease: PartitionLease = {
      partition: 0,
      committed: this.#committed,
      signal: over.signal,
      read: (from, options) => this.#read(from, options, over.signal),
      commit: async (offset, metadata) => {
        if (over.signal.aborted) throw new LogError('LOG_FENCED', 'never');
        this.beforeCommit({ offset, metadata });
        await this.commit({ offset, metadata });
      },
    };
    const done = onLease(lease);
    return {
      stop: async () => {
        over.abort();
        for (const wake of this.#wake.splice(0)) wake();
        await done;
      },
    };
  }

  async #read(from: number, options: ReadOptions, over: AbortSignal): Promise<LogBatch | null> {
    if (from >= this.#records.length)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, options.waitMsMax);
        const wake = (): void => {
          clearTimeout(timer);
          resolve();
        };
        this.#wake.push(wake);
        options.signal?.addEventListener('abort', wake, { once: true });
      });
    if (over.aborted) throw new LogError('LOG_FENCED', 'never');
    if (from < this.#records.length && this.silences-- > 0) return null;
    return this.#batch(from, options.bytesMax, options.last ?? Number.POSITIVE_INFINITY);
  }

  #batch(from: number, bytesMax: number, last: number): LogBatch | null {
    const framed: Buffer[] = [];
    let size = 0;
    for (let offset = from; offset < this.#records.length && offset <= last; offset++) {
      const record = this.#records[offset] as Buffer;
      if (framed.length > 0 && size + 4 + record.length > bytesMax) break;
      size += 4 + record.length;
      const head = Buffer.alloc(4);
      head.writeUInt32LE(record.length);
      framed.push(Buffer.concat([head, record]));
    }
    if (framed.length === 0) return null;
    const bytes = new Uint8Array(size);
    bytes.set(Buffer.concat(framed));
    return { partition: 0, first: from, last: from + framed.length - 1, count: framed.length, bytes, offsets: null };
  }

  async *follow(): AsyncGenerator<LogBatch> {}
  async peek(_partition: number, from: number, { bytesMax }: { readonly bytesMax: number }): Promise<LogBatch | null> {
    return this.#batch(from, bytesMax, Number.POSITIVE_INFINITY);
  }
  async extent(): Promise<{ earliest: number; next: number }> {
    return { earliest: 0, next: this.#records.length };
  }
  /** What an owner before has left, or the present one commits. */
  async commit(committed: Committed): Promise<void> {
    this.#committed = committed;
    this.commits.push(committed);
  }
  async committed(): Promise<Committed> {
    return this.#committed;
  }
}
