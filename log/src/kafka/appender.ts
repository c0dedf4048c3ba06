import { type AppendReceipt, LogError, type Logger } from '@millrace/core';
import type { Measures, RefusalReason } from '../measures.ts';
import type { KafkaClient, KafkaProducer, ProducedRecord } from './client.ts';
import { brokerFault, faultKind } from './faults.ts';

/** While a broker is away, further appends to its partitions are refused at once for so long. */
const AWAY_MS = 1_000;
/** So long after its last failed send a broker counts as not healthy, unless it took records since. */
const FAULT_MS = 10_000;

export interface AppenderOptions {
  readonly pendingBytesMax: number;
  /** So much of one partition goes into one request; a larger record goes alone. */
  readonly batchBytesMax: number;
  /** So long records wait for others before they are sent; 0: until the event loop turns. */
  readonly lingerMs: number;
  readonly measures: Measures;
  readonly logger: Logger;
}

/** What goes into one request of one partition. */
interface Gather {
  readonly topic: string;
  readonly partition: number;
  readonly records: ProducedRecord[];
  readonly receipts: AppendReceipt[];
  bytes: number;
}

/** What of one partition waits, in order.
 *  @holds one gather of it is under way at most, also when its leader has moved */
interface Queue {
  readonly topic: string;
  readonly partition: number;
  readonly gathers: Gather[];
  sending: boolean;
}

/** The way to one broker: one request at a time. */
interface Lane {
  readonly leader: number;
  producer: KafkaProducer | null;
  sending: boolean;
  fault: LogError | null;
  failedMs: number;
}

/** Gathers appends until the event loop turns and sends them, one request a broker at a time; while it is under way,
 *  the next gathers.
 *  @holds after a failed send the producer is replaced */
export class Appender {
  pendingBytes = 0;
  readonly #client: KafkaClient;
  readonly #options: AppenderOptions;
  readonly #queues = new Map<string, Queue>();
  readonly #lanes = new Map<number, Lane>();
  readonly #sums = new Map<string, { records: number; bytes: number }>();
  /** Made at the start, for the first who sends. */
  #spare: KafkaProducer | null = null;
  #gathered = 0;
  #timer: NodeJS.Timeout | undefined;
  #scheduled = false;
  #closed = false;
  #stopped = false;

  constructor(client: KafkaClient, options: AppenderOptions) {
    this.#client = client;
    this.#options = options;
  }

  /** Why the last send to some broker failed, for as long as that says something. */
  get fault(): LogError | null {
    const since = performance.now() - FAULT_MS;
    for (const { fault, failedMs } of this.#lanes.values()) if (fault !== null && failedMs > since) return fault;
    return null;
  }

  /** Finds out whether records could be sent at all.  @throws LogError */
  async start(): Promise<void> {
    this.#spare = await this.#client.producer();
  }

  append(
    topic: string,
    partition: number,
    key: string,
    record: Uint8Array,
    recordBytesMax: number,
    receipt: AppendReceipt,
  ): void {
    const size = record.length;
    if (size > recordBytesMax) {
      this.refuse(receipt, 'too_large', new LogError('LOG_RECORD_TOO_LARGE', 'never', { recordBytesMax }));
      return;
    }
    const refusal = this.#noRoom(size) ?? this.#away(this.#client.leaderOf(topic, partition));
    if (refusal !== null) {
      this.refuse(receipt, refusal.reason, refusal.error);
      return;
    }
    this.pendingBytes += size;
    const id = `${topic}/${partition}`;
    let queue = this.#queues.get(id);
    if (queue === undefined) {
      queue = { topic, partition, gathers: [], sending: false };
      this.#queues.set(id, queue);
    }
    let gather = queue.gathers.at(-1);
    if (gather === undefined || gather.bytes + size > this.#options.batchBytesMax) {
      gather = { topic, partition, records: [], receipts: [], bytes: 0 };
      queue.gathers.push(gather);
    }
    gather.records.push({ topic, partition, key: key === '' ? null : key, value: Buffer.from(record) });
    gather.receipts.push(receipt);
    gather.bytes += size;
    this.#gathered += size;
    this.#schedule();
  }

  /** Of a record of a topic, on average; 0 if none was appended yet. */
  recordBytes(topic: string): number {
    const sums = this.#sums.get(topic);
    return sums === undefined ? 0 : sums.bytes / sums.records;
  }

  /** Refuses a record that was not taken, and counts it. */
  refuse(receipt: AppendReceipt, reason: RefusalReason, error: LogError): void {
    this.#options.measures.refused.inc({ reason });
    receipt.refused(error);
  }

  /** @see Log.refusalOf */
  refusalOf(bytes: number): LogError | null {
    const refusal = this.#noRoom(bytes);
    if (refusal !== null) return refusal.error;
    let away: LogError | null = null;
    for (const leader of this.#lanes.keys()) {
      const one = this.#away(leader);
      if (one === null && leader >= 0) return null;
      away ??= one?.error ?? null;
    }
    return away;
  }

  #noRoom(size: number): { reason: RefusalReason; error: LogError } | null {
    if (this.#closed) return { reason: 'closed', error: new LogError('LOG_CLOSED', 'never') };
    const { pendingBytesMax } = this.#options;
    if (this.pendingBytes + size <= pendingBytesMax) return null;
    return { reason: 'full_queue', error: new LogError('LOG_FULL', 'later', { pendingBytesMax }) };
  }

  #away(leader: number): { reason: RefusalReason; error: LogError } | null {
    const lane = this.#lanes.get(leader);
    if (lane === undefined || lane.fault === null || performance.now() >= lane.failedMs + AWAY_MS) return null;
    return { reason: 'unreachable', error: lane.fault };
  }

