import { type LogError, MillraceError } from '@millrace/core';
import type { Refusal } from '../http/answer.ts';
import { FORBIDDEN, GUESSED, TOO_MANY_GUESSES } from '../http/refusals.ts';
import type { PublishRefusal } from '../message-publisher.ts';
import type { CoapResponse } from './contract.ts';
import { Code, Option, uintBytes } from './message/message.ts';

/** When to come again, where nothing tells it better. */
export const RETRY_S = 1;
const UNAUTHENTICATED =
  'No valid credential: give ?auth=<key> (a key, token or API key), or come by CoAPS with the identity of a thing.';

/** An answer that was not given, in CoAP's terms, and what is counted for it. */
export interface CoapRefusal {
  readonly reason: Refusal;
  readonly response: CoapResponse;
}

const CODES: Readonly<Record<PublishRefusal['status'], number>> = {
  400: Code.BadRequest,
  401: Code.Unauthorized,
  403: Code.Forbidden,
  404: Code.NotFound,
  413: Code.RequestEntityTooLarge,
  429: Code.TooManyRequests,
  500: Code.InternalServerError,
  503: Code.ServiceUnavailable,
};

/** A diagnostic payload: a sentence without a Content-Format.  @source RFC 7252 §5.5.2 */
export function diagnosis(code: number, detail: string, maxAge?: number): CoapResponse {
  return { code, payload: Buffer.from(detail), maxAge };
}

/** @param bytesMax what is told by Size1 where a message was too large; Infinity: not known */
export function answerTo({ status, detail }: PublishRefusal, bytesMax: number): CoapResponse {
  const code = CODES[status];
  if (status === 401) return diagnosis(code, UNAUTHENTICATED);
  if (status === 429 || status === 503) return diagnosis(code, detail, RETRY_S);
  if (status !== 413 || bytesMax === Number.POSITIVE_INFINITY) return diagnosis(code, detail);
  return { ...diagnosis(code, detail), options: [[Option.Size1, uintBytes(bytesMax)]] };
}

export const unauthenticated: CoapRefusal = {
  reason: 'unauthenticated',
  response: diagnosis(Code.Unauthorized, UNAUTHENTICATED),
};
export const disabled: CoapRefusal = {
  reason: 'forbidden',
  response: diagnosis(Code.Forbidden, FORBIDDEN.subject_disabled),
};
export const draining: CoapRefusal = {
  reason: 'draining',
  response: diagnosis(Code.ServiceUnavailable, 'The node is stopping: try again.', 5),
};

/** What somebody who asked us could not be told now: registry, log or store are away, or there was a fault.
 *  @returns null for a fault */
export function answerToFailure(error: unknown): CoapRefusal | null {
  if (!(error instanceof MillraceError)) return null;
  const { code, retry } = error as MillraceError | LogError;
  if (code === GUESSED) {
    return { reason: 'rate', response: diagnosis(Code.TooManyRequests, TOO_MANY_GUESSES, RETRY_S) };
  }
  if (code === 'STORE_QUERY_INVALID') {
    const { problem } = error.facts;
    const detail = typeof problem === 'string' ? problem : 'The query cannot be answered.';
    return { reason: 'malformed', response: diagnosis(Code.UnprocessableEntity, detail) };
  }
  if (code === 'STORE_QUERY_TOO_EXPENSIVE') {
    const detail = 'The query reads too much: narrow it by name, publisher or time.';
    return { reason: 'too_large', response: diagnosis(Code.UnprocessableEntity, detail) };
  }
  if (code === 'COAP_BACKLOG') {
    const detail = 'So much waits to be processed that the last message was not found in time.';
    return { reason: 'log_unreachable', response: diagnosis(Code.ServiceUnavailable, detail, 2) };
  }
  if (code === 'COAP_READERS_FULL') {
    return { reason: 'in_flight', response: diagnosis(Code.ServiceUnavailable, 'Too many readers wait.', 5) };
  }
  if (retry === 'never') return null;
  const store = String(code).startsWith('STORE_');
  const reason: Refusal = String(code).startsWith('LOG_') ? 'log_unreachable' : 'registry_unreachable';
  const who = store ? 'The store' : reason === 'log_unreachable' ? 'The log' : 'The registry';
  return {
    reason,
    response: diagnosis(Code.ServiceUnavailable, `${who} does not answer: try again later.`, 2),
  };
}
