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
import { createMeasures, type RefusalReason } from '../measures.ts';
import { type Durability, diskFault, SegmentFiles } from './files.ts';
import type { Gather } from './gather.ts';
import { Journal } from './journal.ts';
import { lockDirectory } from './lock.ts';
import { Partition } from './partition.ts';
import { SegmentReader } from './reader.ts';
import { type Recovered, recover } from './recovery.ts';
import { Refusals } from './refusals.ts';
import { Rounds } from './rounds.ts';
import { type Segment, spanKey } from './segment.ts';
import type { Change, State, TopicState } from './state.ts';
import { EmbeddedTopic } from './topic.ts';
import { Upkeep } from './upkeep.ts';
import { within } from './within.ts';

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
  /** Of one file: the grain of retention. */
  readonly segmentBytesMax?: number;
  readonly retentionEveryMs?: number;
  readonly roundsInFlightMax?: number;
  /** So long a round may take before the next one is written beside it. */
  readonly overlapAfterMs?: number;
  /** ms since 1970; retention only ever trusts it to delete what was consumed. */
  readonly now?: () => number;
}

const SEGMENT_BYTES_MAX = 8 * 1024 * 1024;
const SEGMENT_BYTES_MIN = 4_096;
/** So that the clients of one round need not wait for those of another. @source ADR 0011 */
const ROUNDS_IN_FLIGHT_MAX = 2;
const OVERLAP_AFTER_MS = 0.5;
const RETENTION_EVERY_MS = 1_000;

/** The log in segment files of its own: gathers appends until the event loop turns, and writes them in rounds of one
 *  write each.  @source ADR 0011 */
