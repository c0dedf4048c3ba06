import {
  type Admission,
  type AppendReceipt,
  type AuditTrail,
  type DenyReason,
  type Gate,
  type Log,
  type LogError,
  type Logger,
  MillraceError,
  type Principal,
  type Protocol,
  type RequestContext,
  uuidText,
} from '@millrace/core';
import type { WallClock } from './clock.ts';
import type { IngestCounts } from './counts.ts';
import type { Refusal } from './http/answer.ts';
import { FORBIDDEN, NO_SUCH_CHANNEL, UNAUTHENTICATED } from './http/refusals.ts';
import type { Renewed } from './live/client.ts';
import { MessageEncoder, type MessageExtras, NO_EXTRAS, type PublishTarget } from './message-encoder.ts';
import type { RateLimit } from './rate.ts';
import { auditRefusal } from './refused-access.ts';

/** Why a message was not taken, in HTTP's terms. */
export interface PublishRefusal {
  readonly kind: 'refused';
  readonly status: 400 | 401 | 403 | 404 | 413 | 429 | 500 | 503;
  readonly reason: Refusal;
  readonly detail: string;
  /** The gate's word, where it was the gate's. */
  readonly denied?: DenyReason;
}
const refused = (status: PublishRefusal['status'], reason: Refusal, detail: string): PublishRefusal => ({
  kind: 'refused',
  status,
  reason,
  detail,
});

/** Who publishes: somebody who is known, and can be known anew. `live/client.ts` is one. */
export interface PublishingClient {
  readonly principal: Principal;
  readonly context: RequestContext;
  /** Asks again who this is, if what was known no longer holds.  @throws never */
  renew(): Promise<Renewed>;
}

/** Where a client publishes to, with what the gate said last about it. */
export class Destination {
  /** Organisation that the address names; null if it names none. */
  readonly org: string | null;
  /** Id or alias. */
  readonly channel: string;
  readonly subtopic: string;
  /** "": the channel's default. */
  readonly contentType: string;
  target: PublishTarget | null = null;

  constructor(org: string | null, channel: string, subtopic: string, contentType: string) {
    this.org = org;
    this.channel = channel;
    this.subtopic = subtopic;
    this.contentType = contentType;
  }
}

/** Hears what became of a message; called once. */
export interface PublishWaiter {
  /** It is durable. */
  stored(id: string): void;
  refused(refusal: PublishRefusal): void;
}

export interface MessagePublisherOptions {
  readonly protocol: Protocol;
  readonly log: Log;
  readonly gate: Gate;
  readonly clock: WallClock;
  readonly counts: IngestCounts;
  readonly rate: RateLimit;
  readonly logger: Logger;
  /** Hears of refusals. */
  readonly audit?: AuditTrail | undefined;
}

/** Publishes what comes by one protocol, message by message, for all its clients: may → envelope → append. */
export class MessagePublisher {
  readonly #options: MessagePublisherOptions;
  readonly #encoder: MessageEncoder;

  constructor(options: MessagePublisherOptions) {
    this.#options = options;
    this.#encoder = new MessageEncoder(options.protocol, options.gate, options.log.partitionCount);
  }

  /** Whether the client may publish there now; a warm answer is a value. @throws never */
  decide(
    client: PublishingClient,
    destination: Destination,
  ): PublishTarget | PublishRefusal | Promise<PublishTarget | PublishRefusal> {
    const { gate } = this.#options;
    let asked: Promise<Admission> | null = null;
    if (!client.principal.revoked) {
      const { channel, subtopic } = destination;
      const admission = gate.may(client.principal, 'publish', channel, subtopic, client.context);
      if (!(admission instanceof Promise)) return this.#targetOf(destination, admission);
      asked = admission;
    }
    return this.#decideLater(client, destination, asked);
  }

  /** Why the log would not take it now. null: it would */
  fullness(size: number): PublishRefusal | null {
    const error = this.#options.log.refusalOf(size + ENVELOPE_BYTES_MAX);
    return error === null ? null : refusalByLog(error);
  }

  /** Why the channel's limits, or the client's rate, do not let it be published now. null: they do, and it is counted
   *  @param size of the largest, in bytes  @param count messages that go together, or not at all */
  limited(client: PublishingClient, { limit }: PublishTarget, size: number, count = 1): PublishRefusal | null {
    if (limit !== null && size > limit.payloadBytesMax) {
      return refused(413, 'channel_too_large', `A message of this channel has at most ${limit.payloadBytesMax} bytes.`);
    }
    const { rate, clock } = this.#options;
    const { principal } = client;
    if (rate.take(principal, count, clock.nowUs() / 1_000) > 0) return TOO_FAST;
    if (limit === null || limit.take(count) === 0) return null;
    rate.giveBack(principal, count);
    return CHANNEL_TOO_FAST;
  }

