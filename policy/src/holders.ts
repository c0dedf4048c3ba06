import type {
  Admission,
  ChannelRecord,
  DenyReason,
  MessageAction,
  Principal,
  Scope,
  SubjectRecord,
} from '@millrace/core';
import type { Answers } from './answers.ts';
import { ControlAnswers } from './control-answers.ts';
import { Generations } from './generations.ts';
import { Flights } from './limiter.ts';
import type { RuleSet } from './rule-set.ts';

/** Channels of one subject whose answers are kept. */
export const SUBJECT_CHANNELS_MAX = 4_096;

/** Organisations in which the rules of one subject are kept. */
export const SUBJECT_ORGS_MAX = 64;

/** What the gate knows of a channel. Dead once a change has voided it: then it must be looked up anew. */
export class ChannelState {
  readonly record: ChannelRecord;
  alive = true;

  constructor(record: ChannelRecord) {
    this.record = record;
  }
}

/** A channel's answers for one subject and action. */
export interface ChannelAnswers {
  readonly channel: ChannelState;
  readonly answers: Answers<Admission>;
}

/** Answers that were given to a subject, or to one of its scoped principals. Each is made when first needed: most things
 *  only publish. */
export class Memo {
  /** By the channel's id or alias, as it was asked for. */
  publish: Generations<string, ChannelAnswers> | null = null;
  subscribe: Generations<string, ChannelAnswers> | null = null;
  control: ControlAnswers | null = null;
  /** SubjectState.forgotten at that time. */
  stamp = 0;

  messages(action: MessageAction): Generations<string, ChannelAnswers> {
    if (action === 'publish') {
      this.publish ??= new Generations(SUBJECT_CHANNELS_MAX);
      return this.publish;
    }
    this.subscribe ??= new Generations(SUBJECT_CHANNELS_MAX);
    return this.subscribe;
  }

  controls(): ControlAnswers {
    this.control ??= new ControlAnswers();
    return this.control;
  }

  clear(): void {
    this.publish = null;
    this.subscribe = null;
    this.control = null;
  }
}

/** Whether an API key, or an application's grant, still is what it was: shared by all principals that came by it. */
export class ScopeLife {
  over = false;
}

/** What the gate knows of a subject, shared by all its principals and admissions.
 *  The gate's index holds it weakly and its memo strongly: forgetting a memo never makes an open session
 *  irrevocable, since the session's principal or admission keeps this alive. */
export class SubjectState {
  readonly record: SubjectRecord;
  /** Must be identified anew. */
  revoked = false;
  /** Counted up when the answers become void. */
  epoch = 0;
  /** Cold decisions under way. */
  cold = 0;
  /** Counted up when answers are forgotten, void or not: scoped principals clear theirs when they see it. */
  forgotten = 0;
  /** Answers for the subject itself, with all its rights. */
  readonly memo = new Memo();
  rules: Generations<string, RuleSet> | null = null;
  loading = new Flights<RuleSet>();
  /** Organisations in which a user has been judged since the answers were last void; null if they are too many to name. */
  #orgs: Set<string> | null | undefined;
  /** The principal of credentials that neither expire nor carry a scope. */
  readonly principal: KnownPrincipal;

  constructor(record: SubjectRecord) {
    this.record = record;
    this.principal = new KnownPrincipal(this, Number.POSITIVE_INFINITY, null, null, Date.now);
  }

