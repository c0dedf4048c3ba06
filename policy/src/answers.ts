import type { RequestContext } from '@millrace/core';
import { PART_ADDRESS, PART_MUTUAL_TLS, PART_PROTOCOL, PART_SUBTOPIC, PART_TIME, PART_TLS } from './condition.ts';
import { Generations } from './generations.ts';
import type { Relevance } from './rule-set.ts';

// hot

/** An answer and the stretch of time in which it stands.  @shape [fromMs, untilMs) */
export interface Answer<T> {
  readonly value: T;
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Different subtopics and circumstances that one memo keeps apart. */
export const VARIANT_COUNT_MAX = 1_024;

/** The memoised answers for one object and action, kept apart only by what the rules ask about. */
export class Answers<T> {
  readonly #subtopic: boolean;
  readonly #parts: number;
  /** When nothing but the clock matters. */
  #only: Answer<T> | undefined;
  readonly #variants: Generations<string, Answer<T>> | null;

  constructor(relevance: Relevance) {
    this.#subtopic = relevance.subtopic;
    this.#parts = relevance.parts & ~PART_TIME & ~PART_SUBTOPIC;
    this.#variants = this.#subtopic || this.#parts !== 0 ? new Generations(VARIANT_COUNT_MAX) : null;
  }

  find(subtopic: string, context: RequestContext): T | undefined {
    const variants = this.#variants;
    const answer = variants === null ? this.#only : variants.get(this.#key(subtopic, context));
    if (answer === undefined || context.nowMs >= answer.untilMs || context.nowMs < answer.fromMs) return undefined;
    return answer.value;
  }

  keep(subtopic: string, context: RequestContext, answer: Answer<T>): void {
    if (this.#variants === null) this.#only = answer;
    else this.#variants.set(this.#key(subtopic, context), answer);
  }

  /** @holds no two requests that the rules tell apart have one key: the subtopic stands last */
  #key(subtopic: string, context: RequestContext): string {
    const parts = this.#parts;
    if (parts === 0) return subtopic;
    let key = '';
    if ((parts & PART_PROTOCOL) !== 0) key += `${context.protocol},`;
    if ((parts & PART_TLS) !== 0) key += context.tls ? 't,' : 'f,';
    if ((parts & PART_MUTUAL_TLS) !== 0) key += context.mutualTls ? 't,' : 'f,';
    if ((parts & PART_ADDRESS) !== 0) key += `${context.remoteAddress.length},${context.remoteAddress},`;
    return this.#subtopic ? key + subtopic : key;
  }
}
