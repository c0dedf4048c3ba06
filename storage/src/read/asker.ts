import type { Histogram, Metrics } from '@millrace/core';
import type { Engine, QueryParameters } from '../engine/engine.ts';
import { queryError } from '../engine/errors.ts';
import type { Turnstile } from '../engine/turnstile.ts';

export type Question =
  | 'readings'
  | 'total'
  | 'payloads'
  | 'payload'
  | 'dead_letters'
  | 'fate'
  | 'last_message'
  | 'activity'
  | 'health';

export interface QueryLimits {
  readonly secondsMax: number;
  readonly bytesMax: number;
}

/** Asks the engine within limits: so many at a time, so long, so much memory. */
export class Asker {
  readonly #engine: Engine;
  readonly #queries: Turnstile;
  readonly #settings: string;
  readonly #seconds: Histogram<'question' | 'outcome'>;

  constructor(engine: Engine, queries: Turnstile, metrics: Metrics, limits: QueryLimits) {
    this.#engine = engine;
    this.#queries = queries;
    // In the statement's own clause: elsewhere they would stay with the connection.
    this.#settings = `SETTINGS max_execution_time=${limits.secondsMax}, timeout_overflow_mode='throw', max_memory_usage=${limits.bytesMax}, max_threads=2${engine.querySettings}`;
    this.#seconds = metrics.histogram(
      'millrace_store_query_seconds',
      'Time of a query, in s, by question and outcome',
      [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
      ['question', 'outcome'],
    );
  }

  /** @throws StoreError STORE_QUERY_TOO_EXPENSIVE, STORE_QUERY_INVALID, STORE_UNREACHABLE */
  async ask<Row>(question: Question, statement: string, parameters: QueryParameters = {}): Promise<Row[]> {
    return this.#queries.pass(async () => {
      const end = this.#seconds.startTimer({ question });
      try {
        const rows = await this.#engine.rows<Row>(`${statement} ${this.#settings}`, parameters);
        end({ outcome: 'ok' });
        return rows;
      } catch (cause) {
        const error = queryError(cause, question);
        end({ outcome: error.code });
        throw error;
      }
    });
  }
}
