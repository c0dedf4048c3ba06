import { LogError } from '@millrace/core';

const FENCING = new Set(['ILLEGAL_GENERATION', 'UNKNOWN_MEMBER_ID', 'REBALANCE_IN_PROGRESS', 'FENCED_INSTANCE_ID']);

/** Kafka's own errors in the log's words.
 *  @shape name: of the protocol's error (`NOT_ENOUGH_REPLICAS`), or null where the broker did not answer */
export function brokerFault(name: string | null, message: string, cause: unknown): LogError {
  if (name === 'MESSAGE_TOO_LARGE' || name === 'RECORD_LIST_TOO_LARGE') {
    return new LogError('LOG_RECORD_TOO_LARGE', 'never', { problem: name }, { cause });
  }
  if (name !== null && FENCING.has(name)) return new LogError('LOG_FENCED', 'never', { problem: name }, { cause });
  return new LogError('LOG_UNREACHABLE', 'later', { problem: name ?? message }, { cause });
}
