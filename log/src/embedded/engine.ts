// hot
import { mkdirSync } from 'node:fs';
import {
  type AppendReceipt,
  type Component,
  type Log,
  type LogEngine,
  LogError,
  type Logger,
  type Metrics,
  type TopicOptions,
} from '@millrace/core';
import { createMeasures, type Measures, type RefusalReason } from '../measures.ts';
import { Ballast } from './ballast.ts';
import type { Gather } from './chunk.ts';
import { Commits } from './commits.ts';
import { lockDirectory } from './lock.ts';
import { Partition, type PartitionLimits, type Sealed } from './partition.ts';
import { mayGo } from './retention.ts';
import { type Change, type Durability, Store, type Table } from './store.ts';
import { EmbeddedTopic } from './topic.ts';

export interface EmbeddedLogOptions {
  /** Where the log lives. Made if missing; one engine at a time. */
  readonly directory: string;
  readonly durability: Durability;
  /** The whole log, all topics. */
  readonly bytesMax: number;
  /** Appended and not durable yet. */
  readonly pendingBytesMax: number;
  readonly recordBytesMax: number;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** The grain of retention. */
  readonly segmentBytesMax?: number;
  readonly retentionEveryMs?: number;
  /** ms since 1970; retention only ever trusts it to delete what was consumed. */
  readonly now?: () => number;
}

const CHUNK_BYTES_MAX = 1024 * 1024;
const SEGMENT_BYTES_MAX = 16 * 1024 * 1024;
const RETENTION_EVERY_MS = 1_000;
/** Above this share of `bytesMax`, whatever all groups have passed may go. */
const PRESSED_SHARE = 0.9;
const SEGMENTS_A_PASS_MAX = 16;

/** The log in one lmdb file: gathers appends until the event loop turns, and writes them in rounds of one commit. */
export function embeddedLog(options: EmbeddedLogOptions): Component<LogEngine> {
  return {
    name: 'log',
    async start() {
      mkdirSync(options.directory, { recursive: true });
      const unlock = lockDirectory(options.directory);
      let engine: EmbeddedEngine;
      try {
        engine = new EmbeddedEngine(options);
      } catch (error) {
        unlock();
        throw error;
      }
      let stopping: Promise<void> | undefined;
      return {
        value: engine as LogEngine,
        drain: (deadlineMs) => engine.drain(deadlineMs),
        stop() {
          stopping ??= engine.stop().finally(unlock);
          return stopping;
        },
      };
    },
  };
}

interface Request {
  readonly changes: readonly Change[];
  readonly resolve: () => void;
  readonly reject: (error: LogError) => void;
}

export class EmbeddedEngine implements LogEngine {
  readonly name = 'embedded';
  readonly recordBytesMax: number;
  readonly logger: Logger;
  pendingBytes = 0;
  readonly #options: EmbeddedLogOptions;
  readonly #limits: PartitionLimits;
  readonly #store: Store;
  readonly #meta: Table;
  readonly #commits: Commits;
  readonly #measures: Measures;
  readonly #topics = new Map<string, EmbeddedTopic>();
  readonly #partitions: Partition[] = [];
  readonly #pool: Gather[] = [];
  readonly #ballast: Ballast;
  readonly #ending = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #refusals = new Map<RefusalReason, LogError>();
  #requests: Request[] = [];
  #bytes = 0;
  #scheduled = false;
  #round: Promise<void> | null = null;
  #closed = false;
  #diskFull: LogError | null = null;
  #failing: LogError | null = null;
  #trimming = false;
  /** The log had its size when a record came; until retention has removed something. */
  #refusedFull = false;

