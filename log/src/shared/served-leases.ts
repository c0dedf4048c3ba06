import { type LogBatch, LogError, type PartitionLease } from '@millrace/core';
import type { Call, Event } from './frame.ts';

interface Held {
  readonly lease: PartitionLease;
  readonly settle: (failed: boolean) => void;
}

/** The leases that another process has on our log. */
export class ServedLeases {
  readonly #send: (event: Event) => void;
  readonly #held = new Map<number, Held>();
  /** Reads that wait, by the call. */
  readonly #reads = new Map<number, AbortController>();
  #count = 0;

  constructor(send: (event: Event) => void) {
    this.#send = send;
  }

  /** Lends a lease until the other process says that it is done with it.  @throws what it failed with, as a fault */
  async run(consumer: number, lease: PartitionLease): Promise<void> {
    const id = ++this.#count;
    const { partition, committed } = lease;
    const settled = new Promise<void>((resolve, reject) => {
      const settle = (failed: boolean): void => {
        if (failed) reject(new LogError('LOG_FENCED', 'never', { problem: 'the consumer failed' }));
        else resolve();
      };
      this.#held.set(id, { lease, settle });
    });
    const over = (): void => this.#send({ event: 'over', lease: id });
    lease.signal.addEventListener('abort', over, { once: true });
    this.#send({ event: 'lease', consumer, lease: id, partition, committed });
    try {
      await settled;
    } finally {
      lease.signal.removeEventListener('abort', over);
      this.#held.delete(id);
    }
  }

  async call(call: Call): Promise<LogBatch | null> {
    const { op, of } = call;
    if (op === 'cancel') {
      this.#reads.get(of as number)?.abort();
      return null;
    }
    const held = this.#held.get(of as number);
    if (op === 'done') {
      held?.settle(call.failed === true);
      return null;
    }
    if (held === undefined) throw new LogError('LOG_FENCED', 'never');
    if (op === 'commit') {
      await held.lease.commit(call.offset as number, call.metadata as string);
      return null;
    }
    if (op !== 'read') throw new LogError('LOG_UNREACHABLE', 'never', { problem: `there is no ${op}` });
    const cancelling = new AbortController();
    this.#reads.set(call.id, cancelling);
    const { bytesMax, waitMsMax, last } = call as unknown as { bytesMax: number; waitMsMax: number; last?: number };
    const options = { bytesMax, waitMsMax, signal: cancelling.signal, ...(last === undefined ? {} : { last }) };
    try {
      return await held.lease.read(call.from as number, options);
    } finally {
      this.#reads.delete(call.id);
    }
  }

  /** The other process is gone. */
  close(): void {
    for (const cancelling of this.#reads.values()) cancelling.abort();
    for (const { settle } of this.#held.values()) settle(false);
  }
}
