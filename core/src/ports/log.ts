import { MillraceError } from '../errors.ts';

export type LogErrorCode =
  /** No room: disk, size limit or queue. Nothing was appended. */
  | 'LOG_FULL'
  /** The broker or file did not answer. Whether the record was appended is not known. */
  | 'LOG_UNREACHABLE'
  | 'LOG_CORRUPT'
  /** The record is larger than `recordBytesMax`. */
  | 'LOG_RECORD_TOO_LARGE'
  /** The lease on the partition is over: another consumer may own it. */
  | 'LOG_FENCED'
  | 'LOG_CLOSED';
export class LogError extends MillraceError<LogErrorCode> {}

/** Who waits for an append. One object per message, made anyway by the ingress: no closure, no promise. */
export interface AppendReceipt {
  /** The record is durable. Called once, from the event loop, in offset order within a partition. */
  appended(partition: number, offset: number): void;
  /** The record was refused. Called once, instead of `appended`. */
  refused(error: LogError): void;
}

/** Consecutive records of one partition, framed in one buffer of its own, ready to be transferred to a worker.
 *  @shape bytes: for each record, u32 LE size then the record (an envelope, not size-prefixed itself).
 *         offsets: the offset of each record, or null when they are first, first+1, … last
 *  @holds bytes.byteOffset is 0 and bytes spans its whole ArrayBuffer; nobody else holds it */
export interface LogBatch {
  readonly partition: number;
  readonly first: number;
  readonly last: number;
  readonly count: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly offsets: Float64Array<ArrayBuffer> | null;
}

export interface ReadOptions {
  /** Stop before the batch exceeds this, but give one record at least. */
  readonly bytesMax: number;
  /** Give nothing beyond this offset (inclusive). */
  readonly last?: number;
  /** Resolve with null when nothing came for so long. */
  readonly waitMsMax: number;
  readonly signal?: AbortSignal;
}

export interface Committed {
  /** The next offset to read. */
  readonly offset: number;
  /** Free text kept with it ("" if none), at most 4 KiB. */
  readonly metadata: string;
}

/** The right to read and commit one partition for a group, until `signal` aborts.
 *  @holds one lease a partition and group at a time; after a rebalance the old lease's `commit` fails with LOG_FENCED */
export interface PartitionLease {
  readonly partition: number;
  /** What the group had committed when the lease began; offset = the earliest kept record if it never did. */
  readonly committed: Committed;
  /** Aborted when the partition is taken away or the consumer stops. */
  readonly signal: AbortSignal;
  /** The records from an offset on, or null when none came in time. One read at a time.
   *  An offset older than the retention gives the earliest kept record.
   *  @throws LogError LOG_UNREACHABLE (retry later), LOG_CORRUPT, LOG_FENCED */
  read(from: number, options: ReadOptions): Promise<LogBatch | null>;
  /** Durable as an append is.  @throws LogError LOG_FENCED, LOG_UNREACHABLE */
  commit(offset: number, metadata: string): Promise<void>;
}

/** A member of a consumer group. `stop` resolves when no lease is left. */
export interface Consumer {
  stop(): Promise<void>;
}

/** One topic of the durable log.
 *  Full means: `append` refuses with LOG_FULL (shed), nothing blocks, nothing grows. */
export interface Log {
  readonly topic: string;
  readonly partitionCount: number;
  readonly recordBytesMax: number;
  /** Appends one record. Copies it (and the key) before it returns; the receipt is called when it is durable.
   *  Appends are gathered until the event loop turns and committed together; while a commit runs, the next gathers.
   *  Never throws: all refusals go to the receipt. */
  append(partition: number, key: string, record: Uint8Array, receipt: AppendReceipt): void;
  /** Why records of so many bytes together would be refused if they were appended now, in this turn of the event loop;
   *  null if all would be taken. For what must be taken as a whole or not at all. */
  refusalOf(bytes: number): LogError | null;
  /** Bytes taken by `append` and not durable yet. */
  readonly pendingBytes: number;
  /** Joins a group. `onLease` is called for each partition that is assigned, runs until the lease's signal aborts, and
   *  must not throw: a rejection is a fault that ends the consumer. */
  consume(group: string, onLease: (lease: PartitionLease) => Promise<void>): Promise<Consumer>;
  /** Follows partitions from the tail (or from given offsets) until the signal aborts. Slow readers slow only themselves. */
  follow(
    partitions: readonly number[],
    from: 'tail' | ReadonlyMap<number, number>,
    options: { readonly bytesMax: number; readonly signal: AbortSignal },
  ): AsyncIterable<LogBatch>;
  /** One look at records that are kept, without a group; null beyond the tail. For "where is my message". */
  peek(partition: number, from: number, options: { readonly bytesMax: number }): Promise<LogBatch | null>;
  /** The earliest kept offset and the next one to be given. */
  extent(partition: number): Promise<{ readonly earliest: number; readonly next: number }>;
  /** What a group has committed, also when nobody consumes. offset −1 if it never did. */
  committed(group: string, partition: number): Promise<Committed>;
}

/** What a topic is opened with. */
export interface TopicOptions {
  readonly topic: string;
  /** Only for a topic that does not exist yet. */
  readonly partitionCount: number;
  /** Records older than this may go, once every group has passed them. */
  readonly retentionMs: number;
  /** The oldest records beyond this size may go, once every group has passed them. Infinity: no limit by size. */
  readonly retentionBytes: number;
  readonly compacted?: boolean;
  /** Groups that must have read a record before it may go, also before they were ever seen. An engine that cannot hold
   *  retention back for them refuses appends (LOG_FULL) before they lose something. */
  readonly neededBy?: readonly string[];
}

/** An engine: opens topics.  @throws LogError LOG_UNREACHABLE, LOG_CORRUPT */
export interface LogEngine {
  readonly name: 'embedded' | 'kafka';
  topic(options: TopicOptions): Promise<Log>;
  /** null when healthy, else what is wrong and what to do. */
  health(): Promise<string | null>;
}

/** `append` as a promise, where one a message is affordable. */
export function appendOne(
  log: Log,
  partition: number,
  key: string,
  record: Uint8Array,
): Promise<{ partition: number; offset: number }> {
  return new Promise((resolve, reject) => {
    log.append(partition, key, record, {
      appended: (at, offset) => resolve({ partition: at, offset }),
      refused: reject,
    });
  });
}
