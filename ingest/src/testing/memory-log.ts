import { type AppendReceipt, type Log, LogError } from '@millrace/core';

interface Pending {
  readonly partition: number;
  readonly offset: number;
  readonly receipt: AppendReceipt;
}

/** A log in memory for tests: what is appended becomes durable when the event loop turns, or when told. */
export class MemoryLog
  implements Pick<Log, 'topic' | 'partitionCount' | 'recordBytesMax' | 'append' | 'refusalOf' | 'pendingBytes'>
{
  readonly topic = 'millrace.messages';
  readonly partitionCount = 8;
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
  readonly #next = new Map<number, number>();
  #pending: Pending[] = [];
  #scheduled = false;

  append(partition: number, _key: string, record: Uint8Array, receipt: AppendReceipt): void {
    if (this.roomFor-- <= 0) this.refusal = 'LOG_FULL';
    const code = record.length > this.recordBytesMax ? 'LOG_RECORD_TOO_LARGE' : this.refusal;
    if (code !== null) {
      setImmediate(() => receipt.refused(new LogError(code, 'later')));
      return;
    }
    this.count++;
    this.records?.push(record.slice());
    const offset = this.#next.get(partition) ?? 0;
    this.#next.set(partition, offset + 1);
    this.#pending.push({ partition, offset, receipt });
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
    for (const { partition, offset, receipt } of pending) receipt.appended(partition, offset);
  }
}
