import type { Gate, LogError, Logger, Metrics, Principal, RequestContext } from '@millrace/core';
import type { Will } from './connect.ts';
import { Publication, type Publisher, type Publishing } from './publisher.ts';

/** What became of a will that was due. */
type WillOutcome = 'published' | 'denied' | 'lost';
const RETRY_MS = 500;
const RETRIES_MAX = 20;

/** Publishes the wills of clients that went without a word: judged again, by the same road as every message. */
export class WillPublisher implements Publishing {
  readonly #publisher: Publisher;
  readonly #gate: Gate;
  readonly #logger: Logger;
  readonly #outcomes;
  readonly #tries = new WeakMap<Publication, number>();
  /** Wills that are due and not over. */
  pending = 0;

  constructor(publisher: Publisher, gate: Gate, logger: Logger, metrics: Metrics) {
    this.#publisher = publisher;
    this.#gate = gate;
    this.#logger = logger;
    this.#outcomes = metrics.counter('millrace_mqtt_wills_total', 'Wills that were due, by what became of them.', [
      'outcome',
    ]);
  }

  fire(will: Will, principal: Principal, context: RequestContext): void {
    this.pending++;
    this.#judge(will, principal, context)
      .then((admitted) => {
        if (!admitted) {
          this.#over('denied');
          return;
        }
        const { route, qos, retain, payload } = will;
        this.#publisher.append(new Publication(this.#publisher, this, route, 0, qos, retain, payload));
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

  async #judge(will: Will, principal: Principal, context: RequestContext): Promise<boolean> {
    let who = principal;
    if (who.revoked) {
      const identified = await this.#gate.identify({ kind: 'subject', id: who.subject.id });
      if (identified.kind === 'refused') return false;
      who = identified.principal;
    }
    const admission = await this.#publisher.may(who, will.route, context);
    return admission.kind === 'allow' && this.#publisher.aim(will.route, admission);
  }

  #over(outcome: WillOutcome): void {
    this.pending--;
    this.#outcomes.inc({ outcome });
  }
}