  constructor(options: EmbeddedLogOptions) {
    this.#options = options;
    this.logger = options.logger;
    this.recordBytesMax = options.recordBytesMax;
    this.#limits = {
      chunkBytesMax: CHUNK_BYTES_MAX,
      segmentBytesMax: Math.min(options.segmentBytesMax ?? SEGMENT_BYTES_MAX, Math.ceil(options.bytesMax / 16)),
    };
    this.#store = new Store(options.directory, options.durability);
    this.#meta = this.#store.table('meta');
    this.#commits = new Commits(this.#store.table('commits'));
    this.#ballast = new Ballast(options.directory);
    this.#ballast.take();
    this.#measures = createMeasures(options.metrics, {
      pendingBytes: () => this.pendingBytes,
      bytes: () => this.#bytes,
      partitions: () => this.#partitions.map(({ topic, index, next }) => ({ topic, partition: index, next })),
      lags: () => this.#lags(),
    });
    this.#timer = setInterval(() => void this.#upkeep(), options.retentionEveryMs ?? RETENTION_EVERY_MS).unref();
  }

  get ending(): AbortSignal {
    return this.#ending.signal;
  }

  async topic(options: TopicOptions): Promise<Log> {
    const known = this.#topics.get(options.topic);
    if (known !== undefined) return known;
    const key = Buffer.from(`topic\0${options.topic}`);
    let stored = this.#meta.getBinary(key);
    if (stored === undefined) {
      stored = Buffer.from(JSON.stringify({ partitionCount: options.partitionCount }));
      await this.change([{ table: this.#meta, key, value: stored }]);
    }
    const { partitionCount } = JSON.parse(stored.toString()) as { partitionCount: number };
    if (partitionCount !== options.partitionCount) {
      this.logger.info(
        { topic: options.topic, partitionCount, asked: options.partitionCount },
        'the topic keeps the partition count that it was created with',
      );
    }
    const again = this.#topics.get(options.topic);
    if (again !== undefined) return again;
    const partitions: Partition[] = [];
    for (let index = 0; index < partitionCount; index++) {
      const name = `${options.topic}/${index}`;
      const tables = { chunks: this.#store.table(`chunks/${name}`), segments: this.#store.table(`segments/${name}`) };
      partitions.push(new Partition(options.topic, index, tables, this.#limits, this.#pool));
    }
    const topic = new EmbeddedTopic(this, this.#commits, options, partitions);
    this.#topics.set(options.topic, topic);
    this.#partitions.push(...partitions);
    this.#weigh();
    return topic;
  }

  async health(): Promise<string | null> {
    if (this.#closed) return 'the log is closed';
    const fault = this.#diskFull ?? this.#failing;
    if (fault !== null) return fault.message;
    if (this.#refusedFull) {
      return `the log is full (${this.#bytes} of ${this.#options.bytesMax} bytes) of messages that are not processed yet: see that the processors run, or raise MILLRACE_LOG_BYTES_MAX`;
    }
    return null;
  }

  /** Takes a record, or tells the receipt at once why not. */
  append(partition: Partition, record: Uint8Array, receipt: AppendReceipt): void {
    const size = record.length;
    const reason = size > this.recordBytesMax ? 'too_large' : this.#noRoom(size);
    if (reason !== null) {
      if (reason === 'full_log') this.#refusedFull = true;
      this.#measures.refused.inc({ reason });
      receipt.refused(this.#refusal(reason));
      return;
    }
    this.pendingBytes += size;
    partition.take(record, receipt);
    if (!this.#scheduled) this.#schedule();
  }

  /** @see Log.refusalOf */
  refusalOf(bytes: number): LogError | null {
    const reason = this.#noRoom(bytes);
    return reason === null ? null : this.#refusal(reason);
  }

  #noRoom(size: number): RefusalReason | null {
    const { bytesMax, pendingBytesMax } = this.#options;
    if (this.#closed) return 'closed';
    if (this.#diskFull !== null) return 'full_disk';
    if (this.pendingBytes + size > pendingBytesMax) return 'full_queue';
    return this.#bytes + this.pendingBytes + size > bytesMax ? 'full_log' : null;
  }

  /** Writes a few small changes with the next round, durable as an append is.
   *  @throws LogError LOG_UNREACHABLE, LOG_CLOSED */
  change(changes: readonly Change[]): Promise<void> {
    if (changes.length === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if (this.#closed && this.#ending.signal.aborted) {
        reject(new LogError('LOG_CLOSED', 'never'));
        return;
      }
      this.#requests.push({ changes, resolve, reject });
      if (!this.#scheduled) this.#schedule();
    });
  }

  #schedule(): void {
    this.#scheduled = true;
    if (this.#round === null) setImmediate(() => this.#begin());
  }

  #begin(): void {
    if (this.#round !== null) return;
    this.#scheduled = false;
    this.#round = this.#write().finally(() => {
      this.#round = null;
      if (this.#scheduled) setImmediate(() => this.#begin());
    });
  }

  /** One round: at most one chunk a partition, and all small changes, in one commit. */
  async #write(): Promise<void> {
    const changes: Change[] = [];
    const sealed: { partition: Partition; chunk: Sealed }[] = [];
    const now = this.#now();
    for (const partition of this.#partitions) {
      const chunk = partition.seal(now, changes);
      if (chunk === null) continue;
      sealed.push({ partition, chunk });
      if (partition.gathered) this.#scheduled = true;
    }
    const requests = this.#requests;
    this.#requests = [];
    for (const request of requests) for (const change of request.changes) changes.push(change);
    if (changes.length === 0) return;
    const endTimer = this.#measures.commitSeconds.startTimer();
    try {
      await this.#store.write(changes);
    } catch (error) {
      this.#failed(error as LogError, sealed);
      await this.#again(requests);
      return;
    }
    endTimer();
    this.#failing = null;
    for (const request of requests) request.resolve();
    for (const { partition, chunk } of sealed) this.#settle(partition, chunk);
  }

  #settle(partition: Partition, chunk: Sealed): void {
    const bytes = chunk.gather.recordBytes;
    this.pendingBytes -= bytes;
    this.#bytes += chunk.stored;
    this.#measures.appends.inc({ topic: partition.topic }, chunk.gather.count);
    this.#measures.appendBytes.inc({ topic: partition.topic }, bytes);
    for (const error of partition.settle(chunk)) {
      this.logger.error({ err: error, topic: partition.topic }, 'a receipt of the log threw');
    }
  }

  /** The round failed. What was appended is refused; where it might be stored nevertheless, the store is asked. */
  #failed(fault: LogError, sealed: readonly { partition: Partition; chunk: Sealed }[]): void {
    this.logger.error({ err: fault }, 'the log could not write');
    this.#failing = fault;
    if (fault.code === 'LOG_FULL') {
      this.#diskFull = fault;
      this.#ballast.release();
    }
    for (const { partition, chunk } of sealed) {
      let refusal = fault;
      try {
        partition.reload();
        if (partition.next >= chunk.end) {
          refusal = new LogError('LOG_UNREACHABLE', 'later', {
            topic: partition.topic,
            problem: 'written, not durable',
          });
        }
      } catch (error) {
        this.logger.error({ err: error, topic: partition.topic }, 'the log could not be read back');
      }
      this.#refuse(partition, chunk.gather, refusal);
    }
    if (this.#diskFull === null) return;
    for (const partition of this.#partitions) {
      for (const gather of partition.abandon()) this.#refuse(partition, gather, fault);
    }
    this.#weigh();
  }

  /** Small changes go again without the appends: they are what makes room. */
  async #again(requests: readonly Request[]): Promise<void> {
    if (requests.length === 0) return;
    try {
      await this.#store.write(requests.flatMap(({ changes }) => changes));
      for (const request of requests) request.resolve();
    } catch (cause) {
      const { facts } = cause as LogError;
      for (const request of requests) request.reject(new LogError('LOG_UNREACHABLE', 'later', facts, { cause }));
    }
  }

  #refuse(partition: Partition, gather: Gather, error: LogError): void {
    const reason = error.code === 'LOG_FULL' ? 'full_disk' : error.code === 'LOG_CLOSED' ? 'closed' : 'unreachable';
    this.pendingBytes -= gather.recordBytes;
    this.#measures.refused.inc({ reason }, gather.count);
    const { receipts } = gather;
    partition.release(gather);
    for (const receipt of receipts) receipt.refused(error);
  }

  #refusal(reason: RefusalReason): LogError {
    let error = this.#refusals.get(reason);
    if (error === undefined) {
      const { bytesMax, pendingBytesMax, recordBytesMax } = this.#options;
      if (reason === 'closed') error = new LogError('LOG_CLOSED', 'never');
      else if (reason === 'too_large') error = new LogError('LOG_RECORD_TOO_LARGE', 'never', { recordBytesMax });
      else if (reason === 'full_queue') error = new LogError('LOG_FULL', 'later', { pendingBytesMax });
      else if (reason === 'full_log') error = new LogError('LOG_FULL', 'later', { bytesMax });
      else error = new LogError('LOG_FULL', 'later', { problem: 'the disk is full' });
      this.#refusals.set(reason, error);
    }
    return error;
  }

  /** Retention, and the way back from a full disk. */
  async #upkeep(): Promise<void> {
    if (this.#trimming || this.#ending.signal.aborted) return;
    this.#trimming = true;
    try {
      for (let passes = 0; passes < SEGMENTS_A_PASS_MAX; passes++) if (!(await this.#trimOne())) break;
      if (this.#diskFull === null) this.#ballast.take();
      else if (this.#store.roomBytes() > 4 * CHUNK_BYTES_MAX && this.#ballast.take()) this.#recover();
    } catch (error) {
      this.logger.warn({ err: error }, 'retention could not free room in the log');
    } finally {
      this.#trimming = false;
    }
  }

  #recover(): void {
    if (this.#diskFull === null) return;
    this.#diskFull = null;
    this.#failing = null;
    this.logger.info('the log takes messages again');
  }

  /** Removes the oldest segment that may go.  @returns whether there was one */
  async #trimOne(): Promise<boolean> {
    const nowMs = this.#now();
    const pressed = this.#diskFull !== null || this.#bytes > this.#options.bytesMax * PRESSED_SHARE;
    let chosen: { partition: Partition; timeMs: number } | null = null;
    for (const topic of this.#topics.values()) {
      const { retentionMs, retentionBytes, compacted = false } = topic.options;
      // The limit is the topic's: each partition gets its share.
      const rules = { retentionMs, retentionBytes: retentionBytes / topic.partitionCount, compacted };
      for (const partition of topic.partitions) {
        const floor = this.#commits.floor(topic.topic, partition.index);
        if (!mayGo(partition.segments, rules, { nowMs, floor, pressed })) continue;
        const timeMs = partition.segments[0]?.timeMs ?? 0;
        if (chosen === null || timeMs < chosen.timeMs) chosen = { partition, timeMs };
      }
    }
    const segment = chosen?.partition.segments[0];
    if (chosen === null || segment === undefined) return false;
    const changes = chosen.partition.removalOf(segment);
    // Readers must not look for it from here on: the store may lack it before this hears of the commit.
    chosen.partition.hide(segment);
    try {
      await this.change(changes);
    } catch (error) {
      chosen.partition.unhide(segment);
      throw error;
    }
    this.#weigh();
    this.#refusedFull = false;
    this.#recover();
    return true;
  }

  #weigh(): void {
    let bytes = 0;
    for (const partition of this.#partitions) bytes += partition.bytes;
    this.#bytes = bytes;
  }

  *#lags(): Iterable<{ topic: string; group: string; partition: number; lag: number }> {
    for (const { topic, partitions } of this.#topics.values()) {
      for (const [group, committed] of this.#commits.groups(topic)) {
        for (const { index, next, earliest } of partitions) {
          const offset = Math.max(committed[index]?.offset ?? -1, earliest);
          yield { topic, group, partition: index, lag: Math.max(0, next - offset) };
        }
      }
    }
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }

  /** Takes no more appends and waits for those that were taken. Offsets may still be committed. */
  async drain(deadlineMs: number): Promise<void> {
    this.#closed = true;
    const end = performance.now() + deadlineMs;
    while (this.pendingBytes > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  async stop(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    const leaving = [...this.#topics.values()].map((topic) => topic.stop());
    this.#ending.abort();
    const closed = new LogError('LOG_CLOSED', 'never');
    for (const partition of this.#partitions) {
      for (const gather of partition.abandon()) this.#refuse(partition, gather, closed);
    }
    await within(Promise.all(leaving), 2_000);
    while (this.#round !== null) await this.#round;
    for (const request of this.#requests) request.reject(closed);
    this.#requests = [];
    await this.#store.close();
  }
}

async function within(work: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}
