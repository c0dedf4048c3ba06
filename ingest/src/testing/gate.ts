import type {
  Admission,
  ChannelLimits,
  ChannelRecord,
  Credential,
  Explanation,
  Gate,
  Identified,
  Principal,
  RequestContext,
  Scope,
  SealedFields,
  ThingRecord,
} from '@millrace/core';

export const ORG = '01890000-0000-7000-8000-00000000000a';
export const CHANNEL = '01890000-0000-7000-8000-0000000000c1';
export const THING = '01890000-0000-7000-8000-0000000000d1';
export const KEY = 'key-of-the-first-thing';
const CONTEXTS_MAX = 16;

/** A gate with one org for tests. Channels: `room` (alias of CHANNEL), `off` (disabled), `secret` (no grant),
 *  `other` (denied by policy); anything that starts with `chan-` exists too.
 *  Keys: KEY, `disabled-key`; any that starts with `many-` is a thing of its own. */
export class TestGate implements Gate {
  /** Answers come as promises. */
  cold = false;
  /** What asking the registry throws. */
  failure: Error | null = null;
  asked = 0;
  contentType: string | null = null;
  /** Of every channel. Call `changed` when you change it. */
  limits: ChannelLimits = {};
  /** Whose bearer tokens and API keys are: the key of the thing. */
  readonly tokens = new Map<string, string>();
  /** What those carry that are API keys. */
  readonly scopes = new Map<string, Scope>();
  /** Of whoever is identified for the first time from now on. */
  epoch = 0;
  /** Whose certificates are: by fingerprint, the key of the thing. */
  readonly holders = new Map<string, string>();
  /** What decisions were told beside who, what and where; the newest last. */
  readonly contexts: RequestContext[] = [];
  readonly sealed: SealedFields[] = [];
  keepSealed = false;
  /** Who may not read what: `<subject id>/<channel id>/<subtopic>`, or without the subtopic for the whole channel.
   *  Call `changed` when you change it. */
  readonly unreadable = new Set<string>();
  /** Who may not publish where: `<subject id>/<channel id>`. */
  readonly unpublishable = new Set<string>();
  /** Ids of channels that are disabled. Call `changed` when you change it. */
  readonly disabled = new Set<string>();
  /** Subjects about whom every decision is a promise, made by the function; as when the registry must be asked. */
  readonly undecided = new Map<string, () => Promise<void>>();
  /** What the sealer says of an envelope's MAC. */
  genuine = true;
  readonly #principals = new Map<string, Principal & { revoked: boolean }>();
  readonly #admissions = new Map<string, Admission>();
  readonly sealer = {
    seal: (fields: SealedFields, out: Uint8Array): void => {
      if (this.keepSealed) this.sealed.push({ ...fields });
      out.fill(7);
    },
    verify: (): boolean => this.genuine,
  };

  revoke(key: string): void {
    const principal = this.#principals.get(key);
    if (principal !== undefined) principal.revoked = true;
    this.#principals.delete(key);
  }

  identify(credential: Credential): Identified | Promise<Identified> {
    this.asked++;
    if (this.failure !== null) return Promise.reject(this.failure);
    const identified = this.#identified(credential);
    return this.cold ? new Promise((resolve) => setTimeout(resolve, 5, identified)) : identified;
  }

  /** The policy has changed: what was admitted is void. */
  changed(): void {
    for (const admission of this.#admissions.values()) {
      if (admission.kind === 'allow') (admission as { valid: boolean }).valid = false;
    }
    this.#admissions.clear();
  }

