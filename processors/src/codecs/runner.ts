import {
  type CodecInput,
  type CodecRunner,
  type Component,
  type Counter,
  type Decoded,
  type Encoded,
  type Gauge,
  type Histogram,
  type Logger,
  type Metrics,
  siblingUrl,
} from '@millrace/core';
import { Piscina } from 'piscina';
import { ProcessorsError } from '../errors.ts';
import { decodedOf, encodedOf } from './answers.ts';
import { decodeCayenne, encodeCayenne } from './cayenne-lpp.ts';
import type { CodecSeed, CodecTask } from './codec-worker.ts';
import type { CodecsConfig } from './config.ts';
import { RunQueue } from './queue.ts';
import { DECODERS, ENCODERS, type SandboxAnswer } from './sandbox.ts';

/** A thread without work ends. */
const IDLE_MS_MAX = 30_000;
/** A thread may take so long to start. */
const START_MS_MAX = 60_000;
const SCRIPT_CHARS_MAX = 524_288;
const INPUT_CHARS_MAX = 1_048_576;
/** A codec whose thread had to be ended is not run again at once: each time costs a thread. */
const REST_MS = 10_000;
const RESTING_MAX = 1_000;
const HEAP_MIB_MAX = 128;

type Direction = 'decode' | 'encode';
type Outcome = 'done' | 'failed' | 'over_time' | 'over_memory' | 'over_output' | 'killed' | 'refused';

