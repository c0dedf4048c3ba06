import type { BatchTally, Counter, Histogram, Metrics } from '@millrace/core';

/** What the processors count. messages in = stored + dropped + dead. */
export class RunnerMetrics {
  readonly retries: Counter<'reason'>;
  readonly restarts: Counter<'reason'>;
  readonly #messages: Counter<'outcome' | 'reason'>;
  readonly #deadRecords: Counter<'reason'>;
  readonly #readings: Counter;
  readonly #filtered: Counter;
  readonly #batches: Counter;
  readonly #seconds: Histogram;

  constructor(metrics: Metrics) {
    this.#messages = metrics.counter('millrace_processor_messages_total', 'Messages by what became of them', [
      'outcome',
      'reason',
    ]);
    this.#deadRecords = metrics.counter(
      'millrace_processor_dead_records_total',
      'Single records of living messages that became dead letters',
      ['reason'],
    );
    this.#readings = metrics.counter('millrace_processor_readings_total', 'Readings stored');
    this.#filtered = metrics.counter(
      'millrace_processor_filtered_readings_total',
      'Readings that their channels do not keep',
    );
    this.#batches = metrics.counter('millrace_processor_batches_total', 'Batches stored');
    this.#seconds = metrics.histogram(
      'millrace_processor_batch_seconds',
      'Time that the store took for a batch, tries included',
      [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
    );
    this.retries = metrics.counter('millrace_processor_retries_total', 'Steps that had to be tried again', ['reason']);
    this.restarts = metrics.counter('millrace_processor_worker_restarts_total', 'Worker threads that failed a batch', [
      'reason',
    ]);
  }

  /** A batch is in the store. */
  count(tally: BatchTally, seconds: number): void {
    if (tally.stored > 0) this.#messages.inc({ outcome: 'stored', reason: '' }, tally.stored);
    for (const [reason, count] of Object.entries(tally.dropped))
      this.#messages.inc({ outcome: 'dropped', reason }, count);
    for (const [reason, count] of Object.entries(tally.dead)) this.#messages.inc({ outcome: 'dead', reason }, count);
    for (const [reason, count] of Object.entries(tally.deadRecords)) this.#deadRecords.inc({ reason }, count);
    this.#readings.inc(tally.readings);
    if (tally.filteredReadings > 0) this.#filtered.inc(tally.filteredReadings);
    this.#batches.inc();
    this.#seconds.observe(seconds);
  }
}
