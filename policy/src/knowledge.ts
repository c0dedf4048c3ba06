import type { Directory, DirectoryChange, DirectoryEntity, PolicyRule, SubjectRecord } from '@millrace/core';
import { RecentChanges } from './changes.ts';
import type { GateLimits } from './config.ts';
import { PolicyError } from './errors.ts';
import { Generations } from './generations.ts';
import { ChannelState, ScopeLife, SUBJECT_ORGS_MAX, SubjectState, WeakIndex } from './holders.ts';
import { Flights, Limiter } from './limiter.ts';
import { RuleSet } from './rule-set.ts';
import type { Tally } from './tally.ts';

/** Changes of these make a subject be identified anew; others only void its answers. */
const IDENTITY: ReadonlySet<DirectoryEntity> = new Set(['thing', 'user', 'key', 'certificate']);
/** Reads repeated because a change came meanwhile, until the newest is taken but not kept. */
export const ATTEMPTS_MAX = 8;

/** So long a look-up waits for its turn: longer than that a client has no use for it. */
export const LOOKUP_WAIT_MS_MAX = 5_000;

/** What this node knows of the registry: subjects, channels and rules, each until a change voids it. */
export class Knowledge {
  readonly subjects = new WeakIndex<SubjectState>();
  readonly channels = new WeakIndex<ChannelState>();
  /** By the id of the key or grant. */
  readonly scopes = new WeakIndex<ScopeLife>();
  readonly recent = new RecentChanges();
  readonly #directory: Directory;
  readonly #tally: Tally;
  readonly #limits: GateLimits;
  readonly #lookups: Limiter;
  /** Channels by what they were asked for. */
  readonly #references: Generations<string, ChannelState>;
  /** Until when a reference counts as unknown, and since when. */
  readonly #missing: Generations<string, { readonly fromMs: number; readonly untilMs: number }>;
  readonly #channelFlights = new Flights<ChannelState | null>();
  closed = false;

  constructor(directory: Directory, limits: GateLimits, tally: Tally) {
    this.#directory = directory;
    this.#limits = limits;
    this.#tally = tally;
    this.#lookups = new Limiter('decisions', limits.lookupsMax, limits.lookupsWaitingMax, LOOKUP_WAIT_MS_MAX);
    this.#references = new Generations(limits.credentialsMax);
    this.#missing = new Generations(limits.unknownMax);
  }

  get missingCount(): number {
    return this.#missing.size;
  }

  get version(): number {
    return this.#directory.version;
  }

  /** Takes note of a subject as the registry gave it. */
  subject(record: SubjectRecord): SubjectState {
    const known = this.subjects.get(record.id);
    if (known !== undefined && !known.revoked) return known;
    const state = new SubjectState(record);
    this.subjects.set(record.id, state);
    return state;
  }

  /** Takes note of a key or grant that somebody came by. */
  scope(id: string): ScopeLife {
    const known = this.scopes.get(id);
    if (known !== undefined) return known;
    const life = new ScopeLife();
    this.scopes.set(id, life);
    return life;
  }

  /** A channel that is known without asking; null: known not to exist. */
  channelNow(reference: string, org: string | null, nowMs: number): ChannelState | null | undefined {
    const key = referenceKey(reference, org);
    const state = this.#references.get(key);
    if (state?.alive) return state;
    const missing = this.#missing.get(key);
    if (missing !== undefined && nowMs < missing.untilMs && nowMs >= missing.fromMs) return null;
    return undefined;
  }

