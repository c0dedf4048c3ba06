import { type LogBatch, LogError, type Logger } from '@millrace/core';
import type { Batch, Consumer, Kafka, KafkaMessage } from 'kafkajs';
import type { Extent, KafkaMember, MemberEvents } from '../client.ts';
import { frameBatch } from '../frames.ts';
import { kafkaFault } from './faults.ts';
import { Membership } from './membership.ts';

/** What one partition has received and nobody has read yet.
 *  @holds bounded: fetching pauses once `bytes` reaches `bytesMax`, and goes on when a read has emptied half of it */
interface Buffer {
  readonly partition: number;
  messages: KafkaMessage[];
  head: number;
  bytes: number;
  bytesMax: number;
  /** The next offset to be read, or null when nobody reads. */
  at: number | null;
  /** The next offset to be received. */
  next: number;
  paused: boolean;
  wake: (() => void) | null;
}

const BUFFER_BYTES_MAX = 4 * 1024 * 1024;
/** Packed; unpacked it may be ten times as much, and the client makes an object of each record. */
const FETCH_BYTES_MAX = 512 * 1024;
/** A fetch that finds nothing waits so long at the broker; a seek or resume may have to wait for it. */
const FETCH_WAIT_MS_MAX = 100;
/** Less than the client's `requestTimeout`: a SyncGroup waits for a leader that was killed until its session is over.
 *  If it timed out before that, the consumer would come back as a new member, leave its old self behind as the next
 *  leader that does not answer, and so on. */
const SESSION_MS_MAX = 7_000;
/** After kafkajs has given up. */
const AGAIN_MS = 2_000;
/** Before an offset that the log does not have, and has had or will have, is asked for again. */
const OUT_OF_RANGE_MS = 200;
/** So long `stop` waits for a join that is under way. */
const JOIN_MS_MAX = 3_000;

/** A kafkajs consumer turned from push to pull: partitions are paused until somebody reads them. */
export class Intake implements KafkaMember {
  readonly #consumer: Consumer;
  readonly #topic: string;
  readonly #extents: (topic: string) => Promise<ReadonlyMap<number, Extent>>;
  readonly #logger: Logger;
  readonly #events: MemberEvents;
  readonly #buffers = new Map<number, Buffer>();
  /** Settles when the group was joined for the first time, or could not be. */
  joining: Promise<void> = Promise.resolve();
  heardMs = performance.now();
  #stopped = false;
  readonly #membership: Membership;

