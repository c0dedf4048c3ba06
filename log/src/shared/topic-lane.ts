// hot
import type { AppendReceipt, LogError } from '@millrace/core';
import { APPEND_BYTES, HEAD_BYTES, KIND, writeHead } from './frame.ts';

const FRAME_BYTES_MIN = 16_384;
/** Receipts that are over before the list is cut. */
const CUT_AT = 4_096;

export interface LaneHost {
  /** Bytes of records that are durable or refused now. */
  released(bytes: number): void;
  /** A receipt threw, which it must not. */
  faulted(error: unknown): void;
}

/** One partition, on its way to the log: what is gathered in this turn, and who waits for what was sent. */
export class Lane {
  readonly #partition: number;
  readonly #topic: number;
  readonly #host: LaneHost;
  #frame: Buffer = Buffer.alloc(0);
  #size = 0;
  #count = 0;
  #sizeBefore = FRAME_BYTES_MIN;
  readonly #receipts: AppendReceipt[] = [];
  readonly #sizes: number[] = [];
  #settled = 0;

  constructor(topic: number, partition: number, host: LaneHost) {
    this.#topic = topic;
    this.#partition = partition;
    this.#host = host;
  }

  get gathered(): number {
    return this.#count;
  }
  get waiting(): number {
    return this.#receipts.length - this.#settled;
  }

  /** Copies one record in. */
  add(record: Uint8Array, receipt: AppendReceipt): void {
    const size = record.length;
    if (this.#count === 0) {
      // As large as the last: the socket has that one until it is written.
      this.#frame = Buffer.allocUnsafe(Math.max(FRAME_BYTES_MIN, this.#sizeBefore, APPEND_BYTES + 4 + size));
      this.#size = APPEND_BYTES;
    } else if (this.#size + 4 + size > this.#frame.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#frame.length * 2, this.#size + 4 + size));
      this.#frame.copy(grown, 0, 0, this.#size);
      this.#frame = grown;
    }
    this.#frame.writeUInt32LE(size, this.#size);
    this.#frame.set(record, this.#size + 4);
    this.#size += 4 + size;
    this.#count++;
    this.#receipts.push(receipt);
    this.#sizes.push(size);
  }

  /** What was gathered, to be sent now. */
  takeFrame(): Buffer {
    const frame = this.#frame.subarray(0, this.#size);
    writeHead(frame, KIND.append, this.#size - HEAD_BYTES);
    frame.writeUInt16LE(this.#topic, HEAD_BYTES);
    frame.writeUInt16LE(this.#partition, HEAD_BYTES + 2);
    frame.writeUInt32LE(this.#count, HEAD_BYTES + 4);
    this.#sizeBefore = this.#size;
    this.#count = 0;
    return frame;
  }

  /** The next so many are durable. */
  appended(count: number, first: number): void {
    const partition = this.#partition;
    this.#settle(count, (receipt, index) => receipt.appended(partition, first + index));
  }

  /** The next so many are refused. */
  refused(count: number, error: LogError): void {
    this.#settle(count, (receipt) => receipt.refused(error));
  }

  /** A receipt that throws keeps no other from hearing. */
  #settle(count: number, tell: (receipt: AppendReceipt, index: number) => void): void {
    const first = this.#settled;
    let bytes = 0;
    for (let index = 0; index < count; index++) bytes += this.#sizes[first + index] as number;
    this.#settled = first + count;
    this.#host.released(bytes);
    const due = this.#receipts.slice(first, first + count);
    if (this.#settled >= CUT_AT || this.waiting === 0) {
      this.#receipts.splice(0, this.#settled);
      this.#sizes.splice(0, this.#settled);
      this.#settled = 0;
    }
    for (let index = 0; index < due.length; index++) {
      try {
        tell(due[index] as AppendReceipt, index);
      } catch (error) {
        this.#host.faulted(error);
      }
    }
  }
}