  asksIn(org: string): void {
    if (this.record.kind === 'thing' || this.#orgs === null) return;
    this.#orgs ??= new Set();
    this.#orgs.add(org);
    if (this.#orgs.size > SUBJECT_ORGS_MAX) this.#orgs = null;
  }

  /** @holds true wherever an answer may rest on the rules of the organisation */
  hasAskedIn(org: string): boolean {
    return this.#orgs === null || this.#orgs?.has(org) === true;
  }

  voidAnswers(): void {
    this.epoch++;
    this.#orgs = undefined;
    this.forget();
    this.rules = null;
    this.loading = new Flights();
  }

  /** Forgets the answers, which stay true for who holds one. */
  forget(): void {
    this.forgotten++;
    this.memo.clear();
  }

  revoke(): void {
    this.revoked = true;
    this.voidAnswers();
  }
}

/** A client that showed a credential; expires with it.
 *  @holds answers under a scope are kept apart from the subject's own, and from those under any other */
export class KnownPrincipal implements Principal {
  readonly state: SubjectState;
  readonly expiresMs: number;
  readonly scope: Scope | null;
  readonly #life: ScopeLife | null;
  readonly #own: Memo | null;
  readonly #now: () => number;

  constructor(state: SubjectState, expiresMs: number, scope: Scope | null, life: ScopeLife | null, now: () => number) {
    this.state = state;
    this.expiresMs = expiresMs;
    this.scope = scope;
    this.#life = life;
    this.#own = scope === null ? null : new Memo();
    this.#now = now;
  }

  get memo(): Memo {
    const own = this.#own;
    if (own === null) return this.state.memo;
    if (own.stamp !== this.state.forgotten) {
      own.clear();
      own.stamp = this.state.forgotten;
    }
    return own;
  }

  get subject(): SubjectRecord {
    return this.state.record;
  }

  get revoked(): boolean {
    if (this.state.revoked || this.#life?.over) return true;
    return this.expiresMs !== Number.POSITIVE_INFINITY && this.#now() >= this.expiresMs;
  }
}

/** The gate's yes. */
export class Allowance {
  readonly kind = 'allow';
  readonly channel: ChannelRecord;
  readonly subject: SubjectRecord;
  readonly action: MessageAction;
  readonly version: number;
  readonly #state: SubjectState;
  readonly #epoch: number;
  readonly #channel: ChannelState;
  readonly #fromMs: number;
  readonly #untilMs: number;
  readonly #now: () => number;

  constructor(
    state: SubjectState,
    channel: ChannelState,
    action: MessageAction,
    version: number,
    stretch: readonly [fromMs: number, untilMs: number],
    now: () => number,
  ) {
    this.channel = channel.record;
    this.subject = state.record;
    this.action = action;
    this.version = version;
    this.#state = state;
    this.#epoch = state.epoch;
    this.#channel = channel;
    this.#fromMs = stretch[0];
    this.#untilMs = stretch[1];
    this.#now = now;
  }

  get valid(): boolean {
    if (this.#state.epoch !== this.#epoch || !this.#channel.alive) return false;
    if (this.#untilMs === Number.POSITIVE_INFINITY && this.#fromMs === Number.NEGATIVE_INFINITY) return true;
    const now = this.#now();
    return now >= this.#fromMs && now < this.#untilMs;
  }
}

/** The gate's no, one object a reason. */
export const denials: Readonly<Record<DenyReason, Admission>> = {
  no_such_channel: Object.freeze({ kind: 'deny', reason: 'no_such_channel' }),
  channel_disabled: Object.freeze({ kind: 'deny', reason: 'channel_disabled' }),
  subject_disabled: Object.freeze({ kind: 'deny', reason: 'subject_disabled' }),
  not_allowed: Object.freeze({ kind: 'deny', reason: 'not_allowed' }),
  denied_by_policy: Object.freeze({ kind: 'deny', reason: 'denied_by_policy' }),
};

/** Things by id that live as long as somebody holds them. */
export class WeakIndex<T extends object> {
  readonly #refs = new Map<string, WeakRef<T>>();
  readonly #gone = new FinalizationRegistry<string>((id) => {
    const ref = this.#refs.get(id);
    if (ref !== undefined && ref.deref() === undefined) this.#refs.delete(id);
  });

  get size(): number {
    return this.#refs.size;
  }

  get(id: string): T | undefined {
    return this.#refs.get(id)?.deref();
  }

  set(id: string, value: T): void {
    this.#refs.set(id, new WeakRef(value));
    this.#gone.register(value, id);
  }

  delete(id: string): void {
    this.#refs.delete(id);
  }

  *values(): Generator<T> {
    for (const ref of this.#refs.values()) {
      const value = ref.deref();
      if (value !== undefined) yield value;
    }
  }
}