  #lane(leader: number): Lane {
    let lane = this.#lanes.get(leader);
    if (lane === undefined) {
      lane = { leader, producer: null, sending: false, fault: null, failedMs: Number.NEGATIVE_INFINITY };
      this.#lanes.set(leader, lane);
    }
    return lane;
  }

  #takeSpare(): KafkaProducer | null {
    const spare = this.#spare;
    this.#spare = null;
    return spare;
  }

  #schedule(): void {
    const { lingerMs, batchBytesMax } = this.#options;
    if (lingerMs > 0 && this.#gathered < batchBytesMax) {
      this.#timer ??= setTimeout(() => this.#soon(), lingerMs);
      return;
    }
    this.#soon();
  }

  #soon(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#turn());
  }

  /** Gives each broker that waits what waits for it, one gather a partition. */
  #turn(): void {
    this.#scheduled = false;
    this.#gathered = 0;
    const rounds = new Map<number, Queue[]>();
    for (const queue of this.#queues.values()) {
      if (queue.sending || queue.gathers.length === 0) continue;
      const leader = this.#client.leaderOf(queue.topic, queue.partition);
      if (this.#lane(leader).sending) continue;
      const round = rounds.get(leader);
      if (round === undefined) rounds.set(leader, [queue]);
      else round.push(queue);
    }
    for (const [leader, queues] of rounds) void this.#send(this.#lane(leader), queues);
  }

  async #send(lane: Lane, queues: readonly Queue[]): Promise<void> {
    lane.sending = true;
    const round = queues.map((queue) => {
      queue.sending = true;
      return queue.gathers.shift() as Gather;
    });
    const endTimer = this.#options.measures.commitSeconds.startTimer();
    try {
      lane.producer ??= this.#takeSpare() ?? (await this.#client.producer());
      const bases = await lane.producer.send(round);
      endTimer();
      lane.fault = null;
      round.forEach((gather, index) => {
        this.#settle(gather, bases[index] as number);
      });
    } catch (cause) {
      await this.#failed(lane, queues, round, cause);
    } finally {
      lane.sending = false;
      for (const queue of queues) queue.sending = false;
      // Connected while all others were closed.
      if (this.#stopped) await lane.producer?.close();
      // Whatever waits has waited for this one.
      if (this.pendingBytes > 0) this.#soon();
    }
  }

  #settle(gather: Gather, base: number): void {
    const { topic, partition, receipts } = gather;
    const { measures, logger } = this.#options;
    this.pendingBytes -= gather.bytes;
    const sums = this.#sums.get(topic) ?? { records: 0, bytes: 0 };
    this.#sums.set(topic, sums);
    sums.records += receipts.length;
    sums.bytes += gather.bytes;
    measures.appends.inc({ topic }, receipts.length);
    measures.appendBytes.inc({ topic }, gather.bytes);
    for (let at = 0; at < receipts.length; ) {
      try {
        while (at < receipts.length) {
          const receipt = receipts[at] as AppendReceipt;
          receipt.appended(partition, base + at++);
        }
      } catch (error) {
        logger.error({ err: error, topic }, 'a receipt of the log threw');
      }
    }
  }

  async #failed(lane: Lane, queues: readonly Queue[], round: readonly Gather[], cause: unknown): Promise<void> {
    const lost = lane.producer;
    lane.producer = null;
    const error = cause instanceof LogError ? cause : brokerFault(null, String(cause), cause);
    const { logger, measures } = this.#options;
    logger.error({ err: cause }, 'Kafka did not take the records');
    measures.faults.inc({ kind: faultKind(error) });
    if (error.code === 'LOG_UNREACHABLE') {
      lane.fault = error;
      lane.failedMs = performance.now();
    }
    // What waits behind them would only time out one round after the other.
    const waiting = [...this.#queues.values()].filter(
      (queue) => queues.includes(queue) || this.#client.leaderOf(queue.topic, queue.partition) === lane.leader,
    );
    for (const gather of [...round, ...waiting.flatMap((queue) => queue.gathers.splice(0))]) {
      this.#refuseAll(gather, error);
    }
    await lost?.close();
  }

  #refuseAll(gather: Gather, error: LogError): void {
    this.pendingBytes -= gather.bytes;
    const reason = error.code === 'LOG_CLOSED' ? 'closed' : error.code === 'LOG_FULL' ? 'full_log' : 'unreachable';
    for (const receipt of gather.receipts) this.refuse(receipt, reason, error);
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#closed = true;
    const end = performance.now() + deadlineMs;
    while (this.pendingBytes > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  async stop(): Promise<void> {
    this.#closed = true;
    this.#stopped = true;
    clearTimeout(this.#timer);
    const closed = new LogError('LOG_CLOSED', 'never');
    for (const { gathers } of this.#queues.values()) {
      for (const gather of gathers.splice(0)) this.#refuseAll(gather, closed);
    }
    const lanes = [...this.#lanes.values()];
    this.#lanes.clear();
    await Promise.all([...lanes.map(({ producer }) => producer?.close()), this.#takeSpare()?.close()]);
  }
}
