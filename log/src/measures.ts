import type { Counter, Gauge, Histogram, Metrics } from '@millrace/core';

export type RefusalReason = 'full_queue' | 'full_log' | 'full_disk' | 'too_large' | 'unreachable' | 'closed';

/** What an engine tells about itself when it is asked. */
export interface Gauged {
  pendingBytes(): number;
  bytes(): number;
  partitions(): Iterable<{ topic: string; partition: number; next: number }>;
  lags(): Iterable<{ topic: string; group: string; partition: number; lag: number }>;
}

/** The signals of the log, the same for both engines. */
export interface Measures {
  readonly appends: Counter<'topic'>;
  readonly appendBytes: Counter<'topic'>;
  readonly refused: Counter<'reason'>;
  readonly commitSeconds: Histogram<string>;
  /** By what went wrong at the broker; Kafka only. */
  readonly faults: Counter<'kind'>;
  /** Removed by Kafka before a group had read them. */
  readonly lost: Counter<'topic' | 'group'>;
  /** Times that leases began anew; Kafka only. */
  readonly rebalances: Counter<'group'>;
  readonly commits: Counter<'group' | 'outcome'>;
}

const COMMIT_SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5];

/** Registers the log's metrics, once a process. */
export function createMeasures(metrics: Metrics, gauged: Gauged): Measures {
  metrics.gauge('millrace_log_pending_bytes', 'Appended and not durable yet.', [], (gauge) => {
    gauge.set(gauged.pendingBytes());
  });
  metrics.gauge('millrace_log_bytes', 'Kept by the log (embedded engine).', [], (gauge) => {
    gauge.set(gauged.bytes());
  });
  metrics.gauge(
    'millrace_log_next_offset',
    'The next offset to be given.',
    ['topic', 'partition'],
    (gauge: Gauge<'topic' | 'partition'>) => {
      for (const { topic, partition, next } of gauged.partitions()) {
        gauge.set({ topic, partition: String(partition) }, next);
      }
    },
  );
  metrics.gauge(
    'millrace_log_lag_messages',
    'Appended and not committed by the group yet.',
    ['topic', 'group', 'partition'],
    (gauge: Gauge<'topic' | 'group' | 'partition'>) => {
      for (const { topic, group, partition, lag } of gauged.lags()) {
        gauge.set({ topic, group, partition: String(partition) }, lag);
      }
    },
  );
  return {
    appends: metrics.counter('millrace_log_appends_total', 'Records made durable.', ['topic']),
    appendBytes: metrics.counter('millrace_log_append_bytes_total', 'Bytes of records made durable.', ['topic']),
    refused: metrics.counter('millrace_log_refused_total', 'Records refused, by reason.', ['reason']),
    commitSeconds: metrics.histogram(
      'millrace_log_commit_seconds',
      'From handing a gather over until it is durable.',
      COMMIT_SECONDS,
    ),
    faults: metrics.counter('millrace_log_faults_total', 'Faults of the Kafka brokers, by kind.', ['kind']),
    lost: metrics.counter('millrace_log_lost_messages_total', 'Removed by Kafka before the group had read them.', [
      'topic',
      'group',
    ]),
    rebalances: metrics.counter('millrace_log_rebalances_total', 'New generations of a group in Kafka.', ['group']),
    commits: metrics.counter('millrace_log_commits_total', 'Commits of offsets to Kafka, by outcome.', [
      'group',
      'outcome',
    ]),
  };
}
