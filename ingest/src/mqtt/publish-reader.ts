// hot
import type { Admission, AuditTrail, Logger, Principal, RequestContext } from '@millrace/core';
import type { PublishTarget } from '../message-encoder.ts';
import type { RateLimit } from '../rate.ts';
import { auditRefusal } from '../refused-access.ts';
import type { CloseReason, MqttQos, Retransmission, Session } from './contract.ts';
import { Publication, type Route } from './publisher.ts';
import { Publishes, type PublishingConnection } from './publishes.ts';
import { type NoRoute, Routes } from './routes.ts';

/** The connection whose publishes are read. */
export interface ReadConnection extends PublishingConnection {
  readonly host: PublishingConnection['host'] & {
    readonly rate: RateLimit;
    readonly logger: Logger;
    readonly audit: AuditTrail | undefined;
  };
  readonly principal: Principal;
  readonly context: RequestContext;
  /** Nothing is read before it has settled. */
  waitFor(work: Promise<unknown>): void;
  /** Nothing is read for so long. */
  waitMs(ms: number): void;
  /** Asks who the client is now; nothing is read meanwhile. */
  identifyAnew(): void;
  /** Nothing is read before there is room for publishes again. */
  waitForRoom(): void;
}

/** Takes the publishes of one client: identify → may → append, in the order in which they came. */
export class PublishReader {
  readonly publishes: Publishes;
  readonly #connection: ReadConnection;
  readonly #routes = new Routes();
  /** What the gate said of the publish that waits, when it had to be asked. */
  #decided: Admission | null = null;

  constructor(connection: ReadConnection) {
    this.#connection = connection;
    this.publishes = new Publishes(connection);
  }

  /** @returns false when the packet must be looked at again, once the connection reads on */
  take(first: number, bytes: Buffer, body: number, end: number): boolean {
    const connection = this.#connection;
    const qos = ((first >>> 1) & 3) as MqttQos;
    const topicEnd = end - body < 2 ? end + 1 : body + 2 + bytes.readUInt16BE(body);
    const payloadAt = topicEnd + (qos > 0 ? 2 : 0);
    const impossible = (qos as number) === 3 || (qos === 0 && (first & 8) !== 0);
    if (payloadAt > end || impossible || (qos > 0 && bytes.readUInt16BE(topicEnd) === 0)) {
      connection.end('malformed');
      return true;
    }
    const route = this.#routes.find(bytes, body + 2, topicEnd);
    if ('kind' in route) {
      this.#refuse(route);
      return true;
    }
    const { publisher, rate } = connection.host;
    if (publisher.full) {
      connection.waitForRoom();
      return false;
    }
    const { principal } = connection;
    if (principal.revoked) {
      this.#decided = null;
      connection.identifyAnew();
      return false;
    }
    const admission = this.#decided ?? publisher.may(principal, route, connection.context);
    if (admission instanceof Promise) {
      connection.waitFor(
        admission.then((decided) => {
          this.#decided = decided;
        }),
      );
      return false;
    }
    this.#decided = null;
    const waitMs = rate.take(principal, 1, performance.now());
    if (waitMs > 0) {
      connection.waitMs(waitMs);
      return false;
    }
    if (admission.kind === 'deny' || !publisher.aim(route, admission)) {
      this.#forbid(route, admission);
      return true;
    }
    const packetId = qos > 0 ? bytes.readUInt16BE(topicEnd) : 0;
    const payload = bytes.subarray(payloadAt, end);
    const { limit } = route.target as PublishTarget;
    if (limit !== null) {
      if (payload.length > limit.payloadBytesMax) {
        this.#tooLarge(route, payload.length, limit.payloadBytesMax);
        return true;
      }
      const channelWaitMs = limit.take(1);
      if (channelWaitMs > 0) {
        rate.giveBack(principal, 1);
        connection.waitMs(channelWaitMs);
        return false;
      }
    }
    const retain = (first & 1) === 1;
    if (qos === 2) return this.#takeOnce(route, packetId, retain, payload, (first & 8) !== 0);
    this.publishes.append(new Publication(publisher, this.publishes, route, packetId, qos, retain, payload));
    return true;
  }

  /** QoS 2: what is known already is not appended again.  @source MQTT 3.1.1 §4.3.3 */
  #takeOnce(route: Route, packetId: number, retain: boolean, payload: Buffer, duplicate: boolean): boolean {
    const connection = this.#connection;
    const session = connection.session as Session;
    const { partition, admission } = route.target as PublishTarget;
    const { channel, subject } = admission;
    const again: Retransmission | undefined = duplicate
      ? { partition, channel: channel.id, subtopic: route.to.subtopic, payload }
      : undefined;
    const received = session.receive(packetId, again);
    if (received instanceof Promise) {
      connection.waitFor(received);
      return false;
    }
    const { publisher } = connection.host;
    if (received === 'full') connection.end('protocol');
    else if (received === 'known') {
      this.publishes.again(packetId, publisher.onItsWay(subject.id, session.dedupKey(packetId)));
    } else {
      const publication = new Publication(publisher, this.publishes, route, packetId, 2, retain, payload);
      publication.dedupKey = session.dedupKey(packetId);
      this.publishes.append(publication);
    }
    return true;
  }

  #refuse({ kind, detail }: NoRoute): void {
    const close: CloseReason = kind === 'reserved' ? 'forbidden' : 'malformed';
    const { host, principal } = this.#connection;
    host.refused(kind === 'reserved' ? 'forbidden' : 'malformed_topic');
    host.logger.warn(
      { client: principal.subject.id, problem: detail },
      'mqtt: a publish to a topic that there is not; the client is disconnected',
    );
    this.#connection.end(close);
  }

  #tooLarge({ to }: Route, size: number, sizeMax: number): void {
    const { host, principal } = this.#connection;
    host.refused('channel_too_large');
    host.logger.warn(
      { client: principal.subject.id, channel: to.channel.slice(0, 128), size, sizeMax },
      'mqtt: a publish is larger than its channel takes; the client is disconnected',
    );
    this.#connection.end('too_large');
  }

  #forbid({ to }: Route, admission: Admission): void {
    const reason = admission.kind === 'deny' ? admission.reason : 'no_such_channel';
    const { host, principal, context } = this.#connection;
    auditRefusal(host.audit, principal, 'publish', to, reason, context);
    host.refused(reason === 'no_such_channel' ? 'no_such_channel' : 'forbidden');
    host.logger.warn(
      { client: principal.subject.id, channel: to.channel.slice(0, 128), subtopic: to.subtopic, reason },
      'mqtt: a publish was denied; the client is disconnected',
    );
    this.#connection.end('forbidden');
  }
}
