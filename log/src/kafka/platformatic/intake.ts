import { type LogBatch, LogError, type Logger, type ReadOptions } from '@millrace/core';
import { protocolErrorsCodesById } from '@platformatic/kafka';
import type { Extent, KafkaReader } from '../client.ts';
import { brokerFault } from '../faults.ts';
import { type Brokers, CALL_MS_MAX, Links } from './brokers.ts';
import { decompress } from './codecs.ts';
import { platformaticFault } from './faults.ts';
import { fetch } from './fetch.ts';
import { Inbox } from './inbox.ts';
import { pause } from './patience.ts';

/** A fetch that finds nothing waits so long at the broker; a partition that is asked for meanwhile waits with it. */
const FETCH_WAIT_MS_MAX = 100;
const RETRY_MS = 200;

/** Fetches what is read, from each leader with one request at a time.
 *  @holds no offset is ever gone to that nobody asked for, but the earliest one when what was asked for is gone */
export class Intake implements KafkaReader {
  readonly #topic: string;
  readonly #brokers: Brokers;
  readonly #links: Links;
  readonly #extents: (topic: string) => Promise<ReadonlyMap<number, Extent>>;
  readonly #logger: Logger;
  /** null: any partition may be read. */
  #ours: ReadonlySet<number> | null;
  readonly #inboxes = new Map<number, Inbox>();
  readonly #loops = new Map<number, Promise<void>>();
  #looking: Promise<void> | null = null;
  readonly #ending = new AbortController();

  constructor(
    brokers: Brokers,
    topic: string,
    parts: {
      extents: (topic: string) => Promise<ReadonlyMap<number, Extent>>;
      logger: Logger;
      ours: ReadonlySet<number> | null;
    },
  ) {
    this.#brokers = brokers;
    this.#links = new Links(brokers);
    this.#topic = topic;
    this.#extents = parts.extents;
    this.#logger = parts.logger;
    this.#ours = parts.ours;
  }

  /** From now on only these may be read; what is received of those that are kept stays. */
  assign(partitions: readonly number[], kept: readonly number[]): void {
    this.#ours = new Set(partitions);
    this.#drop((partition) => !kept.includes(partition));
  }

  #drop(gone: (partition: number) => boolean): void {
    for (const [partition, inbox] of [...this.#inboxes]) {
      if (!gone(partition)) continue;
      this.#inboxes.delete(partition);
      inbox.rest();
      inbox.wake?.();
    }
  }

