import { type AppendReceipt, LogError, type Logger } from '@millrace/core';
import type { Measures, RefusalReason } from '../measures.ts';
import type { KafkaClient, KafkaProducer, ProducedRecord } from './client.ts';
import { brokerFault } from './faults.ts';

/** So much of one partition goes into one request; a larger record goes alone. */
const BATCH_BYTES_MAX = 900_000;
/** While the broker is away, further appends are refused at once for so long. */
const AWAY_MS = 1_000;

/** One gather of one partition of one topic. */
interface Gather {
  readonly topic: string;
  readonly partition: number;
  records: ProducedRecord[];
  receipts: AppendReceipt[];
  bytes: number;
}

/** Gathers appends until the event loop turns and sends them, one request at a time; while it is under way, the next
 *  gathers.
 *  @holds after a failed send the producer is replaced */
export class Appender {
  pendingBytes = 0;
  readonly #client: KafkaClient;
  readonly #measures: Measures;
  readonly #logger: Logger;
  readonly #pendingBytesMax: number;
  readonly #gathers = new Map<string, Gather[]>();
  #producer: KafkaProducer | null = null;
  #scheduled = false;
  #sending: Promise<void> | null = null;
  #closed = false;
  #awayUntil = 0;
  #fault: LogError | null = null;

  constructor(client: KafkaClient, options: { pendingBytesMax: number; measures: Measures; logger: Logger }) {
    this.#client = client;
    this.#pendingBytesMax = options.pendingBytesMax;
    this.#measures = options.measures;
    this.#logger = options.logger;
  }

  get fault(): LogError | null {
    return this.#fault;
  }

  async start(): Promise<void> {
    this.#producer = await this.#client.producer();
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
    const refusal =
      size > recordBytesMax
        ? { reason: 'too_large' as const, error: new LogError('LOG_RECORD_TOO_LARGE', 'never', { recordBytesMax }) }
        : this.#noRoom(size);
    if (refusal !== null) {
      this.#refuse(receipt, refusal.reason, refusal.error);
      return;
    }
    this.pendingBytes += size;
    const id = `${topic}/${partition}`;
    let gathers = this.#gathers.get(id);
    if (gathers === undefined) {
      gathers = [];
      this.#gathers.set(id, gathers);
    }
    let gather = gathers.at(-1);
    if (gather === undefined || gather.bytes + size > BATCH_BYTES_MAX) {
      gather = { topic, partition, records: [], receipts: [], bytes: 0 };
      gathers.push(gather);
    }
    gather.records.push({ topic, partition, key: key === '' ? null : key, value: Buffer.from(record) });
    gather.receipts.push(receipt);
    gather.bytes += size;
    if (!this.#scheduled) this.#schedule();
  }

  /** @see Log.refusalOf */
  refusalOf(bytes: number): LogError | null {
    return this.#noRoom(bytes)?.error ?? null;
  }

  #noRoom(size: number): { reason: RefusalReason; error: LogError } | null {
    if (this.#closed) return { reason: 'closed', error: new LogError('LOG_CLOSED', 'never') };
    if (this.#fault !== null && performance.now() < this.#awayUntil) {
      return { reason: 'unreachable', error: this.#fault };
    }
    const pendingBytesMax = this.#pendingBytesMax;
    if (this.pendingBytes + size <= pendingBytesMax) return null;
    return { reason: 'full_queue', error: new LogError('LOG_FULL', 'later', { pendingBytesMax }) };
  }

  #schedule(): void {
    this.#scheduled = true;
    if (this.#sending === null) setImmediate(() => this.#begin());
  }

  #begin(): void {
    if (this.#sending !== null) return;
    this.#scheduled = false;
    this.#sending = this.#round().finally(() => {
      this.#sending = null;
      if (this.#scheduled) setImmediate(() => this.#begin());
    });
  }

  async #round(): Promise<void> {
    const round: Gather[] = [];
    for (const gathers of this.#gathers.values()) {
      const gather = gathers.shift();
      if (gather !== undefined) round.push(gather);
      if (gathers.length > 0) this.#scheduled = true;
    }
    if (round.length === 0) return;
    const endTimer = this.#measures.commitSeconds.startTimer();
    let bases: readonly number[];
    try {
      this.#producer ??= await this.#client.producer();
      bases = await this.#producer.send(round);
    } catch (cause) {
      await this.#failed(round, cause);
      return;
    }
    endTimer();
    this.#fault = null;
    round.forEach((gather, index) => {
      this.#settle(gather, bases[index] ?? -1);
    });
  }

  #settle(gather: Gather, base: number): void {
    const { topic, partition, receipts } = gather;
    this.pendingBytes -= gather.bytes;
    this.#measures.appends.inc({ topic }, receipts.length);
    this.#measures.appendBytes.inc({ topic }, gather.bytes);
    for (let at = 0; at < receipts.length; ) {
      try {
        while (at < receipts.length) {
          const receipt = receipts[at] as AppendReceipt;
          receipt.appended(partition, base + at++);
        }
      } catch (error) {
        this.#logger.error({ err: error, topic }, 'a receipt of the log threw');
      }
    }
  }

  async #failed(round: readonly Gather[], cause: unknown): Promise<void> {
    const lost = this.#producer;
    this.#producer = null;
    const error = cause instanceof LogError ? cause : brokerFault(null, String(cause), cause);
    this.#logger.error({ err: cause }, 'Kafka did not take the records');
    if (error.code === 'LOG_UNREACHABLE') {
      this.#fault = error;
      this.#awayUntil = performance.now() + AWAY_MS;
    }
    // What waits behind them would only time out one round after the other.
    const all = [...round];
    for (const gathers of this.#gathers.values()) all.push(...gathers.splice(0));
    for (const gather of all) this.#refuseAll(gather, error);
    await lost?.close();
  }

  #refuseAll(gather: Gather, error: LogError): void {
    this.pendingBytes -= gather.bytes;
    const reason = error.code === 'LOG_CLOSED' ? 'closed' : error.code === 'LOG_FULL' ? 'full_log' : 'unreachable';
    for (const receipt of gather.receipts) this.#refuse(receipt, reason, error);
  }

  #refuse(receipt: AppendReceipt, reason: RefusalReason, error: LogError): void {
    this.#measures.refused.inc({ reason });
    receipt.refused(error);
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#closed = true;
    const end = performance.now() + deadlineMs;
    while (this.pendingBytes > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  async stop(): Promise<void> {
    this.#closed = true;
    const closed = new LogError('LOG_CLOSED', 'never');
    for (const gathers of this.#gathers.values()) {
      for (const gather of gathers.splice(0)) this.#refuseAll(gather, closed);
    }
    const producer = this.#producer;
    this.#producer = null;
    await producer?.close();
  }
}