export interface CodecRunnerOptions {
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** Runs the codecs of devices in threads of their own, lazily started.
 *  Full means: a run is refused with CODECS_BUSY (retry later). */
export function codecRunner(config: CodecsConfig, options: CodecRunnerOptions): Component<CodecRunner> {
  return {
    name: 'codecs',
    async start() {
      const runner = new SandboxedCodecs(config, options);
      return { value: runner, drain: async () => {}, stop: () => runner.stop() };
    },
  };
}

/** undefined: nested more deeply than can be written, which what was parsed may be. */
function inputText(input: unknown): string | undefined {
  try {
    return JSON.stringify(input);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

class SandboxedCodecs implements CodecRunner {
  readonly #piscina: Piscina<CodecTask, SandboxAnswer>;
  readonly #queue: RunQueue;
  readonly #killMs: number;
  readonly #logger: Logger;
  readonly #runs: Counter<'direction' | 'outcome'>;
  readonly #seconds: Histogram<'direction'>;
  /** Until when a codec rests.  @units ms of the process */
  readonly #resting = new Map<string, number>();
  #isStopped = false;

  constructor(config: CodecsConfig, { metrics, logger }: CodecRunnerOptions) {
    const workerUrl = siblingUrl(import.meta.url, './codec-worker');
    const limits = {
      msMax: config.MILLRACE_CODECS_MS_MAX,
      memoryBytesMax: config.MILLRACE_CODECS_MEMORY_BYTES_MAX,
      outputBytesMax: config.MILLRACE_CODECS_OUTPUT_BYTES_MAX,
    };
    const workerData: CodecSeed & { readonly workerUrl: string } = { limits, workerUrl };
    this.#logger = logger;
    // Of the wall's clock: a thread that is not given a core is no culprit yet.
    this.#killMs = 4_000 + 20 * limits.msMax;
    this.#queue = new RunQueue(config.MILLRACE_CODECS_THREADS, config.MILLRACE_CODECS_QUEUE_MAX);
    this.#piscina = new Piscina<CodecTask, SandboxAnswer>({
      filename: workerUrl.endsWith('.ts') ? new URL('../run/from-source.mjs', import.meta.url).href : workerUrl,
      minThreads: 0,
      maxThreads: config.MILLRACE_CODECS_THREADS,
      idleTimeout: IDLE_MS_MAX,
      // Runs wait in our queue: what waits must not use up its time.
      maxQueue: config.MILLRACE_CODECS_THREADS,
      workerData,
      atomics: 'disabled',
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB_MAX },
    });
    this.#piscina.on('error', (error: unknown) => logger.error({ err: error }, 'a thread of the codecs died'));
    this.#runs = metrics.counter('millrace_codec_runs_total', 'Runs of codecs by what became of them', [
      'direction',
      'outcome',
    ]);
    this.#seconds = metrics.histogram(
      'millrace_codec_seconds',
      'Time of a run in its thread and on the way to it',
      [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
      ['direction'],
    );
    metrics.gauge('millrace_codec_waiting_runs', 'Runs of codecs that wait for a thread', [], (gauge: Gauge) =>
      gauge.set(this.#queue.waiting),
    );
  }

  async decode(codec: CodecInput, input: Parameters<CodecRunner['decode']>[1]): Promise<Decoded> {
    if (codec.kind === 'cayenne-lpp') return this.#counted('decode', decodeCayenne(input.bytes));
    const { bytes, fPort, variables } = input;
    const answer = await this.#run('decode', codec, DECODERS, { bytes: [...bytes], fPort, variables });
    if (answer.kind === 'failed') return answer;
    return this.#counted('decode', decodedOf(answer.json, answer.logs));
  }

  async encode(codec: CodecInput, input: Parameters<CodecRunner['encode']>[1]): Promise<Encoded> {
    if (codec.kind === 'cayenne-lpp') return this.#counted('encode', encodeCayenne(input.data));
    const answer = await this.#run('encode', codec, ENCODERS, input);
    if (answer.kind === 'failed') return answer;
    return this.#counted('encode', encodedOf(answer.json, answer.logs));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#piscina.destroy();
  }

  async #run(
    direction: Direction,
    codec: CodecInput,
    forms: readonly string[],
    input: unknown,
  ): Promise<Extract<SandboxAnswer, { kind: 'value' }> | Extract<Decoded, { kind: 'failed' }>> {
    const key = codec.id === '' ? 'draft' : `${codec.id} ${codec.version}`;
    const json = inputText(input);
    if (json === undefined) return this.#failed(direction, 'failed', 'its input is nested too deeply');
    if (codec.script.length > SCRIPT_CHARS_MAX || json.length > INPUT_CHARS_MAX)
      return this.#failed(direction, 'failed', 'the script or its input is too large');
    if (this.#rests(key)) {
      const detail = 'it had to be ended by force a moment ago, and is not run again yet';
      return this.#failed(direction, 'failed', detail);
    }
    const leave = await this.#queue
      .enter(codec.org, codec.id === '' ? `draft of ${codec.org}` : codec.id)
      .catch((error) => {
        this.#runs.inc({ direction, outcome: 'refused' });
        throw error;
      });
    const startMs = performance.now();
    let byForce = false;
    try {
      if (this.#isStopped) throw new ProcessorsError('CODECS_BUSY', 'later', { stopped: true });
      const answer = await this.#inThread({ script: codec.script, forms, input: json });
      if (answer.kind === 'failed') return this.#failed(direction, answer.outcome, answer.detail, answer.logs);
      return answer;
    } catch (error) {
      if (this.#isStopped) throw new ProcessorsError('CODECS_BUSY', 'later', { stopped: true }, { cause: error });
      byForce = true;
      this.#logger.warn({ err: error, codec: codec.id, version: codec.version }, 'a codec had to be ended by force');
      // A draft is somebody's who is trying things out: the next one is another.
      if (codec.id !== '') this.#rest(key);
      return this.#failed(direction, 'killed', 'it does not come to an end, or breaks its sandbox');
    } finally {
      this.#seconds.observe({ direction }, (performance.now() - startMs) / 1_000);
      leave(byForce);
    }
  }

  /** @throws when the thread dies or has to be ended: another one takes its place */
  async #inThread(run: Omit<CodecTask, 'progress'>): Promise<SandboxAnswer> {
    const progress = new Int32Array(new SharedArrayBuffer(4));
    const abort = new AbortController();
    const startBy = performance.now() + START_MS_MAX;
    let hadBegun = false;
    const due = (): void => {
      const reached = Atomics.load(progress, 0);
      // What has ended is not judged: its answer may wait behind this look where the main thread was held up.
      if (reached === 2) return;
      if (hadBegun || performance.now() > startBy) abort.abort();
      // It may have begun only just now: its time is counted from the first look that finds it so.
      hadBegun = reached === 1;
      timer = setTimeout(due, this.#killMs);
    };
    let timer = setTimeout(due, this.#killMs);
    try {
      return await this.#piscina.run({ ...run, progress }, { signal: abort.signal });
    } finally {
      clearTimeout(timer);
    }
  }

  #rests(key: string): boolean {
    const until = this.#resting.get(key);
    if (until === undefined) return false;
    if (performance.now() < until) return true;
    this.#resting.delete(key);
    return false;
  }

  #rest(key: string): void {
    if (this.#resting.size >= RESTING_MAX) this.#resting.clear();
    this.#resting.set(key, performance.now() + REST_MS);
  }

  #counted<A extends Decoded | Encoded>(direction: Direction, answer: A): A {
    this.#runs.inc({ direction, outcome: answer.kind === 'failed' ? 'failed' : 'done' });
    return answer;
  }

  #failed(
    direction: Direction,
    outcome: Outcome,
    detail: string,
    logs: readonly string[] = [],
  ): Extract<Decoded, { kind: 'failed' }> {
    this.#runs.inc({ direction, outcome });
    return { kind: 'failed', detail, logs };
  }
}
