import {
  type AuditTrail,
  type Credential,
  type DenyReason,
  type DueWill,
  type Gate,
  type LogError,
  type Logger,
  type Metrics,
  MillraceError,
  type Principal,
  Protocol,
  type RequestContext,
} from '@millrace/core';
import { auditRefusal } from '../refused-access.ts';
import { isTooLarge, type Will } from './connect.ts';
import { Publication, type Publisher, type Publishing, Route } from './publisher.ts';
import { parsePublishTopic } from './topic.ts';

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

/** A will on its way. */
interface Firing {
  /** What it is known by on the log: two nodes that publish it make one message. */
  readonly dedupKey: string;
  readonly over: () => void;
}

/** Publishes the wills of clients that went without a word: judged again, by the same road as every message. */
export class WillPublisher implements Publishing {
  readonly #publisher: Publisher;
  readonly #gate: Gate;
  readonly #logger: Logger;
  readonly #audit: AuditTrail | undefined;
  readonly #outcomes;
  readonly #tries = new WeakMap<Publication, number>();
  readonly #firings = new WeakMap<Publication, Firing>();
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

  /** @param connection that left it  @param over called once it is published, or never will be */
  fire(will: Will, { principal, credential, context }: WillOwner, connection: string, over: () => void): void {
    this.#fire(will, principal.subject.id, { dedupKey: dedupKeyOf(connection), over }, async () => {
      const who = principal.revoked ? await this.#again(principal, credential) : principal;
      return who !== null && this.#judge(will, who, context);
    });
  }

  /** Publishes the will of a client whose node has died. */
  fireKept({ key, connection, will: kept }: DueWill, over: () => void): void {
    const { topic, qos, retain, payload, token, epoch, remoteAddress, tls, mutualTls } = kept;
    const to = parsePublishTopic(topic);
    if (to.kind !== 'channel') {
      over();
      return;
    }
    const will = { route: new Route(to), qos, retain, payload };
    const context = { protocol: Protocol.mqtt, remoteAddress, tls, mutualTls, nowMs: Date.now() };
    const credential =
      token === null ? ({ kind: 'subject', id: key.owner } as const) : { kind: 'bearer' as const, token };
    this.#fire(will, key.owner, { dedupKey: dedupKeyOf(connection), over }, () =>
      patiently(async () => {
        const identified = await this.#gate.identify(credential);
        if (identified.kind === 'refused' || identified.principal.subject.epoch !== epoch) return false;
        return identified.principal.subject.id === key.owner && this.#judge(will, identified.principal, context);
      }),
    );
  }

  published(publication: Publication): void {
    this.#over('published', this.#firings.get(publication));
  }

  refused(publication: Publication, error: LogError): void {
    const tries = (this.#tries.get(publication) ?? 0) + 1;
    if (tries > RETRIES_MAX || error.retry === 'never') {
      this.#logger.warn({ err: error }, 'mqtt: a will was refused by the log');
      this.#over('lost', this.#firings.get(publication));
      return;
    }
    this.#tries.set(publication, tries);
    setTimeout(() => this.#publisher.append(publication), RETRY_MS).unref();
  }

  unkept(publication: Publication): void {
    this.#over('lost', this.#firings.get(publication));
  }

  #fire(will: Will, client: string, firing: Firing, judge: () => Promise<boolean>): void {
    this.pending++;
    judge()
      .then((admitted) => {
        if (admitted) this.#append(will, firing, performance.now() + HELD_MS_MAX);
        else this.#over('denied', firing);
      })
      .catch((error: unknown) => {
        this.#logger.warn({ err: error, client }, 'mqtt: a will could not be published');
        this.#over('lost', firing);
      });
  }

  /** As soon as the channel's rate lets it. */
  #append(will: Will, firing: Firing, untilMs: number): void {
    const { route, qos, retain, payload } = will;
    const waitMs = route.target?.limit?.take(1) ?? 0;
    if (waitMs === 0) {
      const publication = new Publication(this.#publisher, this, route, 0, qos, retain, payload);
      publication.dedupKey = firing.dedupKey;
      this.#firings.set(publication, firing);
      this.#publisher.append(publication);
    } else if (performance.now() + waitMs > untilMs) {
      this.#logger.warn({ channel: route.to.channel.slice(0, 128) }, 'mqtt: a will came too fast for its channel');
      this.#over('lost', firing);
    } else setTimeout(() => this.#append(will, firing, untilMs), waitMs).unref();
  }

  async #judge(will: Will, who: Principal, context: RequestContext): Promise<boolean> {
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

  #over(outcome: WillOutcome, firing: Firing | undefined): void {
    this.pending--;
    this.#outcomes.inc({ outcome });
    firing?.over();
  }
}

const dedupKeyOf = (connection: string): string => `will/${connection}`;

/** Asks again while the registry can't be asked. */
async function patiently(judge: () => Promise<boolean>): Promise<boolean> {
  for (let tries = 1; ; tries++) {
    try {
      return await judge();
    } catch (error) {
      if (tries > RETRIES_MAX || !(error instanceof MillraceError) || error.retry === 'never') throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
  }
}
