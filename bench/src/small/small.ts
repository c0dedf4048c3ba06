import { setTimeout as sleep } from 'node:timers/promises';
import { runChild } from '../child.ts';
import { BenchError } from '../errors.ts';
import { type ControlPlane, type ProductNode, type ProvisionedTarget, provision, startNode } from '../product.ts';
import { machineFacts, reportedEnvironment } from '../report.ts';
import { Run } from '../run.ts';
import { median } from '../statistics.ts';
import { footprint } from './footprint.ts';
import type { SmallOptions } from './options.ts';
import type { SmallLoad, SmallPlan } from './plan.ts';
import { type MemorySample, SMALL_MEMORY_MAX, type SmallReport } from './report.ts';

const SAMPLE_MS = 1_000;
const IDLE_MS = 4_000;
const CHILD_EXTRA_MS = 120_000;
const STORED_MS_MAX = 120_000;

/** Loads the built product as a gateway or a small computer is, and watches what it takes of the machine.
 *  @throws BenchError CHILD_FAILED, SETUP_FAILED; nothing it started runs on */
export async function runSmall(options: SmallOptions, progress: (line: string) => void): Promise<SmallReport> {
  return await new SmallRun(options, progress).toEnd(options.signal);
}

class SmallRun extends Run<SmallReport> {
  readonly #options: SmallOptions;

  constructor(options: SmallOptions, progress: (line: string) => void) {
    super(1, progress);
    this.#options = options;
  }

  protected async all(): Promise<SmallReport> {
    const { profile, messagesPerSecond, seconds, channels, tenEvery } = this.#options;
    const machine = machineFacts();
    const environment = profile === 'small' ? { MILLRACE_PROFILE: 'small' } : {};
    const node = await this.started(startNode({ environment }));
    const plane = await node.plane();
    const targets = await provision(plane, channels);
    await sleep(IDLE_MS);
    const idle = sampleOf(node, 0);
    this.say(`idle: ${idle?.total.toFixed(0) ?? '–'} MiB, ready in ${node.readyMs.toFixed(0)} ms`);

    const plan: SmallPlan = {
      http: node.url,
      mqtt: String(node.addresses.mqtt),
      targets,
      ...{ messagesPerSecond, tenEvery, seconds },
    };
    const before = node.memory()?.cpuSeconds ?? 0;
    const watch = new Watch(node, (line) => this.say(line));
    const queries = new Queries(plane, targets, this.#options.querySeconds * 1_000);
    let load: SmallLoad;
    let stored: number;
    try {
      load = await runChild<SmallLoad>(import.meta.url, './generator', plan, seconds * 1_000 + CHILD_EXTRA_MS);
      const cpu = (node.memory()?.cpuSeconds ?? 0) - before;
      await queries.stop();
      stored = await storedReadings(plane, targets, load.readings);
      watch.stop();
      const memory = watch.memory();
      return {
        format: 1,
        benchmark: 'small',
        date: new Date().toISOString(),
        machine,
        settings: { profile, messagesPerSecond, seconds, environment: reportedEnvironment(process.env) },
        readyMs: node.readyMs,
        idle,
        load,
        cores: cpu / load.seconds,
        stored,
        queries: queries.figures(),
        memory,
        largest: watch.largest,
        samples: watch.samples,
        reached: memory !== null && memory.max <= SMALL_MEMORY_MAX && stored === load.readings,
      };
    } finally {
      watch.stop();
      await queries.stop();
      await this.ended(node);
    }
  }
}

function sampleOf(node: ProductNode, second: number): MemorySample | null {
  const found = footprint(node.pids());
  return found === null ? null : { second, pss: node.memory()?.pss ?? 0, ...found };
}

/** Memory, once a second. */
class Watch {
  readonly samples: MemorySample[] = [];
  largest: MemorySample | null = null;
  readonly #timer: NodeJS.Timeout;

  constructor(node: ProductNode, progress: (line: string) => void) {
    const start = performance.now();
    this.#timer = setInterval(() => {
      const sample = sampleOf(node, Math.round((performance.now() - start) / 1_000));
      if (sample === null) return;
      this.samples.push(sample);
      if (sample.total > (this.largest?.total ?? 0)) this.largest = sample;
      if (this.samples.length % 15 === 0) {
        const [total, anonymous] = [sample.total.toFixed(0), sample.anonymous.toFixed(0)];
        progress(`${sample.second} s: ${total} MiB, ${anonymous} of it anonymous`);
      }
    }, SAMPLE_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  memory(): SmallReport['memory'] {
    const totals = this.samples.map(({ total }) => total);
    const sorted = totals.toSorted((a, b) => a - b);
    const [max, p99, last] = [sorted.at(-1), sorted[Math.ceil(sorted.length * 0.99) - 1], totals.at(-1)];
    return max === undefined || p99 === undefined || last === undefined ? null : { max, p99, last };
  }
}

/** What somebody with a dashboard asks now and then. */
class Queries {
  readonly #tookMs: number[] = [];
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #failed = 0;

  constructor(plane: ControlPlane, targets: readonly ProvisionedTarget[], everyMs: number) {
    this.#running = this.#run(plane, targets, everyMs);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  figures(): SmallReport['queries'] {
    const tookMs = this.#tookMs;
    const p50 = tookMs.length === 0 ? 0 : median(tookMs);
    return { count: tookMs.length, p50, max: Math.max(0, ...tookMs), failed: this.#failed };
  }

  async #run(plane: ControlPlane, targets: readonly ProvisionedTarget[], everyMs: number): Promise<void> {
    const { signal } = this.#stopping;
    for (let turn = 0; !signal.aborted; turn++) {
      await sleep(everyMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const start = performance.now();
      try {
        await plane('GET', `/channels/${targets[turn % targets.length]?.channel}/messages?limit=100`);
        this.#tookMs.push(performance.now() - start);
      } catch {
        this.#failed++;
      }
    }
  }
}

/** Readings in the store, once all are there; what is there in the end, if they do not come. */
async function storedReadings(
  plane: ControlPlane,
  targets: readonly ProvisionedTarget[],
  expected: number,
): Promise<number> {
  const end = performance.now() + STORED_MS_MAX;
  for (;;) {
    let stored = 0;
    for (const { channel } of targets) {
      const page = await plane<{ total?: number }>('GET', `/channels/${channel}/messages?limit=1&total=exact`);
      if (page.total === undefined) throw new BenchError('SETUP_FAILED', 'never', { problem: 'no total was told' });
      stored += page.total;
    }
    if (stored >= expected || performance.now() > end) return stored;
    await sleep(500);
  }
}
