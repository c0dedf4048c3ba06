import type { Protocol } from '../envelope/envelope.ts';
import type { ChannelRecord, PolicyRule, Scope, SubjectRecord } from './directory.ts';

export type MessageAction = 'publish' | 'subscribe';
/** Actions on the control plane are `<entity>.<verb>`, as `things.create`, `channels.connect`, `deadletters.read`. */
export type ControlAction = `${string}.${string}`;

/** What a client showed to say who it is. */
export type Credential =
  | { readonly kind: 'key'; readonly key: string; readonly thing?: string }
  | { readonly kind: 'bearer'; readonly token: string }
  /** A ticket of `POST /tickets`, good once: never memoised. */
  | { readonly kind: 'ticket'; readonly ticket: string }
  /** What the peer proved in the TLS handshake to hold the key of.
   *  @shape fingerprint: SHA-256 of the certificate, hex in lower case; certificate: DER */
  | { readonly kind: 'certificate'; readonly fingerprint: string; readonly certificate: Uint8Array }
  /** Somebody whom the platform itself knows: a session's owner, or who asked for a job, with the scope that they came
   *  by. Never from a client. */
  | { readonly kind: 'subject'; readonly id: string; readonly scope?: Scope };

/** A client that is known. Stable object while nothing about it changed, so callers may hang their own memo on it
 *  (WeakMap); once `revoked` is true it must be identified anew. */
export interface Principal {
  readonly subject: SubjectRecord;
  /** What the credential carries of the subject's rights; null: all. */
  readonly scope: Scope | null;
  readonly revoked: boolean;
}

export type IdentifyRefusal =
  /** No such key or token, or it has expired or been revoked. */
  | 'unknown'
  /** Known, but disabled. */
  | 'disabled';
export type Identified =
  | { readonly kind: 'known'; readonly principal: Principal }
  | { readonly kind: 'refused'; readonly reason: IdentifyRefusal };

/** What a decision may depend on beside who, what and where. */
export interface RequestContext {
  readonly protocol: Protocol;
  readonly remoteAddress: string;
  readonly tls: boolean;
  readonly mutualTls: boolean;
  readonly nowMs: number;
}

export type DenyReason =
  | 'no_such_channel'
  | 'channel_disabled'
  | 'subject_disabled'
  | 'not_allowed'
  | 'denied_by_policy';

/** The gate's word. Immutable; the same object is given while it holds, so callers may hang their own memo on it. */
export type Admission =
  | {
      readonly kind: 'allow';
      readonly channel: ChannelRecord;
      readonly subject: SubjectRecord;
      readonly action: MessageAction;
      /** Version of the policy that was judged by. */
      readonly version: number;
      /** False once an event or the end of a time window has voided it. */
      readonly valid: boolean;
    }
  | { readonly kind: 'deny'; readonly reason: DenyReason };

/** The one decision point. A warm answer is a value, a cold one a promise: check with `instanceof Promise`.
 *  Promises reject only when the registry cannot be asked (RegistryError, retry later). */
export interface Gate {
  /** @param address of who shows it, if it came from outside: who shows one unknown credential after the other from there
   *         is refused (retry later) whatever is not known already */
  identify(credential: Credential, address?: string): Identified | Promise<Identified>;
  /** @param channel id or alias  @param subtopic segments joined by '/', "" if none; or EVERY_SUBTOPIC */
  may(
    principal: Principal,
    action: MessageAction,
    channel: string,
    subtopic: string,
    context: RequestContext,
  ): Admission | Promise<Admission>;
  /** A decision on the control plane. @param object `<entity>/<id>`, `<entity>` for a collection
   *  @param groups the group that the object is in and those above it */
  allows(
    principal: Principal,
    org: string,
    object: string,
    action: ControlAction,
    context: RequestContext,
    groups?: readonly string[],
  ): boolean | Promise<boolean>;
  /** Judges a request that never happened, with nothing memoised, and tells by which rule. */
  explain(request: HypotheticalRequest): Promise<Explanation>;
  /** Writes the 16-byte MAC that lets a worker trust an admission: over id, org, channel, subtopic, publisher,
   *  received and payload. @see Sealer */
  readonly sealer: Sealer;
}

export interface HypotheticalRequest {
  readonly subject: SubjectRecord;
  readonly scope: Scope | null;
  readonly org: string;
  readonly object: string;
  readonly action: MessageAction | ControlAction;
  readonly groups: readonly string[];
  readonly context: RequestContext;
  /** Judged beside the subject's own: what a policy would change before it is attached. */
  readonly extra?: readonly PolicyRule[];
}
export interface Explanation {
  readonly allowed: boolean;
  readonly reason:
    | 'allowed'
    | 'administrator'
    | 'not_allowed'
    | 'denied_by_policy'
    | 'subject_disabled'
    | 'other_organisation'
    | 'outside_scope';
  /** The rule that decided; null where none did. */
  readonly rule: PolicyRule | null;
}

/** Makes and checks the MAC of an admission; pure but for the secret, so it also runs in workers. */
export interface Sealer {
  seal(envelope: SealedFields, out: Uint8Array): void;
  /** Constant-time. */
  verify(envelope: SealedFields, mac: Uint8Array): boolean;
}
export interface SealedFields {
  readonly id: Uint8Array;
  readonly org: string;
  readonly channel: string;
  readonly subtopic: string;
  readonly publisher: string;
  readonly version: number;
  readonly receivedUs: number;
  readonly payload: Uint8Array;
}

/** Enforces in a worker what bears no valid admission. Made by a module that `app` names
 *  (`export function createEnforcer(): Enforcer`), so processors never import policy. */
export interface Enforcer {
  /** True if the rules let the subject publish. Rules come from Directory.rules. */
  mayPublish(
    subject: string,
    org: string,
    channel: string,
    groups: readonly string[],
    subtopic: string,
    protocol: Protocol,
    nowMs: number,
    rules: readonly PolicyRule[],
  ): boolean;
}
export interface EnforcerModule {
  createEnforcer(): Enforcer;
  /** @param secret 32 bytes */
  createSealer(secret: Uint8Array): Sealer;
}

/** Secrets and tokens: made and checked in policy, kept by the registry. */
export interface Credentials {
  /** Argon2id, PHC string. */
  hashPassword(password: string): Promise<string>;
  /** Constant-time; also spends the time of a real check when the hash is null (no such user). */
  verifyPassword(password: string, hash: string | null): Promise<boolean>;
  /** A new 256-bit key, base64url. */
  newKey(): string;
  /** Keyed digest to look a secret up by: HMAC-SHA-256, hex. */
  digest(secret: string): string;
  /** AES-256-GCM under the cluster's secret. @param about bound as associated data (as the owner's id) */
  encrypt(plain: string, about: string): string;
  decrypt(sealed: string, about: string): string;
  /** Access token of a user or thing: ES256 JWT, 15 min unless told otherwise (1 h at most).
   *  @param epoch the subject's own at that moment */
  issueAccessToken(subject: string, epoch: number, seconds?: number): Promise<string>;
  /** Whose an access token is, or null. Void unless the epoch is still the subject's. */
  verifyAccessToken(
    token: string,
  ): Promise<{ readonly subject: string; readonly epoch: number; readonly expiresMs: number } | null>;
  /** Public keys, as `/.well-known/jwks.json` gives them. */
  jwks(): { readonly keys: readonly Record<string, unknown>[] };
}
