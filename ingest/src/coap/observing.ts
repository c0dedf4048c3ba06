import type {
  Attachment,
  AuditTrail,
  DeliveredMessage,
  Delivery,
  DeliveryFilter,
  DenyReason,
  Logger,
  Position,
  Principal,
  RequestContext,
  Subscriber,
  Subscription,
  SubscriptionEnd,
} from '@millrace/core';
import { FORBIDDEN, NO_SUCH_CHANNEL } from '../http/refusals.ts';
import { auditRefusal } from '../refused-access.ts';
import { answerToFailure, diagnosis, draining, unauthenticated } from './answers.ts';
import type { CoapClient } from './client.ts';
import { acceptable, formatOf } from './content-format.ts';
import type { CoapObserver, CoapResponse, ObserveEnd, Peer } from './contract.ts';
import type { CoapMeasures } from './measures.ts';
import { Code } from './message/message.ts';
import { type ReadMessage, readMessage } from './reading/last-messages.ts';

// hot

/** How often those are looked after whose owner must be known anew: the bound of a revocation. */
const SWEEP_MS = 200;

export interface ObservingOptions {
  readonly delivery: Delivery;
  readonly logger: Logger;
  readonly measures: CoapMeasures;
  /** @units s */
  readonly maxAge: number;
  /** Observations of one subject. */
  readonly perClientMax: number;
  readonly audit?: AuditTrail | undefined;
  /** Peers with an observation must stay the same object. */
  readonly peers: { keep(peer: Peer): void; release(peer: Peer): void };
}

/** All observations of a node: each is a subscriber of the delivery, and the messages that a slow one has not taken wait
 *  in the log. */
export class Observing {
  readonly options: ObservingOptions;
  readonly #all = new Set<Observation>();
  /** How many there are of whom, by the subject's id. */
  readonly #counts = new Map<string, number>();
  /** Made once for all observers of a message. */
  readonly #notifications = new WeakMap<DeliveredMessage, CoapResponse>();
  readonly #sweeper: NodeJS.Timeout;

