import type { Admission, Credential, Identified, Principal } from '@millrace/core';
import { KEY, TestGate, THING } from '../../testing/gate.ts';

/** The test gate with tickets, keys that are gone for good, and things that may not publish. */
export class LiveGate extends TestGate {
  /** Good once each; they are of the thing of KEY. */
  readonly tickets = new Set<string>();
  /** Keys that nobody has any more. */
  readonly gone = new Set<string>();
  /** Ids of channels that nobody may publish to. */
  readonly unwritable = new Set<string>();

  override identify(credential: Credential): Identified | Promise<Identified> {
    if (credential.kind === 'ticket') {
      if (!this.tickets.delete(credential.ticket)) return { kind: 'refused', reason: 'unknown' };
      return this.identify({ kind: 'key', key: KEY });
    }
    if (credential.kind === 'subject') {
      return this.identify({ kind: 'key', key: credential.id === THING ? KEY : credential.id });
    }
    if (credential.kind === 'key' && this.gone.has(credential.key)) return { kind: 'refused', reason: 'unknown' };
    return super.identify(credential);
  }

  override may(
    principal: Principal,
    action: 'publish' | 'subscribe',
    channel: string,
    subtopic = '',
  ): Admission | Promise<Admission> {
    if (principal.revoked) return { kind: 'deny', reason: 'subject_disabled' };
    if (action === 'publish' && this.unwritable.has(channel)) return { kind: 'deny', reason: 'not_allowed' };
    return super.may(principal, action, channel, subtopic);
  }

  /** As when a key is revoked: who has shown it must show it again, and is refused. */
  take(key: string): void {
    this.gone.add(key);
    this.revoke(key);
  }
}
