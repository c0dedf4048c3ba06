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
  #last: { readonly context: Place; readonly prefix: string } | null = null;
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
    if (this.#parts === 0) return subtopic;
    const last = this.#last;
    const prefix = last !== null && alike(last.context, context) ? last.prefix : this.#prefix(context);
    return this.#subtopic ? prefix + subtopic : prefix;
  }

  /** Who asks once mostly asks again from the same place. */
  #prefix(context: RequestContext): string {
    const parts = this.#parts;
    let prefix = '';
    if ((parts & PART_PROTOCOL) !== 0) prefix += `${context.protocol},`;
    if ((parts & PART_TLS) !== 0) prefix += context.tls ? 't,' : 'f,';
    if ((parts & PART_MUTUAL_TLS) !== 0) prefix += context.mutualTls ? 't,' : 'f,';
    if ((parts & PART_ADDRESS) !== 0) prefix += `${context.remoteAddress.length},${context.remoteAddress},`;
    const { protocol, tls, mutualTls, remoteAddress } = context;
    // Copied: the caller may use one object for all its questions.
    this.#last = { context: { protocol, tls, mutualTls, remoteAddress }, prefix };
    return prefix;
  }
}

type Place = Pick<RequestContext, 'protocol' | 'tls' | 'mutualTls' | 'remoteAddress'>;

const alike = (one: Place, other: Place): boolean =>
  one.protocol === other.protocol &&
  one.tls === other.tls &&
  one.mutualTls === other.mutualTls &&
  one.remoteAddress === other.remoteAddress;
