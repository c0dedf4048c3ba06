import type {
  Component,
  Consumer,
  Directory,
  Log,
  Logger,
  Metrics,
  PartitionLease,
  ReadingsStore,
  Started,
} from '@millrace/core';
import type { ProcessorsConfig } from '../config.ts';
import { ProcessorsError } from '../errors.ts';
import { Lane } from './lane.ts';
import type { LaneOptions } from './options.ts';
import { pause } from './patience.ts';
import { WorkerPool } from './pool.ts';
import { Profiles } from './profiles.ts';
import { RunnerMetrics } from './runner-metrics.ts';

export const PROCESSORS_GROUP = 'processors';
const INSERT_MS_MAX = 60_000;

export interface ProcessorsOptions {
  readonly log: Log;
  readonly store: ReadingsStore;
  readonly directory: Directory;
  /** URL of a module that exports EnforcerModule; it is loaded in the worker threads. */
  readonly enforcerUrl: string;
  /** 32 bytes: what admissions are sealed with. */
  readonly secret: Uint8Array;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly config: ProcessorsConfig;
  /** So long an insert of any node may be under way, 60 s unless said otherwise. */
  readonly insertMsMax?: number;
  /** Another worker file, for tests of what a worker can do wrong. */
  readonly workerUrl?: string;
}

export interface ProcessorsStatus {
  /** null when all goes on, else what each partition that waits is waiting for. */
  health(): string | null;
  /** Partitions that this node has a lease on now. */
  readonly partitions: readonly number[];
}

/** Carries the messages of a log to the store: consumes in the group `processors`, one lane a partition.
 *  Full means: what is not yet processed stays in the log; a store or registry that does not answer is asked again
 *  for ever, with the same range. */
export function processors(options: ProcessorsOptions): Component<ProcessorsStatus> {
  return { name: 'processors', start: () => start(options) };
}

async function start(options: ProcessorsOptions): Promise<Started<ProcessorsStatus>> {
  const { config, log, store, directory, logger } = options;
  const metrics = new RunnerMetrics(options.metrics);
  const draining = new AbortController();
  const stopping = new AbortController();
  const troubles = new Map<number, string>();
  const lanes = new Map<Lane, { readonly partition: number; readonly done: Promise<void> }>();

  const pool = new WorkerPool({
    threads: config.MILLRACE_PROCESSOR_THREADS,
    taskMsMax: config.MILLRACE_WORKER_TASK_MS_MAX,
    heapMibMax: config.MILLRACE_WORKER_HEAP_MIB_MAX,
    seed: { enforcerUrl: options.enforcerUrl, secret: options.secret },
    logger,
    restarts: metrics.restarts,
    ...(options.workerUrl === undefined ? {} : { workerUrl: options.workerUrl }),
  });
  const profiles = new Profiles(directory);
  const laneOptions: LaneOptions = {
    topic: log.topic,
    extent: (partition) => log.extent(partition),
    batchBytesMax: config.MILLRACE_BATCH_BYTES_MAX,
    lingerMs: config.MILLRACE_BATCH_LINGER_MS,
    raw: config.MILLRACE_STORE_RAW,
    repeatWindow: {
      recordsMax: config.MILLRACE_DEDUP_RECORDS_MAX,
      secondsMax: config.MILLRACE_DEDUP_SECONDS_MAX,
    },
    store,
    insertMsMax: options.insertMsMax ?? INSERT_MS_MAX,
    directory,
    profiles,
    pool,
    metrics,
    logger,
    draining: draining.signal,
    stopping: stopping.signal,
    trouble: (partition, what) => {
      if (what === null) troubles.delete(partition);
      else troubles.set(partition, what);
    },
  };

  const onLease = async (lease: PartitionLease): Promise<void> => {
    const over = AbortSignal.any([lease.signal, stopping.signal]);
    const lane = new Lane(lease, laneOptions);
    const done = lane.run();
    lanes.set(lane, { partition: lease.partition, done });
    try {
      await done;
    } catch (error) {
      // A fault of ours must not take the other partitions along; what the lane knew is lost, so it is not begun again
      // under this lease.
      logger.error({ err: error, partition: lease.partition }, 'a partition came to a stop');
      troubles.set(lease.partition, 'stopped by a fault, see the log of this program');
    } finally {
      lanes.delete(lane);
    }
    await aborted(over);
  };

  let consumer: Consumer;
  try {
    const fault = await pool.fault();
    if (fault !== null)
      throw new ProcessorsError('WORKER_FAILED', 'never', { enforcer: options.enforcerUrl }, { cause: fault });
    consumer = await log.consume(PROCESSORS_GROUP, onLease);
  } catch (error) {
    profiles.stop();
    await pool.destroy();
    throw error;
  }

  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopped ??= (async () => {
      draining.abort();
      stopping.abort();
      await consumer.stop();
      profiles.stop();
      await pool.destroy();
    })();
    return stopped;
  };

  return {
    value: {
      health: () =>
        troubles.size === 0
          ? null
          : [...troubles].map(([partition, what]) => `partition ${partition}: ${what}`).join('; '),
      get partitions() {
        return [...lanes.values()].map((lane) => lane.partition).sort((a, b) => a - b);
      },
    },
    async drain(deadlineMs) {
      draining.abort();
      const finished = new AbortController();
      const idle = Promise.allSettled([...lanes.values()].map((lane) => lane.done)).then(() => finished.abort());
      await Promise.race([idle, pause(deadlineMs, finished.signal)]);
    },
    stop,
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
