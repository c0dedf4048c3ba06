// hot
import type { Socket } from 'node:net';
import { type Consumer, type Log, type LogBatch, type LogEngine, LogError, type Logger } from '@millrace/core';
import {
  batchHead,
  type Call,
  type Event,
  FrameReader,
  HEAD_BYTES,
  jsonFrame,
  KIND,
  RUN_BYTES,
  writeHead,
} from './frame.ts';
import { Runs, type RunsHost } from './runs.ts';
import { ServedLeases } from './served-leases.ts';
import { toldOf } from './told.ts';

const NO_BYTES = Buffer.alloc(0);

/** One process that uses our log through a socket.
 *  @holds it is one of ours: what it says wrong ends the connection */
export class Served implements RunsHost {
  readonly #engine: LogEngine;
  readonly #socket: Socket;
  readonly #logger: Logger;
  readonly #topics: Log[] = [];
  readonly #runs: Runs[][] = [];
  readonly #due = new Set<Runs>();
  /** Runs of this turn: 16 bytes each. */
  #told: Buffer[] = [];
  #scheduled = false;
  readonly #follows = new Map<
    number,
    { readonly batches: AsyncIterator<LogBatch>; readonly ending: AbortController }
  >();
  readonly #consumers = new Map<number, Promise<Consumer>>();
  readonly #leases: ServedLeases;
  #closed = false;