  async read(
    partition: number,
    from: number,
    options: Omit<ReadOptions, 'signal'>,
    signals: readonly AbortSignal[],
  ): Promise<LogBatch | null> {
    if (this.#ours?.has(partition) === false) throw new LogError('LOG_FENCED', 'never', { partition });
    const { bytesMax, waitMsMax, last = Number.POSITIVE_INFINITY } = options;
    if (from > last || this.#ending.signal.aborted) return null;
    const inbox = this.#inbox(partition);
    inbox.want(from, bytesMax);
    const end = performance.now() + waitMsMax;
    for (;;) {
      this.#pump();
      const { events } = inbox;
      const all = await this.#gather(inbox, bytesMax, last);
      const left = end - performance.now();
      const over = this.#inboxes.get(partition) !== inbox || signals.some((signal) => signal.aborted);
      if (over) return null;
      if (inbox.readable && (all || last === Number.POSITIVE_INFINITY || left <= 0)) {
        const batch = inbox.take(bytesMax, last);
        if (batch !== null) {
          this.#pump();
          return batch;
        }
      }
      if (left <= 0) return null;
      if (inbox.events === events) await received(inbox, left, signals);
    }
  }

  #inbox(partition: number): Inbox {
    let inbox = this.#inboxes.get(partition);
    if (inbox === undefined) {
      inbox = new Inbox(partition);
      this.#inboxes.set(partition, inbox);
    }
    return inbox;
  }

  async #gather(inbox: Inbox, bytesMax: number, last: number): Promise<boolean> {
    const fault = inbox.takeFault();
    if (fault !== null) throw fault;
    try {
      return await inbox.gather(bytesMax, last, decompress);
    } catch (cause) {
      inbox.forget();
      const { partition } = inbox;
      throw new LogError('LOG_CORRUPT', 'never', { topic: this.#topic, partition, problem: String(cause) }, { cause });
    }
  }

  rest(partition: number): void {
    this.#inboxes.get(partition)?.rest();
  }

  /** Sees to it that whatever is due is being fetched. */
  #pump(): void {
    if (this.#ending.signal.aborted) return;
    for (const inbox of this.#inboxes.values()) {
      if (!inbox.due) continue;
      const node = this.#brokers.leader(this.#topic, inbox.partition);
      if (node === null) {
        this.#looking ??= this.#look();
      } else if (!this.#loops.has(node)) {
        this.#loops.set(node, this.#loop(node));
      }
    }
  }

  async #look(): Promise<void> {
    // Not at once: the caller is still in the middle of something.
    await pause(0);
    await this.#refreshed();
    this.#looking = null;
    this.#pump();
  }

  async #refreshed(): Promise<void> {
    try {
      await this.#brokers.refresh(this.#topic);
      return;
    } catch (error) {
      this.#logger.warn({ err: error, topic: this.#topic }, 'who leads the partitions of Kafka is not known');
    }
    await pause(RETRY_MS, this.#ending.signal);
  }

  async #loop(node: number): Promise<void> {
    await pause(0);
    while (!this.#ending.signal.aborted) {
      const due = [...this.#inboxes.values()].filter(
        (inbox) => inbox.due && this.#brokers.leader(this.#topic, inbox.partition) === node,
      );
      if (due.length === 0) break;
      try {
        await this.#fetch(node, due);
      } catch (cause) {
        if (this.#ending.signal.aborted) break;
        const error = platformaticFault(cause);
        this.#logger.warn({ err: error, topic: this.#topic, broker: node }, 'a broker of Kafka gave nothing');
        await pause(RETRY_MS, this.#ending.signal);
        await this.#refreshed();
      }
    }
    this.#loops.delete(node);
    this.#pump();
  }

  /** @throws what the broker said of the whole, or of one of the partitions */
  async #fetch(node: number, due: readonly Inbox[]): Promise<void> {
    const link = await this.#links.to(node);
    const asked = due.map(({ partition, next }) => ({ partition, from: next }));
    const request = { topic: this.#topic, asked, waitMsMax: FETCH_WAIT_MS_MAX };
    const { errorCode, partitions } = await link.call(fetch, FETCH_WAIT_MS_MAX + CALL_MS_MAX, request);
    let fault = errorCode === 0 ? null : faultOf(errorCode);
    for (const fetched of partitions) {
      const index = asked.findIndex(({ partition }) => partition === fetched.partition);
      const inbox = due[index];
      if (inbox === undefined || this.#inboxes.get(inbox.partition) !== inbox) continue;
      const from = asked[index]?.from as number;
      if (fetched.errorCode === 0) inbox.receive(from, fetched.set);
      else if (protocolErrorsCodesById[fetched.errorCode] === 'OFFSET_OUT_OF_RANGE')
        await this.#outOfRange(inbox, from);
      else fault = faultOf(fetched.errorCode);
    }
    if (fault !== null) throw fault;
  }

  /** What is older than the retention goes on with the earliest; what is beyond the end is no place to go on from. */
  async #outOfRange(inbox: Inbox, from: number): Promise<void> {
    const { partition } = inbox;
    const extent = (await this.#extents(this.#topic)).get(partition);
    if (extent === undefined || inbox.next !== from) return;
    if (from < extent.earliest) {
      inbox.next = extent.earliest;
      return;
    }
    const facts = { topic: this.#topic, partition, offset: from, next: extent.next, problem: 'OFFSET_OUT_OF_RANGE' };
    inbox.fail(new LogError('LOG_UNREACHABLE', 'later', facts));
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    this.#ours = new Set();
    this.#drop(() => true);
    this.#links.close();
    await Promise.all([...this.#loops.values(), this.#looking]);
  }
}

function faultOf(errorCode: number): LogError {
  return brokerFault(protocolErrorsCodesById[errorCode] ?? null, `error ${errorCode}`, undefined);
}

function received(inbox: Inbox, waitMs: number, signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(wake, Math.min(waitMs, 2 ** 31 - 1));
    function wake(): void {
      clearTimeout(timer);
      inbox.wake = null;
      for (const signal of signals) signal.removeEventListener('abort', wake);
      resolve();
    }
    inbox.wake = wake;
    for (const signal of signals) signal.addEventListener('abort', wake, { once: true });
  });
}
