import type {
  ChannelRecord,
  Directory,
  DirectoryChange,
  DirectoryEntity,
  Holder,
  PolicyRule,
  Scope,
  SubjectRecord,
  ThingRecord,
  UserRecord,
} from '@millrace/core';

/** A channel that nothing is said of. */
export const plainChannel = (id: string, org: string): ChannelRecord => ({
  id,
  org,
  enabled: true,
  alias: null,
  contentType: null,
  groups: [],
  profile: {},
  limits: {},
});

/** A directory in memory: the port as the registry keeps it, without a database.
 *  @holds a change is visible to reads before the listeners hear of it, as after a commit */
export class MemoryDirectory implements Directory {
  version = 0;
  readonly subjects = new Map<string, SubjectRecord>();
  readonly keys = new Map<string, string>();
  /** Until when a key of `keys` holds, if not for ever. */
  readonly keysUntilMs = new Map<string, number>();
  /** API keys and applications' tokens by their digest. */
  readonly bearers = new Map<string, { subject: string; expiresMs: number; scope: Scope | null }>();
  /** Things by the fingerprint of a certificate. */
  readonly certificates = new Map<string, string>();
  /** Subjects by the digest of a ticket. */
  readonly tickets = new Map<string, string>();
  readonly channels = new Map<string, ChannelRecord>();
  readonly policy = new Map<string, PolicyRule[]>();
  readonly calls = {
    thingByKey: 0,
    bearer: 0,
    thingByCertificate: 0,
    redeemTicket: 0,
    subject: 0,
    channel: 0,
    rules: 0,
  };
  /** Awaited after a read and before its answer: what changes meanwhile makes the answer stale. */
  pause: () => Promise<void> = async () => {};
  readonly #listeners = new Set<(change: DirectoryChange) => void>();

  async thingByKey(digest: string): Promise<Holder | null> {
    this.calls.thingByKey++;
    const found = this.subjects.get(this.keys.get(digest) ?? '');
    const expiresMs = this.keysUntilMs.get(digest) ?? Number.POSITIVE_INFINITY;
    await this.pause();
    return found?.kind === 'thing' ? { subject: found, expiresMs, scope: null } : null;
  }

  async bearer(digest: string): Promise<Holder | null> {
    this.calls.bearer++;
    const kept = this.bearers.get(digest);
    const found = this.subjects.get(kept?.subject ?? '');
    await this.pause();
    return kept === undefined || found === undefined ? null : { ...kept, subject: found };
  }

  async thingByCertificate(fingerprint: string): Promise<ThingRecord | null> {
    this.calls.thingByCertificate++;
    const found = this.subjects.get(this.certificates.get(fingerprint) ?? '');
    await this.pause();
    return found?.kind === 'thing' ? found : null;
  }

  async redeemTicket(digest: string): Promise<SubjectRecord | null> {
    this.calls.redeemTicket++;
    const found = this.subjects.get(this.tickets.get(digest) ?? '') ?? null;
    this.tickets.delete(digest);
    await this.pause();
    return found;
  }

  async subject(id: string): Promise<SubjectRecord | null> {
    this.calls.subject++;
    const found = this.subjects.get(id) ?? null;
    await this.pause();
    return found;
  }

  async channel(reference: string, org: string | null): Promise<ChannelRecord | null> {
    this.calls.channel++;
    let found = this.channels.get(reference);
    if (found === undefined && org !== null) {
      found = [...this.channels.values()].find((one) => one.org === org && one.alias === reference);
    }
    await this.pause();
    return found ?? null;
  }

  async rules(subject: string, org: string): Promise<readonly PolicyRule[]> {
    this.calls.rules++;
    const rules = [...(this.policy.get(`${subject} ${org}`) ?? [])];
    await this.pause();
    return rules;
  }

  onChange(listener: (change: DirectoryChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get listenerCount(): number {
    return this.#listeners.size;
  }

  announce(entity: DirectoryEntity, id: string, org: string | null, voids: readonly string[] = [id]): void {
    this.version++;
    for (const listener of this.#listeners) listener({ version: this.version, entity, id, org, voids });
  }

  thing(id: string, org: string, digest: string, more: Partial<ThingRecord> = {}): ThingRecord {
    const record: ThingRecord = {
      kind: 'thing',
      id,
      org,
      type: 'device',
      enabled: true,
      metadata: {},
      epoch: 0,
      ...more,
    };
    this.subjects.set(id, record);
    this.keys.set(digest, id);
    this.announce('thing', id, org);
    return record;
  }

  user(id: string, more: Partial<UserRecord> = {}): void {
    const email = `${id}@example.org`;
    this.subjects.set(id, { kind: 'user', id, email, enabled: true, admin: false, epoch: 0, ...more });
    this.announce('user', id, null);
  }

  putChannel(id: string, org: string, more: Partial<ChannelRecord> = {}): void {
    this.channels.set(id, { ...plainChannel(id, org), ...more });
    this.announce('channel', id, org);
  }

  setRules(subject: string, org: string, rules: readonly PolicyRule[], entity: DirectoryEntity = 'policy'): void {
    this.policy.set(`${subject} ${org}`, [...rules]);
    this.announce(entity, subject, org);
  }
}
