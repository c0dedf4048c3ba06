import type { Arrivals, Log, Logger, Metrics, Questions } from '@millrace/core';
import { Refusal } from '../http/refusal.ts';
import type { LiveQuestion } from './question.ts';
import { Tails } from './tails.ts';

export interface LiveQuestionsOptions {
  readonly arrivals: Arrivals;
  readonly questions: Questions;
  readonly log: Log;
  /** Consumer group of the processors. */
  readonly group: string;
  readonly questionsMax: number;
  readonly perSubjectMax: number;
  readonly pollMs: number;
  readonly heartbeatMs: number;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** Why a live question ended. Closed: it is a metric label, and told to the client. */
export type LiveQuestionEnd =
  | 'client'
  /** The node goes down: another one answers. */
  | 'draining'
  /** Who asks is not known any more. */
  | 'revoked'
  | 'forbidden'
  /** Which channels it is about has changed: asked again, it is about those. */
  | 'changed'
  | 'too_expensive'
  | 'fault';

/** A bounded number of places for questions that stay open, and what they have in common. */
export class LiveQuestions {
  readonly tails: Tails;
  readonly options: LiveQuestionsOptions;
  readonly rows;
  readonly ends;
  readonly #open = new Set<LiveQuestion>();
  readonly #places = new Map<string, number>();
  #taken = 0;
  #draining = false;

  constructor(options: LiveQuestionsOptions) {
    const { metrics } = options;
    this.options = options;
    this.tails = new Tails(options);
    this.rows = metrics.counter('millrace_live_questions_rows_total', 'Readings and buckets that were written.', [
      'kind',
    ]);
    this.ends = metrics.counter('millrace_live_questions_ends_total', 'Live questions that ended, by reason.', [
      'reason',
    ]);
    metrics.gauge('millrace_live_questions', 'Live questions that are open.', [], (gauge) =>
      gauge.set(this.#open.size),
    );
    metrics.gauge('millrace_live_questions_waiting_bytes', 'What waits for clients to take it.', [], (gauge) =>
      gauge.set([...this.#open].reduce((sum, { waiting }) => sum + waiting, 0)),
    );
    metrics.gauge('millrace_live_questions_behind', 'Live questions that have yet to catch up.', [], (gauge) =>
      gauge.set([...this.#open].filter(({ behind }) => behind).length),
    );
  }

  /** Takes a place.  @returns what gives it back  @throws Refusal 429, 503 */
  enter(subject: string): () => void {
    const { questionsMax, perSubjectMax } = this.options;
    if (this.#draining) throw new Refusal(503, 'This node is going down: ask another.', { 'retry-after': '1' });
    if (this.#taken >= questionsMax)
      throw new Refusal(503, 'Too many live questions are open here. Try again later.', { 'retry-after': '5' });
    const own = this.#places.get(subject) ?? 0;
    if (own >= perSubjectMax)
      throw new Refusal(429, `You have ${own} live questions open, and may have no more: end one.`, {
        'retry-after': '5',
      });
    this.#taken++;
    this.#places.set(subject, own + 1);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#taken--;
      const rest = (this.#places.get(subject) ?? 1) - 1;
      if (rest === 0) this.#places.delete(subject);
      else this.#places.set(subject, rest);
    };
  }

  add(question: LiveQuestion): void {
    this.#open.add(question);
    if (this.#draining) question.end('draining');
  }
  remove(question: LiveQuestion): void {
    this.#open.delete(question);
  }

  /** Ends all with a word, and takes no more. */
  drain(): void {
    this.#draining = true;
    for (const question of [...this.#open]) question.end('draining');
  }
}
