import type { MetricName, Metrics } from '@millrace/core';
import type { Wait } from './cursor.ts';

/** Why a message that matched was not offered. */
export type SkipReason =
  /** The policy says no. */
  | 'denied'
  /** No valid admission: written by somebody else, and not judged yet. */
  | 'unadmitted'
  /** No envelope. */
  | 'malformed';

type Total = 'delivered' | 'sweptBytes' | 'skippedBlocks' | 'gaps' | 'ended' | 'faults';

/** What delivery counts. Hot counts are plain numbers; they reach the metrics when these are scraped. */
export class DeliveryTally {
  delivered = 0;
  denied = 0;
  unadmitted = 0;
  malformed = 0;
  sweptBytes = 0;
  skippedBlocks = 0;
  live = 0;
  behind = 0;
  gaps = 0;
  ended = 0;
  faults = 0;
  readonly fellBehind: Record<Wait, number> = { room: 0, decision: 0, revoked: 0 };
  readonly #lag;

  constructor(metrics: Metrics, subscriptions: () => number, followLag: (set: Lag) => Promise<void>) {
    // Registered first, so that its collector runs before the counters below are read.
    metrics.gauge('millrace_delivery_cursors', 'Places of subscribers in partitions.', ['state'], (gauge) => {
      gauge.set({ state: 'live' }, this.live);
      gauge.set({ state: 'behind' }, this.behind);
      settle();
    });
    metrics.gauge('millrace_delivery_subscriptions', 'Subscriptions of connected subscribers.', [], (gauge) =>
      gauge.set(subscriptions()),
    );
    metrics.gauge(
      'millrace_delivery_follow_lag_messages',
      'Messages on the log that have not been looked at for live subscribers, in partitions that are followed.',
      ['partition'],
      (gauge) => {
        gauge.reset();
        return followLag((partition, messages) => gauge.set({ partition: String(partition) }, messages));
      },
    );
    const settles: (() => void)[] = [];
    const settle = (): void => {
      for (const each of settles) each();
    };
    const total = (name: MetricName, help: string, key: Total): void => {
      const counter = metrics.counter(name, help);
      settles.push(() => {
        counter.inc(this[key]);
        this[key] = 0;
      });
    };
    total('millrace_delivery_messages_total', 'Messages taken, each counted for each subscriber.', 'delivered');
    total('millrace_delivery_swept_bytes_total', 'Bytes of the log read to catch subscribers up.', 'sweptBytes');
    total(
      'millrace_delivery_skipped_blocks_total',
      'Blocks of the log that need not be read to catch subscribers up, thanks to the index of channels.',
      'skippedBlocks',
    );
    total('millrace_delivery_gaps_total', 'Times that a subscriber missed messages that are no longer kept.', 'gaps');
    total('millrace_delivery_ended_total', 'Subscriptions ended since they may no longer be.', 'ended');
    total(
      'millrace_delivery_faults_total',
      'Faults in subscribers; each cost its subscriber the attachment.',
      'faults',
    );
    const skipped = metrics.counter(
      'millrace_delivery_skipped_total',
      'Messages that matched but were not offered, by reason.',
      ['reason'],
    );
    const behind = metrics.counter(
      'millrace_delivery_fallen_behind_total',
      'Times that a subscriber could not take a message at once, by reason.',
      ['reason'],
    );
    settles.push(() => {
      for (const reason of ['denied', 'unadmitted', 'malformed'] as const satisfies SkipReason[]) {
        skipped.inc({ reason }, this[reason]);
        this[reason] = 0;
      }
      for (const reason of ['room', 'decision', 'revoked'] as const satisfies Wait[]) {
        behind.inc({ reason }, this.fellBehind[reason]);
        this.fellBehind[reason] = 0;
      }
    });
    this.#lag = metrics.histogram(
      'millrace_delivery_lag_seconds',
      'Time from the reception of a message to its offer to live subscribers; one sample a batch.',
      [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    );
  }

  lag(seconds: number): void {
    this.#lag.observe(Math.max(0, seconds));
  }
}
export type Lag = (partition: number, messages: number) => void;
