import { setTimeout as sleep } from 'node:timers/promises';
import type { TreeMemory } from '../memory.ts';
import { type Broker, EVERYTHING } from './brokers/broker.ts';
import type { Quantiles } from './load/plan.ts';
import type { BridgeLoad } from './load/run.ts';
import type { BridgeOptions } from './options.ts';

export interface MeasurementParts {
  readonly name: string;
  readonly broker: Broker;
  readonly load: BridgeLoad;
  readonly options: BridgeOptions;
  add(figure: string, unit: string, value: number): void;
  tell(found: string): void;
}

const QOS = [1, 0, 2] as const;
const CONCURRENT_CONNECTS = 32;
const MEMORY_POLL_MS = 500;

/** One broker, once through. */
export class Measurement {
  readonly #parts: MeasurementParts;
  /** QoS 1 publishes a second with the first window that was measured: one in flight. */
  #maximum = 0;

  constructor(parts: MeasurementParts) {
    this.#parts = parts;
  }

  /** @param whole  false: publishes, the first fan-in and half of the maximum only */
  async run(whole: boolean): Promise<void> {
    const { options } = this.#parts;
    const idle = whole ? await settledMemory(this.#parts.broker, options.memorySeconds) : null;
    if (whole && idle !== null) await this.#idle(idle);
    await this.#warmUp();
    for (const inFlight of options.inFlight) {
      for (const qos of QOS) await this.#publish(qos, inFlight);
    }
    for (const rate of whole ? options.fanIn : options.fanIn.slice(0, 1)) {
      await this.#deliver(`fan-in-${rate}`, rate, options.connections, 1);
    }
    await this.#deliver('half', Math.max(1, Math.floor(this.#maximum / 2)), options.connections, 1);
    if (!whole) return;
    for (const subscribers of options.fanOut) {
      const rate = Math.max(1, Math.floor(options.fanOutPerSecond / subscribers));
      await this.#deliver(`fan-out-${subscribers}`, Math.min(rate, 1_000), 1, subscribers);
    }
    await this.#connects('plain');
    await this.#connects('tls');
  }

  /** Code is compiled and caches are filled before anything counts. */
  async #warmUp(): Promise<void> {
    const { broker, load, options } = this.#parts;
    await load.publish({
      endpoint: broker.endpoint,
      publishers: broker.publishers,
      qos: 1,
      inFlight: 4,
      payloadSize: options.payloadSize,
      warmUpSeconds: 0,
      seconds: Math.min(2, options.seconds / 2),
    });
  }

