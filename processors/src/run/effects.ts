import type { OffsetRange } from './ledger.ts';

/** What is being worked at: `hand` is the range that the store gets now, `ahead` the batch that follows it. */
export type Strand = 'hand' | 'ahead';

/** What is to be done. Each is answered by one event, `over` by none. The rows of a strand stay with who makes them, until
 *  a range with its first offset is to be written.  */
export type Effect =
  /** Wait for records from an offset on. → read, drained */
  | { readonly kind: 'read'; readonly from: number }
  /** Make the rows of a range; only of what fits into one block of it, unless it is fixed. → normalised, failed */
  | { readonly kind: 'normalise'; readonly strand: Strand; readonly range: OffsetRange }
  /** See whether any worker works at all. → probed */
  | { readonly kind: 'probe'; readonly strand: Strand }
  /** Make the one message of a range a dead letter. → buried */
  | { readonly kind: 'bury'; readonly strand: Strand; readonly range: OffsetRange; readonly reason: Burial }
  /** Count the messages of a range. → weighed */
  | { readonly kind: 'weigh'; readonly range: OffsetRange }
  /** Insert the rows of a range. → written, refused, unreachable */
  | {
      readonly kind: 'write';
      readonly range: OffsetRange;
      readonly verify: boolean;
      readonly part: boolean;
      readonly tries: number;
    }
  /** → committed */
  | { readonly kind: 'commit'; readonly offset: number; readonly metadata: string }
  /** → waited */
  | { readonly kind: 'wait'; readonly strand: Strand; readonly why: Wait; readonly tries: number }
  /** All that was taken on is committed, or the lease is lost. */
  | { readonly kind: 'over' };

export type Burial = 'worker_failed' | 'worker_hung' | 'store_refused';
export type Wait =
  /** No worker can be had. */
  | 'workers'
  /** The store does not answer. */
  | 'store'
  /** The store refuses even dead letters. */
  | 'dead_letters'
  /** An insert that the owner before has sent may still come. */
  | 'late_inserts';

export type CarrierEvent =
  | { readonly kind: 'read'; readonly range: OffsetRange }
  /** Nothing new is to be taken on. */
  | { readonly kind: 'drained' }
  /** @shape range: what has become rows, the beginning of what was asked for */
  | { readonly kind: 'normalised'; readonly strand: Strand; readonly range: OffsetRange }
  /** @shape before: where to split what the worker failed on; null: it is one message */
  | { readonly kind: 'failed'; readonly strand: Strand; readonly before: number | null; readonly hung: boolean }
  | { readonly kind: 'probed'; readonly strand: Strand; readonly works: boolean }
  | { readonly kind: 'buried'; readonly strand: Strand }
  /** @shape before: the offset of the message in the middle; null: there are no two */
  | { readonly kind: 'weighed'; readonly before: number | null }
  | { readonly kind: 'written' }
  /** The store will never take these rows.  @shape messages: that they were made of */
  | { readonly kind: 'refused'; readonly messages: number }
  /** Whether they are inserted is not known. */
  | { readonly kind: 'unreachable' }
  | { readonly kind: 'committed' }
  | { readonly kind: 'waited'; readonly strand: Strand }
  /** The lease is over. */
  | { readonly kind: 'lost' };
