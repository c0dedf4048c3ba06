import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { runLoad } from '../load/run.ts';
import { provision, startNode } from '../product.ts';
import { Run } from '../run.ts';

/** node bench/dist/workers/compare.js [--rounds 3] [--seconds 5] [--connections 64] [--workers 0,1,2]
 *  Publishes by HTTP to nodes with so many workers, in interleaved rounds, and tells each beside the first. */
const CHANNELS = 32;
const WARM_SECONDS = 2;
/** The machine settles before the next process is measured. */
const SETTLE_MS = 1_000;

interface CompareOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly connections: number;
  readonly workers: readonly string[];
}

class Compare extends Run {
  readonly #options: CompareOptions;

  constructor(options: CompareOptions) {
    super(options.rounds, (line) => process.stderr.write(`${line}\n`));
    this.#options = options;
  }

  protected async all(): Promise<void> {
    for (this.round = 1; this.round <= this.#options.rounds && !this.stopped; this.round++) {
      for (const workers of this.#options.workers) await this.#measure(workers);
    }
  }

  async #measure(workers: string): Promise<void> {
    const { seconds, connections } = this.#options;
    // Without processors: what is measured is the way to the log and the acknowledgement.
    const node = await this.started(
      startNode({ roles: 'ingest,registry', environment: { MILLRACE_WORKERS: workers } }),
    );
    const targets = await provision(await node.plane(), CHANNELS);
    const plan = { url: node.url, targets, connections, recordCount: 1 };
    await runLoad({ ...plan, seconds: WARM_SECONDS });
    const { acceptedPerSecond, latency, refused } = await runLoad({ ...plan, seconds });
    this.add(`workers/${workers}/publishes_per_second`, 'publishes/s', acceptedPerSecond);
    this.add(`workers/${workers}/p99`, 'ms', latency.p99);
    this.tell(
      `${workers} workers`,
      `${acceptedPerSecond.toFixed(0)}/s, p99 ${latency.p99.toFixed(1)} ms, refused ${JSON.stringify(refused)}`,
    );
    await this.ended(node);
    await sleep(SETTLE_MS);
  }
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    connections: { type: 'string', default: '64' },
    workers: { type: 'string', default: '0,1,2' },
  },
});
const workers = values.workers.split(',');
const compare = new Compare({
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  connections: Number(values.connections),
  workers,
});
const ending = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ending.abort(new Error(signal)));
await compare.toEnd(ending.signal);
const figures = compare.collector.figures();
const median = (name: string): number => figures[`workers/${name}`]?.median ?? Number.NaN;
const base = median(`${workers[0]}/publishes_per_second`);
for (const count of workers) {
  const rate = median(`${count}/publishes_per_second`);
  const p99 = median(`${count}/p99`);
  process.stdout.write(
    `${count.padStart(4)} workers  ${(rate / base).toFixed(2)} of the first  p99 ${p99.toFixed(1)} ms  (${rate.toFixed(0)} publishes/s)\n`,
  );
}