  constructor(options: ObservingOptions) {
    this.options = options;
    this.#sweeper = setInterval(() => {
      for (const observation of this.#all) observation.sweep();
    }, SWEEP_MS);
  }

  get count(): number {
    return this.#all.size;
  }

  /** Whether a client may have one more. Beyond, it is answered, and not told of what comes. */
  hasRoom({ principal }: CoapClient): boolean {
    return (this.#counts.get(principal.subject.id) ?? 0) < this.options.perClientMax;
  }

  /** Begins one that the layer below has accepted.
   *  @param from what was published before is known to the observer already */
  begin(observer: CoapObserver, client: CoapClient, filter: DeliveryFilter, from: Position): void {
    const observation = new Observation(this, observer, client);
    this.#all.add(observation);
    this.#counts.set(observation.subject, (this.#counts.get(observation.subject) ?? 0) + 1);
    this.options.peers.keep(observer.peer);
    void observation.subscribe(filter, from);
  }

  /** The last word to all: the node is going down. */
  endAll(): void {
    for (const observation of [...this.#all]) observation.end(draining.response);
  }

  stop(): void {
    clearInterval(this.#sweeper);
    for (const observation of [...this.#all]) observation.over('closed');
  }

  over(observation: Observation, peer: Peer, why: ObserveEnd | SubscriptionEnd): void {
    if (!this.#all.delete(observation)) return;
    const left = (this.#counts.get(observation.subject) ?? 1) - 1;
    if (left === 0) this.#counts.delete(observation.subject);
    else this.#counts.set(observation.subject, left);
    this.options.peers.release(peer);
    this.options.measures.observationEnded(why);
  }

  notificationOf(message: DeliveredMessage): CoapResponse {
    let response = this.#notifications.get(message);
    if (response === undefined) {
      response = contentOf(readMessage(message), this.options.maxAge);
      this.#notifications.set(message, response);
    }
    return response;
  }
}

/** A message as 2.05. */
export function contentOf({ etag, contentType, payload }: ReadMessage, maxAge: number): CoapResponse {
  return { code: Code.Content, payload, format: formatOf(contentType, payload), etag, maxAge: maxAgeOf(maxAge) };
}

/** 60 s is what an answer without the option says.  @source RFC 7252 §5.10.5 */
export const maxAgeOf = (seconds: number): number | undefined => (seconds === 60 ? undefined : seconds);

export function deniedRead(reason: DenyReason): CoapResponse {
  if (reason === 'no_such_channel') return diagnosis(Code.NotFound, NO_SUCH_CHANNEL);
  const detail =
    reason === 'not_allowed' ? 'The client may not read here: connect it to the channel.' : FORBIDDEN[reason];
  return diagnosis(Code.Forbidden, detail);
}

/** One observer's subscription. */
class Observation implements Subscriber<null> {
  /** Whose it is: an id. */
  readonly subject: string;
  readonly #host: Observing;
  readonly #observer: CoapObserver;
  readonly #client: CoapClient;
  readonly #attachment: Attachment<null>;
  readonly #accept: number | null;
  #over = false;

  constructor(host: Observing, observer: CoapObserver, client: CoapClient) {
    this.#host = host;
    this.#observer = observer;
    this.#client = client;
    this.subject = client.principal.subject.id;
    this.#accept = observer.request.accept;
    this.#attachment = host.options.delivery.attach(this);
    observer.onEnd = (why) => this.over(why);
    observer.onRoom = () => this.#attachment.resume();
  }

  get principal(): Principal {
    return this.#client.principal;
  }
  get context(): RequestContext {
    return this.#client.context;
  }

  async subscribe(filter: DeliveryFilter, from: Position): Promise<void> {
    const { logger, audit } = this.#host.options;
    try {
      const subscribed = await this.#attachment.subscribe(filter, null, [from]);
      if (this.#over) return;
      if (subscribed.kind === 'full') {
        this.end(diagnosis(Code.ServiceUnavailable, 'Too many subscriptions: try again later.', 5));
      } else if (subscribed.kind === 'denied') {
        const to = { channel: filter.channel ?? '', subtopic: filter.subtopic };
        auditRefusal(audit, this.principal, 'subscribe', to, subscribed.reason, this.context);
        this.end(deniedRead(subscribed.reason));
      }
    } catch (error) {
      const refusal = answerToFailure(error);
      if (refusal === null) logger.error({ err: error }, 'coap: an observation met a fault');
      this.end(refusal?.response ?? { code: Code.InternalServerError });
    }
  }

  offer(message: DeliveredMessage): boolean {
    if (this.#over) return true;
    const response = this.#host.notificationOf(message);
    // Who asked for one format is not sent another.
    if (this.#accept !== null && !acceptable(this.#accept, response.format, message.contentType)) return true;
    if (!this.#observer.notify(response)) return false;
    this.#host.options.measures.notifications++;
    return true;
  }

  /** There is no way to tell an observer of a gap, and none is needed: it wants the state, and gets the newest. */
  gap(): void {
    this.#host.options.measures.gaps++;
  }

  ended(_subscription: Subscription<null>, reason: SubscriptionEnd): void {
    this.end(reason === 'revoked' ? unauthenticated.response : deniedRead(reason));
  }

  /** Has its owner known anew where that is needed. */
  sweep(): void {
    if (!this.#client.principal.revoked) return;
    void this.#client.renew().then((renewed) => {
      if (renewed === 'refused') this.end(unauthenticated.response);
    });
  }

  /** Ends it from our side, with a last word. */
  end(response: CoapResponse): void {
    if (this.#over) return;
    this.over('ended');
    this.#observer.end(response);
  }

  over(why: ObserveEnd): void {
    if (this.#over) return;
    this.#over = true;
    this.#attachment.detach();
    this.#host.over(this, this.#observer.peer, why);
  }
}
