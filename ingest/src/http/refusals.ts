import type { Admission, LogError, MillraceError } from '@millrace/core';
import type { Exchange } from './exchange.ts';

/** Answers for a log that did not take a message, or not all of a batch. */
export function refuseByLog(exchange: Exchange, error: LogError, partly = false): void {
  if (error.code === 'LOG_RECORD_TOO_LARGE') {
    exchange.refuse(413, 'too_large', 'The message is larger than the log takes.');
  } else if (error.code === 'LOG_FULL') {
    const why = typeof error.facts.problem === 'string' ? `: ${error.facts.problem}` : '';
    const stored = partly ? 'a part of the batch may be stored' : 'nothing was stored';
    exchange.refuse(503, 'log_full', `The log is full${why}; ${stored}. Try again later.`);
  } else {
    exchange.refuse(503, 'log_unreachable', 'The log does not answer: the message may not be stored, try again later.');
  }
}

/** Answers for a client that is not known, or disabled. */
export function refuseIdentity(exchange: Exchange, reason: 'unknown' | 'disabled'): void {
  if (reason === 'unknown') exchange.refuse(401, 'unauthenticated', UNAUTHENTICATED);
  else exchange.refuse(403, 'forbidden', FORBIDDEN.subject_disabled);
}

/** Who could not be asked about now. @param detail where nobody answers */
export function refuseForNow(exchange: Exchange, { code }: MillraceError, detail: string): void {
  if (code === GUESSED) exchange.refuse(429, 'rate', TOO_MANY_GUESSES);
  else exchange.refuse(503, 'registry_unreachable', detail);
}

/** The gate looks nothing up for who guesses. */
export const GUESSED = 'POLICY_GUESSED';
export const TOO_MANY_GUESSES = 'Too many unknown keys or tokens: wait a second.';
export const UNAUTHENTICATED =
  'No valid credential: send Authorization: Thing <key>, Bearer <token> or Basic <thing id>:<key>.';
export const NO_SUCH_CHANNEL = 'There is no such channel.';
export const FORBIDDEN: Readonly<
  Record<Exclude<Extract<Admission, { kind: 'deny' }>['reason'], 'no_such_channel'>, string>
> = {
  channel_disabled: 'The channel is disabled.',
  subject_disabled: 'The client is disabled.',
  not_allowed: 'The client may not publish here: connect it to the channel.',
  denied_by_policy: 'A policy denies it.',
};
