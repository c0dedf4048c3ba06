import { type ChildProcess, fork } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { type Logger, siblingUrl } from '@millrace/core';
import {
  type ListenerName,
  type Load,
  type LoadKind,
  loadKindOf,
  type Order,
  type Question,
  type Report,
  type WorkerStart,
} from './words.ts';

const ENTRY = fileURLToPath(siblingUrl(import.meta.url, './entry'));
/** A worker that says nothing for so long gets no connections. */
const SILENT_MS_MAX = 3_000;

export interface Handed {
  readonly listener: ListenerName;
  readonly socket: Socket;
}
export interface WorkerHost {
  readonly logger: Logger;
  /** It takes connections. */
  ready(): void;
  /** It is over. @param untaken connections that it was handed and never had  @param problem why it could not start */
  gone(worker: WorkerProcess, untaken: readonly Handed[], problem: string | null): void;
}

/** One process of ingress, from its start to its end. */
export class WorkerProcess {
  readonly number: number;
  readonly begunMs = performance.now();
  ready = false;
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  readonly #untaken = new Map<number, Handed>();
  readonly #asked = new Map<number, (text: string | null) => void>();
  #count = 0;
  #open: Load = { http: 0, mqtt: 0 };
  /** Handed since it told of them. */
  #handed: Record<LoadKind, number> = { http: 0, mqtt: 0 };
  #heardMs = performance.now();
  #problem: string | null = null;

  constructor(start: WorkerStart, host: WorkerHost) {
    this.number = start.number;
    // Sockets go by this channel; it has no name, so nobody else reads the secrets.
    this.#child = fork(ENTRY, { serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', (report: Report) => this.#hear(report, host));
    this.#child.on('error', (err) => host.logger.warn({ err, worker: this.number }, 'worker: the channel failed'));
    this.ended = new Promise((resolve) => {
      const over = (code: number | null, signal: string | null): void => {
        this.ready = false;
        if (this.#problem === null) host.logger.info({ worker: this.number, code, signal }, 'worker: ended');
        for (const told of this.#asked.values()) told(null);
        this.#asked.clear();
        const untaken = [...this.#untaken.values()];
        this.#untaken.clear();
        resolve();
        host.gone(this, untaken, this.#problem);
      };
      this.#child.once('exit', over);
      // One that could not even be made ends without a word.
      if (this.#child.pid === undefined) this.#child.once('error', () => over(null, null));
    });
    this.#order({ kind: 'start', start });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }
  /** Its open connections, as far as we know. */
  load(kind: LoadKind): number {
    return this.#open[kind] + this.#handed[kind];
  }
  /** Connections that it was handed and has not taken yet. */
  get untaken(): number {
    return this.#untaken.size;
  }
  get silentMs(): number {
    return performance.now() - this.#heardMs;
  }
  get responsive(): boolean {
    return this.ready && this.silentMs < SILENT_MS_MAX;
  }

  /** Hands a connection over. It is kept here, unread, until the worker says that it has it. */
  hand(handed: Handed): void {
    const id = ++this.#count;
    this.#untaken.set(id, handed);
    this.#handed[loadKindOf(handed.listener)]++;
    const order: Order = { kind: 'connection', id, listener: handed.listener };
    this.#child.send(order, handed.socket, { keepOpen: true }, () => {});
  }

  /** @returns null if it does not answer in time */
  ask(what: Question, msMax: number): Promise<string | null> {
    if (!this.responsive) return Promise.resolve(null);
    const id = ++this.#count;
    return new Promise((resolve) => {
      const timer = setTimeout(() => told(null), msMax);
      const told = (text: string | null): void => {
        clearTimeout(timer);
        this.#asked.delete(id);
        resolve(text);
      };
      this.#asked.set(id, told);
      this.#order({ kind: 'ask', id, what });
    });
  }

  drain(deadlineMs: number): void {
    this.ready = false;
    this.#order({ kind: 'drain', deadlineMs });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #order(order: Order): void {
    if (this.#child.connected) this.#child.send(order, () => {});
  }

  #hear(report: Report, host: WorkerHost): void {
    this.#heardMs = performance.now();
    if (report.kind === 'load') {
      this.#open = report.open;
      this.#handed = { http: 0, mqtt: 0 };
      for (const { listener } of this.#untaken.values()) this.#handed[loadKindOf(listener)]++;
    } else if (report.kind === 'took') {
      this.#untaken.get(report.id)?.socket.destroy();
      this.#untaken.delete(report.id);
    } else if (report.kind === 'told') {
      this.#asked.get(report.id)?.(report.text);
    } else if (report.kind === 'failed') {
      this.#problem = report.problem;
    } else {
      this.ready = true;
      host.ready();
    }
  }
}
