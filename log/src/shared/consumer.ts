import {
  type Committed,
  type Consumer,
  type LogBatch,
  LogError,
  type Logger,
  type PartitionLease,
  type ReadOptions,
} from '@millrace/core';
import type { Event } from './frame.ts';
import type { Line } from './line.ts';

type OnLease = (lease: PartitionLease) => Promise<void>;

/** A member of a consumer group whose log another process has. */
export class SharedConsumer implements Consumer {
  readonly #line: Line;
  readonly #id: number;
  readonly #onLease: OnLease;
  readonly #logger: Logger;
  readonly #leases = new Map<number, { readonly ending: AbortController; readonly done: Promise<void> }>();

  static async join(line: Line, topic: number, group: string, onLease: OnLease, logger: Logger): Promise<Consumer> {
    const consumer = new SharedConsumer(line, line.nextCall, onLease, logger);
    line.leases(consumer.#id, (event) => consumer.#hear(event));
    try {
      await line.call('consume', { topic, group });
    } catch (error) {
      line.leases(consumer.#id, undefined);
      throw error;
    }
    return consumer;
  }

  private constructor(line: Line, id: number, onLease: OnLease, logger: Logger) {
    this.#line = line;
    this.#id = id;
    this.#onLease = onLease;
    this.#logger = logger;
  }

  async stop(): Promise<void> {
    await this.#line.call('leave', { of: this.#id }).catch(() => undefined);
    this.#end(-1);
    await Promise.all([...this.#leases.values()].map(({ done }) => done));
    this.#line.leases(this.#id, undefined);
  }

  #hear(event: Event): void {
    if (event.event === 'over') this.#end(event.lease);
    else {
      const ending = new AbortController();
      const lease = new SharedLease(this.#line, event, ending.signal);
      this.#leases.set(event.lease, { ending, done: this.#run(event.lease, lease) });
    }
  }

  /** @param lease -1: all */
  #end(lease: number): void {
    for (const [id, { ending }] of this.#leases) if (lease === -1 || id === lease) ending.abort();
  }

  async #run(of: number, lease: PartitionLease): Promise<void> {
    let failed = false;
    try {
      await this.#onLease(lease);
    } catch (error) {
      failed = !lease.signal.aborted;
      if (failed) this.#logger.error({ err: error, partition: lease.partition }, 'a log consumer failed');
    }
    this.#end(of);
    this.#leases.delete(of);
    await this.#line.call('done', { of, failed }).catch(() => undefined);
  }
}

class SharedLease implements PartitionLease {
  readonly partition: number;
  readonly committed: Committed;
  readonly signal: AbortSignal;
  readonly #line: Line;
  readonly #id: number;

  constructor(line: Line, event: Extract<Event, { event: 'lease' }>, signal: AbortSignal) {
    this.#line = line;
    this.#id = event.lease;
    this.partition = event.partition;
    this.committed = event.committed;
    this.signal = signal;
  }

  async read(from: number, { signal, ...options }: ReadOptions): Promise<LogBatch | null> {
    this.#fence();
    if (signal?.aborted === true) return null;
    const of = this.#line.nextCall;
    const reading = this.#line.call('read', { of: this.#id, from, ...options });
    const cancel = (): void => {
      this.#line.call('cancel', { of }).catch(() => undefined);
    };
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return (await reading) as LogBatch | null;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  async commit(offset: number, metadata: string): Promise<void> {
    this.#fence();
    await this.#line.call('commit', { of: this.#id, offset, metadata });
  }

  #fence(): void {
    if (this.signal.aborted) throw new LogError('LOG_FENCED', 'never', { partition: this.partition });
  }
}
