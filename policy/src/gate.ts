import type {
  Admission,
  ControlAction,
  Credential,
  Credentials,
  Directory,
  Explanation,
  Gate,
  HypotheticalRequest,
  Identified,
  Logger,
  MessageAction,
  Metrics,
  Principal,
  RequestContext,
  Sealer,
  SubjectRecord,
} from '@millrace/core';
import { EVERY_SUBTOPIC, messagesObject } from '@millrace/core';
import { Answers } from './answers.ts';
import { circumstances } from './circumstances.ts';
import { type GateLimits, gateLimits, PolicyConfig } from './config.ts';
import { PolicyError } from './errors.ts';
import { explain } from './explanation.ts';
import { Allowance, type ChannelState, denials, KnownPrincipal, type SubjectState } from './holders.ts';
import { Identities } from './identities.ts';
import { ATTEMPTS_MAX, Knowledge } from './knowledge.ts';
import { Judge, type Verdict } from './model.ts';
import type { Relevance, RuleSet } from './rule-set.ts';
import { scopeCovers, scopeDivides } from './scope.ts';
import { exposeTally, Tally } from './tally.ts';

// hot

/** Cold decisions under way for one subject; more are refused, so that one client can't take all places. */
const SUBJECT_COLD_MAX = 256;
const FOR_EVER = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY] as const;

export interface GateOptions {
  readonly directory: Directory;
  readonly credentials: Credentials;
  readonly sealer: Sealer;
  readonly metrics?: Metrics;
  readonly logger?: Logger;
  /** Those of PolicyConfig if absent. */
  readonly limits?: Partial<GateLimits>;
  readonly now?: () => number;
}

export type StoppableGate = Gate & {
  /** Ends the subscription. What was admitted becomes invalid, since nothing would void it any more. */
  stop(): void;
};

/** The one decision point of a node. Warm answers are map look-ups; cold ones ask the directory once and are kept
 *  until a change voids them.
 *  @throws PolicyError POLICY_BUSY, POLICY_CLOSED, and what the directory throws: always as a rejection */
export function createGate(options: GateOptions): StoppableGate {
  return new MemoGate(options);
}

class MemoGate implements StoppableGate {
  readonly sealer: Sealer;
  readonly #limits: GateLimits;
  readonly #knowledge: Knowledge;
  readonly #identities: Identities;
  readonly #judge = new Judge();
  readonly #tally = new Tally();
  readonly #now: () => number;
  readonly #unsubscribe: () => void;
  #answerCount = 0;

