import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { eventually, type Millrace, type Publisher, type Rest } from '../millrace.ts';
import { expectStoredOnce } from '../stored.ts';
import { RawDevice } from './raw-device.ts';
import { codeOf } from './raw-message.ts';

const MIB = 1_048_576;
/** Of what the node held when it was warm; a collector that comes late, and a store that merges, need some of it. */
const GROWTH_MAX = 0.2;
const GROWTH_BYTES_MIN = 128 * MIB;
const PAUSE_MS = 10;
export const SENML = 110;

/** What all lines of a metric sum up to whose labels hold these texts. */
export async function sumOf(rest: Rest, metric: string, ...labels: readonly string[]): Promise<number> {
  const text = await (await rest.raw('GET', '/metrics')).text();
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${metric}{`) || line.startsWith(`${metric} `))
    .filter((line) => labels.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

/** How the log tells of one. */
export const FAULT = /a fault that nobody caught|met a fault|a request of the control plane failed/;

/** No fault was counted or logged. */
export async function expectNoFault(millrace: Millrace, rest: Rest, told: string): Promise<void> {
  const text = await (await rest.raw('GET', '/metrics')).text();
  const counted = text.split('\n').filter((line) => /^millrace_\w*faults_total/.test(line));
  expect(counted.length).toBeGreaterThan(0);
  expect(
    counted.filter((line) => !line.endsWith(' 0')),
    told,
  ).toEqual([]);
  expect(millrace.stderr, told).not.toMatch(FAULT);
}

/** Every message that was accepted at the door has been stored, dropped or told dead. */
export async function expectAllAccounted(rest: Rest): Promise<void> {
  await eventually('all accepted messages to be processed', 60_000, async () => {
    const accepted = await sumOf(rest, 'millrace_ingest_messages_total', 'outcome="accepted"');
    const processed = await sumOf(rest, 'millrace_processor_messages_total');
    if (accepted !== processed) throw new Error(`${accepted} were accepted, ${processed} processed`);
    return true;
  });
}

/** Of one process, shared pages in proportion. @units bytes */
export function memoryOf(pid: number): number {
  return 1_024 * Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
}

/** Waits until a process holds about what it held when it was warm. */
export async function expectMemoryFlat(pid: number, warmBytes: number): Promise<void> {
  const boundBytes = Math.max(warmBytes * (1 + GROWTH_MAX), warmBytes + GROWTH_BYTES_MIN);
  const mib = (each: number): string => (each / MIB).toFixed(0);
  const bytes = await eventually('memory to be what it was', 100_000, async () => {
    const bytes = memoryOf(pid);
    if (bytes > boundBytes) throw new Error(`${mib(bytes)} MiB, it was ${mib(warmBytes)}`);
    return bytes;
  });
  console.log(`memory: ${mib(warmBytes)} MiB before, ${mib(bytes)} MiB after`);
}

/** A well-behaved device that goes on publishing while others do what they want. */
export class Witness {
  /** Of what was acknowledged. */
  readonly names: string[] = [];
  readonly latenciesMs: number[] = [];
  readonly #device: RawDevice;
  readonly #publisher: Publisher;
  readonly #publishing: Promise<void>;
  #over = false;

  private constructor(device: RawDevice, publisher: Publisher) {
    this.#device = device;
    this.#publisher = publisher;
    this.#publishing = this.#publish();
    this.#publishing.catch(() => {});
  }

  /** @param address of its own */
  static async start(millrace: Millrace, publisher: Publisher, address: string): Promise<Witness> {
    return Witness.by(await RawDevice.open(millrace.coap, address), publisher);
  }

  /** @param device is closed at the end */
  static by(device: RawDevice, publisher: Publisher): Witness {
    return new Witness(device, publisher);
  }

  async #publish(): Promise<void> {
    const { channel, key } = this.#publisher;
    const uri = `channels/${channel}/messages?auth=${key}`;
    for (let index = 0; !this.#over; index++) {
      const name = `w-${index}`;
      const begunMs = performance.now();
      const answer = await this.#device.ask({ uri, format: SENML, payload: `[{"n":"${name}","v":${index}}]` });
      this.latenciesMs.push(performance.now() - begunMs);
      expect(codeOf(answer), name).toBe('2.04');
      this.names.push(name);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  /** Ends it: all of its messages were taken within the bound, and are stored once each.
   *  @param p99MsMax of the time until the acknowledgement */
  async end(told: string, p99MsMax = 5_000): Promise<void> {
    this.#over = true;
    try {
      await this.#publishing;
    } finally {
      this.#device.close();
    }
    expect(this.names.length, told).toBeGreaterThan(0);
    await expectStoredOnce(this.#publisher.rest, this.#publisher.channel, this.names, told);
    const sorted = this.latenciesMs.toSorted((one, other) => one - other);
    const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] as number;
    console.log(
      `${told}: ${sorted.length} of the well-behaved device, p50 ${at(0.5).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms`,
    );
    expect(at(0.99), told).toBeLessThan(p99MsMax);
  }
}
