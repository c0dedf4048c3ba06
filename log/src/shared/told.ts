import { LogError, type LogErrorCode, type Retry } from '@millrace/core';
import type { Told } from './frame.ts';

/** An error as it travels. A fault tells nothing of itself: it is logged where it happened. */
export function toldOf(error: unknown): Told {
  if (error instanceof LogError) return { code: error.code, retry: error.retry, facts: error.facts };
  return { code: 'LOG_UNREACHABLE', retry: 'later', facts: { problem: 'a fault of the log' } };
}

export const errorOf = ({ code, retry, facts }: Told): LogError =>
  new LogError(code as LogErrorCode, retry as Retry, facts as LogError['facts']);
