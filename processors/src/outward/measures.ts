import type { Counter, Metrics } from '@millrace/core';
import type { OutwardLane } from './lane.ts';

/** Lanes that run on this node, by topic. */
export type RunningLanes = ReadonlyMap<string, ReadonlyMap<OutwardLane, Promise<void>>>;

export interface TopicMeasures {
  readonly records: Counter<'topic'>;
  readonly bytes: Counter<'topic'>;
  readonly leftOut: Counter<'topic'>;
}

export function createMeasures(metrics: Metrics, running: RunningLanes): TopicMeasures {
  metrics.gauge(
    'millrace_topic_lag_messages',
    'Stored messages of the partitions of this node that a topic does not have yet.',
    ['topic'],
    async (gauge) => {
      for (const [topic, lanes] of running) {
        try {
          const lags = await Promise.all([...lanes.keys()].map((lane) => lane.lag()));
          if (lags.length === 0) gauge.remove({ topic });
          else
            gauge.set(
              { topic },
              lags.reduce((sum, lag) => sum + lag, 0),
            );
        } catch {
          // A log that does not answer: what was known last stays.
        }
      }
    },
  );
  return {
    records: metrics.counter('millrace_topic_records_total', 'Records written to topics.', ['topic']),
    bytes: metrics.counter('millrace_topic_bytes_total', 'Bytes written to topics.', ['topic']),
    leftOut: metrics.counter('millrace_topic_left_out_total', 'Records too large for their topic.', ['topic']),
  };
}
