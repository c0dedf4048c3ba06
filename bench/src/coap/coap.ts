import { setTimeout as sleep } from 'node:timers/promises';
import { runChild, startChild } from '../child.ts';
import { BenchError } from '../errors.ts';
import { treeMemory } from '../memory.ts';
import { metricSum } from '../metrics-text.ts';
import { canPin } from '../pinning.ts';
import { type ProductNode, type ProvisionedTarget, provision, startNode } from '../product.ts';
import { machineFacts, reportedEnvironment } from '../report.ts';
import { Run } from '../run.ts';
import type { CoapPlan, HandshakeFigures, ObserveFigures, PublishFigures } from './load/plan.ts';
import type { CoapRoadOptions } from './options.ts';
import { type CoapReport, judgeCoap } from './report.ts';

/** Server on the first core, load generator on the second. */
const SERVER_CORE = 0;
const GENERATOR_CORE = 1;
const CHILD_MS_MAX = 60_000;
const SETTLE_MS = 1_000;
/** The processors store beside; here the ingress is measured. */
const DATA_PLANE_ROLES = 'ingest,registry';
const MIB_SAMPLE_MS = 1_000;

/** Measures CoAP into the durable log beside the bare parse-and-acknowledge floor, observers, and the same over DTLS.
 *  @throws BenchError CHILD_FAILED, SETUP_FAILED; nothing it started runs on */
export async function runCoapRoad(options: CoapRoadOptions, progress: (line: string) => void): Promise<CoapReport> {
  const machine = machineFacts();
  const run = new CoapRun(options, progress);
  await run.toEnd(options.signal);
  const figures = run.collector.figures();
  return {
    format: 1,
    benchmark: 'road-coap',
    date: new Date().toISOString(),
    machine,
    settings: {
      rounds: options.rounds,
      seconds: options.seconds,
      clients: options.clients,
      channels: options.channels,
      observers: options.observers,
      pinned: canPin(),
      environment: reportedEnvironment(process.env),
    },
    figures,
    targets: judgeCoap(figures),
  };
}

class CoapRun extends Run {
  readonly #options: CoapRoadOptions;

  constructor(options: CoapRoadOptions, progress: (line: string) => void) {
    super(options.rounds, progress);
    this.#options = options;
  }

