import type { CommandKind, Metrics } from '@millrace/core';

export type Operation = 'register' | 'update' | 'deregister' | 'send' | 'bootstrap';
export type ReportSource = 'notify' | 'send' | 'read';
/** What became of a report: `published`, or why not. */
export type ReportOutcome = 'published' | 'empty' | 'no_channel' | 'malformed' | 'refused' | 'shed';
export type CommandEnd = 'done' | 'failed' | 'asleep';

/** What the LwM2M server counts. */
export class Lwm2mCounts {
  readonly #requests;
  readonly #reports;
  readonly #readings;
  readonly #commands;
  readonly #ended;

  constructor(metrics: Metrics, fleet: { readonly size: number; readonly observationCount: number }) {
    metrics.gauge('millrace_lwm2m_registrations', 'Devices that are registered with this node.', [], (gauge) =>
      gauge.set(fleet.size),
    );
    metrics.gauge('millrace_lwm2m_observations', 'Paths that are observed of them.', [], (gauge) =>
      gauge.set(fleet.observationCount),
    );
    this.#requests = metrics.counter(
      'millrace_lwm2m_requests_total',
      'Requests of devices by operation and class of the answer.',
      ['operation', 'class'],
    );
    this.#reports = metrics.counter('millrace_lwm2m_reports_total', 'Reports of devices by what became of them.', [
      'source',
      'outcome',
    ]);
    this.#readings = metrics.counter('millrace_lwm2m_readings_total', 'Values of devices that were published.');
    this.#commands = metrics.counter('millrace_lwm2m_commands_total', 'Commands to devices by what became of them.', [
      'kind',
      'outcome',
    ]);
    this.#ended = metrics.counter('millrace_lwm2m_expired_total', 'Registrations whose lifetime ended without a word.');
  }

  answered(operation: Operation, code: number): void {
    this.#requests.inc({ operation, class: `${code >> 5}.xx` });
  }
  reported(source: ReportSource, outcome: ReportOutcome, values = 0): void {
    this.#reports.inc({ source, outcome });
    if (values > 0) this.#readings.inc(values);
  }
  commanded(kind: CommandKind, outcome: CommandEnd): void {
    this.#commands.inc({ kind, outcome });
  }
  expired(): void {
    this.#ended.inc();
  }
}
