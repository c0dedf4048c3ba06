import { setTimeout as sleep } from 'node:timers/promises';
import { startMosquitto } from '../bridge/brokers/mosquitto.ts';
import { runChild, startChild } from '../child.ts';
import { BenchError } from '../errors.ts';
import { metricSum } from '../metrics-text.ts';
import { canPin } from '../pinning.ts';
import { type ControlPlane, type ProductNode, startNode } from '../product.ts';
import { machineFacts, reportedEnvironment } from '../report.ts';
import { Run } from '../run.ts';
import type { BurstFigures } from './burst.ts';
import { APPLICATION_ID, devEuiOf } from './event.ts';
import type { LoraRoadOptions } from './options.ts';
import type { LoraReport } from './report.ts';

/** Whoever takes the events on the first core; broker and generator on the second. */
const SERVER_CORE = 0;
const OTHER_CORE = 1;
const CHILD_MS_MAX = 120_000;
const SETTLE_MS = 1_000;
const POLL_MS = 20;
const STILL_MS_MAX = 30_000;
/** Of an uplink: what the device measured, and what the radio says of it. */
const MESSAGES_PER_EVENT = 2;
/** Before what counts: a share of it, so that code is compiled and things are known. */
const WARM_UP_SHARE = 1 / 8;

/** Measures events of a network server's broker until all are on the durable log, beside a bare subscriber that parses
 *  them.  @throws BenchError CHILD_FAILED, SETUP_FAILED, DRAIN_TIMEOUT; nothing it started runs on */
export async function runLoraRoad(options: LoraRoadOptions, progress: (line: string) => void): Promise<LoraReport> {
  const machine = machineFacts();
  const run = new LoraRun(options, progress);
  await run.toEnd(options.signal);
  return {
    format: 1,
    benchmark: 'road-lora',
    date: new Date().toISOString(),
    machine,
    settings: {
      rounds: options.rounds,
      events: options.events,
      devices: options.devices,
      pinned: canPin(),
      environment: reportedEnvironment(process.env),
    },
    figures: run.collector.figures(),
  };
}

class LoraRun extends Run {
  readonly #options: LoraRoadOptions;
  #next = 1;

  constructor(options: LoraRoadOptions, progress: (line: string) => void) {
    super(options.rounds, progress);
    this.#options = options;
  }

  protected async all(): Promise<void> {
    for (this.round = 1; this.round <= this.#options.rounds; this.round++) {
      await this.#floor();
      if (this.#options.product) {
        await this.#product('millrace', 'Millrace, ingest and registry', 'ingest,registry');
        await this.#product('millrace-all', 'Millrace, all roles', undefined);
      }
    }
  }

  async #floor(): Promise<void> {
    const broker = await this.started(startMosquitto({ publishers: 0, core: OTHER_CORE, certificate: null }));
    const { port } = broker.endpoint;
    const floor = await this.started(
      startChild<object>(import.meta.url, './floor', { port }, CHILD_MS_MAX, SERVER_CORE),
    );
    const { events } = this.#options;
    await this.#burst(port, Math.ceil(events * WARM_UP_SHARE));
    const burst = await this.#burst(port, events);
    // It has nothing that could be asked: what it has not taken a moment after the last acknowledgement is little.
    await sleep(SETTLE_MS);
    this.add('floor/events_per_second', 'events/s', events / burst.seconds);
    this.tell('bare subscriber', `${whole(events / burst.seconds)} events/s`);
    await this.ended(floor);
    await this.ended(broker);
    await sleep(SETTLE_MS);
  }

  async #product(name: string, label: string, roles: string | undefined): Promise<void> {
    const { devices, events } = this.#options;
    const broker = await this.started(startMosquitto({ publishers: 0, core: OTHER_CORE, certificate: null }));
    const { port } = broker.endpoint;
    const node = await this.started(startNode({ ...(roles === undefined ? {} : { roles }), core: SERVER_CORE }));
    await setUp(await node.plane(), port, devices);
    await subscribed(node);
    let taken = await takenBy(node);
    taken = await this.#until(
      node,
      taken + (await this.#count(port, Math.ceil(events * WARM_UP_SHARE))) * MESSAGES_PER_EVENT,
    );
    const burst = await this.#burst(port, events);
    await this.#until(node, taken + events * MESSAGES_PER_EVENT);
    const seconds = (Date.now() - burst.startedAt) / 1_000;
    this.add(`${name}/events_per_second`, 'events/s', events / seconds);
    const memory = node.memory();
    if (memory !== null) this.add(`${name}/memory_pss`, 'MiB', memory.pss);
    this.tell(label, `${whole(events / seconds)} events/s, durable (two messages each)`);
    await this.ended(node);
    await this.ended(broker);
    await sleep(SETTLE_MS);
  }

  async #count(port: number, events: number): Promise<number> {
    await this.#burst(port, events);
    return events;
  }

  async #burst(port: number, events: number): Promise<BurstFigures> {
    const first = this.#next;
    this.#next += events;
    const { devices } = this.#options;
    return runChild<BurstFigures>(
      import.meta.url,
      './burst',
      { port, devices, events, first },
      CHILD_MS_MAX,
      OTHER_CORE,
    );
  }

  /** Waits until so many messages were taken.  @returns how many were */
  async #until(node: ProductNode, expected: number): Promise<number> {
    let last = -1;
    let movedAt = Date.now();
    for (;;) {
      const taken = await takenBy(node);
      if (taken >= expected) return taken;
      if (taken !== last) {
        last = taken;
        movedAt = Date.now();
      } else if (Date.now() - movedAt > STILL_MS_MAX) {
        throw new BenchError('DRAIN_TIMEOUT', 'never', { road: 'Millrace', expected, taken, stderr: node.stderr() });
      }
      await sleep(POLL_MS);
    }
  }
}

/** A channel for the application, a connected thing for each device, and the network server. */
async function setUp(plane: ControlPlane, port: number, devices: number): Promise<void> {
  const channel = await plane<{ id: string }>('POST', '/channels', {
    name: 'bench-lora',
    metadata: { lora: { app_id: APPLICATION_ID } },
  });
  const things: string[] = [];
  for (let index = 0; index < devices; index++) {
    const thing = await plane<{ id: string }>('POST', '/things', {
      name: `bench-${index}`,
      external_id: devEuiOf(index),
    });
    things.push(thing.id);
  }
  await plane('POST', '/connect', { channel_ids: [channel.id], thing_ids: things });
  await plane('POST', '/networkservers', {
    name: 'bench',
    kind: 'chirpstack-v4',
    mqtt: { url: `mqtt://127.0.0.1:${port}`, qos: 1 },
  });
}

const READY_MS_MAX = 20_000;

async function subscribed(node: ProductNode): Promise<void> {
  const end = Date.now() + READY_MS_MAX;
  while (Date.now() < end) {
    const text = await (await fetch(`${node.url}/metrics`)).text();
    if (metricSum(text, 'millrace_lora_servers', { state: 'connected' }) > 0) return sleep(500);
    await sleep(100);
  }
  throw new BenchError('SETUP_FAILED', 'never', {
    problem: "the node does not take the broker's events",
    stderr: node.stderr(),
  });
}

async function takenBy(node: ProductNode): Promise<number> {
  const text = await (await fetch(`${node.url}/metrics`)).text();
  return metricSum(text, 'millrace_ingest_messages_total', { protocol: 'lora', outcome: 'accepted' });
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
