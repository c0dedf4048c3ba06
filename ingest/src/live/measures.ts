import type { Metrics } from '@millrace/core';

/** What kind of connection stays open: a socket on one channel, a socket at /ws, a tunnel for MQTT, an event stream, a question. */
export const LIVE_KINDS = ['channel', 'many', 'mqtt', 'stream', 'question'] as const;
export type LiveKind = (typeof LIVE_KINDS)[number];

/** Why a connection was ended. Closed: it is a metric label. */
export type LiveEnd =
  | 'client'
  | 'slow'
  | 'silent'
  | 'revoked'
  | 'forbidden'
  | 'unauthenticated'
  | 'malformed'
  | 'overloaded'
  | 'draining'
  | 'fault';

/** What the live connections of one kind count. Hot counts are plain numbers, read when the metrics are. */
export class LiveMeasures {
  readonly #kind: LiveKind;
  readonly #messages;
  readonly #drops;
  readonly #gaps;
  readonly #ends;
  #connections = 0;
  #delivered = 0;
  #dropped = 0;

  constructor(metrics: Metrics, kind: LiveKind) {
    this.#kind = kind;
    const all = kindsOf(metrics);
    all.set(kind, this);
    // Registered first, so that its collector runs before the counters are read.
    metrics.gauge('millrace_live_connections', 'Open WebSockets and event streams.', ['kind'], (gauge) => {
      for (const [name, measures] of all) {
        gauge.set({ kind: name }, measures.#connections);
        measures.#settle();
      }
    });
    this.#messages = metrics.counter('millrace_live_messages_total', 'Messages written to subscribers.', ['kind']);
    this.#drops = metrics.counter(
      'millrace_live_dropped_total',
      'Messages that slow subscribers with slow=latest were not sent, on purpose: a newer one of their series came.',
      ['kind'],
    );
    this.#gaps = metrics.counter(
      'millrace_live_gaps_total',
      'Times that a subscriber came too late for what was kept.',
      ['kind'],
    );
    this.#ends = metrics.counter('millrace_live_ends_total', 'Ended WebSockets and event streams, by reason.', [
      'kind',
      'reason',
    ]);
  }

  opened(): void {
    this.#connections++;
  }
  /** Counted once a connection, when its end begins. */
  ends(reason: LiveEnd): void {
    this.#ends.inc({ kind: this.#kind, reason });
  }
  closed(): void {
    this.#connections--;
  }
  delivered(): void {
    this.#delivered++;
  }
  dropped(count: number): void {
    this.#dropped += count;
  }
  gap(): void {
    this.#gaps.inc({ kind: this.#kind });
  }

  #settle(): void {
    this.#messages.inc({ kind: this.#kind }, this.#delivered);
    this.#drops.inc({ kind: this.#kind }, this.#dropped);
    this.#delivered = 0;
    this.#dropped = 0;
  }
}

const KNOWN = new WeakMap<object, Map<LiveKind, LiveMeasures>>();
function kindsOf(metrics: Metrics): Map<LiveKind, LiveMeasures> {
  let known = KNOWN.get(metrics.registry);
  if (known === undefined) {
    known = new Map();
    KNOWN.set(metrics.registry, known);
  }
  return known;
}