  channel(reference: string, org: string | null, nowMs: number): Promise<ChannelState | null> {
    const key = referenceKey(reference, org);
    return this.#channelFlights.join(key, () =>
      this.ask(this.#lookups, async () => {
        for (let attempt = 1; ; attempt++) {
          const mark = this.recent.mark();
          this.#tally.channelLookups++;
          const record = await this.#directory.channel(reference, org);
          const stale =
            record === null ? this.recent.changed(mark, CHANNELS) : this.recent.touched(mark, [record.id, record.org]);
          if (stale && attempt < ATTEMPTS_MAX) {
            this.#tally.retries++;
            continue;
          }
          if (record === null) {
            const missing = { fromMs: nowMs, untilMs: nowMs + this.#limits.unknownMsMax };
            if (!stale) this.#missing.set(key, missing);
            return null;
          }
          const known = this.channels.get(record.id);
          if (known?.alive) {
            if (!stale) this.#references.set(key, known);
            return known;
          }
          const state = new ChannelState(record);
          if (stale) {
            state.alive = false;
            return state;
          }
          this.channels.set(record.id, state);
          this.#references.set(key, state);
          return state;
        }
      }),
    );
  }

  /** The rules of a subject in an org.  @holds kept only if the subject's epoch did not move meanwhile */
  rules(state: SubjectState, org: string): Promise<RuleSet> {
    // Before it is asked: a change that comes meanwhile must find it.
    state.asksIn(org);
    return state.loading.join(org, () =>
      this.ask(this.#lookups, async () => {
        const epoch = state.epoch;
        this.#tally.rulesLookups++;
        const rules = new RuleSet(await this.#directory.rules(state.record.id, org), org, false);
        if (state.epoch === epoch) {
          state.rules ??= new Generations(SUBJECT_ORGS_MAX);
          state.rules.set(org, rules);
        }
        return rules;
      }),
    );
  }

  /** The rules of a subject as the registry gives them now, with nothing remembered. */
  async freshRules(subject: string, org: string, extra: readonly PolicyRule[]): Promise<RuleSet> {
    this.#tally.rulesLookups++;
    const given = await this.ask(this.#lookups, () => this.#directory.rules(subject, org));
    return new RuleSet([...given, ...extra], org);
  }

  /** @throws PolicyError POLICY_BUSY, POLICY_CLOSED */
  async ask<T>(limiter: Limiter, work: () => Promise<T>): Promise<T> {
    if (this.closed) throw new PolicyError('POLICY_CLOSED', 'later');
    try {
      return await limiter.run(work);
    } catch (error) {
      if (error instanceof PolicyError && error.code === 'POLICY_BUSY') this.#tally.busy++;
      throw error;
    }
  }

  /** Voids what a change concerns. Synchronous: once it returns, nothing stale is given. */
  apply(change: DirectoryChange): void {
    // Who holds a session, or what waits for a device, is no matter of policy, and there may be many at once.
    if (change.entity === 'session' || change.entity === 'command') return;
    this.#tally.voids++;
    this.recent.add(change);
    // An id of '*' says that changes were missed: nothing is certain any more.
    const revokes = IDENTITY.has(change.entity) || change.id === '*';
    if (change.entity === 'channel' || change.entity === 'org' || change.voids.includes('*')) this.#missing.clear();
    if (change.voids.includes('*')) {
      for (const state of this.subjects.values()) {
        if (revokes) state.revoke();
        else state.voidAnswers();
      }
      for (const channel of this.channels.values()) channel.alive = false;
      return;
    }
    this.#void(change.id, revokes);
    for (const id of change.voids) if (id !== change.id) this.#void(id, revokes);
    if (change.entity === 'org') this.#voidOrg(change.id, true);
    else if (change.org !== null && change.voids.includes(change.org)) this.#voidOrg(change.org, revokes);
  }

  #void(id: string, revokes: boolean): void {
    const state = this.subjects.get(id);
    if (state !== undefined) {
      if (revokes) state.revoke();
      else state.voidAnswers();
      if (state.revoked) this.subjects.delete(id);
    }
    const scope = this.scopes.get(id);
    if (scope !== undefined) {
      scope.over = true;
      this.scopes.delete(id);
    }
    const channel = this.channels.get(id);
    if (channel !== undefined) {
      channel.alive = false;
      this.channels.delete(id);
    }
  }

  /** All of an organisation, and nothing of any other.  @param revokes whether its things identify anew */
  #voidOrg(org: string, revokes: boolean): void {
    for (const state of this.subjects.values()) {
      if (state.record.kind === 'user') {
        if (state.hasAskedIn(org)) state.voidAnswers();
      } else if (state.record.org === org) {
        if (revokes) state.revoke();
        else state.voidAnswers();
      }
    }
    for (const channel of this.channels.values()) if (channel.record.org === org) channel.alive = false;
  }

  /** Forgets all answers; those that somebody holds stay true. */
  forgetAnswers(): void {
    this.#tally.forgotten++;
    for (const state of this.subjects.values()) state.forget();
  }

  close(): void {
    this.closed = true;
    for (const state of this.subjects.values()) state.revoke();
  }
}

const CHANNELS: ReadonlySet<DirectoryEntity> = new Set(['channel', 'org']);

/** @holds an org's id holds no line break */
const referenceKey = (reference: string, org: string | null): string => `${org ?? ''}\n${reference}`;
