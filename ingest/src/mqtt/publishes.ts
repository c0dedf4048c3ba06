// hot
import type { LogError } from '@millrace/core';
import type { Refusal } from '../http/answer.ts';
import type { CloseReason, Session } from './contract.ts';
import { PUBACK, PUBREC, pubrec } from './packets.ts';
import type { Publication, Publisher, Publishing } from './publisher.ts';

const RETRY_MS = 200;

/** The connection that publishes come by. */
export interface PublishingConnection {
  readonly closed: boolean;
  /** It is not read. */
  readonly paused: boolean;
  readonly session: Session | null;
  readonly host: {
    readonly publisher: Publisher;
    readonly coarseMs: number;
    acknowledgeSoon(publishes: Publishes): void;
    refused(reason: Refusal): void;
  };
  /** Writes at once. */
  writeNow(bytes: Buffer): void;
  /** There may be room for more: reads on. */
  go(): void;
  end(reason: CloseReason): void;
}

/** What one client has published and not been answered yet.
 *  @holds answers leave in the order in which the publishes came.  @source MQTT 3.1.1 §4.6 */
export class Publishes implements Publishing {
  readonly #connection: PublishingConnection;
  #list: Publication[] = [];
  /** Those before it are answered. */
  #answered = 0;
  #answersDue = false;
  /** Refused by the log at least once, and not stored since. */
  #late = 0;
  #lateMs = 0;
  #retrying = false;

  constructor(connection: PublishingConnection) {
    this.#connection = connection;
  }

  get count(): number {
    return this.#list.length - this.#answered;
  }

  /** The log refuses what came: nothing more is to be read. */
  get stuck(): boolean {
    return this.#late > 0;
  }

  /** Since when it has been so. */
  stuckMs(nowMs: number): number {
    return this.#late > 0 ? nowMs - this.#lateMs : 0;
  }

  append(publication: Publication): void {
    this.#list.push(publication);
    this.#connection.host.publisher.append(publication);
  }

  /** A QoS 2 publish came again: it is answered when it is durable.
   *  @param earlier where it is on its way by an earlier connection of the session: it goes on by this one */
  again(packetId: number, earlier: Publication | undefined): void {
    for (let index = this.#answered; index < this.#list.length; index++) {
      const publication = this.#list[index] as Publication;
      if (publication.qos === 2 && publication.packetId === packetId && !publication.done) return;
    }
    if (earlier === undefined) this.#connection.writeNow(pubrec(packetId));
    else {
      earlier.by = this;
      earlier.late = false;
      this.#list.push(earlier);
    }
  }

  published(publication: Publication): void {
    const connection = this.#connection;
    if (connection.closed) return;
    if (publication.late) {
      publication.late = false;
      this.#late--;
    }
    if (publication !== this.#list[this.#answered] || this.#answersDue) return;
    this.#answersDue = true;
    connection.host.acknowledgeSoon(this);
  }

  refused(publication: Publication, error: LogError): void {
    const { closed, session, host } = this.#connection;
    if (closed) {
      if (publication.qos === 2) session?.forget(publication.packetId);
      return;
    }
    const tooLarge = error.code === 'LOG_RECORD_TOO_LARGE';
    if (publication.qos === 0 || tooLarge) {
      host.refused(tooLarge ? 'too_large' : error.code === 'LOG_FULL' ? 'log_full' : 'log_unreachable');
    }
    if (tooLarge || error.retry === 'never') this.#connection.end(tooLarge ? 'too_large' : 'fault');
    else if (publication.qos === 0) {
      publication.done = true;
      this.published(publication);
    } else this.#tryLater(publication);
  }

  unkept(publication: Publication): void {
    const connection = this.#connection;
    connection.host.refused('registry_unreachable');
    if (publication.qos > 0) connection.end('slow');
    else {
      // Nothing was promised but that it is delivered.
      publication.done = true;
      this.published(publication);
    }
  }

  /** Writes, at once, the answers to all that is durable and has nothing before it that is not. */
  answer(): void {
    this.#answersDue = false;
    const connection = this.#connection;
    if (connection.closed) return;
    const list = this.#list;
    let at = this.#answered;
    let size = 0;
    for (; at < list.length && (list[at] as Publication).done; at++) if ((list[at] as Publication).qos > 0) size += 4;
    if (size > 0) connection.writeNow(this.#answers(at, size));
    this.#answered = at;
    if (at === list.length || at >= 256) {
      this.#list = list.slice(at);
      this.#answered = 0;
    }
    if (connection.paused) connection.go();
  }

  /** The connection is over. What was refused and not tried again never came: its QoS 2 ids are free. */
  end(): void {
    for (let index = this.#answered; index < this.#list.length; index++) {
      const publication = this.#list[index] as Publication;
      if (publication.qos === 2 && publication.failed) this.#connection.session?.forget(publication.packetId);
    }
  }

  #answers(to: number, size: number): Buffer {
    const bytes = Buffer.allocUnsafe(size);
    let at = 0;
    for (let index = this.#answered; index < to; index++) {
      const { qos, packetId } = this.#list[index] as Publication;
      if (qos === 0) continue;
      bytes[at++] = qos === 1 ? PUBACK : PUBREC;
      bytes[at++] = 2;
      bytes[at++] = packetId >>> 8;
      bytes[at++] = packetId & 0xff;
    }
    return bytes;
  }

  #tryLater(publication: Publication): void {
    if (!publication.late) {
      publication.late = true;
      if (this.#late++ === 0) this.#lateMs = this.#connection.host.coarseMs;
    }
    if (this.#retrying) return;
    this.#retrying = true;
    setTimeout(() => this.#retry(), RETRY_MS);
  }

  /** What the log refused goes again, in order. */
  #retry(): void {
    this.#retrying = false;
    const connection = this.#connection;
    const failed = this.#list.filter((each, index) => index >= this.#answered && each.failed);
    for (const publication of failed) {
      if (connection.closed) return;
      // Who may has changed meanwhile: the client comes again, and is judged again.
      if (publication.route.target?.admission.valid !== true) connection.end('slow');
      else connection.host.publisher.append(publication);
    }
  }
}