  async #publish(qos: 0 | 1 | 2, inFlight: number): Promise<void> {
    const { broker, load, options } = this.#parts;
    const cpu = new ServerCpu(broker);
    const found = await load.publish({
      endpoint: broker.endpoint,
      publishers: broker.publishers,
      qos,
      inFlight,
      payloadSize: options.payloadSize,
      warmUpSeconds: Math.min(1, options.seconds / 4),
      seconds: options.seconds,
    });
    const cpuSeconds = cpu.seconds();
    const base = `publish/qos-${qos}/in-flight-${inFlight}`;
    this.#add(`${base}/publishes_per_second`, 'publishes/s', found.publishesPerSecond);
    this.#latency(base, 'ack', found.latency);
    this.#add(`${base}/lost`, 'connections', found.lost);
    this.#add(`${base}/generator_cores`, 'cores', found.generatorCores);
    if (cpuSeconds !== null && cpuSeconds > 0) {
      this.#add(`${base}/publishes_per_core_second`, 'publishes/s', found.publishesInAll / cpuSeconds);
    }
    if (qos === 1 && this.#maximum === 0) this.#maximum = found.publishesPerSecond;
    this.#tell(
      `QoS ${qos}, ${inFlight} in flight: ${whole(found.publishesPerSecond)} publishes/s, p99 ${found.latency.p99.toFixed(1)} ms, generator ${found.generatorCores.toFixed(2)} cores`,
    );
  }

  async #deliver(label: string, messagesPerSecond: number, publishers: number, subscribers: number): Promise<void> {
    const { broker, load, options } = this.#parts;
    const found = await load.deliver({
      endpoint: broker.endpoint,
      publishers: broker.publishers.slice(0, publishers),
      subscribers,
      subscriber: broker.subscriber,
      filter: EVERYTHING,
      qos: 1,
      messagesPerSecond,
      payloadSize: options.payloadSize,
      warmUpSeconds: Math.min(1, options.seconds / 4),
      seconds: options.seconds,
    });
    this.#add(`${label}/offered_per_second`, 'messages/s', messagesPerSecond);
    this.#add(`${label}/deliveries_per_second`, 'deliveries/s', found.deliveriesPerSecond);
    this.#latency(label, 'delivery', found.latency);
    this.#add(`${label}/missing`, 'deliveries', found.missing);
    this.#add(`${label}/surplus`, 'deliveries', found.surplus);
    this.#add(`${label}/generator_late_p99`, 'ms', found.generatorLate.p99);
    this.#add(`${label}/generator_cores`, 'cores', found.generatorCores);
    this.#tell(
      `${label}, ${whole(messagesPerSecond)} messages/s to ${subscribers}: p50 ${found.latency.p50.toFixed(1)} ms, p99 ${found.latency.p99.toFixed(1)} ms${found.missing > 0 ? `, ${found.missing} MISSING` : ''}${found.surplus > 0 ? `, ${found.surplus} TWICE` : ''}`,
    );
  }

  async #connects(over: 'plain' | 'tls'): Promise<void> {
    const { broker, load, options } = this.#parts;
    const endpoint = over === 'plain' ? broker.endpoint : broker.tls;
    if (endpoint === null) return;
    const cpu = new ServerCpu(broker);
    const found = await load.connect({
      endpoint,
      identities: broker.publishers.map(({ username, password }) => ({ username, password })),
      concurrent: CONCURRENT_CONNECTS,
      warmUpSeconds: Math.min(1, options.seconds / 4),
      seconds: options.seconds,
    });
    const cpuSeconds = cpu.seconds();
    const base = `connect/${over}`;
    this.#add(`${base}/connects_per_second`, 'connects/s', found.connectsPerSecond);
    this.#latency(base, 'connack', found.latency);
    this.#add(`${base}/failed`, 'connects', found.failed);
    this.#add(`${base}/generator_cores`, 'cores', found.generatorCores);
    // What the server could do if its clients kept up: a handshake costs them as much as it does.
    const perCore = cpuSeconds === null || cpuSeconds === 0 ? null : found.connectsInAll / cpuSeconds;
    if (perCore !== null) this.#add(`${base}/connects_per_core_second`, 'connects/s', perCore);
    this.#tell(
      `CONNECT, ${over}: ${whole(found.connectsPerSecond)} a second, generator ${found.generatorCores.toFixed(2)} cores${perCore === null ? '' : `; ${whole(perCore)} for each second of the server's CPU`}${found.failed > 0 ? `, ${found.failed} FAILED` : ''}`,
    );
  }

  async #idle(before: TreeMemory): Promise<void> {
    const { broker, load, options } = this.#parts;
    const holding = await load.hold({
      endpoint: broker.endpoint,
      identities: broker.publishers.map(({ username, password }) => ({ username, password })),
      connections: options.idleConnections,
    });
    const { held, problem } = holding.message;
    const after = await settledMemory(broker, options.memorySeconds);
    await holding.stop();
    if (after === null || held === 0) return;
    const mib = after.pss - before.pss;
    this.#add('idle/connections', 'connections', held);
    this.#add('idle/base_pss', 'MiB', before.pss);
    this.#add('idle/above_pss', 'MiB', mib);
    this.#add('idle/connections_per_gib', 'connections/GiB', held / (Math.max(mib, 0.1) / 1_024));
    this.#tell(
      `${whole(held)} idle connections: ${mib.toFixed(0)} MiB above ${before.pss.toFixed(0)}${problem === null ? '' : ` (no more: ${problem})`}`,
    );
    // Their ends are handled before anything else is measured.
    await sleep(Math.min(2_000, options.idleConnections));
  }

  #latency(base: string, what: string, { p50, p99, max }: Quantiles): void {
    this.#add(`${base}/${what}_p50`, 'ms', p50);
    this.#add(`${base}/${what}_p99`, 'ms', p99);
    this.#add(`${base}/${what}_max`, 'ms', max);
  }

  #add(figure: string, unit: string, value: number): void {
    this.#parts.add(figure, unit, value);
  }
  #tell(found: string): void {
    this.#parts.tell(found);
  }
}

/** The CPU that a broker takes from here on. */
class ServerCpu {
  readonly #broker: Broker;
  readonly #before: number | null;

  constructor(broker: Broker) {
    this.#broker = broker;
    this.#before = broker.memory()?.cpuSeconds ?? null;
  }

  /** null where the system does not tell.  @units s */
  seconds(): number | null {
    const now = this.#broker.memory()?.cpuSeconds ?? null;
    return now === null || this.#before === null ? null : now - this.#before;
  }
}

/** The least over a while: what a collector has not yet freed is not counted where it soon is. */
export async function settledMemory(broker: Broker, seconds: number): Promise<TreeMemory | null> {
  let least: TreeMemory | null = null;
  for (let waited = 0; waited <= seconds * 1_000; waited += MEMORY_POLL_MS) {
    await sleep(MEMORY_POLL_MS);
    const now = broker.memory();
    if (now !== null && (least === null || now.pss < least.pss)) least = now;
  }
  return least;
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
