import {
  type Admission,
  type AuditTrail,
  type DenyReason,
  type Gate,
  type Identified,
  type Log,
  type Logger,
  MillraceError,
  type Presence,
  type Principal,
  Protocol,
  uuidText,
} from '@millrace/core';
import type { WallClock } from '../clock.ts';
import type { IngestCounts } from '../counts.ts';
import { type Allowed, MessageEncoder, type PublishTarget } from '../message-encoder.ts';
import type { RateLimit } from '../rate.ts';
import { auditRefusal } from '../refused-access.ts';
import { BATCH_CONTENT_TYPES, BatchReceipt, contentTypeOfLine, splitLines } from './batch.ts';
import type { Exchange } from './exchange.ts';
import type { Head } from './head.ts';
import { PublishReceipt } from './receipt.ts';
import { FORBIDDEN, NO_SUCH_CHANNEL, refuseByLog, refuseForNow, refuseIdentity, UNAUTHENTICATED } from './refusals.ts';

// hot
const utf8 = new TextEncoder();
const CONTENT_TYPE_CHARACTERS_MAX = 128;
/** Room that an envelope's own fields take beside the payload, at most. */
const ENVELOPE_BYTES_MAX = 2_048;
/** A decision that takes longer is answered 503. */
const DECISION_MS_MAX = 10_000;
const REGISTRY_AWAY = 'The registry does not answer: try again later.';
const TRACE_PARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,128}$/;

export interface PublisherOptions {
  readonly log: Log;
  readonly gate: Gate;
  /** Hears of refusals. */
  readonly audit?: AuditTrail | undefined;
  /** Hears of things. */
  readonly presence?: Presence | undefined;
  readonly clock: WallClock;
  readonly counts: IngestCounts;
  readonly rate: RateLimit;
  readonly logger: Logger;
  readonly inFlightMessagesMax: number;
  readonly inFlightBytesMax: number;
  readonly batchMessagesMax: number;
}

