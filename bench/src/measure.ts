import { setTimeout as sleep } from 'node:timers/promises';
import { BenchError } from './errors.ts';
import type { LoadFigures } from './load/plan.ts';
import { runLoad } from './load/run.ts';
import type { TreeMemory } from './memory.ts';
import { metricSum } from './metrics-text.ts';
import type { Road } from './product.ts';

const STORED_POLL_MS = 20;
const SETTLE_MS = 400;
const SAMPLE_MS = 1_000;
const DRAIN_MS_MAX = 30_000;

/** One closed loop, until everything that was acknowledged is stored.
 *  @units rates a second, memory in MiB */
export interface EndToEnd {
  readonly load: LoadFigures;
  /** Acknowledged messages by the time until the last reading was stored. */
  readonly messagesPerSecond: number;
  readonly readingsPerSecond: number;
  /** From the end of the load until all was stored.  @units ms */
  readonly drainMs: number;
  readonly lagMessagesMax: number;
  readonly memoryMax: TreeMemory | null;
  /** Cores that the road's processes took, the load generator not counted. */
  readonly cores: number;
  /** Readings stored beyond what was acknowledged: duplicates, or messages whose answer was lost. */
  readonly surplus: number;
}

export async function measureEndToEnd(
  road: Road,
  load: { readonly connections: number; readonly recordCount: number; readonly seconds: number },
): Promise<EndToEnd> {
  const before = (await readMetrics(road)).stored;
  const memoryBefore = road.memory();
  const sampler = new Sampler(road);
  let figures: LoadFigures;
  let loadEnd: number;
  let expected: number;
  let storedAt: number;
  try {
    figures = await runLoad({ url: road.url, targets: road.targets, ...load });
    loadEnd = Date.now();
    expected = before + figures.accepted * load.recordCount;
    storedAt = await waitStored(road, expected);
  } finally {
    await sampler.stop();
  }
  const memoryAfter = road.memory();
  await sleep(SETTLE_MS);
  const surplus = (await readMetrics(road)).stored - expected;
  const seconds = (storedAt - figures.startedAt) / 1_000;
  return {
    load: figures,
    messagesPerSecond: figures.accepted / seconds,
    readingsPerSecond: (figures.accepted * load.recordCount) / seconds,
    drainMs: Math.max(0, storedAt - loadEnd),
    lagMessagesMax: sampler.lagMax,
    memoryMax: sampler.memoryMax,
    cores:
      memoryAfter === null || memoryBefore === null ? 0 : (memoryAfter.cpuSeconds - memoryBefore.cpuSeconds) / seconds,
    surplus,
  };
}

/** One open loop; waits until all is stored, so that the next measurement starts from rest. */
export async function measureOpenLoop(
  road: Road,
  load: {
    readonly connections: number;
    readonly recordCount: number;
    readonly seconds: number;
    readonly messagesPerSecond: number;
  },
): Promise<LoadFigures & { readonly lagMessagesMax: number; readonly memoryMax: TreeMemory | null }> {
  const before = (await readMetrics(road)).stored;
  const sampler = new Sampler(road);
  try {
    const figures = await runLoad({ url: road.url, targets: road.targets, ...load });
    await waitStored(road, before + figures.accepted * load.recordCount);
    await sampler.stop();
    return { ...figures, lagMessagesMax: sampler.lagMax, memoryMax: sampler.memoryMax };
  } finally {
    await sampler.stop();
  }
}

/** @throws BenchError SETUP_FAILED when the road does not answer with its metrics */
export async function readMetrics(road: Road): Promise<{ stored: number; lag: number }> {
  const response = await fetch(`${road.url}/metrics`);
  const text = await response.text();
  if (!response.ok) {
    throw new BenchError('SETUP_FAILED', 'never', { problem: `${road.name}: GET /metrics`, status: response.status });
  }
  return {
    stored: metricSum(text, 'millrace_store_rows_total', { table: 'readings' }),
    lag: metricSum(text, 'millrace_log_lag_messages'),
  };
}

/** When that many readings were stored, in ms since 1970.
 *  @throws BenchError DRAIN_TIMEOUT when nothing has moved for DRAIN_MS_MAX */
async function waitStored(road: Road, expected: number): Promise<number> {
  let last = -1;
  let movedAt = Date.now();
  for (;;) {
    const { stored, lag } = await readMetrics(road);
    const now = Date.now();
    if (stored >= expected) return now;
    if (stored !== last) {
      last = stored;
      movedAt = now;
    } else if (now - movedAt > DRAIN_MS_MAX) {
      throw new BenchError('DRAIN_TIMEOUT', 'never', {
        road: road.name,
        expected,
        stored,
        lag,
        stderr: road.stderr(),
      });
    }
    await sleep(STORED_POLL_MS);
  }
}

/** Looks at memory and lag while a load runs. */
class Sampler {
  lagMax = 0;
  memoryMax: TreeMemory | null = null;
  readonly #road: Road;
  readonly #timer: NodeJS.Timeout;
  #looking: Promise<void> = Promise.resolve();

  constructor(road: Road) {
    this.#road = road;
    this.#timer = setInterval(() => {
      this.#looking = this.#looking.then(() => this.#look());
    }, SAMPLE_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    const memory = this.#road.memory();
    if (memory !== null && memory.pss > (this.memoryMax?.pss ?? 0)) this.memoryMax = memory;
    try {
      const { lag } = await readMetrics(this.#road);
      if (lag > this.lagMax) this.lagMax = lag;
    } catch {
      // A road under full load may refuse a look; the next one counts.
    }
  }
}
