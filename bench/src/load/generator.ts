import { setTimeout as sleep } from 'node:timers/promises';
import { childOptions, tell } from '../floors/options.ts';
import { senmlPack, type Target } from '../pack.ts';
import { type AnswerListener, Connection } from './connection.ts';
import { Histogram } from './histogram.ts';
import type { LoadFigures, LoadPlan } from './plan.ts';

// hot

/** The load generator: a process of its own that publishes SenML packs by HTTP and tells its figures. */
const VARIANTS = 8;
const BUFFER_SIZE = 65_536;
const ANSWERS_MS_MAX = 15_000;
/** A refused sender waits so long; a closed loop on 503 would else spin. */
const REFUSED_PAUSE_MS = 20;

function requestsOf(url: URL, target: Target, device: number, recordCount: number): Buffer[] {
  return Array.from({ length: VARIANTS }, (_, variant) => {
    const body = senmlPack(device, recordCount, variant + device);
    const head = [
      `POST /channels/${target.channel}/messages HTTP/1.1`,
      `Host: ${url.host}`,
      `Authorization: Thing ${target.key}`,
      'Content-Type: application/senml+json',
      `Content-Length: ${Buffer.byteLength(body)}`,
    ];
    return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`);
  });
}

class Load implements AnswerListener {
  readonly #plan: LoadPlan;
  readonly #shared = Buffer.alloc(BUFFER_SIZE);
  readonly #connections: Connection[] = [];
  readonly #latency = new Histogram();
  readonly #late = new Histogram();
  readonly #refused = new Map<string, number>();
  #accepted = 0;
  #inFlight = 0;
  #sending = true;
  /** Open loop: connections without a request, and when the messages that found none were due. */
  readonly #free: Connection[] = [];
  readonly #due: number[] = [];
  #dueHead = 0;

  constructor(plan: LoadPlan) {
    this.#plan = plan;
  }

  async run(): Promise<LoadFigures> {
    const plan = this.#plan;
    const url = new URL(plan.url);
    const requests = plan.targets.map((target, device) => requestsOf(url, target, device, plan.recordCount));
    for (let index = 0; index < plan.connections; index++) {
      const own = requests[index % requests.length] as Buffer[];
      const connection = new Connection(url.hostname, Number(url.port), own, this);
      await connection.open(this.#shared);
      this.#connections.push(connection);
    }
    const cpu = process.cpuUsage();
    const startedAt = Date.now();
    const start = performance.now();
    if (plan.messagesPerSecond === undefined) {
      for (const connection of this.#connections) this.#send(connection, performance.now());
      await sleep(plan.seconds * 1_000);
    } else {
      this.#free.push(...this.#connections);
      await this.#offer(plan.messagesPerSecond, start, plan.seconds * 1_000);
    }
    this.#sending = false;
    const seconds = (performance.now() - start) / 1_000;
    const { user, system } = process.cpuUsage(cpu);
    const sentAll = performance.now();
    while (this.#inFlight > 0 && performance.now() - sentAll < ANSWERS_MS_MAX) await sleep(1);
    this.#count('unanswered', this.#inFlight + this.#due.length - this.#dueHead);
    for (const connection of this.#connections) connection.close();
    const ms = (us: number): number => us / 1_000;
    return {
      startedAt,
      seconds,
      accepted: this.#accepted,
      acceptedPerSecond: this.#accepted / ((performance.now() - start) / 1_000),
      refused: Object.fromEntries(this.#refused),
      latency: {
        p50: ms(this.#latency.quantile(0.5)),
        p90: ms(this.#latency.quantile(0.9)),
        p99: ms(this.#latency.quantile(0.99)),
        max: ms(this.#latency.max),
      },
      generatorLate: { p50: ms(this.#late.quantile(0.5)), p99: ms(this.#late.quantile(0.99)) },
      generatorCores: (user + system) / 1e6 / seconds,
      requestBytes: requests[0]?.[0]?.length ?? 0,
    };
  }

  answered(connection: Connection, status: number): void {
    const now = performance.now();
    this.#inFlight--;
    if (status === 202) {
      this.#accepted++;
      this.#latency.add((now - connection.sentAt) * 1_000);
      this.#next(connection, now);
      return;
    }
    this.#count(status === 0 ? 'lost' : String(status), 1);
    void this.#resume(connection);
  }

  #next(connection: Connection, now: number): void {
    if (this.#plan.messagesPerSecond === undefined) {
      if (this.#sending) this.#send(connection, now);
    } else if (this.#dueHead < this.#due.length) {
      this.#send(connection, this.#due[this.#dueHead++] as number);
      if (this.#dueHead === this.#due.length) {
        this.#due.length = 0;
        this.#dueHead = 0;
      }
    } else {
      this.#free.push(connection);
    }
  }

  async #resume(connection: Connection): Promise<void> {
    await sleep(REFUSED_PAUSE_MS);
    if (!this.#sending) return;
    try {
      if (!connection.isOpen) await connection.open(this.#shared);
    } catch {
      this.#count('unreachable', 1);
      return this.#resume(connection);
    }
    this.#next(connection, performance.now());
  }

  #send(connection: Connection, since: number): void {
    this.#inFlight++;
    connection.send(since);
  }

  #count(reason: string, count: number): void {
    if (count > 0) this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + count);
  }

  /** Messages fall due in steps of a millisecond, at exact times: what the generator comes late for is still counted
   *  from when it was due. */
  async #offer(perSecond: number, start: number, durationMs: number): Promise<void> {
    let offered = 0;
    for (let step = 1; step <= durationMs; step++) {
      const dueAt = start + step;
      let now = performance.now();
      while (now < dueAt) {
        await sleep(Math.max(1, Math.floor(dueAt - now)));
        now = performance.now();
      }
      this.#late.add((now - dueAt) * 1_000);
      const until = Math.floor((perSecond * step) / 1_000);
      for (; offered < until; offered++) {
        const connection = this.#free.shift();
        if (connection === undefined) this.#due.push(dueAt);
        else this.#send(connection, dueAt);
      }
    }
  }
}

tell(await new Load(childOptions<LoadPlan>()).run());
process.disconnect?.();
