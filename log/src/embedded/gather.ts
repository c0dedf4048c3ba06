// hot
import type { AppendReceipt } from '@millrace/core';
import { RECORD_HEADER_BYTES } from './frame.ts';

/** The records of one partition that wait for a round, framed as a batch wants them, with those who wait for them. */
export class Gather {
  readonly bytes: Buffer;
  size = 0;
  /** One for each record, in order. */
  receipts: AppendReceipt[] = [];

  constructor(bytesMax: number) {
    this.bytes = Buffer.allocUnsafeSlow(bytesMax);
  }

  get count(): number {
    return this.receipts.length;
  }

  /** The records alone. */
  get recordBytes(): number {
    return this.size - RECORD_HEADER_BYTES * this.receipts.length;
  }

  fits(recordSize: number): boolean {
    return this.size + RECORD_HEADER_BYTES + recordSize <= this.bytes.length;
  }

  /** Copies one record in.  @holds it fits */
  add(record: Uint8Array, receipt: AppendReceipt): void {
    const size = record.length;
    const bytes = this.bytes;
    const at = this.size;
    bytes[at] = size;
    bytes[at + 1] = size >>> 8;
    bytes[at + 2] = size >>> 16;
    bytes[at + 3] = size >>> 24;
    bytes.set(record, at + RECORD_HEADER_BYTES);
    this.size = at + RECORD_HEADER_BYTES + size;
    this.receipts.push(receipt);
  }

  /** Empties it; the receipts stay with whoever took them. */
  reset(): void {
    this.size = 0;
    this.receipts = [];
  }
}
