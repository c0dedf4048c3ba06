import type { Directory, Log, Logger, ReadingsStore } from '@millrace/core';
import type { RepeatWindow } from '../batch/task.ts';
import type { RawPolicy } from '../config.ts';
import type { WorkerPool } from './pool.ts';
import type { Profiles } from './profiles.ts';
import type { RunnerMetrics } from './runner-metrics.ts';

/** What all lanes of a node share. */
export interface LaneOptions {
  readonly topic: string;
  readonly extent: Log['extent'];
  readonly batchBytesMax: number;
  readonly lingerMs: number;
  readonly raw: RawPolicy;
  readonly repeatWindow: RepeatWindow;
  readonly store: ReadingsStore;
  /** So long an insert may be under way. */
  readonly insertMsMax: number;
  readonly directory: Directory;
  readonly profiles: Profiles;
  readonly pool: WorkerPool;
  readonly metrics: RunnerMetrics;
  readonly logger: Logger;
  /** Nothing new is read once it aborts. */
  readonly draining: AbortSignal;
  /** All ends at once when it aborts. */
  readonly stopping: AbortSignal;
  /** Tells what a lane waits for, null when it goes on. */
  readonly trouble: (partition: number, what: string | null) => void;
}