  constructor(options: GateOptions) {
    const { directory, credentials, metrics, logger } = options;
    this.sealer = options.sealer;
    this.#now = options.now ?? Date.now;
    this.#limits = { ...gateLimits(PolicyConfig.parse({})), ...options.limits };
    this.#knowledge = new Knowledge(directory, this.#limits, this.#tally);
    this.#identities = new Identities(directory, credentials, this.#knowledge, this.#limits, this.#tally, this.#now);
    this.#unsubscribe = directory.onChange((change) => {
      this.#knowledge.apply(change);
      this.#identities.forgetRefused(change.entity, change.voids.includes('*'));
      logger?.debug({ version: change.version, entity: change.entity, id: change.id }, 'policy change applied');
    });
    if (metrics !== undefined) {
      exposeTally(metrics, this.#tally, () => ({
        credentials: this.#identities.knownCount,
        unknown: this.#identities.refusedCount + this.#knowledge.missingCount,
        subjects: this.#knowledge.subjects.size,
        channels: this.#knowledge.channels.size,
        answers: this.#answerCount,
      }));
    }
  }

  identify(credential: Credential, address?: string): Identified | Promise<Identified> {
    return this.#identities.identify(credential, address);
  }

  may(
    principal: Principal,
    action: MessageAction,
    channel: string,
    subtopic: string,
    context: RequestContext,
  ): Admission | Promise<Admission> {
    const { memo, revoked } = principal as KnownPrincipal;
    if (revoked) return denials.subject_disabled;
    const known = (action === 'publish' ? memo.publish : memo.subscribe)?.get(channel);
    if (known?.channel.alive) {
      const answer = known.answers.find(subtopic, context);
      if (answer !== undefined) {
        this.#tally.warmDecisions++;
        return answer;
      }
    }
    return this.#decide(asKnown(principal), action, channel, subtopic, context);
  }

  allows(
    principal: Principal,
    org: string,
    object: string,
    action: ControlAction,
    context: RequestContext,
    groups: readonly string[] = NO_GROUPS,
  ): boolean | Promise<boolean> {
    const known = asKnown(principal);
    if (known.revoked) return false;
    const { state, scope } = known;
    const { record } = state;
    if (record.kind === 'thing' && record.org !== org) return false;
    if (scope !== null && scope.org !== null && scope.org !== org) return false;
    const admin = administers(record);
    if (admin && scope === null) return true;
    const answer = known.memo.control?.find(org, object, action, groups)?.find('', context);
    if (answer !== undefined) {
      this.#tally.warmControls++;
      return answer;
    }
    const request = { org, object, action, groups, context };
    const rules = admin ? NO_RULES : state.rules?.get(org);
    if (rules !== undefined) return this.#settleControl(known, rules, request);
    return this.#cold(state, async () => {
      for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        const { epoch } = state;
        const loaded = await this.#knowledge.rules(state, org);
        if (known.revoked) return false;
        if (state.epoch === epoch) return this.#settleControl(known, loaded, request);
        this.#tally.retries++;
      }
      throw new PolicyError('POLICY_BUSY', 'later', { cause: 'the policy keeps changing' });
    });
  }

  async explain(request: HypotheticalRequest): Promise<Explanation> {
    return explain(this.#judge, this.#knowledge, request);
  }

  stop(): void {
    this.#unsubscribe();
    this.#knowledge.close();
  }

  #decide(
    principal: KnownPrincipal,
    action: MessageAction,
    reference: string,
    subtopic: string,
    context: RequestContext,
  ): Admission | Promise<Admission> {
    const { state, scope } = principal;
    const { record } = state;
    const org = record.kind === 'thing' ? record.org : (scope?.org ?? null);
    const channel = this.#knowledge.channelNow(reference, org, context.nowMs);
    if (channel === null) return denials.no_such_channel;
    if (channel !== undefined) {
      const settled = this.#settle(principal, channel, action, reference, subtopic, context);
      if (settled !== undefined) return settled;
    }
    return this.#cold(state, async () => {
      // A thing's rules are of its own organisation, whatever channel it is: both are asked for at once.
      if (record.kind === 'thing' && state.rules?.get(record.org) === undefined) {
        this.#knowledge.rules(state, record.org).catch(() => {});
      }
      for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        const found =
          this.#knowledge.channelNow(reference, org, context.nowMs) ??
          (await this.#knowledge.channel(reference, org, context.nowMs));
        if (found === null) return denials.no_such_channel;
        if (principal.revoked) return denials.subject_disabled;
        if (found.alive) {
          const settled = this.#settle(principal, found, action, reference, subtopic, context);
          if (settled !== undefined) return settled;
          await this.#knowledge.rules(state, found.record.org);
          if (principal.revoked) return denials.subject_disabled;
          const settledNow = found.alive && this.#settle(principal, found, action, reference, subtopic, context);
          if (settledNow) return settledNow;
        }
        this.#tally.retries++;
      }
      throw new PolicyError('POLICY_BUSY', 'later', { cause: 'the policy keeps changing' });
    });
  }

  /** Judges with what is known and keeps the answer; undefined if the rules are not known. */
  #settle(
    principal: KnownPrincipal,
    channel: ChannelState,
    action: MessageAction,
    reference: string,
    subtopic: string,
    context: RequestContext,
  ): Admission | undefined {
    const { state, scope } = principal;
    const { record } = state;
    const { record: target } = channel;
    if (record.kind === 'thing' && record.org !== target.org) return denials.no_such_channel;
    if (scope !== null && scope.org !== null && scope.org !== target.org) return denials.no_such_channel;
    const rules = administers(record) ? NO_RULES : state.rules?.get(target.org);
    if (rules === undefined) return undefined;
    // Who is nothing in an organisation learns nothing of it, not even that the channel is there.
    if (record.kind === 'user' && rules !== NO_RULES && rules.isEmpty) return denials.no_such_channel;
    const memo = principal.memo.messages(action);
    let known = memo.get(reference);
    if (known === undefined || known.channel !== channel) {
      let relevance: Relevance =
        rules === NO_RULES ? NOTHING_MATTERS : rules.relevance(target.id, action, target.groups);
      if (scope !== null && scopeDivides(scope, target.id, action)) relevance = { ...relevance, subtopic: true };
      known = { channel, answers: new Answers(relevance) };
      memo.set(reference, known);
    }
    // Who waited for the same rules may have settled it already: the same object for all.
    const settled = known.answers.find(subtopic, context);
    if (settled !== undefined) return settled;
    const object = messagesObject(target.id, subtopic);
    let stretch: readonly [number, number] = FOR_EVER;
    let answer: Admission;
    const { version } = this.#knowledge;
    if (!target.enabled) {
      answer = denials.channel_disabled;
    } else {
      let verdict: Verdict = 'allow';
      if (rules !== NO_RULES) {
        const { groups } = target;
        const about = subtopic === EVERY_SUBTOPIC ? null : subtopic;
        verdict = this.#judge.judge(rules, record.id, object, action, circumstances(record, context, about, groups));
        stretch = rules.stretch(object, action, groups, context.nowMs);
      }
      if (verdict === 'allow' && scope !== null && !scopeCovers(scope, target.org, object, action, target.groups)) {
        verdict = 'not_allowed';
      }
      answer =
        verdict === 'allow' ? new Allowance(state, channel, action, version, stretch, this.#now) : denials[verdict];
    }
    if (answer.kind === 'allow') this.#tally.coldAllows++;
    else this.#tally.coldDenies++;
    known.answers.keep(subtopic, context, { value: answer, fromMs: stretch[0], untilMs: stretch[1] });
    this.#count();
    return answer;
  }

  #settleControl(
    principal: KnownPrincipal,
    rules: RuleSet | typeof NO_RULES,
    { org, object, action, groups, context }: ControlRequest,
  ): boolean {
    const { scope, memo } = principal;
    const { record } = principal.state;
    let allowed = true;
    let [fromMs, untilMs]: readonly [number, number] = FOR_EVER;
    let parts = 0;
    if (rules !== NO_RULES) {
      const met = circumstances(record, context, null, groups);
      allowed = this.#judge.judge(rules, record.id, object, action, met) === 'allow';
      [fromMs, untilMs] = rules.stretch(object, action, groups, context.nowMs);
      parts = rules.parts(object, action, groups);
    }
    allowed &&= scope === null || scopeCovers(scope, org, object, action, groups);
    this.#tally.coldControls++;
    const control = memo.controls();
    let answers = control.find(org, object, action, groups);
    if (answers === undefined) {
      answers = new Answers<boolean>({ subtopic: false, parts });
      control.add(org, object, action, groups, answers);
    }
    answers.keep('', context, { value: allowed, fromMs, untilMs });
    this.#count();
    return allowed;
  }

  #count(): void {
    if (++this.#answerCount <= this.#limits.answersMax) return;
    this.#answerCount = 0;
    this.#knowledge.forgetAnswers();
  }

  async #cold<T>(state: SubjectState, work: () => Promise<T>): Promise<T> {
    if (state.cold >= SUBJECT_COLD_MAX) {
      this.#tally.busy++;
      throw new PolicyError('POLICY_BUSY', 'later', { subject: state.record.id, waiting: state.cold });
    }
    state.cold++;
    try {
      return await work();
    } finally {
      state.cold--;
    }
  }
}

/** Stands for an administrator's right to everything. */
const NO_RULES = Symbol('no rules');
const NOTHING_MATTERS = { subtopic: false, parts: 0 } as const;

const NO_GROUPS: readonly string[] = [];

interface ControlRequest {
  readonly org: string;
  readonly object: string;
  readonly action: ControlAction;
  readonly groups: readonly string[];
  readonly context: RequestContext;
}

const administers = (record: SubjectRecord): boolean => record.kind === 'user' && record.admin;

function asKnown(principal: Principal): KnownPrincipal {
  if (principal instanceof KnownPrincipal) return principal;
  throw new TypeError('a principal that this gate did not make');
}
