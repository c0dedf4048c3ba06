// hot
import {
  type Admission,
  type AppendReceipt,
  type Gate,
  type Log,
  type LogError,
  type Principal,
  Protocol,
  type RequestContext,
  uuidText,
} from '@millrace/core';
import type { WallClock } from '../clock.ts';
import type { IngestCounts } from '../counts.ts';
import { MessageEncoder, type MessageExtras, type PublishTarget } from '../message-encoder.ts';
import type { MqttQos } from './contract.ts';
import type { RetainedWriter } from './retained-writer.ts';
import type { PublishTopic } from './topic.ts';

/** Where a client publishes to, with what the gate said last about it. */
export class Route {
  readonly to: Extract<PublishTopic, { kind: 'channel' }>;
  target: PublishTarget | null = null;

  constructor(to: Extract<PublishTopic, { kind: 'channel' }>) {
    this.to = to;
  }
}

/** Who waits for a publish: a connection, or a will. */
export interface Publishing {
  /** It is durable, and kept if it is to be retained. */
  published(publication: Publication): void;
  /** It was not appended. */
  refused(publication: Publication, error: LogError): void;
  /** It is durable, but the registry did not keep it. */
  unkept(publication: Publication): void;
}

/** One publish on its way to the log. */
export class Publication implements AppendReceipt {
  /** Another connection of the session may go on with it. */
  by: Publishing;
  readonly route: Route;
  readonly packetId: number;
  readonly qos: MqttQos;
  readonly retain: boolean;
  /** As it was received: a view of the socket's read. */
  readonly payload: Buffer;
  /** What it is known by on the log, where it may come again. */
  dedupKey: string | undefined = undefined;
  /** On the log, and kept. */
  done = false;
  /** The log refused it; it is to be tried again. */
  failed = false;
  /** The log refused it at least once. */
  late = false;
  readonly #publisher: Publisher;
  #receivedUs = 0;
  #id = '';

  constructor(
    publisher: Publisher,
    by: Publishing,
    route: Route,
    packetId: number,
    qos: MqttQos,
    retain: boolean,
    payload: Buffer,
  ) {
    this.#publisher = publisher;
    this.by = by;
    this.route = route;
    this.packetId = packetId;
    this.qos = qos;
    this.retain = retain;
    this.payload = payload;
  }

  /** @param id kept only where somebody will ask for it */
  sent(receivedUs: number, id: string): void {
    this.#receivedUs = receivedUs;
    this.#id = id;
    this.failed = false;
  }

  appended(partition: number, offset: number): void {
    this.#publisher.over(this, true, this.#receivedUs);
    if (!this.retain) {
      this.#publisher.settled(this);
      this.done = true;
      this.by.published(this);
      return;
    }
    this.#publisher.keep(this, partition, offset, this.#receivedUs, this.#id);
  }

  refused(error: LogError): void {
    this.#publisher.over(this, false, this.#receivedUs);
    this.#publisher.settled(this);
    this.failed = true;
    this.by.refused(this, error);
  }

  kept(kept: boolean): void {
    this.#publisher.settled(this);
    this.done = kept;
    if (kept) this.by.published(this);
    else this.by.unkept(this);
  }
}

export interface PublisherOptions {
  readonly log: Log;
  readonly gate: Gate;
  readonly clock: WallClock;
  readonly counts: IngestCounts;
  /** null: nothing is retained. */
  readonly retained: RetainedWriter | null;
  readonly messagesMax: number;
  readonly bytesMax: number;
}

/** may → envelope → append, for all MQTT connections of the node. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #encoder: MessageEncoder;
  /** Publishes of QoS 2 that may come again while they are on their way. */
  readonly #repeatable = new Map<string, Publication>();

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#encoder = new MessageEncoder(Protocol.mqtt, options.gate, options.log.partitionCount);
  }

  /** Too much waits for the log already. */
  get full(): boolean {
    const { counts, messagesMax, bytesMax } = this.#options;
    return counts.inFlightMessages >= messagesMax || counts.inFlightBytes >= bytesMax;
  }

  /** Asks the gate; a warm answer is a value. */
  may(principal: Principal, route: Route, context: RequestContext): Admission | Promise<Admission> {
    const { to } = route;
    return this.#options.gate.may(principal, 'publish', to.channel, to.subtopic, context);
  }

  /** @returns whether the admission holds for this route: the channel must be of the organisation that it names */
  aim(route: Route, admission: Extract<Admission, { kind: 'allow' }>): boolean {
    const { to } = route;
    if (route.target?.admission === admission) return true;
    if (to.org !== null && to.org !== admission.channel.org) return false;
    route.target = this.#encoder.targetOf(admission, to.subtopic, to.contentType);
    return true;
  }

  /** Appends what was admitted.  @holds the route has been aimed */
  append(publication: Publication): void {
    const { log, clock, counts } = this.#options;
    const { route, payload, qos, retain, dedupKey } = publication;
    const target = route.target as PublishTarget;
    const nowUs = clock.nowUs();
    const common = EXTRAS[retain ? qos + 3 : qos] as MessageExtras;
    const extras = dedupKey === undefined ? common : { ...common, dedupKey };
    const record = this.#encoder.encode(target, payload, nowUs, extras);
    if (dedupKey !== undefined) this.#repeatable.set(`${target.admission.subject.id}\n${dedupKey}`, publication);
    publication.sent(nowUs, retain ? uuidText(this.#encoder.id) : '');
    counts.inFlightMessages++;
    counts.inFlightBytes += payload.length;
    log.append(target.partition, target.admission.channel.id, record, publication);
  }

  /** A QoS 2 publish that is on its way. @param subject who published it */
  onItsWay(subject: string, dedupKey: string | undefined): Publication | undefined {
    return dedupKey === undefined ? undefined : this.#repeatable.get(`${subject}\n${dedupKey}`);
  }

  /** It is no longer on its way. */
  settled({ dedupKey, route }: Publication): void {
    if (dedupKey !== undefined) this.#repeatable.delete(`${route.target?.admission.subject.id}\n${dedupKey}`);
  }

  over(publication: Publication, stored: boolean, receivedUs: number): void {
    const { counts, clock } = this.#options;
    const size = publication.payload.length;
    counts.inFlightMessages--;
    counts.inFlightBytes -= size;
    if (stored) counts.accepted(size, (clock.nowUs() - receivedUs) / 1_000_000);
  }

  keep(publication: Publication, partition: number, offset: number, receivedUs: number, id: string): void {
    const { retained } = this.#options;
    if (retained === null) {
      publication.kept(true);
      return;
    }
    const { route, qos, payload } = publication;
    const { admission, subtopicText: subtopic, contentType } = route.target as PublishTarget;
    const { channel, subject } = admission;
    retained.keep(
      {
        partition,
        offset,
        id,
        org: channel.org,
        channel: channel.id,
        subtopic,
        publisher: subject.id,
        contentType: Buffer.from(contentType).toString(),
        receivedUs,
        qos,
        payload: Buffer.from(payload),
      },
      (kept) => publication.kept(kept),
    );
  }
}

/** By QoS, without and with RETAIN. */
const EXTRAS: readonly MessageExtras[] = [
  { qos: 0 },
  { qos: 1 },
  { qos: 2 },
  { qos: 0, retain: true },
  { qos: 1, retain: true },
  { qos: 2, retain: true },
];
