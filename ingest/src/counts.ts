import type { Metrics } from '@millrace/core';
import type { Refusal } from './http/answer.ts';

export const INGEST_PROTOCOLS = ['http', 'ws', 'mqtt', 'coap', 'lora'] as const;
export type IngestProtocol = (typeof INGEST_PROTOCOLS)[number];

/** What ingest counts. Hot counts are plain numbers; they reach the metrics when these are scraped.
 *  @units ack: seconds from the message's reception to its durable append */
export class IngestCounts {
  connections = 0;
  inFlightMessages = 0;
  inFlightBytes = 0;
  #accepted = 0;
  #bytes = 0;
  readonly #messages;
  readonly #bytesTotal;
  readonly #ack;
  readonly #protocol: IngestProtocol;

  static readonly #all = new WeakMap<object, Map<IngestProtocol, IngestCounts>>();

  /** The counts of a protocol: one object for all listeners that share the metrics. */
  static of(metrics: Metrics, protocol: IngestProtocol): IngestCounts {
    let known = IngestCounts.#all.get(metrics.registry);
    if (known === undefined) {
      known = new Map();
      IngestCounts.#all.set(metrics.registry, known);
    }
    let counts = known.get(protocol);
    if (counts === undefined) {
      counts = new IngestCounts(metrics, protocol, known);
      known.set(protocol, counts);
    }
    return counts;
  }

  private constructor(metrics: Metrics, protocol: IngestProtocol, all: ReadonlyMap<IngestProtocol, IngestCounts>) {
    this.#protocol = protocol;
    // A metric has one collector, whoever asked for it first: it collects for all protocols.
    // Registered first, so that its collector runs before the counters below are read.
    metrics.gauge('millrace_ingest_in_flight_messages', 'Messages that wait for the log.', ['protocol'], (gauge) => {
      for (const [name, counts] of all) {
        gauge.set({ protocol: name }, counts.inFlightMessages);
        counts.settle();
      }
    });
    metrics.gauge(
      'millrace_ingest_in_flight_bytes',
      'Bytes of bodies being received and of messages that wait for the log.',
      ['protocol'],
      (gauge) => {
        for (const [name, counts] of all) gauge.set({ protocol: name }, counts.inFlightBytes);
      },
    );
    metrics.gauge('millrace_ingest_connections', 'Open connections.', ['protocol'], (gauge) => {
      for (const [name, counts] of all) gauge.set({ protocol: name }, counts.connections);
    });
    this.#messages = metrics.counter(
      'millrace_ingest_messages_total',
      'Messages by what became of them at the door: accepted (durable), or refused for a reason.',
      ['protocol', 'outcome', 'reason'],
    );
    this.#bytesTotal = metrics.counter('millrace_ingest_bytes_total', 'Payload bytes of accepted messages.', [
      'protocol',
    ]);
    this.#ack = metrics
      .histogram(
        'millrace_ingest_ack_seconds',
        'Time from the reception of a message to its durable append.',
        [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
        ['protocol'],
      )
      .labels(protocol);
  }

  accepted(bytes: number, seconds: number): void {
    this.#accepted++;
    this.#bytes += bytes;
    this.#ack.observe(seconds);
  }

  refused(reason: Refusal): void {
    this.#messages.inc({ protocol: this.#protocol, outcome: 'refused', reason });
  }

  /** Hands the hot counts on to the metrics. */
  settle(): void {
    const protocol = this.#protocol;
    this.#messages.inc({ protocol, outcome: 'accepted', reason: '' }, this.#accepted);
    this.#bytesTotal.inc({ protocol }, this.#bytes);
    this.#accepted = 0;
    this.#bytes = 0;
  }
}
