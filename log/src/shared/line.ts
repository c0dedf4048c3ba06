// hot
import type { Socket } from 'node:net';
import { type LogBatch, LogError } from '@millrace/core';
import { type Event, FrameReader, jsonFrame, KIND, RUN_BYTES, readBatch, type Told } from './frame.ts';
import { errorOf } from './told.ts';
import type { Lane } from './topic-lane.ts';

interface Waiting {
  resolve(value: unknown): void;
  reject(error: LogError): void;
}

/** A process's connection with the log of another: calls and their answers, appends and their receipts.
 *  Full means: what is appended is refused with LOG_FULL. */
export class Line {
  readonly pendingBytesMax: number;
  pendingBytes = 0;
  /** Takes no more appends. */
  closing = false;
  readonly #socket: Socket;
  readonly #refused: (reason: 'full_queue' | 'too_large' | 'unreachable' | 'closed') => void;
  readonly #onLost: (() => void) | undefined;
  readonly #waiting = new Map<number, Waiting>();
  /** By topic and partition. */
  readonly #lanes: (readonly Lane[])[] = [];
  readonly #leases = new Map<number, (event: Event) => void>();
  #gathered: Lane[] = [];
  #calls = 0;
  #over: LogError | null = null;

  constructor(
    socket: Socket,
    pendingBytesMax: number,
    refused: (reason: 'full_queue' | 'too_large' | 'unreachable' | 'closed') => void,
    onLost: (() => void) | undefined,
  ) {
    this.#socket = socket;
    this.pendingBytesMax = pendingBytesMax;
    this.#refused = refused;
    this.#onLost = onLost;
    const reader = new FrameReader((kind, body) => this.#take(kind, body));
    socket.removeAllListeners('error').on('error', () => {});
    socket.on('data', (chunk) => {
      try {
        reader.feed(chunk as Buffer);
      } catch (cause) {
        socket.destroy();
        this.#lose(new LogError('LOG_UNREACHABLE', 'later', { problem: 'the log is not understood' }, { cause }));
      }
    });
    socket.once('close', () =>
      this.#lose(new LogError('LOG_UNREACHABLE', 'later', { problem: 'the process that has the log is gone' })),
    );
  }

  /** Where the receipts of a topic go. */
  lanes(topic: number, lanes: readonly Lane[]): void {
    this.#lanes[topic] = lanes;
  }

  /** Who hears of a consumer's leases; undefined: nobody any more. */
  leases(consumer: number, listener: ((event: Event) => void) | undefined): void {
    if (listener === undefined) this.#leases.delete(consumer);
    else this.#leases.set(consumer, listener);
  }

  /** The number of the next call. */
  get nextCall(): number {
    return this.#calls + 1;
  }

  /** @throws LogError */
  call(op: string, more: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    if (this.#over !== null) return Promise.reject(this.#over);
    const id = ++this.#calls;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#socket.write(jsonFrame(KIND.call, { id, op, ...more }));
    });
  }

  /** Why so many bytes would be refused. */
  refusalOf(bytes: number): LogError | null {
    if (this.#over !== null) return this.#over;
    if (this.closing) return new LogError('LOG_CLOSED', 'never');
    const { pendingBytesMax } = this;
    return this.pendingBytes + bytes > pendingBytesMax ? new LogError('LOG_FULL', 'later', { pendingBytesMax }) : null;
  }

  count(error: LogError): void {
    if (error.code === 'LOG_FULL') this.#refused('full_queue');
    else if (error.code === 'LOG_RECORD_TOO_LARGE') this.#refused('too_large');
    else this.#refused(error.code === 'LOG_CLOSED' ? 'closed' : 'unreachable');
  }

  /** A lane has its first record of this turn of the loop. */
  gather(lane: Lane): void {
    this.#gathered.push(lane);
    if (this.#gathered.length === 1) setImmediate(() => this.#sendGathered());
  }

  end(): void {
    this.closing = true;
    this.#over ??= new LogError('LOG_CLOSED', 'never');
    this.#refuseAll(this.#over);
    this.#socket.destroy();
  }

  #sendGathered(): void {
    const lanes = this.#gathered;
    this.#gathered = [];
    if (this.#over !== null) return;
    this.#socket.cork();
    for (const lane of lanes) this.#socket.write(lane.takeFrame());
    this.#socket.uncork();
  }

  #take(kind: number, body: Buffer): void {
    if (kind === KIND.appended) {
      for (let at = 0; at < body.length; at += RUN_BYTES) {
        this.#lane(body, at).appended(body.readUInt32LE(at + 4), body.readDoubleLE(at + 8));
      }
    } else if (kind === KIND.refused) {
      this.#lane(body, 0).refused(body.readUInt32LE(4), errorOf(JSON.parse(body.toString('utf8', 8)) as Told));
    } else if (kind === KIND.batch) {
      const { id, batch } = readBatch(body);
      this.#answered(id)?.resolve(batch satisfies LogBatch);
    } else if (kind === KIND.answer) {
      const { id, value, error } = JSON.parse(body.toString()) as { id: number; value?: unknown; error?: Told };
      if (error === undefined) this.#answered(id)?.resolve(value);
      else this.#answered(id)?.reject(errorOf(error));
    } else {
      const event = JSON.parse(body.toString()) as Event;
      if (event.event === 'lease') this.#leases.get(event.consumer)?.(event);
      else for (const listener of this.#leases.values()) listener(event);
    }
  }

  #lane(body: Buffer, at: number): Lane {
    return this.#lanes[body.readUInt16LE(at)]?.[body.readUInt16LE(at + 2)] as Lane;
  }

  #answered(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }

  #lose(error: LogError): void {
    if (this.#over !== null) return;
    this.#over = error;
    this.#onLost?.();
    this.#refuseAll(error);
  }

  #refuseAll(error: LogError): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    for (const lanes of this.#lanes) for (const lane of lanes) lane.refused(lane.waiting, error);
    for (const listener of this.#leases.values()) listener({ event: 'over', lease: -1 });
  }
}
