import {
  type AuditTrail,
  type DenyReason,
  type MessageAction,
  messagesObject,
  type Principal,
  type RequestContext,
} from '@millrace/core';

/** What a client names may be anything; so much of it is written down. */
const CHARACTERS_MAX = 128;

/** Writes a refusal of the gate down, for whoever looks after the organisation.
 *  @param channel as the client named it  @param org as the address names it, null if it names none */
export function auditRefusal(
  audit: AuditTrail | undefined,
  principal: Principal,
  action: MessageAction,
  to: { readonly channel: string; readonly subtopic: string; readonly org?: string | null },
  reason: DenyReason,
  { protocol, remoteAddress, tls, mutualTls, nowMs }: RequestContext,
): void {
  if (audit === undefined) return;
  const { subject, scope } = principal;
  const org = subject.kind === 'thing' ? subject.org : (scope?.org ?? null);
  const object = messagesObject(to.channel.slice(0, CHARACTERS_MAX), to.subtopic.slice(0, 2 * CHARACTERS_MAX));
  // A connection goes on using its context: what is kept is a copy.
  audit.denied({ principal, org, object, action, reason, context: { protocol, remoteAddress, tls, mutualTls, nowMs } });
}
