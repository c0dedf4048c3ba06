import {
  type AppendReceipt,
  type Committed,
  type Consumer,
  type Log,
  type LogBatch,
  LogError,
  type Logger,
  type PartitionLease,
  type TopicOptions,
} from '@millrace/core';
import { SharedConsumer } from './consumer.ts';
import type { Line } from './line.ts';
import { Lane, type LaneHost } from './topic-lane.ts';

/** What the other process says of a topic. */
interface Opened {
  readonly topic: number;
  readonly partitionCount: number;
  readonly recordBytesMax: number;
}

/** One topic of a log that another process has. */
export class SharedTopic implements Log {
  readonly topic: string;
  readonly partitionCount: number;
  readonly recordBytesMax: number;
  readonly #line: Line;
  readonly #logger: Logger;
  readonly #id: number;
  readonly #lanes: readonly Lane[];

  static async open(line: Line, options: TopicOptions, logger: Logger): Promise<Log> {
    return new SharedTopic(line, options.topic, logger, (await line.call('topic', { options })) as Opened);
  }

  private constructor(line: Line, name: string, logger: Logger, opened: Opened) {
    this.#line = line;
    this.#logger = logger;
    this.topic = name;
    this.#id = opened.topic;
    this.partitionCount = opened.partitionCount;
    this.recordBytesMax = opened.recordBytesMax;
    const host: LaneHost = {
      released: (bytes) => {
        line.pendingBytes -= bytes;
      },
      faulted: (err) => logger.error({ err, topic: name }, 'a receipt of the log threw'),
    };
    this.#lanes = Array.from({ length: this.partitionCount }, (_, index) => new Lane(this.#id, index, host));
    line.lanes(this.#id, this.#lanes);
  }

  get pendingBytes(): number {
    return this.#line.pendingBytes;
  }

  append(partition: number, _key: string, record: Uint8Array, receipt: AppendReceipt): void {
    const size = record.length;
    const lane = this.#lanes[partition];
    if (lane === undefined || size > this.recordBytesMax) {
      const { topic, recordBytesMax } = this;
      this.#refuse(
        receipt,
        lane === undefined
          ? new LogError('LOG_UNREACHABLE', 'never', { topic, partition })
          : new LogError('LOG_RECORD_TOO_LARGE', 'never', { recordBytesMax }),
      );
      return;
    }
    const refusal = this.#line.refusalOf(size);
    if (refusal !== null) {
      this.#refuse(receipt, refusal);
      return;
    }
    this.#line.pendingBytes += size;
    lane.add(record, receipt);
    if (lane.gathered === 1) this.#line.gather(lane);
  }

  refusalOf(bytes: number): LogError | null {
    return this.#line.refusalOf(bytes);
  }

  async consume(group: string, onLease: (lease: PartitionLease) => Promise<void>): Promise<Consumer> {
    return SharedConsumer.join(this.#line, this.#id, group, onLease, this.#logger);
  }

  follow(
    partitions: readonly number[],
    from: 'tail' | ReadonlyMap<number, number>,
    options: { readonly bytesMax: number; readonly signal: AbortSignal },
  ): AsyncIterable<LogBatch> {
    const { signal, bytesMax } = options;
    const line = this.#line;
    const of = line.nextCall;
    const where = from === 'tail' ? 'tail' : [...from];
    // At once: the tail is where it is now, not when the first batch is asked for.
    const begun = line.call('follow', { topic: this.#id, partitions, from: where, bytesMax });
    begun.catch(() => undefined);
    const stop = (): void => {
      line.call('unfollow', { of }).catch(() => undefined);
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    return (async function* () {
      try {
        await begun;
        while (!signal.aborted) {
          const batch = (await line.call('next', { of })) as LogBatch | null;
          if (batch === null || signal.aborted) return;
          yield batch;
        }
      } finally {
        signal.removeEventListener('abort', stop);
        if (!signal.aborted) stop();
      }
    })();
  }

  async peek(partition: number, from: number, options: { readonly bytesMax: number }): Promise<LogBatch | null> {
    const { bytesMax } = options;
    return (await this.#line.call('peek', { topic: this.#id, partition, from, bytesMax })) as LogBatch | null;
  }

  async extent(partition: number): Promise<{ readonly earliest: number; readonly next: number }> {
    return (await this.#line.call('extent', { topic: this.#id, partition })) as { earliest: number; next: number };
  }

  async committed(group: string, partition: number): Promise<Committed> {
    return (await this.#line.call('committed', { topic: this.#id, group, partition })) as Committed;
  }

  #refuse(receipt: AppendReceipt, error: LogError): void {
    this.#line.count(error);
    receipt.refused(error);
  }
}
