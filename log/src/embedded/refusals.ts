import { type AppendReceipt, LogError } from '@millrace/core';
import type { Measures, RefusalReason } from '../measures.ts';

/** Says no to appends: one error a reason, made once, and counted. */
export class Refusals {
  readonly #limits: { readonly bytesMax: number; readonly pendingBytesMax: number; readonly recordBytesMax: number };
  readonly #measures: Measures;
  readonly #errors = new Map<RefusalReason, LogError>();

  constructor(
    limits: { readonly bytesMax: number; readonly pendingBytesMax: number; readonly recordBytesMax: number },
    measures: Measures,
  ) {
    this.#limits = limits;
    this.#measures = measures;
  }

  /** Refuses one record that was not taken. */
  one(reason: RefusalReason, receipt: AppendReceipt): void {
    this.#measures.refused.inc({ reason });
    receipt.refused(this.error(reason));
  }

  /** Refuses records that were taken. */
  all(receipts: readonly AppendReceipt[], error: LogError): void {
    const reason = error.code === 'LOG_FULL' ? 'full_disk' : error.code === 'LOG_CLOSED' ? 'closed' : 'unreachable';
    this.#measures.refused.inc({ reason }, receipts.length);
    for (const receipt of receipts) receipt.refused(error);
  }

  error(reason: RefusalReason): LogError {
    let error = this.#errors.get(reason);
    if (error === undefined) {
      const { bytesMax, pendingBytesMax, recordBytesMax } = this.#limits;
      if (reason === 'closed') error = new LogError('LOG_CLOSED', 'never');
      else if (reason === 'too_large') error = new LogError('LOG_RECORD_TOO_LARGE', 'never', { recordBytesMax });
      else if (reason === 'full_queue') error = new LogError('LOG_FULL', 'later', { pendingBytesMax });
      else if (reason === 'full_log') error = new LogError('LOG_FULL', 'later', { bytesMax });
      else error = new LogError('LOG_FULL', 'later', { problem: 'the disk is full' });
      this.#errors.set(reason, error);
    }
    return error;
  }
}
