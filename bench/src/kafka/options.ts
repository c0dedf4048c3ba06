import type { KafkaCompression } from './subject/plan.ts';

/** How `bench kafka` measures. */
export interface KafkaBenchOptions {
  /** Interleaved rounds: each measures everything once. */
  readonly rounds: number;
  /** Produced, and read back, by each. */
  readonly records: number;
  readonly recordBytes: number;
  readonly partitions: number;
  /** Closed loop: records that wait for their acknowledgement at most. */
  readonly inFlight: number;
  /** Open loop: records a second, and for how long; 0 leaves it out. */
  readonly perSecond: number;
  readonly seconds: number;
  /** Through the log with each client; empty leaves them out. */
  readonly compressions: readonly KafkaCompression[];
  readonly signal?: AbortSignal;
}
export const KAFKA_FULL: KafkaBenchOptions = {
  rounds: 3,
  records: 400_000,
  recordBytes: 300,
  partitions: 4,
  inFlight: 10_000,
  perSecond: 5_000,
  seconds: 8,
  compressions: ['gzip', 'snappy', 'lz4', 'zstd'],
};
export const KAFKA_QUICK: KafkaBenchOptions = { ...KAFKA_FULL, rounds: 1, records: 150_000, seconds: 4 };
