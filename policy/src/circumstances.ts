import { protocolNames, type RequestContext, type SubjectRecord } from '@millrace/core';
import type { Circumstances } from './condition.ts';

/** What the gate knows of a request.  @param subtopic null where it is about no message */
export const circumstances = (
  record: SubjectRecord,
  context: RequestContext,
  subtopic: string | null,
  groups: readonly string[],
): Circumstances => ({
  protocol: protocolNames[context.protocol] ?? 'unknown',
  remoteAddress: context.remoteAddress,
  tls: context.tls,
  mutualTls: context.mutualTls,
  nowMs: context.nowMs,
  metadata: record.kind === 'thing' ? record.metadata : {},
  subtopic,
  groups,
});