  constructor(engine: LogEngine, socket: Socket, logger: Logger) {
    this.#engine = engine;
    this.#socket = socket;
    this.#logger = logger;
    this.#leases = new ServedLeases((event) => this.#send(jsonFrame(KIND.event, event satisfies Event)));
    const reader = new FrameReader((kind, body) => {
      if (kind === KIND.append) this.#append(body);
      else if (kind === KIND.call) void this.#answer(JSON.parse(body.toString()) as Call);
      else throw new RangeError(`a frame of kind ${kind}`);
    });
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      try {
        reader.feed(chunk as Buffer);
      } catch (err) {
        logger.error({ err }, 'log: a process said what is not understood');
        socket.destroy();
      }
    });
  }

  /** It is gone: it consumes and follows nothing any more. What it appended goes on. */
  close(): void {
    this.#closed = true;
    for (const { ending } of this.#follows.values()) ending.abort();
    this.#leases.close();
    for (const consumer of this.#consumers.values())
      consumer
        .then((joined) => joined.stop())
        .catch((err: unknown) => this.#logger.error({ err }, 'log: a consumer did not stop'));
  }

  #append(body: Buffer): void {
    const [topic, partition, count] = [body.readUInt16LE(0), body.readUInt16LE(2), body.readUInt32LE(4)];
    const log = this.#topics[topic];
    const runs = this.#runs[topic]?.[partition];
    if (log === undefined || runs === undefined) throw new RangeError(`topic ${topic}, partition ${partition}`);
    // All or nothing, as who sends a batch in one turn of its loop was told.
    const refusal = log.refusalOf(body.length - 8 - 4 * count);
    if (refusal !== null) {
      runs.refuse(count, refusal);
      return;
    }
    runs.take(count);
    let found = 0;
    for (let at = 8; at < body.length; found++) {
      const start = at + 4;
      at = start + body.readUInt32LE(at);
      log.append(partition, '', body.subarray(start, at), runs);
    }
    if (found !== count) throw new RangeError(`${found} records, said to be ${count}`);
  }

  /** A round tells all of its receipts in one go. */
  due(runs: Runs): void {
    this.#due.add(runs);
    if (this.#scheduled) return;
    this.#scheduled = true;
    process.nextTick(() => {
      this.#scheduled = false;
      for (const runs of this.#due) runs.flush();
      this.#due.clear();
      this.#flush();
    });
  }

  #flush(): void {
    const runs = this.#told;
    if (runs.length === 0) return;
    this.#told = [];
    const head = Buffer.allocUnsafe(HEAD_BYTES);
    writeHead(head, KIND.appended, runs.length * RUN_BYTES);
    this.#send(Buffer.concat([head, ...runs]));
  }

  tell({ topic, partition }: Runs, count: number, first: number, error: LogError | null): void {
    const run = Buffer.allocUnsafe(error === null ? RUN_BYTES : 8);
    run.writeUInt16LE(topic, 0);
    run.writeUInt16LE(partition, 2);
    run.writeUInt32LE(count, 4);
    if (error === null) {
      run.writeDoubleLE(first, 8);
      this.#told.push(run);
      return;
    }
    this.#flush();
    this.#send(jsonFrame(KIND.refused, toldOf(error), run));
  }

  #send(frame: Buffer, rest: Uint8Array = NO_BYTES): void {
    if (this.#closed) return;
    this.#socket.write(frame);
    if (rest.length > 0) this.#socket.write(rest);
  }

  async #answer(call: Call): Promise<void> {
    const { id } = call;
    try {
      const value = await this.#run(call);
      if (isBatch(value)) this.#send(batchHead(id, value), value.bytes);
      else this.#send(jsonFrame(KIND.answer, { id, value }));
    } catch (error) {
      if (!(error instanceof LogError)) this.#logger.error({ err: error, op: call.op }, 'log: a call met a fault');
      this.#send(jsonFrame(KIND.answer, { id, error: toldOf(error) }));
    }
  }

  async #run(call: Call): Promise<unknown> {
    const { op, id } = call;
    const of = call.of as number;
    const partition = call.partition as number;
    switch (op) {
      case 'health':
        return this.#engine.health();
      case 'topic':
        return this.#open(await this.#engine.topic(call.options as Parameters<LogEngine['topic']>[0]));
      case 'peek':
        return this.#topic(call).peek(partition, call.from as number, { bytesMax: call.bytesMax as number });
      case 'extent':
        return this.#topic(call).extent(partition);
      case 'committed':
        return this.#topic(call).committed(call.group as string, partition);
      case 'follow':
        return this.#follow(call);
      case 'next': {
        const read = await this.#follows.get(of)?.batches.next();
        return read === undefined || read.done === true ? null : read.value;
      }
      case 'unfollow':
        this.#follows.get(of)?.ending.abort();
        this.#follows.delete(of);
        return null;
      case 'consume': {
        const joining = this.#topic(call).consume(call.group as string, (lease) => this.#leases.run(id, lease));
        this.#consumers.set(id, joining);
        joining.catch(() => this.#consumers.delete(id));
        await joining;
        return null;
      }
      case 'leave':
        await (await this.#consumers.get(of))?.stop();
        this.#consumers.delete(of);
        return null;
      default:
        return this.#leases.call(call);
    }
  }

  #topic(call: Call): Log {
    const log = this.#topics[call.topic as number];
    if (log === undefined) throw new LogError('LOG_UNREACHABLE', 'never', { problem: 'no such topic' });
    return log;
  }

  #open(log: Log): { topic: number; partitionCount: number; recordBytesMax: number } {
    const { partitionCount, recordBytesMax } = log;
    let topic = this.#topics.indexOf(log);
    if (topic < 0) {
      topic = this.#topics.push(log) - 1;
      this.#runs[topic] = Array.from({ length: partitionCount }, (_, partition) => new Runs(topic, partition, this));
    }
    return { topic, partitionCount, recordBytesMax };
  }

  #follow(call: Call): null {
    const ending = new AbortController();
    const from = call.from === 'tail' ? 'tail' : new Map(call.from as [number, number][]);
    const options = { bytesMax: call.bytesMax as number, signal: ending.signal };
    const batches = this.#topic(call)
      .follow(call.partitions as number[], from, options)
      [Symbol.asyncIterator]();
    this.#follows.set(call.id, { batches, ending });
    return null;
  }
}

const isBatch = (value: unknown): value is LogBatch =>
  typeof value === 'object' && value !== null && (value as LogBatch).bytes instanceof Uint8Array;
