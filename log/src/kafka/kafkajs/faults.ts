import { LogError } from '@millrace/core';
import { brokerFault } from '../faults.ts';

const DEPTH_MAX = 6;
const NAMES: Readonly<Record<string, string>> = {
  KafkaJSSASLAuthenticationError: 'SASL_AUTHENTICATION_FAILED',
  KafkaJSConnectionClosedError: 'CONNECTION_CLOSED',
};

/** An error of kafkajs in the log's words. What it gave up on is wrapped, the reason beneath. */
export function kafkaFault(error: unknown): LogError {
  let last = '';
  let name: string | null = null;
  let under = error;
  for (let depth = 0; depth < DEPTH_MAX && under instanceof Error; depth++) {
    if (under instanceof LogError) return under;
    const { type, code, message, cause } = under as Error & { type?: unknown; code?: unknown };
    if (typeof type === 'string') name = type;
    else if (under.name in NAMES) name ??= NAMES[under.name] ?? null;
    else if (typeof code === 'string') name ??= code;
    last = message;
    under = cause;
  }
  return brokerFault(name, last === '' ? String(error) : last, error);
}
