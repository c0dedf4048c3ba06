import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { Kafka, logLevel } from 'kafkajs';

const READY_MS_MAX = 180_000;
const END_MS_MAX = 15_000;

/** One broker, a process of its own. */
export class KafkaBroker {
  /** host:port of its listener for clients, past any relay. */
  readonly address: string;
  /** The same of the brokers' own listener. */
  readonly internal: string;
  readonly #java: readonly string[];
  readonly #properties: string;
  readonly #heapMiB: number;
  #child: ChildProcess | null = null;
  #ended: Promise<void> = Promise.resolve();

  constructor(parts: {
    readonly libraries: string;
    readonly properties: string;
    readonly address: string;
    readonly internal: string;
    readonly heapMiB: number;
  }) {
    this.address = parts.address;
    this.internal = parts.internal;
    this.#java = ['-cp', `${parts.libraries}/*`];
    this.#properties = parts.properties;
    this.#heapMiB = parts.heapMiB;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async format(clusterId: string, more: readonly string[]): Promise<void> {
    const words = ['format', '--ignore-formatted', '-t', clusterId, '-c', this.#properties, ...more];
    await promisify(execFile)('java', [...this.#java, 'kafka.tools.StorageTool', ...words]);
  }

  /** kill -9. The data stays. */
  kill(): void {
    this.#child?.kill('SIGKILL');
  }

  /** It hangs: its connections stay open and nothing answers. */
  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Starts it on its ports and data, once it has ended.  @throws when it doesn't answer in time */
  async restart(): Promise<void> {
    await this.#ended;
    const heap = [`-Xmx${this.#heapMiB}m`, ...(this.#heapMiB < 512 ? ['-XX:+UseSerialGC'] : [])];
    const child = spawn('java', [...heap, ...this.#java, 'kafka.Kafka', this.#properties], { stdio: 'ignore' });
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
    await answers(this.internal, child);
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.resume();
    this.#child?.kill(signal);
    const late = setTimeout(() => this.kill(), END_MS_MAX);
    await this.#ended;
    clearTimeout(late);
  }
}

/** Resolves once the broker takes metadata requests and a group coordinator answers. */
async function answers(address: string, child: ChildProcess): Promise<void> {
  const end = performance.now() + READY_MS_MAX;
  const kafka = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING, retry: { retries: 0 } });
  let last: unknown;
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('kafka ended while it was starting');
    if (performance.now() > end) throw new Error(`kafka did not answer within ${READY_MS_MAX} ms`, { cause: last });
    const admin = kafka.admin();
    try {
      await admin.connect();
      await admin.createTopics({ topics: [{ topic: 'ready', numPartitions: 1 }] });
      await admin.fetchOffsets({ groupId: 'ready', topics: ['ready'] });
      return;
    } catch (error) {
      last = error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    } finally {
      await admin.disconnect().catch(() => {});
    }
  }
}
