import { type Credential, credentialOf, EVERY_SUBTOPIC, MillraceError, type Principal } from '@millrace/core';
import { type Asking, orgOf } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import type { ReadingsQueryBody } from '../readings/schemas.ts';
import { type ResolvedScope, resolveScope } from '../readings/scope.ts';
import type { LiveQuestionEnd } from './live-questions.ts';

const LOOK_MS = 250;
/** How often is judged anew for what only a change of the registry could have changed. */
const AGAIN_MS = 5_000;
const DISABLED_AGAIN_MS = 500;
/** So long rights are believed that were voided and can not be judged. */
const UNJUDGED_MS_MAX = 2_000;

/** The rights of a question that stays open: judged as those of a query, and again when what they were judged by has
 *  changed. */
export class LiveRights {
  readonly scope: ResolvedScope;
  readonly #call: Call<unknown, unknown>;
  readonly #plane: Plane;
  readonly #body: ReadingsQueryBody;
  readonly #credential: Credential;
  /** A ticket is as good as what it was made for: void once its owner's key is changed, or they log out. */
  readonly #epoch: number | null;
  #principal: Principal;
  #held: readonly { readonly valid: boolean }[] = [];
  #whole = false;
  #version = 0;
  #judgedMs = 0;
  #voidMs: number | null = null;
  #busy = false;

  /** @throws Refusal as a query's */
  static async of(
    call: Call<unknown, unknown>,
    plane: Plane,
    body: ReadingsQueryBody,
    org: () => Promise<string>,
  ): Promise<LiveRights> {
    const { version } = plane.registry.directory;
    const rights = new LiveRights(
      call,
      plane,
      body,
      await call.principal(),
      await resolveScope(call, plane, body, org),
    );
    await rights.#hold(version);
    return rights;
  }

  private constructor(
    call: Call<unknown, unknown>,
    plane: Plane,
    body: ReadingsQueryBody,
    principal: Principal,
    scope: ResolvedScope,
  ) {
    this.#call = call;
    this.#plane = plane;
    this.#body = body;
    this.#principal = principal;
    this.scope = scope;
    const shown = credentialOf(call.request.headers.get('authorization')) ?? call.peer.certificate ?? null;
    this.#credential = shown ?? { kind: 'subject', id: principal.subject.id };
    this.#epoch = shown === null ? principal.subject.epoch : null;
  }

  /** @param lost called at most once  @returns what ends it */
  watch(lost: (reason: LiveQuestionEnd) => void): () => void {
    const timer = setInterval(() => {
      if (this.#busy) return;
      this.#busy = true;
      void this.#look()
        .then((reason) => {
          if (reason === null) return;
          clearInterval(timer);
          lost(reason);
        })
        .finally(() => {
          this.#busy = false;
        });
    }, LOOK_MS);
    timer.unref();
    return () => clearInterval(timer);
  }

  /** @throws never */
  async #look(): Promise<LiveQuestionEnd | null> {
    const { registry } = this.#plane;
    const { version } = registry.directory;
    const isVoid = this.#principal.revoked || this.#held.some(({ valid }) => !valid);
    if (!isVoid && version === this.#version) return null;
    try {
      if (!isVoid) {
        if (await registry.orgs.frozen(this.scope.org)) return 'forbidden';
        if (performance.now() - this.#judgedMs < this.#againMs) return null;
      }
      const reason = await this.#judge(version);
      this.#voidMs = null;
      return reason;
    } catch (error) {
      if (error instanceof Refusal && error.status < 500) return 'forbidden';
      if (!(error instanceof Refusal) && !(error instanceof MillraceError))
        this.#plane.logger.error({ err: error }, 'the rights of a live question can not be judged');
      if (!isVoid) return null;
      this.#voidMs ??= performance.now();
      return performance.now() - this.#voidMs > UNJUDGED_MS_MAX ? 'revoked' : null;
    }
  }

  /** Where an admission is held for all that is asked, it is voided by whatever changes it. */
  get #againMs(): number {
    if (!this.#whole) return DISABLED_AGAIN_MS;
    const { channels, selector } = this.#body;
    return channels === undefined || selector !== undefined ? AGAIN_MS : Number.POSITIVE_INFINITY;
  }

  /** @throws Refusal, MillraceError */
  async #judge(version: number): Promise<LiveQuestionEnd | null> {
    if (this.#principal.revoked) {
      const identified = await this.#plane.gate.identify(this.#credential);
      if (identified.kind === 'refused') return 'revoked';
      const { subject } = identified.principal;
      if (this.#epoch !== null && subject.epoch !== this.#epoch) return 'revoked';
      this.#principal = identified.principal;
    }
    const asking = this.#asking;
    const org = () => orgOf({ ...this.#call, ...asking }, this.#plane);
    const scope = await resolveScope(asking, this.#plane, this.#body, org);
    if (!isSame(scope.channels, this.scope.channels) || !isSame(scope.publishers ?? [], this.scope.publishers ?? []))
      return 'changed';
    await this.#hold(version);
    return null;
  }

  get #asking(): Asking {
    const principal = this.#principal;
    return { principal: async () => principal, context: { ...this.#call.context, nowMs: Date.now() } };
  }

  /** The gate's own words, by which it tells that one holds no longer. */
  async #hold(version: number): Promise<void> {
    const { gate } = this.#plane;
    const { context } = this.#asking;
    const held = [];
    const subtopics = this.#body.subtopics ?? ['', EVERY_SUBTOPIC];
    for (const channel of this.scope.channels) {
      for (const subtopic of subtopics) {
        const admission = await gate.may(this.#principal, 'subscribe', channel, subtopic, context);
        if (admission.kind === 'allow') held.push(admission);
      }
    }
    this.#held = held;
    this.#whole = held.length === this.scope.channels.length * subtopics.length;
    this.#version = version;
    this.#judgedMs = performance.now();
  }
}

const isSame = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && new Set(a).size === new Set([...a, ...b]).size;
