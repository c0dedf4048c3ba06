import type {
  AuditTrail,
  Credential,
  DenyReason,
  Gate,
  LogError,
  Logger,
  Metrics,
  Principal,
  RequestContext,
} from '@millrace/core';
import { auditRefusal } from '../refused-access.ts';
import { isTooLarge, type Will } from './connect.ts';
import { Publication, type Publisher, type Publishing } from './publisher.ts';

/** What became of a will that was due. */
type WillOutcome = 'published' | 'denied' | 'lost';
const RETRY_MS = 500;
const RETRIES_MAX = 20;
/** A will that its channel's rate holds back longer is lost. */
const HELD_MS_MAX = RETRY_MS * RETRIES_MAX;

/** Who left a will, and what it had shown. */
export interface WillOwner {
  readonly principal: Principal;
  readonly credential: Credential;
  readonly context: RequestContext;
}

/** Publishes the wills of clients that went without a word: judged again, by the same road as every message. */
export class WillPublisher implements Publishing {
  readonly #publisher: Publisher;
  readonly #gate: Gate;
  readonly #logger: Logger;
  readonly #audit: AuditTrail | undefined;
  readonly #outcomes;
  readonly #tries = new WeakMap<Publication, number>();
  /** Wills that are due and not over. */
  pending = 0;

  constructor(publisher: Publisher, gate: Gate, logger: Logger, metrics: Metrics, audit: AuditTrail | undefined) {
    this.#publisher = publisher;
    this.#gate = gate;
    this.#logger = logger;
    this.#audit = audit;
    this.#outcomes = metrics.counter('millrace_mqtt_wills_total', 'Wills that were due, by what became of them.', [
      'outcome',
    ]);
  }

  fire(will: Will, { principal, credential, context }: WillOwner): void {
    this.pending++;
    this.#judge(will, principal, credential, context)
      .then((admitted) => {
        if (!admitted) {
          this.#over('denied');
          return;
        }
        this.#append(will, performance.now() + HELD_MS_MAX);
      })
      .catch((error: unknown) => {
        this.#logger.warn({ err: error, client: principal.subject.id }, 'mqtt: a will could not be published');
        this.#over('lost');
      });
  }

  published(): void {
    this.#over('published');
  }

  refused(publication: Publication, error: LogError): void {
    const tries = (this.#tries.get(publication) ?? 0) + 1;
    if (tries > RETRIES_MAX || error.retry === 'never') {
      this.#logger.warn({ err: error }, 'mqtt: a will was refused by the log');
      this.#over('lost');
      return;
    }
    this.#tries.set(publication, tries);
    setTimeout(() => this.#publisher.append(publication), RETRY_MS).unref();
  }

  unkept(): void {
    this.#over('lost');
  }

  /** As soon as the channel's rate lets it. */
  #append(will: Will, untilMs: number): void {
    const { route, qos, retain, payload } = will;
    const waitMs = route.target?.limit?.take(1) ?? 0;
    if (waitMs === 0) {
      this.#publisher.append(new Publication(this.#publisher, this, route, 0, qos, retain, payload));
    } else if (performance.now() + waitMs > untilMs) {
      this.#logger.warn({ channel: route.to.channel.slice(0, 128) }, 'mqtt: a will came too fast for its channel');
      this.#over('lost');
    } else setTimeout(() => this.#append(will, untilMs), waitMs).unref();
  }

  async #judge(will: Will, principal: Principal, credential: Credential, context: RequestContext): Promise<boolean> {
    const who = principal.revoked ? await this.#again(principal, credential) : principal;
    if (who === null) return false;
    const admission = await this.#publisher.may(who, will.route, context);
    if (admission.kind === 'allow' && this.#publisher.aim(will.route, admission)) return !isTooLarge(will);
    const reason: DenyReason = admission.kind === 'deny' ? admission.reason : 'no_such_channel';
    auditRefusal(this.#audit, who, 'publish', will.route.to, reason, context);
    return false;
  }

  /** A token that has expired meanwhile does not silence its thing. Whose key has been changed, who has been logged out,
   *  and whose API key or application has been revoked is silent; and what a scope carries is never more than that. */
  async #again({ subject, scope }: Principal, credential: Credential): Promise<Principal | null> {
    const identified = await this.#gate.identify(scope === null ? { kind: 'subject', id: subject.id } : credential);
    if (identified.kind === 'refused') return null;
    return identified.principal.subject.epoch === subject.epoch ? identified.principal : null;
  }

  #over(outcome: WillOutcome): void {
    this.pending--;
    this.#outcomes.inc({ outcome });
  }
}