  may(
    principal: Principal,
    action: 'publish' | 'subscribe',
    channel: string,
    subtopic = '',
    context?: RequestContext,
  ): Admission | Promise<Admission> {
    const { id } = principal.subject;
    // The caller goes on using its context.
    if (context !== undefined && this.contexts.push({ ...context }) > CONTEXTS_MAX) this.contexts.shift();
    const wait = this.undecided.get(id);
    if (wait !== undefined) return wait().then(() => this.#admission(principal, action, channel, subtopic));
    const admission = this.#admission(principal, action, channel, subtopic);
    return this.cold ? Promise.resolve(admission) : admission;
  }

  allows(): boolean {
    return true;
  }

  async explain(): Promise<Explanation> {
    return { allowed: true, reason: 'allowed', rule: null };
  }

  #admission(principal: Principal, action: 'publish' | 'subscribe', channel: string, subtopic: string): Admission {
    const { id } = principal.subject;
    if (principal.revoked) return { kind: 'deny', reason: 'subject_disabled' };
    if (this.disabled.has(channel)) return { kind: 'deny', reason: 'channel_disabled' };
    if (action === 'subscribe' && this.unreadable.size > 0) {
      const at = `${id}/${channel === 'room' ? CHANNEL : channel}`;
      if (this.unreadable.has(at) || this.unreadable.has(`${at}/${subtopic}`)) {
        return { kind: 'deny', reason: 'not_allowed' };
      }
    }
    if (action === 'publish' && this.unpublishable.has(`${id}/${channel}`)) {
      return { kind: 'deny', reason: 'not_allowed' };
    }
    const key = `${principal.subject.id}/${channel}/${this.contentType ?? ''}`;
    let admission = this.#admissions.get(key);
    if (admission === undefined) {
      admission = this.#judged(principal, action, channel);
      this.#admissions.set(key, admission);
    }
    return admission;
  }

  #identified(credential: Credential): Identified {
    const shown = secretOf(credential);
    const secret =
      (credential.kind === 'bearer' ? this.tokens.get(shown) : undefined) ??
      (credential.kind === 'certificate' ? this.holders.get(shown) : undefined) ??
      shown;
    if (credential.kind === 'subject' && credential.id === THING) return this.#identified({ kind: 'key', key: KEY });
    if (secret === 'disabled-key') return { kind: 'refused', reason: 'disabled' };
    if (credential.kind === 'key' && credential.thing !== undefined && credential.thing !== THING) {
      return { kind: 'refused', reason: 'unknown' };
    }
    if (secret !== KEY && !secret.startsWith('many-')) return { kind: 'refused', reason: 'unknown' };
    const scope = this.scopes.get(shown) ?? null;
    let principal = this.#principals.get(scope === null ? secret : shown);
    if (principal === undefined) {
      const id = secret === KEY ? THING : secret;
      const subject: ThingRecord = {
        kind: 'thing',
        id,
        org: ORG,
        type: 'device',
        enabled: true,
        metadata: {},
        epoch: this.epoch,
      };
      principal = { subject, scope, revoked: false };
      this.#principals.set(scope === null ? secret : shown, principal);
    }
    return { kind: 'known', principal };
  }

  #judged(principal: Principal, action: 'publish' | 'subscribe', channel: string): Admission {
    if (channel === 'off') return { kind: 'deny', reason: 'channel_disabled' };
    if (channel === 'secret') return { kind: 'deny', reason: 'not_allowed' };
    if (channel === 'other') return { kind: 'deny', reason: 'denied_by_policy' };
    const id = channel === 'room' ? CHANNEL : channel;
    if (id !== CHANNEL && !id.startsWith('chan-')) return { kind: 'deny', reason: 'no_such_channel' };
    const record: ChannelRecord = {
      id,
      org: ORG,
      enabled: true,
      alias: null,
      contentType: this.contentType,
      groups: [],
      profile: {},
      limits: this.limits,
    };
    return { kind: 'allow', channel: record, subject: principal.subject, action, version: 3, valid: true };
  }
}

function secretOf(credential: Credential): string {
  if (credential.kind === 'key') return credential.key;
  if (credential.kind === 'bearer') return credential.token;
  if (credential.kind === 'ticket') return credential.ticket;
  return credential.kind === 'certificate' ? credential.fingerprint : credential.id;
}
