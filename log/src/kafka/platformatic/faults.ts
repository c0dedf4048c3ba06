import { LogError } from '@millrace/core';
import { brokerFault } from '../faults.ts';

const DEPTH_MAX = 8;
const PROTOCOL_NAME = /^[A-Z][A-Z_]+$/;
const CLOSED = 'Connection closed';
const NO_TLS = 'TLS handshake failed';
const REFUSED = /AUTHENTICATION|AUTHORIZATION|SASL|CERT|VERIFY|SSL|EPROTO/;

/** What an error of the library holds, of those parts that are looked at. */
interface LibraryError {
  readonly apiId?: unknown;
  readonly code?: unknown;
  readonly message?: unknown;
  readonly errors?: readonly unknown[];
  readonly cause?: unknown;
  readonly response?: unknown;
}

/** An error of @platformatic/kafka in the log's words. */
export function platformaticFault(error: unknown): LogError {
  if (error instanceof LogError) return error;
  const chain = chainOf(error);
  const protocol = chain.find(({ apiId }) => typeof apiId === 'string')?.apiId;
  const system = chain.findLast(({ code }) => typeof code === 'string' && !code.startsWith('PLT_KFK_'))?.code;
  const last = String(chain.at(-1)?.message ?? error);
  // The socket only says that it was closed.
  const tls = chain.some(({ message }) => String(message).startsWith(NO_TLS)) ? 'EPROTO' : undefined;
  const name = protocol ?? tls ?? system ?? (last.startsWith(CLOSED) ? 'CONNECTION_CLOSED' : null);
  return brokerFault(name as string | null, last, error);
}

/** The protocol's name of what a broker answered, or null when it did not answer. */
export function protocolName(error: unknown): string | null {
  const { problem } = platformaticFault(error).facts;
  return typeof problem === 'string' && PROTOCOL_NAME.test(problem) ? problem : null;
}

/** Whether it is for somebody to mend before another attempt could do better: who we are, or what is believed. */
export function isLasting({ retry, facts }: LogError): boolean {
  return retry !== 'later' || REFUSED.test(String(facts.problem));
}

/** What a broker answered although the library calls it an error: others of its parts may be well. */
export function answerOf<T>(error: unknown): T | null {
  return ((error as LibraryError).response as T | undefined) ?? null;
}

/** What is wrapped, from the outside in; of several the first. */
function chainOf(error: unknown): LibraryError[] {
  const chain: LibraryError[] = [];
  let under = error;
  while (under instanceof Error && chain.length < DEPTH_MAX) {
    const one = under as LibraryError;
    chain.push(one);
    under = one.errors?.[0] ?? one.cause;
  }
  return chain;
}