  constructor(
    kafka: Kafka,
    topic: string,
    group: string,
    parts: {
      extents: (topic: string) => Promise<ReadonlyMap<number, Extent>>;
      logger: Logger;
      events: MemberEvents;
    },
  ) {
    this.#topic = topic;
    this.#extents = parts.extents;
    this.#logger = parts.logger;
    this.#events = parts.events;
    this.#membership = new Membership(
      group,
      () => this.#buffers.keys(),
      (partition) => this.#outOfRange(partition),
    );
    this.#consumer = kafka.consumer({
      groupId: group,
      allowAutoTopicCreation: false,
      partitionAssigners: this.#membership.assigners,
      maxWaitTimeInMs: FETCH_WAIT_MS_MAX,
      maxBytesPerPartition: FETCH_BYTES_MAX,
      sessionTimeout: SESSION_MS_MAX,
      heartbeatInterval: 1_000,
      rebalanceTimeout: 30_000,
      retry: { retries: 10, initialRetryTime: 100, maxRetryTime: 2_000, restartOnFailure: async () => !this.#stopped },
    });
  }

  async start(): Promise<void> {
    const consumer = this.#consumer;
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      this.#logger.warn({ err: payload.error, restart: payload.restart }, 'a Kafka consumer lost its broker');
      this.#lost();
      this.#events.leaving();
      // kafkajs gives up for good on what it does not know to pass: a right or a password that is mended later, a batch
      // that cannot be unpacked.
      if (!payload.restart && !this.#stopped) this.joining = this.#again();
    });
    consumer.on(consumer.events.HEARTBEAT, () => {
      this.heardMs = performance.now();
    });
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      this.heardMs = performance.now();
      this.#joined(payload.memberAssignment[this.#topic] ?? []);
    });
    try {
      await this.#connect();
    } catch (cause) {
      throw kafkaFault(cause);
    }
    // Not awaited: after a kill -9 the group waits for the member that is gone until its session is over, and a node
    // that can take messages need not wait with it. Why a join fails is told by CRASH.
    this.joining = this.#run();
  }

  async #connect(): Promise<void> {
    await this.#consumer.connect();
    await this.#consumer.subscribe({ topics: [this.#topic], fromBeginning: true });
  }

  async #again(): Promise<void> {
    while (!this.#stopped) {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      if (this.#stopped) return;
      try {
        await this.#connect();
        return await this.#run();
      } catch (error) {
        this.#logger.warn({ err: error }, 'a Kafka consumer is not back yet');
      }
    }
  }

  #run(): Promise<void> {
    return this.#consumer
      .run({
        autoCommit: false,
        partitionsConsumedConcurrently: 4,
        eachBatch: async ({ batch, isStale }) => {
          if (!isStale()) this.#receive(batch);
        },
      })
      .catch((error: unknown) => {
        this.#logger.error({ err: error }, 'a Kafka consumer did not join its group');
      });
  }

  /** What was ours and still is goes on where it was: reads, and what is received ahead of them. */
  #joined(partitions: readonly number[]): void {
    if (!this.#membership.settle()) this.#forget(() => true);
    this.#forget((partition) => !partitions.includes(partition));
    const topic = this.#topic;
    const kept = [...this.#buffers.keys()];
    for (const { partition, at, next } of this.#buffers.values()) {
      if (at !== null) this.#consumer.seek({ topic, partition, offset: String(next) });
    }
    const fresh = partitions.filter((partition) => !this.#buffers.has(partition));
    for (const partition of fresh) {
      this.#buffers.set(partition, {
        partition,
        messages: [],
        head: 0,
        bytes: 0,
        bytesMax: BUFFER_BYTES_MAX,
        at: null,
        next: 0,
        paused: true,
        wake: null,
      });
    }
    if (fresh.length > 0) this.#consumer.pause([{ topic, partitions: fresh }]);
    this.#events.joined(partitions, kept);
  }

  #forget(gone: (partition: number) => boolean): void {
    for (const [partition, buffer] of [...this.#buffers]) {
      if (!gone(partition)) continue;
      this.#buffers.delete(partition);
      buffer.wake?.();
    }
  }

  #lost(): void {
    this.#forget(() => true);
    this.#membership.lose();
  }

  #receive(batch: Batch): void {
    const buffer = this.#buffers.get(batch.partition);
    if (buffer === undefined) return;
    if (buffer.at === null) return;
    for (const message of batch.messages) {
      const offset = Number(message.offset);
      if (offset < buffer.next) continue;
      buffer.messages.push(message);
      buffer.bytes += message.value?.length ?? 0;
      buffer.next = offset + 1;
    }
    if (buffer.bytes >= buffer.bytesMax) this.#pause(buffer);
    buffer.wake?.();
  }

  /** What is older than the retention goes on with the earliest; what is beyond the end is asked for again. */
  async #outOfRange(partition: number): Promise<void> {
    const buffer = this.#buffers.get(partition);
    if (buffer === undefined) return;
    const from = buffer.next;
    const extents = await this.#extents(this.#topic).catch(() => null);
    const earliest = extents?.get(partition)?.earliest ?? 0;
    if (from >= earliest) await new Promise((resolve) => setTimeout(resolve, OUT_OF_RANGE_MS));
    if (this.#buffers.get(partition) !== buffer) return;
    // Whoever reads may want another one meanwhile.
    if (buffer.next === from) buffer.next = Math.max(from, earliest);
    this.#consumer.seek({ topic: this.#topic, partition, offset: String(buffer.next) });
  }

  #pause(buffer: Buffer): void {
    if (buffer.paused) return;
    buffer.paused = true;
    this.#consumer.pause([{ topic: this.#topic, partitions: [buffer.partition] }]);
  }

  #resume(buffer: Buffer): void {
    if (!buffer.paused) return;
    buffer.paused = false;
    this.#consumer.resume([{ topic: this.#topic, partitions: [buffer.partition] }]);
  }

  async read(
    partition: number,
    from: number,
    options: { bytesMax: number; last?: number; waitMsMax: number },
    signals: readonly AbortSignal[],
  ): Promise<LogBatch | null> {
    const buffer = this.#buffers.get(partition);
    if (buffer === undefined) throw new LogError('LOG_FENCED', 'never', { partition });
    const { bytesMax, waitMsMax, last = Number.POSITIVE_INFINITY } = options;
    if (from > last) return null;
    buffer.bytesMax = Math.max(BUFFER_BYTES_MAX, bytesMax);
    if (buffer.at !== from) this.#seek(buffer, from);
    this.#resume(buffer);
    const end = performance.now() + waitMsMax;
    for (;;) {
      const left = end - performance.now();
      const aborted = signals.some((signal) => signal.aborted);
      const there = buffer.messages.length - buffer.head;
      const enough =
        there > 0 && (last === Number.POSITIVE_INFINITY || buffer.next > last || buffer.bytes >= bytesMax || left <= 0);
      if (enough && !aborted) {
        const batch = this.#take(buffer, bytesMax, last);
        if (buffer.bytes < buffer.bytesMax / 2) this.#resume(buffer);
        if (batch !== null) return batch;
      }
      if (left <= 0 || aborted || this.#buffers.get(partition) !== buffer) return null;
      await received(buffer, left, signals);
    }
  }

  commit(partition: number, offset: number, metadata: string): Promise<void> {
    const buffer = this.#buffers.get(partition);
    const ours = (): boolean => buffer !== undefined && this.#buffers.get(partition) === buffer;
    return this.#membership.commit({ topic: this.#topic, partition, offset, metadata }, ours, kafkaFault);
  }

  rest(partition: number): void {
    const buffer = this.#buffers.get(partition);
    if (buffer !== undefined) this.#pause(buffer);
  }

  #seek(buffer: Buffer, from: number): void {
    buffer.messages = [];
    buffer.head = 0;
    buffer.bytes = 0;
    buffer.at = from;
    buffer.next = from;
    this.#consumer.seek({ topic: this.#topic, partition: buffer.partition, offset: String(from) });
  }

  #take(buffer: Buffer, bytesMax: number, last: number): LogBatch | null {
    const { messages, head } = buffer;
    let end = head;
    let size = 0;
    while (end < messages.length) {
      const message = messages[end] as KafkaMessage;
      const frame = 4 + (message.value?.length ?? 0);
      if (Number(message.offset) > last || (end > head && size + frame > bytesMax)) break;
      size += frame;
      end++;
    }
    if (end === head) return null;
    const batch = frameBatch(buffer.partition, messages, head, end, size);
    buffer.bytes -= size - 4 * (end - head);
    buffer.head = end;
    buffer.at = batch.last + 1;
    if (end === messages.length) {
      buffer.messages = [];
      buffer.head = 0;
    } else if (end > 4_096) {
      buffer.messages = messages.slice(end);
      buffer.head = 0;
    }
    return batch;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#lost();
    // A join that is under way can't be called off: who can't wait for it leaves when it is there, so that no member is
    // left that holds partitions for nobody.
    const left = this.joining.then(() => this.#consumer.disconnect());
    left.catch(() => {});
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, JOIN_MS_MAX, 'late');
    });
    const joined = await Promise.race([this.joining, late]);
    clearTimeout(timer);
    if (joined !== 'late') await left;
  }
}

function received(buffer: Buffer, waitMs: number, signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(wake, Math.min(waitMs, 2 ** 31 - 1));
    function wake(): void {
      clearTimeout(timer);
      buffer.wake = null;
      for (const signal of signals) signal.removeEventListener('abort', wake);
      resolve();
    }
    buffer.wake = wake;
    for (const signal of signals) signal.addEventListener('abort', wake, { once: true });
  });
}
