import type { Counter, Metrics, SubscriptionEnd } from '@millrace/core';
import type { ObserveEnd } from './contract.ts';
import { type EndpointCounts, REJECTIONS } from './endpoint/endpoint.ts';
import type { UdpCounts } from './socket.ts';

// hot

/** By the number of the method. */
const METHODS = ['other', 'GET', 'POST', 'PUT', 'DELETE', 'FETCH', 'PATCH', 'iPATCH'] as const;
/** By the class of the code. */
const CLASSES = ['other', 'other', '2.xx', 'other', '4.xx', '5.xx', 'other', 'other'] as const;

/** Where the numbers are kept that are not counted here. */
export interface CountSources {
  readonly endpoint: EndpointCounts;
  socket(): UdpCounts | null;
  observers(): number;
  peers(): number;
  flooded(): number;
}

/** What the CoAP ingress counts. Hot counts are plain numbers; they reach the metrics when these are scraped. */
export class CoapMeasures {
  notifications = 0;
  gaps = 0;
  readonly #requests = new Float64Array(METHODS.length * CLASSES.length);
  readonly #ends: Counter<'reason'>;
  readonly #told = new Map<string, number>();

  constructor(metrics: Metrics, sources: CountSources) {
    // Registered first, so that its collector runs before the counters below are read.
    metrics.gauge('millrace_coap_observers', 'Observations.', [], (gauge) => {
      gauge.set(sources.observers());
      this.#settle(sources);
    });
    metrics.gauge('millrace_coap_requests_under_way', 'Requests that are not answered yet.', [], (gauge) =>
      gauge.set(sources.endpoint.underWay),
    );
    metrics.gauge('millrace_coap_transfers', 'Messages and answers that are moved block by block.', [], (gauge) =>
      gauge.set(sources.endpoint.transfers),
    );
    metrics.gauge('millrace_coap_unacknowledged', 'Confirmable datagrams of ours that wait.', [], (gauge) =>
      gauge.set(sources.endpoint.outstanding),
    );
    metrics.gauge('millrace_coap_peers', 'Addresses and ports that are remembered.', [], (gauge) =>
      gauge.set(sources.peers()),
    );
    const counter = <L extends string>(name: string, help: string, labels: readonly L[] = []): Counter<L> =>
      metrics.counter(`millrace_coap_${name}`, help, labels);
    this.#ends = counter('observation_ends_total', 'Observations that ended, by reason.', ['reason']);
    this.#counters = {
      requests: counter('requests_total', 'Requests by method and class of the answer.', ['method', 'class']),
      datagrams: counter('datagrams_total', 'Datagrams in and out.', ['direction']),
      bytes: counter('datagram_bytes_total', 'Their bytes.', ['direction']),
      dropped: counter(
        'dropped_datagrams_total',
        'Datagrams that were not answered or not sent: malformed, of an address that floods, from port 0, or because the kernel took no more.',
        ['reason'],
      ),
      rejected: counter(
        'rejected_total',
        'Requests that the message layer refused itself, and addresses that did not prove to be their own.',
        ['reason'],
      ),
      duplicates: counter('duplicates_total', 'Requests that came again and were answered from memory.'),
      retransmissions: counter('retransmissions_total', 'Confirmable datagrams that were sent again.'),
      timeouts: counter('timeouts_total', 'Confirmable datagrams that were never acknowledged.'),
      resets: counter('resets_total', 'RST that came.'),
      notifications: counter('notifications_total', 'Messages sent to observers.'),
      gaps: counter('gaps_total', 'Times that an observer came too late for what was kept.'),
      errors: counter('socket_errors_total', 'Errors that the socket told of.'),
    };
  }
  readonly #counters;

  answered(method: number, code: number): void {
    const at = (method & 7) * 8 + (code >> 5);
    this.#requests[at] = (this.#requests[at] as number) + 1;
  }

  observationEnded(why: ObserveEnd | SubscriptionEnd): void {
    this.#ends.inc({ reason: why });
  }

  #settle(sources: CountSources): void {
    const { requests, datagrams, bytes, dropped, rejected, ...plain } = this.#counters;
    for (const [index, count] of this.#requests.entries()) {
      if (count === 0) continue;
      const method = METHODS[index >> 3] ?? 'other';
      requests.inc({ method, class: CLASSES[index & 7] ?? 'other' }, count);
      this.#requests[index] = 0;
    }
    const { endpoint } = sources;
    const socket = sources.socket();
    if (socket !== null) {
      datagrams.inc({ direction: 'in' }, this.#since('received', socket.received));
      datagrams.inc({ direction: 'out' }, this.#since('sent', socket.sent));
      bytes.inc({ direction: 'in' }, this.#since('receivedBytes', socket.receivedBytes));
      bytes.inc({ direction: 'out' }, this.#since('sentBytes', socket.sentBytes));
      dropped.inc({ reason: 'unsent' }, this.#since('unsent', socket.unsent));
      dropped.inc({ reason: 'port_zero' }, this.#since('unanswerable', socket.unanswerable));
      plain.errors.inc(this.#since('errors', socket.errors));
    }
    dropped.inc({ reason: 'malformed' }, this.#since('malformed', endpoint.malformed));
    dropped.inc({ reason: 'flood' }, this.#since('flood', sources.flooded()));
    for (const reason of REJECTIONS) rejected.inc({ reason }, this.#since(reason, endpoint.rejected[reason]));
    plain.duplicates.inc(this.#since('duplicates', endpoint.duplicates));
    plain.retransmissions.inc(this.#since('retransmissions', endpoint.retransmissions));
    plain.timeouts.inc(this.#since('timeouts', endpoint.timeouts));
    plain.resets.inc(this.#since('resets', endpoint.resets));
    plain.notifications.inc(this.#since('notifications', this.notifications));
    plain.gaps.inc(this.#since('gaps', this.gaps));
  }

  /** How much a total has grown since it was asked for last. */
  #since(name: string, total: number): number {
    const before = this.#told.get(name) ?? 0;
    this.#told.set(name, total);
    return Math.max(0, total - before);
  }
}
