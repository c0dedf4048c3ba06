import type { Counter, Metrics, NetworkServerReport } from '@millrace/core';
import { NETWORK_SERVER_STATES } from '@millrace/core';
import { LORA_EVENTS, type LoraEventType } from './events/lora-event.ts';

/** What becomes of an event. `repeated`: it had been taken already; `refused`: its sender was told to try again, or that
 *  it may not. */
export const EVENT_OUTCOMES = ['stored', 'repeated', 'dead', 'refused'] as const;
export type EventOutcome = (typeof EVENT_OUTCOMES)[number];
/** `late`: nobody had begun it in time. */
export const DOWNLINK_OUTCOMES = ['enqueued', 'failed', 'late', 'dead', 'later'] as const;
export type DownlinkOutcome = (typeof DOWNLINK_OUTCOMES)[number];

/** What the LoRaWAN ingress counts beside its messages. */
export class LoraMeasures {
  readonly #events: Counter<'transport' | 'type' | 'outcome'>;
  readonly #downlinks: Counter<'outcome'>;
  readonly #states = new Map<string, NetworkServerReport['state']>();

  constructor(metrics: Metrics) {
    this.#events = metrics.counter(
      'millrace_lora_events_total',
      'Events of network servers by what became of them: stored, repeated (taken already), dead (a dead letter), refused.',
      ['transport', 'type', 'outcome'],
    );
    this.#downlinks = metrics.counter(
      'millrace_lora_downlinks_total',
      'Downlinks by what became of them: enqueued at the network server, failed, late, dead (a dead letter), later (tried again).',
      ['outcome'],
    );
    const states = this.#states;
    metrics.gauge(
      'millrace_lora_servers',
      'Brokers of network servers by the state of our connection.',
      ['state'],
      (gauge) => {
        for (const state of NETWORK_SERVER_STATES) gauge.set({ state }, 0);
        for (const state of states.values()) gauge.inc({ state });
      },
    );
  }

  event(transport: 'mqtt' | 'http', type: LoraEventType | 'unknown', outcome: EventOutcome): void {
    this.#events.inc({
      transport,
      type: (LORA_EVENTS as readonly string[]).includes(type) ? type : 'unknown',
      outcome,
    });
  }

  downlink(outcome: DownlinkOutcome): void {
    this.#downlinks.inc({ outcome });
  }

  state(server: string, state: NetworkServerReport['state'] | null): void {
    if (state === null) this.#states.delete(server);
    else this.#states.set(server, state);
  }
}
