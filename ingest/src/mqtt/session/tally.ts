import type { Metrics } from '@millrace/core';

export const DROP_REASONS = [
  /** QoS 0, and the client takes nothing. */
  'slow',
  /** Unacknowledged, and the log keeps it no longer. */
  'not_kept',
  /** Unacknowledged or retained, and the subscriber may not read it any more. */
  'denied',
  /** More retained messages than one subscription is sent. */
  'retained_limit',
  /** A session that has left could not be saved in time: an older state of it stays. */
  'session_unsaved',
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** What the sessions count. Hot counts are plain numbers; they reach the metrics when these are scraped. */
export class SessionTally {
  /** Sent to clients, by QoS. */
  readonly sent: [number, number, number] = [0, 0, 0];
  sentBytes = 0;
  readonly #dropped;
  readonly #ended;
  readonly #takeovers;
  readonly #saves;
  readonly #saveSeconds;
  readonly #gaps;
  readonly #settled: [number, number, number] = [0, 0, 0];

  constructor(
    metrics: Metrics,
    now: {
      readonly connected: () => number;
      readonly persistent: () => number;
      readonly subscriptions: () => number;
      readonly unsaved: () => number;
      readonly oldestSeconds: () => number;
    },
  ) {
    const sent = metrics.counter('millrace_mqtt_sent_total', 'PUBLISH packets written to subscribers.', ['qos']);
    metrics.gauge('millrace_mqtt_sessions', 'Sessions that have a connection.', ['kind'], (gauge) => {
      for (const qos of [0, 1, 2] as const) {
        sent.inc({ qos: String(qos) }, this.sent[qos] - this.#settled[qos]);
        this.#settled[qos] = this.sent[qos];
      }
      gauge.set({ kind: 'persistent' }, now.persistent());
      gauge.set({ kind: 'clean' }, now.connected() - now.persistent());
    });
    metrics.gauge('millrace_mqtt_subscriptions', 'Subscriptions of connected sessions.', [], (gauge) => {
      gauge.set(now.subscriptions());
    });
    metrics.gauge('millrace_mqtt_unsaved_sessions', 'Changed sessions that are not saved yet.', [], (gauge) => {
      gauge.set(now.unsaved());
    });
    metrics.gauge('millrace_mqtt_unsaved_seconds', 'Age of the oldest change that is not saved yet.', [], (gauge) => {
      gauge.set(now.oldestSeconds());
    });
    this.#dropped = metrics.counter('millrace_mqtt_dropped_total', 'What was not sent, by reason.', ['reason']);
    this.#ended = metrics.counter(
      'millrace_mqtt_subscriptions_ended_total',
      'Subscriptions that were taken away: the subscriber may no longer read the channel.',
    );
    this.#takeovers = metrics.counter(
      'millrace_mqtt_takeovers_total',
      'Sessions that another connection took, on this node or on another.',
      ['where'],
    );
    this.#gaps = metrics.counter(
      'millrace_mqtt_gaps_total',
      'Times that a session came back later than the log keeps messages.',
    );
    this.#saves = metrics.counter('millrace_mqtt_saves_total', 'Rows of sessions written, by outcome.', ['outcome']);
    this.#saveSeconds = metrics.histogram(
      'millrace_mqtt_save_seconds',
      'Time of one statement that saves sessions.',
      [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    );
  }

  dropped(reason: DropReason, count = 1): void {
    this.#dropped.inc({ reason }, count);
  }

  gap(): void {
    this.#gaps.inc();
  }

  ended(): void {
    this.#ended.inc();
  }

  taken(where: 'here' | 'elsewhere'): void {
    this.#takeovers.inc({ where });
  }

  saved(rows: number, seconds: number): void {
    this.#saves.inc({ outcome: 'saved' }, rows);
    this.#saveSeconds.observe(seconds);
  }

  fenced(): void {
    this.#saves.inc({ outcome: 'fenced' });
  }

  saveFailed(): void {
    this.#saves.inc({ outcome: 'failed' });
  }
}
