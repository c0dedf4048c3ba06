/** Who may be known: what the gate needs of the registry. Records are immutable snapshots. */

export interface ThingRecord {
  readonly kind: 'thing';
  readonly id: string;
  readonly org: string;
  readonly type: 'device' | 'gateway' | 'app';
  /** False also while its organisation is frozen. */
  readonly enabled: boolean;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Tokens that were issued under an older one are void. */
  readonly epoch: number;
}

export interface UserRecord {
  readonly kind: 'user';
  readonly id: string;
  readonly email: string;
  readonly enabled: boolean;
  /** An administrator of the whole installation. */
  readonly admin: boolean;
  /** Tokens that were issued under an older one are void. */
  readonly epoch: number;
}

export type SubjectRecord = ThingRecord | UserRecord;

/** What an API key or an application's token may reach at most of what its owner may.
 *  @shape actions and resources: patterns, as in a policy's statement */
export interface Scope {
  /** Of the key or grant: a change that voids this id ends it. */
  readonly id: string;
  /** The organisation that it is good for; null: every one of its owner's. */
  readonly org: string | null;
  readonly grants: readonly { readonly actions: readonly string[]; readonly resources: readonly string[] }[];
}

/** Who holds a credential, until when, and what of its rights it carries (null: all). */
export interface Holder {
  readonly subject: SubjectRecord;
  /** ms since 1970; Infinity if it does not expire. */
  readonly expiresMs: number;
  readonly scope: Scope | null;
}

/** How a channel's messages are read. */
export interface ChannelProfile {
  /** JSON messages: the member that holds their time (a path with dots), and how to read it. */
  readonly timeField?: string;
  readonly timeFormat?: 's' | 'ms' | 'us' | 'ns' | 'rfc3339';
  /** Names of readings that are kept; a `*` at the end stands for any rest. All if absent. */
  readonly fields?: readonly string[];
  /** Keep the payload too, whatever its content type. */
  readonly keepRaw?: boolean;
  /** Readings and payloads are deleted so long after they were received. */
  readonly retentionDays?: number;
  /** Rollups and last values are kept so long, if that is longer. */
  readonly rollupRetentionDays?: number;
}

/** What publishers may ask of a channel; a node's own limits hold beside. */
export interface ChannelLimits {
  readonly messagesPerSecond?: number;
  readonly payloadBytesMax?: number;
}

export interface ChannelRecord {
  readonly id: string;
  readonly org: string;
  /** False also while its organisation is frozen. */
  readonly enabled: boolean;
  readonly alias: string | null;
  /** Content type of a message that names none and cannot be told by its first bytes; null: sniff. */
  readonly contentType: string | null;
  /** The group that it is in and those above it. */
  readonly groups: readonly string[];
  readonly profile: ChannelProfile;
  readonly limits: ChannelLimits;
}

/** One Casbin rule that concerns a subject. All fields are the model's own (policy/src/model.ts).
 *  @shape p: [subject, org, object, action, effect, condition]   g: [subject, role, org] */
export interface PolicyRule {
  readonly type: 'p' | 'g';
  readonly values: readonly string[];
  /** Where it comes from, for people: `policy <id> v<version> <sid>`, `connection <channel>`, `role <name>`. */
  readonly source?: string;
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
  | 'role'
  | 'group'
  | 'app'
  | 'networkserver'
  | 'codec'
  | 'session'
  /** Its id is the thing's: a command may wait for it. */
  | 'command';

/** One change of the control plane, in the order of `version`. */
export interface DirectoryChange {
  readonly version: number;
  readonly entity: DirectoryEntity;
  readonly id: string;
  readonly org: string | null;
  /** Subjects and channels whose memoised answers are void; the organisation's own id for all of it, '*' for those of
   *  every organisation. */
  readonly voids: readonly string[];
}

/** Reads of the registry that the gate makes when it is cold. The gate memoises; a Directory need not.
 *  @throws RegistryError REGISTRY_UNREACHABLE (retry later) */
export interface Directory {
  /** The thing that owns a key, by the key's digest (Credentials.digest); null if none or revoked. A key that has been
   *  replaced holds until the end of its overlap. */
  thingByKey(digest: string): Promise<Holder | null>;
  /** Who holds an opaque bearer token: an API key, or an application's access token. @param digest Credentials.digest */
  bearer(digest: string): Promise<Holder | null>;
  subject(id: string): Promise<SubjectRecord | null>;
  /** The thing that a certificate stands for: by its fingerprint, or as the subject (CN = thing id) of an authority that
   *  this thing trusts, within its validity; null if none.
   *  @param fingerprint SHA-256, hex in lower case  @param certificate DER */
  thingByCertificate(fingerprint: string, certificate: Uint8Array): Promise<ThingRecord | null>;
  /** Spends a ticket: whose it was, or null when it is unknown, used or too old. @param digest Credentials.digest */
  redeemTicket(digest: string): Promise<SubjectRecord | null>;
  /** By id, or by alias within an org. */
  channel(reference: string, org: string | null): Promise<ChannelRecord | null>;
  /** Every rule that can matter to a subject in an org: its connections, and those of its policies, roles and groups,
   *  variables filled in. */
  rules(subject: string, org: string): Promise<readonly PolicyRule[]>;
  /** Version of the last change that this node has applied. */
  readonly version: number;
  /** Called synchronously for each change, a local one before it is answered to its author, another node's
   *  within a second. Returns the unsubscriber. */
  onChange(listener: (change: DirectoryChange) => void): () => void;
}
