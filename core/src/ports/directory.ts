/** Who may be known: what the gate needs of the registry. Records are immutable snapshots. */

export interface ThingRecord {
  readonly kind: 'thing';
  readonly id: string;
  readonly org: string;
  readonly enabled: boolean;
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface UserRecord {
  readonly kind: 'user';
  readonly id: string;
  readonly email: string;
  readonly enabled: boolean;
  /** An administrator of the whole installation. */
  readonly admin: boolean;
}

export type SubjectRecord = ThingRecord | UserRecord;

export interface ChannelRecord {
  readonly id: string;
  readonly org: string;
  readonly enabled: boolean;
  readonly alias: string | null;
  /** Content type of a message that names none and cannot be told by its first bytes; null: sniff. */
  readonly contentType: string | null;
}

/** One Casbin rule that concerns a subject. All fields are the model's own (policy/src/model.ts).
 *  @shape p: [subject, org, object, action, effect, condition]   g: [subject, role, org] */
export interface PolicyRule {
  readonly type: 'p' | 'g' | 'g2';
  readonly values: readonly string[];
}

export type DirectoryEntity =
  | 'org'
  | 'user'
  | 'thing'
  | 'key'
  | 'certificate'
  | 'channel'
  | 'connection'
  | 'member'
  | 'policy'
  | 'session';

/** One change of the control plane, in the order of `version`. */
export interface DirectoryChange {
  readonly version: number;
  readonly entity: DirectoryEntity;
  readonly id: string;
  readonly org: string | null;
  /** Subjects and channels whose memoised answers are void; '*' for all. */
  readonly voids: readonly string[];
}

/** Reads of the registry that the gate makes when it is cold. The gate memoises; a Directory need not.
 *  @throws RegistryError REGISTRY_UNREACHABLE (retry later) */
export interface Directory {
  /** The thing that owns a key, by the key's digest (Credentials.digest); null if none or revoked. */
  thingByKey(digest: string): Promise<ThingRecord | null>;
  subject(id: string): Promise<SubjectRecord | null>;
  /** The thing that a certificate stands for: by its fingerprint, or as the subject (CN = thing id) of an authority that
   *  this thing trusts, within its validity; null if none.
   *  @param fingerprint SHA-256, hex in lower case  @param certificate DER */
  thingByCertificate(fingerprint: string, certificate: Uint8Array): Promise<ThingRecord | null>;
  /** Spends a ticket: whose it was, or null when it is unknown, used or too old. @param digest Credentials.digest */
  redeemTicket(digest: string): Promise<SubjectRecord | null>;
  /** By id, or by alias within an org. */
  channel(reference: string, org: string | null): Promise<ChannelRecord | null>;
  /** Every rule that can matter to a subject in an org: its own, its roles', its connections. */
  rules(subject: string, org: string): Promise<readonly PolicyRule[]>;
  /** Version of the last change that this node has applied. */
  readonly version: number;
  /** Called synchronously for each change, a local one before it is answered to its author, another node's
   *  within a second. Returns the unsubscriber. */
  onChange(listener: (change: DirectoryChange) => void): () => void;
}
