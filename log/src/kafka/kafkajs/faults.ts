import { LogError } from '@millrace/core';
import { brokerFault } from '../faults.ts';

/** An error of kafkajs in the log's words. */
export function kafkaFault(cause: unknown): LogError {
  if (cause instanceof LogError) return cause;
  const { type, message } = cause as { type?: string; message?: string };
  return brokerFault(type ?? null, message ?? String(cause), cause);
}