  protected async all(): Promise<void> {
    if (!canPin()) this.say('cores are not separated here (no taskset, or one core): they are shared');
    for (this.round = 1; this.round <= this.#options.rounds; this.round++) {
      await this.#floor();
      if (this.#options.product) await this.#product();
    }
  }

  async #floor(): Promise<void> {
    const { clients, seconds } = this.#options;
    const floor = await this.started(
      startChild<{ port: number }>(import.meta.url, './floor', {}, CHILD_MS_MAX, SERVER_CORE),
    );
    const before = treeMemory(floor.pid, '')?.cpuSeconds ?? 0;
    const began = performance.now();
    const found = await this.#load<PublishFigures>({
      kind: 'publish',
      port: floor.message.port,
      targets: [{ channel: 'a6f7f7a2-9a33-4d0c-a9a5-0b9c7d4f1a00', key: 'x'.repeat(43), thing: '' }],
      clients,
      seconds,
      secure: false,
    });
    const cores = ((treeMemory(floor.pid, '')?.cpuSeconds ?? 0) - before) / ((performance.now() - began) / 1_000);
    await this.ended(floor);
    this.#publish('floor/publish', 'bare parse and acknowledge', found, cores);
    await sleep(SETTLE_MS);
  }

  async #product(): Promise<void> {
    const { clients, seconds, channels } = this.#options;
    const node = await this.started(
      startNode({
        roles: DATA_PLANE_ROLES,
        core: SERVER_CORE,
        environment: {
          MILLRACE_COAP_PORT: '0',
          MILLRACE_COAPS: 'on',
          MILLRACE_COAPS_PORT: '0',
          // All devices come from one address here.
          MILLRACE_COAPS_ADDRESS_HANDSHAKES_PER_SECOND: '0',
          MILLRACE_COAPS_IDENTITY_SESSIONS_MAX: '1000',
        },
      }),
    );
    const plane = await node.plane();
    const targets = await provision(plane, channels);
    await sleep(2_000);
    const idle = node.memory();
    if (idle !== null) this.add('millrace/idle/memory_rss', 'MiB', idle.rss);
    const port = portOf(node, 'coap');
    const securePort = portOf(node, 'coaps');
    const memory = new Watched(node);
    try {
      await this.#measured('millrace/publish', 'CoAP', node, {
        kind: 'publish',
        port,
        targets,
        clients,
        seconds,
        secure: false,
      });
      await sleep(SETTLE_MS);
      if (securePort !== null) {
        await this.#measured('millrace/secure', 'CoAPS', node, {
          kind: 'publish',
          port: securePort,
          targets,
          clients,
          seconds,
          secure: true,
        });
        await sleep(SETTLE_MS);
        await this.#handshakes(node, securePort, targets);
        await sleep(SETTLE_MS);
      }
      await this.#observe(node, port, targets[0] as ProvisionedTarget);
      if (this.#options.soakMinutes > 0) await this.#soak(node, port, targets);
    } finally {
      await memory.stop();
    }
    if (idle !== null) {
      this.add('millrace/load/memory_above_idle', 'MiB', memory.rssMax - idle.rss);
      this.tell('memory', `idle ${whole(idle.rss)} MiB, at most ${whole(memory.rssMax)} MiB under load (RSS)`);
    }
    await this.ended(node);
    await sleep(SETTLE_MS);
  }

  async #measured(base: string, label: string, node: ProductNode, plan: CoapPlan): Promise<void> {
    const accepted = await acceptedBy(node);
    const before = node.memory()?.cpuSeconds ?? 0;
    const began = performance.now();
    const found = await this.#load<PublishFigures>(plan);
    const cores = ((node.memory()?.cpuSeconds ?? 0) - before) / ((performance.now() - began) / 1_000);
    this.#publish(base, label, found, cores);
    // What was acknowledged is on the log.
    this.add(`${base}/unexplained`, 'messages', Math.min(0, (await acceptedBy(node)) - accepted - found.answered));
  }

  async #handshakes(node: ProductNode, port: number, targets: readonly ProvisionedTarget[]): Promise<void> {
    const before = node.memory()?.cpuSeconds ?? 0;
    const began = performance.now();
    const found = await this.#load<HandshakeFigures>({
      kind: 'handshakes',
      port,
      targets,
      clients: 32,
      seconds: this.#options.seconds / 2,
    });
    const cores = ((node.memory()?.cpuSeconds ?? 0) - before) / ((performance.now() - began) / 1_000);
    this.add('millrace/handshakes/per_second', 'handshakes/s', found.perSecond);
    this.add('millrace/handshakes/failed', 'handshakes', found.failed);
    this.add('millrace/handshakes/per_core_second', 'handshakes', found.perSecond / cores);
    this.add('millrace/handshakes/generator_cores', 'cores', found.generatorCores);
    this.tell(
      'PSK handshakes',
      `${whole(found.perSecond)}/s, ${whole(found.perSecond / cores)} for each second of the server's CPU`,
    );
  }

  async #observe(node: ProductNode, port: number, target: ProvisionedTarget): Promise<void> {
    const { observers, notificationsPerSecond, seconds } = this.#options;
    const found = await this.#load<ObserveFigures>({
      kind: 'observe',
      port,
      http: node.url,
      target,
      observers,
      messagesPerSecond: notificationsPerSecond / observers,
      seconds,
    });
    const base = 'millrace/observe';
    this.add(`${base}/delivered_per_second`, 'notifications/s', found.deliveredPerSecond);
    this.add(`${base}/missing`, 'notifications', found.missing);
    this.add(`${base}/duplicates`, 'notifications', found.duplicates);
    this.add(`${base}/delay_p50`, 'ms', found.delay.p50);
    this.add(`${base}/delay_p99`, 'ms', found.delay.p99);
    this.tell(
      `${whole(observers)} observers`,
      `${whole(found.deliveredPerSecond)} notifications/s, p50 ${found.delay.p50.toFixed(1)} ms, p99 ${found.delay.p99.toFixed(1)} ms, ${found.missing} missing, ${found.duplicates} twice`,
    );
  }

  /** @units ratio: mean of the last third of the samples to that of the first third */
  async #soak(node: ProductNode, port: number, targets: readonly ProvisionedTarget[]): Promise<void> {
    const { soakMinutes, clients } = this.#options;
    const watched = new Watched(node);
    const found = await this.#load<PublishFigures>({
      kind: 'publish',
      port,
      targets,
      clients,
      seconds: soakMinutes * 60,
      secure: false,
    });
    await watched.stop();
    this.add('millrace/soak/rss_ratio', '×', watched.thirds());
    this.add('millrace/soak/per_second', 'requests/s', found.perSecond);
    this.tell(
      `soak of ${soakMinutes} min`,
      `${whole(found.perSecond)} requests/s, memory × ${watched.thirds().toFixed(2)}`,
    );
  }

  #publish(base: string, label: string, found: PublishFigures, cores: number): void {
    this.add(`${base}/requests_per_second`, 'requests/s', found.perSecond);
    this.add(`${base}/requests_per_core_second`, 'requests', found.perSecond / cores);
    this.add(`${base}/cores`, 'cores', cores);
    this.add(`${base}/p50`, 'ms', found.latency.p50);
    this.add(`${base}/p99`, 'ms', found.latency.p99);
    this.add(`${base}/repeated`, 'requests', found.repeated);
    this.add(
      `${base}/refused`,
      'requests',
      Object.values(found.refused).reduce((sum, count) => sum + count, 0),
    );
    this.add(`${base}/generator_cores`, 'cores', found.generatorCores);
    const refused = Object.entries(found.refused).map(([code, count]) => `${count} × ${code}`);
    this.tell(
      label,
      `${whole(found.perSecond)} requests/s, p50 ${found.latency.p50.toFixed(2)} ms, p99 ${found.latency.p99.toFixed(2)} ms${refused.length === 0 ? '' : ` (refused: ${refused.join(', ')})`}`,
    );
  }

  #load<T>(plan: CoapPlan): Promise<T> {
    return runChild<T>(import.meta.url, './load/generator', plan, plan.seconds * 1_000 + CHILD_MS_MAX, GENERATOR_CORE);
  }
}

/** Resident memory, looked at while a load runs. */
class Watched {
  readonly #samples: number[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(node: ProductNode) {
    this.#timer = setInterval(() => {
      const memory = node.memory();
      if (memory !== null) this.#samples.push(memory.rss);
    }, MIB_SAMPLE_MS);
  }

  get rssMax(): number {
    return Math.max(0, ...this.#samples);
  }

  thirds(): number {
    const third = Math.floor(this.#samples.length / 3);
    if (third === 0) return 1;
    const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
    return mean(this.#samples.slice(-third)) / mean(this.#samples.slice(0, third));
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
  }
}

async function acceptedBy(node: ProductNode): Promise<number> {
  const text = await (await fetch(`${node.url}/metrics`)).text();
  return metricSum(text, 'millrace_ingest_messages_total', { protocol: 'coap', outcome: 'accepted' });
}

function portOf(node: ProductNode, name: string): number;
function portOf(node: ProductNode, name: 'coaps'): number | null;
function portOf(node: ProductNode, name: string): number | null {
  const address = node.addresses[name];
  if (typeof address === 'string') return Number(new URL(address).port);
  if (name === 'coaps') return null;
  throw new BenchError('SETUP_FAILED', 'never', { problem: `ready.json names no ${name}` });
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
