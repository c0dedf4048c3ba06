import { randomBytes } from 'node:crypto';
import type { Component, Logger, Metrics, Started } from '@millrace/core';
import { SetupError } from '../config.ts';
import { HandOver } from './hand-over.ts';
import type { ListenerName, Question, WorkerStart } from './words.ts';
import { type Handed, type WorkerHost, WorkerProcess } from './worker-process.ts';

const START_MS_MAX = 180_000;
/** A worker that ran for so long is started again at once. */
const STEADY_MS = 10_000;
const RESTART_MS_MIN = 100;
const RESTART_MS_MAX = 5_000;
const METRICS_MS_MAX = 2_000;
/** So long an answer of the control plane waits for workers to know of it. */
const CURRENT_MS_MAX = 1_000;

export interface WorkersOptions {
  readonly count: number;
  readonly start: Omit<WorkerStart, 'number' | 'ticketKeys'>;
  readonly host: string;
  readonly listeners: Readonly<Record<ListenerName, number | 'off'>>;
  readonly logger: Logger;
  readonly metrics: Metrics;
}
export interface RunningWorkers {
  /** Ports of the listeners that are on. */
  readonly ports: Readonly<Partial<Record<ListenerName, number>>>;
  health(): string | null;
  /** Metrics of each worker that answers, as text. */
  texts(): Promise<string[]>;
  /** All workers that answer know what is committed in the registry. */
  current(): Promise<void>;
}

/** Ingress in processes of its own, behind the ports of this one.  @source ADR 0025 */
export function workers(options: WorkersOptions): Component<RunningWorkers> {
  return {
    name: 'workers',
    async start(): Promise<Started<RunningWorkers>> {
      const running = new Workers(options);
      try {
        return {
          value: { ...(await running.start()), ...running.told() },
          drain: (deadlineMs) => running.drain(deadlineMs),
          stop: () => running.stop(),
        };
      } catch (error) {
        await running.stop();
        throw error;
      }
    },
  };
}

class Workers implements WorkerHost {
  readonly logger: Logger;
  readonly #options: WorkersOptions;
  readonly #ticketKeys = randomBytes(48);
  readonly #workers: (WorkerProcess | null)[];
  readonly #handOver: HandOver;
  readonly #restarts;
  readonly #timers = new Set<NodeJS.Timeout>();
  #starting: { resolve(): void; reject(error: Error): void } | null = null;
  #restartMs = RESTART_MS_MIN;
  #ending = false;

  constructor(options: WorkersOptions) {
    const { count, metrics, logger } = options;
    this.logger = logger;
    this.#options = options;
    this.#workers = Array.from({ length: count }, () => null);
    const shed = metrics.counter('millrace_workers_shed_total', 'Connections closed for want of a worker.');
    this.#handOver = new HandOver(
      () => this.#workers.filter((worker) => worker !== null),
      () => shed.inc(),
    );
    this.#restarts = metrics.counter('millrace_worker_restarts_total', 'Workers that ended and were started again.');
    metrics.gauge('millrace_workers', 'Processes of ingress, by whether they take connections.', ['state'], (gauge) => {
      const ready = this.#workers.filter((worker) => worker?.responsive === true).length;
      gauge.set({ state: 'ready' }, ready);
      gauge.set({ state: 'away' }, count - ready);
    });
    metrics.gauge('millrace_worker_connections', 'Open connections of each worker.', ['worker'], (gauge) => {
      for (const worker of this.#workers) {
        if (worker !== null) gauge.set({ worker: String(worker.number) }, worker.load('http') + worker.load('mqtt'));
      }
    });
  }

  async start(): Promise<Pick<RunningWorkers, 'ports'>> {
    const { host, listeners } = this.#options;
    const late = setTimeout(
      () => this.#starting?.reject(new SetupError('SETUP_INVALID', 'never', { problem: 'the workers do not start' })),
      START_MS_MAX,
    );
    try {
      await new Promise<void>((resolve, reject) => {
        this.#starting = { resolve, reject };
        for (let index = 0; index < this.#workers.length; index++) this.#fork(index);
      });
    } finally {
      clearTimeout(late);
      this.#starting = null;
    }
    const ports: Partial<Record<ListenerName, number>> = {};
    for (const listener of ['http', 'mqtt', 'mqtts'] as const) {
      const port = listeners[listener];
      if (port !== 'off') ports[listener] = await this.#handOver.listen(listener, host, port);
    }
    return { ports };
  }

  told(): Omit<RunningWorkers, 'ports'> {
    return {
      health: () => this.#health(),
      texts: async () => (await this.#ask('metrics', METRICS_MS_MAX)).filter((text) => text !== null),
      current: async () => {
        await this.#ask('current', CURRENT_MS_MAX);
      },
    };
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#end();
    const workers = this.#workers.filter((worker) => worker !== null);
    for (const worker of workers) worker.drain(deadlineMs);
    await Promise.all(workers.map(({ ended }) => ended));
  }

  async stop(): Promise<void> {
    this.#end();
    const workers = this.#workers.filter((worker) => worker !== null);
    for (const worker of workers) worker.kill();
    await Promise.all(workers.map(({ ended }) => ended));
  }

  ready(): void {
    if (this.#ending) return;
    this.#handOver.giveWaiting();
    if (this.#workers.every((worker) => worker?.ready === true)) this.#starting?.resolve();
  }

  gone(worker: WorkerProcess, untaken: readonly Handed[], problem: string | null): void {
    const index = worker.number - 1;
    this.#workers[index] = null;
    if (this.#ending) {
      for (const { socket } of untaken) socket.destroy();
      return;
    }
    if (this.#starting !== null) {
      const told = problem ?? 'a worker ended while it started; its log says why';
      this.#starting.reject(new SetupError('SETUP_INVALID', 'never', { problem: told }));
      return;
    }
    this.#restarts.inc();
    this.#restartMs =
      performance.now() - worker.begunMs > STEADY_MS ? RESTART_MS_MIN : Math.min(this.#restartMs * 2, RESTART_MS_MAX);
    this.logger.warn({ worker: worker.number, waitMs: this.#restartMs }, 'worker: is started again');
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#fork(index);
    }, this.#restartMs);
    this.#timers.add(timer);
    // Nobody has read from them: another worker serves them as if nothing had been.
    for (const handed of untaken) this.#handOver.give(handed);
  }

  #fork(index: number): void {
    const { start } = this.#options;
    this.#workers[index] = new WorkerProcess({ ...start, number: index + 1, ticketKeys: this.#ticketKeys }, this);
  }

  #end(): void {
    this.#ending = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#handOver.close();
  }

  #ask(what: Question, msMax: number): Promise<(string | null)[]> {
    return Promise.all(this.#workers.map((worker) => worker?.ask(what, msMax) ?? null));
  }

  #health(): string | null {
    const away = this.#workers.flatMap((worker, index) => (worker?.responsive === true ? [] : [index + 1]));
    if (away.length === 0) return null;
    return `worker ${away.join(', ')} of ${this.#workers.length} does not answer; it is started again once it has ended`;
  }
}