  publish(target: PublishTarget, payload: Uint8Array, waiter: PublishWaiter, extras: MessageExtras = NO_EXTRAS): void {
    const { log, clock, counts } = this.#options;
    const nowUs = clock.nowUs();
    const record = this.#encoder.encode(target, payload, nowUs, extras);
    const receipt = new MessageReceipt(waiter, counts, clock, uuidText(this.#encoder.id), payload.length, nowUs);
    counts.inFlightMessages++;
    counts.inFlightBytes += payload.length;
    log.append(target.partition, target.admission.channel.id, record, receipt);
  }

  /** Counts what is told to the client, and has it written down where the gate refused. */
  count(
    refusal: PublishRefusal,
    client: PublishingClient,
    to: { readonly channel: string; readonly subtopic: string },
  ): void {
    this.#options.counts.refused(refusal.reason);
    this.auditRefused(refusal, client, to);
  }

  auditRefused(
    refusal: PublishRefusal,
    client: PublishingClient,
    to: { readonly channel: string; readonly subtopic: string },
  ): void {
    if (refusal.denied === undefined) return;
    auditRefusal(this.#options.audit, client.principal, 'publish', to, refusal.denied, client.context);
  }

  /** @param asked what the gate is about to say; null: who it is must be found out first */
  async #decideLater(
    client: PublishingClient,
    destination: Destination,
    asked: Promise<Admission> | null,
  ): Promise<PublishTarget | PublishRefusal> {
    const { gate, logger } = this.#options;
    try {
      // Awaited here and nowhere else: it may reject, and nobody must miss that.
      if (asked !== null) return this.#targetOf(destination, await asked);
      const renewed = await client.renew();
      if (renewed !== 'known') {
        return renewed === 'later' ? REGISTRY_AWAY : refused(401, 'unauthenticated', UNAUTHENTICATED);
      }
      const { channel, subtopic } = destination;
      const admission = await gate.may(client.principal, 'publish', channel, subtopic, client.context);
      return this.#targetOf(destination, admission);
    } catch (error) {
      if (error instanceof MillraceError && error.retry !== 'never') {
        logger.warn({ code: error.code }, 'publish: the registry cannot be asked');
        return REGISTRY_AWAY;
      }
      logger.error({ err: error }, 'publish: a fault');
      return refused(500, 'fault', 'A fault on our side.');
    }
  }

  #targetOf(destination: Destination, admission: Awaited<ReturnType<Gate['may']>>): PublishTarget | PublishRefusal {
    if (admission.kind === 'deny') return refusalByGate(admission.reason);
    if (destination.org !== null && destination.org !== admission.channel.org) return refusalByGate('no_such_channel');
    if (destination.target?.admission !== admission) {
      destination.target = this.#encoder.targetOf(admission, destination.subtopic, destination.contentType);
    }
    return destination.target;
  }
}

/** Room that an envelope's own fields take beside the payload, at most. */
const ENVELOPE_BYTES_MAX = 2_048;
export const REGISTRY_AWAY = refused(503, 'registry_unreachable', 'The registry does not answer: try again later.');
export const EMPTY_MESSAGE = refused(400, 'bad_body', 'The message is empty.');
export const TOO_FAST = refused(429, 'rate', 'Too many messages from this client.');

/** The channel takes no more just now. Nobody is told to come again: the socket waits. */
export const CHANNEL_TOO_FAST = refused(429, 'channel_rate', 'Too many messages on this channel.');

export function refusalByGate(denied: DenyReason): PublishRefusal {
  if (denied === 'no_such_channel') return { ...refused(404, 'no_such_channel', NO_SUCH_CHANNEL), denied };
  return { ...refused(403, 'forbidden', FORBIDDEN[denied]), denied };
}

function refusalByLog(error: LogError): PublishRefusal {
  if (error.code === 'LOG_RECORD_TOO_LARGE') {
    return refused(413, 'too_large', 'The message is larger than the log takes.');
  }
  if (error.code === 'LOG_FULL')
    return refused(503, 'log_full', 'The log is full; nothing was stored. Try again later.');
  return refused(503, 'log_unreachable', 'The log does not answer: the message may not be stored, try again later.');
}

class MessageReceipt implements AppendReceipt {
  readonly #waiter: PublishWaiter;
  readonly #counts: IngestCounts;
  readonly #clock: WallClock;
  readonly #id: string;
  readonly #size: number;
  readonly #receivedUs: number;

  constructor(
    waiter: PublishWaiter,
    counts: IngestCounts,
    clock: WallClock,
    id: string,
    size: number,
    receivedUs: number,
  ) {
    this.#waiter = waiter;
    this.#counts = counts;
    this.#clock = clock;
    this.#id = id;
    this.#size = size;
    this.#receivedUs = receivedUs;
  }

  appended(): void {
    this.#settle();
    this.#counts.accepted(this.#size, (this.#clock.nowUs() - this.#receivedUs) / 1_000_000);
    this.#waiter.stored(this.#id);
  }

  refused(error: LogError): void {
    this.#settle();
    const refusal = refusalByLog(error);
    this.#counts.refused(refusal.reason);
    this.#waiter.refused(refusal);
  }

  #settle(): void {
    this.#counts.inFlightMessages--;
    this.#counts.inFlightBytes -= this.#size;
  }
}