export function embeddedLog(options: EmbeddedLogOptions): Component<LogEngine> {
  return {
    name: 'log',
    async start() {
      const { directory } = options;
      const segmentBytes = Math.max(
        SEGMENT_BYTES_MIN,
        Math.min(options.segmentBytesMax ?? SEGMENT_BYTES_MAX, Math.ceil(options.bytesMax / 16)),
      );
      let unlock = (): void => {};
      let engine: EmbeddedEngine;
      try {
        mkdirSync(directory, { recursive: true });
        unlock = lockDirectory(directory);
        const files = new SegmentFiles(directory, options.durability);
        const recovered = await recover(files, segmentBytes, options.logger);
        engine = new EmbeddedEngine(options, files, segmentBytes, recovered);
      } catch (error) {
        unlock();
        throw diskFault(directory, error);
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

export class EmbeddedEngine implements LogEngine {
  readonly name = 'embedded';
  readonly recordBytesMax: number;
  readonly logger: Logger;
  readonly reader = new SegmentReader();
  readonly state: State;
  pendingBytes = 0;
  readonly #options: EmbeddedLogOptions;
  readonly #journal: Journal;
  readonly #rounds: Rounds;
  readonly #refusals: Refusals;
  readonly #topics = new Map<string, Promise<EmbeddedTopic>>();
  readonly #partitions: Partition[] = [];
  readonly #byKey = new Map<number, Partition>();
  readonly #pool: Gather[] = [];
  readonly #ending = new AbortController();
  readonly #upkeep: Upkeep;
  #topicId: number;
  /** What closed segments hold. */
  #closedBytes = 0;
  #closed = false;
  #diskFull: LogError | null = null;
  #failing: LogError | null = null;
  #probing = false;
  /** The log had its size when a record came; until retention has removed something. */
  #refusedFull = false;

  constructor(options: EmbeddedLogOptions, files: SegmentFiles, segmentBytes: number, recovered: Recovered) {
    this.#options = options;
    this.logger = options.logger;
    this.recordBytesMax = options.recordBytesMax;
    this.state = recovered.state;
    this.#topicId = Math.max(0, ...[...this.state.topics.values()].map(({ id }) => id)) + 1;
    this.#restore(recovered);
    const measures = createMeasures(options.metrics, {
      pendingBytes: () => this.pendingBytes,
      bytes: () => this.#bytes,
      partitions: () => this.#partitions.map(({ topic, index, next }) => ({ topic, partition: index, next })),
      lags: () => this.#lags(),
    });
    this.#refusals = new Refusals(options, measures);
    this.#rounds = new Rounds({
      journal: () => this.#journal,
      partitions: this.#partitions,
      state: this.state,
      measures,
      refusals: this.#refusals,
      logger: options.logger,
      nowMs: () => this.#nowMs(),
      released: (bytes) => {
        this.pendingBytes -= bytes;
      },
      wrote: (fault) => this.#wrote(fault),
    });
    this.#journal = new Journal(recovered, {
      files,
      segmentBytes,
      logger: options.logger,
      roundsInFlightMax: options.roundsInFlightMax ?? ROUNDS_IN_FLIGHT_MAX,
      overlapAfterMs: options.overlapAfterMs ?? OVERLAP_AFTER_MS,
      head: () => ({
        topics: [...this.state.topics.values()],
        commits: this.state.commits(),
        nexts: this.#partitions.map(({ topicId, index, next }) => [topicId, index, next] as const),
      }),
      settled: (round) => this.#rounds.settled(round),
      failed: (rounds, fault) => this.#rounds.failed(rounds, fault),
      rolled: (full) => {
        this.#closedBytes += full.end;
        this.reader.keep(full);
      },
      ready: () => this.#rounds.ready(),
    });
    this.#upkeep = new Upkeep(options.retentionEveryMs ?? RETENTION_EVERY_MS, {
      segments: this.#journal.segments,
      state: this.state,
      logger: options.logger,
      bytesMax: options.bytesMax,
      nowMs: () => this.#nowMs(),
      bytes: () => this.#bytes,
      diskFull: () => this.#diskFull !== null,
      remove: (segment) => this.#remove(segment),
      passed: () => this.#passed(),
    });
  }

  #restore({ segments, nexts }: Recovered): void {
    for (const topic of this.state.topics.values()) this.#create(topic, nexts);
    for (const [at, segment] of segments.entries()) {
      if (at < segments.length - 1) this.#closedBytes += segment.end;
      for (const [key, span] of segment.spans) this.#byKey.get(key)?.restore(span);
    }
  }

  #create({ id, topic, partitionCount }: TopicState, nexts?: ReadonlyMap<number, number>): void {
    for (let index = 0; index < partitionCount; index++) {
      const key = spanKey(id, index);
      const partition = new Partition(topic, id, index, nexts?.get(key) ?? 0, this.#pool);
      this.#partitions.push(partition);
      this.#byKey.set(key, partition);
    }
  }

  get ending(): AbortSignal {
    return this.#ending.signal;
  }

  get #bytes(): number {
    return this.#closedBytes + this.#journal.open.end;
  }

  topic(options: TopicOptions): Promise<Log> {
    const known = this.#topics.get(options.topic);
    if (known !== undefined) return known;
    const opening = this.#openTopic(options);
    this.#topics.set(options.topic, opening);
    opening.catch(() => this.#topics.delete(options.topic));
    return opening;
  }

  /** @throws LogError LOG_UNREACHABLE: this engine has no compaction, and would fill up without telling */
  async #openTopic({
    topic,
    partitionCount,
    retentionMs,
    retentionBytes,
    compacted,
  }: TopicOptions): Promise<EmbeddedTopic> {
    if (compacted === true) {
      const problem = 'the embedded log has no compacted topics';
      throw new LogError('LOG_UNREACHABLE', 'never', { topic, problem });
    }
    const stored = this.state.topics.get(topic);
    const id = stored?.id ?? this.#topicId++;
    const wanted = { id, topic, partitionCount: stored?.partitionCount ?? partitionCount, retentionMs, retentionBytes };
    if (stored?.retentionMs !== retentionMs || stored.retentionBytes !== retentionBytes) {
      await this.change([{ topic: wanted }]);
    }
    if (stored === undefined) this.#create(wanted);
    if (wanted.partitionCount !== partitionCount) {
      this.logger.info(
        { topic, partitionCount: wanted.partitionCount, asked: partitionCount },
        'the topic keeps the partition count that it was created with',
      );
    }
    return new EmbeddedTopic(
      this,
      topic,
      this.#partitions.filter(({ topicId }) => topicId === id),
    );
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
      this.#refusals.one(reason, receipt);
      return;
    }
    this.pendingBytes += size;
    partition.take(record, receipt);
    this.#rounds.schedule();
  }

  /** @see Log.refusalOf */
  refusalOf(bytes: number): LogError | null {
    const reason = this.#noRoom(bytes);
    if (reason === 'full_log') this.#refusedFull = true;
    return reason === null ? null : this.#refusals.error(reason);
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
  async change(changes: readonly Change[]): Promise<void> {
    if (changes.length === 0) return;
    if (this.#ending.signal.aborted) throw new LogError('LOG_CLOSED', 'never');
    await this.#rounds.request(changes);
  }

  #wrote(fault: LogError | null): void {
    this.#failing = fault;
    if (fault?.code === 'LOG_FULL') this.#diskFull = fault;
  }

  /** Takes a segment from the readers' sight, and away. */
  async #remove(segment: Segment): Promise<void> {
    for (const key of segment.spans.keys()) this.#byKey.get(key)?.forget(segment);
    this.reader.forget(segment);
    this.#closedBytes -= segment.end;
    this.#refusedFull = false;
    await this.#journal.drop(segment);
  }

  /** The way back from a full disk. */
  #passed(): void {
    this.#journal.prepare();
    if (this.#diskFull === null) this.#probe();
    if (this.#diskFull === null || !this.#journal.spareReady) return;
    this.#diskFull = null;
    this.#failing = null;
    this.logger.info('the log takes messages again');
  }

  /** After a failed write: whoever looks at `health` may send nothing before it is good again. */
  #probe(): void {
    if (this.#failing === null || this.#probing || this.#closed) return;
    this.#probing = true;
    const over = (): void => {
      this.#probing = false;
    };
    this.#rounds.request([]).then(over, over);
  }

  *#lags(): Iterable<{ topic: string; group: string; partition: number; lag: number }> {
    for (const topic of this.state.topics.keys()) {
      const partitions = this.#partitions.filter((partition) => partition.topic === topic);
      for (const [group, committed] of this.state.groups(topic)) {
        for (const { index, next, earliest } of partitions) {
          const offset = Math.max(committed[index]?.offset ?? -1, earliest);
          yield { topic, group, partition: index, lag: Math.max(0, next - offset) };
        }
      }
    }
  }

  #nowMs(): number {
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
    this.#upkeep.stop();
    const topics = await Promise.allSettled(this.#topics.values());
    const leaving = topics.map((opened) => (opened.status === 'fulfilled' ? opened.value.stop() : undefined));
    this.#ending.abort();
    this.#rounds.stop();
    await within(Promise.all(leaving), 2_000);
    await this.#journal.stop(this.#nowMs());
    this.#rounds.stop();
  }
}