/** Publishes what comes by HTTP: identify → may → envelope → append; the answer follows the durable append.
 *  On a warm client nothing here awaits, and the only objects made are the receipt and what the codec needs. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #encoder: MessageEncoder;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#encoder = new MessageEncoder(Protocol.http, options.gate, options.log.partitionCount);
  }

  /** What can be told from the head alone; answers when the body is not wanted. */
  checkHead(exchange: Exchange): void {
    const { route, credential, contentType, idempotencyKey } = exchange.head;
    if (route === null) return;
    if (route.kind === 'bad') exchange.refuse(400, 'bad_subtopic', route.detail);
    else if (credential === null && exchange.connection.certificate === null)
      exchange.refuse(401, 'unauthenticated', UNAUTHENTICATED);
    else if (contentType.length > CONTENT_TYPE_CHARACTERS_MAX) {
      exchange.refuse(400, 'malformed', `The content type is longer than ${CONTENT_TYPE_CHARACTERS_MAX} characters.`);
    } else if (idempotencyKey !== undefined && !IDEMPOTENCY_KEY.test(idempotencyKey)) {
      exchange.refuse(400, 'malformed', 'Idempotency-Key must be 1 to 128 visible ASCII characters.');
    } else if (route.batch && contentType !== '' && !BATCH_CONTENT_TYPES.test(contentType)) {
      exchange.refuse(415, 'encoding', 'A batch is application/x-ndjson: one message a line.');
    }
  }

  /** Publishes a complete request. @throws what the gate throws in place: a fault */
  publish(exchange: Exchange): void {
    const { head, connection } = exchange;
    const { route } = head;
    const credential = head.credential ?? connection.certificate;
    if (route?.kind !== 'publish' || credential === null) return;
    const { gate, clock } = this.#options;
    const nowUs = clock.nowUs();
    connection.context.nowMs = Math.floor(nowUs / 1_000);
    connection.context.mutualTls = credential.kind === 'certificate';
    let principal = head.principal;
    if (principal === null || principal.revoked) {
      const identified = gate.identify(credential, connection.context.remoteAddress);
      if (identified instanceof Promise) {
        this.#decideLater(exchange, this.#identify(exchange, identified));
        return;
      }
      if (identified.kind === 'refused') {
        refuseIdentity(exchange, identified.reason);
        return;
      }
      principal = identified.principal;
      head.principal = principal;
    }
    const admission = gate.may(principal, 'publish', route.channel, route.subtopic, connection.context);
    if (admission instanceof Promise) this.#decideLater(exchange, this.#wait(exchange, principal, admission));
    else this.#admit(exchange, principal, admission, nowUs);
  }

  /** The cold way: the connection's next request waits until this one is decided, so its messages keep their order. */
  #decideLater(exchange: Exchange, decision: Promise<void>): void {
    const { connection } = exchange;
    let waiting = true;
    const go = (): void => {
      if (waiting) connection.release();
      waiting = false;
      clearTimeout(timer);
    };
    connection.hold();
    const timer = setTimeout(() => {
      exchange.refuse(503, 'registry_unreachable', REGISTRY_AWAY);
      go();
    }, DECISION_MS_MAX);
    decision
      .catch((error: unknown) => {
        if (error instanceof MillraceError && error.retry !== 'never') {
          this.#options.logger.warn({ code: error.code }, 'publish: the registry cannot be asked');
          refuseForNow(exchange, error, REGISTRY_AWAY);
        } else {
          connection.host.onFault(error);
          exchange.refuse(500, 'fault', 'A fault on our side.');
        }
      })
      .finally(go);
  }

  async #identify(exchange: Exchange, asked: Promise<Identified>): Promise<void> {
    const { head, connection } = exchange;
    const { route } = head;
    const identified = await asked;
    if (identified.kind === 'refused') refuseIdentity(exchange, identified.reason);
    else if (route?.kind === 'publish') {
      const { principal } = identified;
      head.principal = principal;
      const { gate } = this.#options;
      const admission = gate.may(principal, 'publish', route.channel, route.subtopic, connection.context);
      await this.#wait(exchange, principal, admission);
    }
  }

  async #wait(exchange: Exchange, principal: Principal, asked: Admission | Promise<Admission>): Promise<void> {
    const admission = await asked;
    // Who left meanwhile gets no answer, so nothing is promised: better not stored than stored unknown to its sender.
    if (!exchange.connection.closed && !exchange.answered) {
      this.#admit(exchange, principal, admission, this.#options.clock.nowUs());
    }
  }

  #admit(exchange: Exchange, principal: Principal, admission: Admission, nowUs: number): void {
    const { head } = exchange;
    const { route } = head;
    if (route?.kind !== 'publish') return;
    const { presence } = this.#options;
    const { subject } = principal;
    if (presence !== undefined && subject.kind === 'thing') {
      const { context } = exchange.connection;
      presence.seen(subject.id, subject.org, Protocol.http, context.remoteAddress, context.nowMs);
    }
    if (admission.kind === 'deny') {
      this.#audit(exchange, principal, admission.reason);
      if (admission.reason === 'no_such_channel') exchange.refuse(404, 'no_such_channel', NO_SUCH_CHANNEL);
      else exchange.refuse(403, 'forbidden', FORBIDDEN[admission.reason]);
      return;
    }
    if (route.org !== null && route.org !== admission.channel.org) {
      this.#audit(exchange, principal, 'no_such_channel');
      exchange.refuse(404, 'no_such_channel', NO_SUCH_CHANNEL);
      return;
    }
    if (head.target?.admission !== admission) head.target = this.#targetOf(head, admission);
    if (route.batch) {
      this.#appendBatch(exchange, principal, head.target, nowUs);
      return;
    }
    const { log, counts } = this.#options;
    const { body } = exchange;
    const { target } = head;
    if (body.length === 0) {
      exchange.refuse(400, 'bad_body', 'The message is empty.');
      return;
    }
    if (target.limit !== null && body.length > target.limit.payloadBytesMax) {
      exchange.refuse(
        413,
        'channel_too_large',
        `A message of this channel has at most ${target.limit.payloadBytesMax} bytes.`,
      );
      return;
    }
    if (this.#limited(exchange, principal, target, 1, nowUs) || this.#full(exchange, 1, body.length)) return;
    const record = this.#encode(head, target, body, target.contentType, nowUs, '');
    const id = uuidText(this.#encoder.id);
    const receipt = new PublishReceipt(exchange, counts, this.#options.clock, id, body.length, nowUs);
    counts.inFlightMessages++;
    counts.inFlightBytes += body.length;
    log.append(target.partition, admission.channel.id, record, receipt);
  }

  /** One record a line, all encoded after all were checked; acknowledged together. */
  #appendBatch(exchange: Exchange, client: Principal, target: PublishTarget, nowUs: number): void {
    const { log, batchMessagesMax, counts } = this.#options;
    const { head } = exchange;
    const named = new URLSearchParams(head.query).get('content_type');
    if (named !== null && (named.length > CONTENT_TYPE_CHARACTERS_MAX || !/^[\x20-\x7e]*$/.test(named))) {
      exchange.refuse(400, 'malformed', 'content_type is no content type.');
      return;
    }
    const lines = splitLines(exchange.body, batchMessagesMax);
    if (lines === null) {
      exchange.refuse(413, 'too_large', `A batch has at most ${batchMessagesMax} messages.`);
      return;
    }
    const bytesMax = target.limit?.payloadBytesMax ?? Number.POSITIVE_INFINITY;
    const types: Uint8Array[] = [];
    for (const [index, line] of lines.entries()) {
      const type = named ?? contentTypeOfLine(line);
      if (line.length === 0 || type === null) {
        exchange.refuse(400, 'bad_body', `Line ${index + 1} is no message: each line is one JSON array or object.`);
        return;
      }
      if (line.length + ENVELOPE_BYTES_MAX > log.recordBytesMax) {
        exchange.refuse(413, 'too_large', `Line ${index + 1} is larger than a message may be.`);
        return;
      }
      if (line.length > bytesMax) {
        const detail = `Line ${index + 1} is too large: a message of this channel has at most ${bytesMax} bytes.`;
        exchange.refuse(413, 'channel_too_large', detail);
        return;
      }
      types.push(utf8.encode(type));
    }
    if (lines.length === 0) {
      exchange.refuse(400, 'bad_body', 'The batch is empty.');
      return;
    }
    const { body } = exchange;
    if (this.#limited(exchange, client, target, lines.length, nowUs) || this.#full(exchange, lines.length, body.length))
      return;
    // All or nothing: once there is room for all, none is refused in this turn of the event loop.
    const refusal = log.refusalOf(body.length + lines.length * ENVELOPE_BYTES_MAX);
    if (refusal !== null) {
      refuseByLog(exchange, refusal);
      return;
    }
    const receipt = new BatchReceipt(exchange, counts, lines.length, body.length, nowUs, this.#options.clock);
    counts.inFlightBytes += body.length;
    for (const [index, line] of lines.entries()) {
      const type = types[index] as Uint8Array;
      const record = this.#encode(head, target, line, type, nowUs, `#${index}`);
      receipt.ids.push(uuidText(this.#encoder.id));
      counts.inFlightMessages++;
      log.append(target.partition, target.admission.channel.id, record, receipt);
    }
  }

  /** @returns a record that is valid until the next call */
  #encode(
    head: Head,
    target: PublishTarget,
    payload: Uint8Array,
    contentType: Uint8Array,
    nowUs: number,
    part: string,
  ): Uint8Array {
    const { traceParent: trace, idempotencyKey: key } = head;
    const { subject, channel } = target.admission;
    return this.#encoder.encode(target, payload, nowUs, {
      contentType,
      traceContext: trace !== undefined && TRACE_PARENT.test(trace) ? trace : undefined,
      dedupKey: key === undefined ? undefined : `${subject.id}/${channel.id}/${key}${part}`,
    });
  }

  #targetOf(head: Head, admission: Allowed): PublishTarget {
    const { route } = head;
    const json = /^application\/json\s*(;|$)/i.test(head.contentType);
    const sent = route?.kind === 'publish' && route.first && json ? 'application/senml+json' : head.contentType;
    return this.#encoder.targetOf(admission, route?.kind === 'publish' ? route.subtopic : '', sent);
  }

  #full(exchange: Exchange, messages: number, bytes: number): boolean {
    const { counts, inFlightMessagesMax, inFlightBytesMax } = this.#options;
    const none = counts.inFlightMessages === 0;
    const tooMany = counts.inFlightMessages + messages > inFlightMessagesMax && !none;
    if (!tooMany && counts.inFlightBytes + bytes <= inFlightBytesMax) return false;
    exchange.refuse(503, 'in_flight', 'Too many messages wait for the log: try again later.');
    return true;
  }

  #limited(exchange: Exchange, client: Principal, { limit }: PublishTarget, messages: number, nowUs: number): boolean {
    const { rate } = this.#options;
    let waitMs = rate.take(client, messages, nowUs / 1_000);
    if (waitMs > 0) {
      exchange.refuse(429, 'rate', 'Too many messages from this client.', Math.ceil(waitMs / 1_000));
      return true;
    }
    waitMs = limit === null ? 0 : limit.take(messages);
    if (waitMs === 0) return false;
    rate.giveBack(client, messages);
    exchange.refuse(429, 'channel_rate', 'Too many messages on this channel.', Math.ceil(waitMs / 1_000));
    return true;
  }

  #audit({ head, connection }: Exchange, principal: Principal, reason: DenyReason): void {
    const { route } = head;
    if (route?.kind !== 'publish') return;
    auditRefusal(this.#options.audit, principal, 'publish', route, reason, connection.context);
  }
}
