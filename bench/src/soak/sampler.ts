import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { metricValues } from '../metrics-text.ts';
import type { ProductNode } from '../product.ts';
import type { Sample } from './gates.ts';

const HEAP_EVERY_MS = 1_000;
const MIB = 1_048_576;
/** As PostgreSQL names the process of a client: `postgres: <user> <database> <address> <what it does>`. */
const CONNECTION = /^postgres: \S+ \S+ (\[local\]|\d+\.\d+\.\d+\.\d+\(\d+\)) /;
const POSTGRES = /^postgres: /;

/** Looks at a node and all that it started while a load runs. */
export class Sampler {
  readonly samples: Sample[] = [];
  readonly #node: ProductNode;
  readonly #start = performance.now();
  readonly #timers: NodeJS.Timeout[];
  #heapMin = Number.NaN;
  #handles = Number.NaN;
  #looking: Promise<void> = Promise.resolve();

  constructor(node: ProductNode, sampleSeconds: number, told: (sample: Sample) => void) {
    this.#node = node;
    this.#timers = [
      setInterval(() => {
        this.#looking = this.#looking.then(() => this.#ask());
      }, HEAP_EVERY_MS),
      setInterval(() => {
        const sample = this.#sample();
        if (sample === null) return;
        this.samples.push(sample);
        told(sample);
      }, sampleSeconds * 1_000),
    ];
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#looking;
  }

  async #ask(): Promise<void> {
    try {
      const text = await (await fetch(`${this.#node.url}/metrics`)).text();
      const [heap = Number.NaN] = metricValues(text, 'millrace_nodejs_heap_size_used_bytes');
      const [handles = Number.NaN] = metricValues(text, 'millrace_nodejs_active_resources_total');
      this.#heapMin = Number.isNaN(this.#heapMin) ? heap / MIB : Math.min(this.#heapMin, heap / MIB);
      this.#handles = handles;
    } catch {
      // Under load a look may fail; the next one counts.
    }
  }

  #sample(): Sample | null {
    const memory = this.#node.memory();
    if (memory === null || Number.isNaN(this.#heapMin)) return null;
    let [files, threads, databaseConnections] = [0, 0, 0];
    const pids = this.#node.pids();
    for (const pid of pids) {
      const title = titleOf(pid);
      // A connection of PostgreSQL keeps up to 200 files of tables open for itself: they are seen as connections.
      if (!POSTGRES.test(title)) files += filesOf(pid);
      if (CONNECTION.test(title)) databaseConnections++;
      threads += entriesOf(`/proc/${pid}/task`);
    }
    const heap = this.#heapMin;
    this.#heapMin = Number.NaN;
    const { pss, anonymous, rss } = memory;
    const second = Math.round((performance.now() - this.#start) / 1_000);
    const handles = this.#handles;
    return { second, pss, anonymous, rss, heap, handles, files, threads, processes: pids.length, databaseConnections };
  }
}

/** Processes end while they are looked at. */
function entriesOf(directory: string): number {
  try {
    return readdirSync(directory).length;
  } catch {
    return 0;
  }
}

/** Without what the engine keeps open of /proc, three for each thread that has ever worked: they are seen as threads. */
function filesOf(pid: number): number {
  const directory = `/proc/${pid}/fd`;
  try {
    return readdirSync(directory).filter((file) => !targetOf(`${directory}/${file}`).startsWith('/proc/')).length;
  } catch {
    return 0;
  }
}

function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return '';
  }
}

function titleOf(pid: number): string {
  try {
    return `${readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim()} `;
  } catch {
    return '';
  }
}
