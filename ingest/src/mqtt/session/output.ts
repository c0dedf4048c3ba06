import type { DeliveredMessage } from '@millrace/core';
import type { Outlet } from '../contract.ts';
import { Deferred, type Outgoing } from './deferred.ts';
import type { Node } from './node.ts';
import { encodePublish, followsAtMostOnce, followsWithId, pubrel } from './publish-packet.ts';

// hot
/** Messages of all sessions that wait for their packet ids to be durable. */
const DEFERRED_MAX = 65_536;

/** What goes to one client: at once, or once it may.
 *  @holds a PUBLISH or PUBREL that was deferred leaves when the change of the session that it rests on is durable */
export class Output {
  readonly #node: Node;
  readonly #outlet: Outlet;
  readonly #deferred = new Deferred();
  #pubrels: { readonly packetId: number; readonly mark: number }[] = [];
  #writers: (() => void)[] = [];
  #stopped = false;

  constructor(node: Node, outlet: Outlet) {
    this.#node = node;
    this.#outlet = outlet;
  }

  get full(): boolean {
    return this.#outlet.unsentBytes > this.#node.limits.unsentBytesMax;
  }

  publish(message: DeliveredMessage, topic: string, qos: 0 | 1 | 2, retain: boolean, packetId: number): void {
    const { packets } = this.#node;
    const { payload } = message;
    if (retain) this.#writeAlone(message, topic, qos, true, false, packetId);
    else if (qos === 0) {
      this.#outlet.write(packets.atMostOnce(message, topic), followsAtMostOnce(message) ? payload : undefined);
      this.#sent(0, payload.length);
    } else {
      const head = packets.withId(message, topic, qos, packetId);
      this.#outlet.write(head, followsWithId(message) ? payload : undefined);
      this.#sent(qos, payload.length);
    }
  }

  /** With DUP=1. */
  publishAgain(message: DeliveredMessage, topic: string, qos: 1 | 2, packetId: number): void {
    this.#writeAlone(message, topic, qos, false, true, packetId);
  }

  pubrel(packetId: number): void {
    this.#outlet.write(pubrel(packetId));
  }

  /** A whole QoS 0 packet; not sent where there is no room. */
  packet(packet: Buffer): void {
    if (this.#stopped || this.full) return;
    this.#outlet.write(packet);
    this.#sent(0, packet.length);
  }

  /** Nothing of this partition may overtake what is deferred. */
  blocks(partition: number): boolean {
    return this.#deferred.blocks(partition);
  }

  get mayDefer(): boolean {
    return this.#deferred.size < this.#node.limits.inFlightMax && this.#node.deferred < DEFERRED_MAX;
  }

  defer(outgoing: Outgoing): void {
    this.#deferred.push(outgoing);
    this.#node.deferred++;
  }

  deferPubrel(packetId: number, mark: number): void {
    this.#pubrels.push({ packetId, mark });
  }

  /** Changes up to `mark` are durable. */
  durable(mark: number): void {
    const released = this.#deferred.release(mark);
    this.#node.deferred -= released.length;
    for (const { message, topic, qos, retain, entry } of released) {
      this.publish(message, topic, qos, retain, entry?.packetId ?? 0);
    }
    if (this.#pubrels.length === 0) return;
    const pubrels = this.#pubrels;
    this.#pubrels = pubrels.filter((each) => each.mark > mark);
    for (const each of pubrels) if (each.mark <= mark) this.pubrel(each.packetId);
  }

  /** Settles when the client has taken enough of what was written, or is gone. */
  async room(): Promise<void> {
    while (!this.#stopped && this.full) await new Promise<void>((resolve) => this.#writers.push(resolve));
  }

  drained(): void {
    const writers = this.#writers;
    this.#writers = [];
    for (const wake of writers) wake();
  }

  stop(): void {
    this.#stopped = true;
    this.#node.deferred -= this.#deferred.size;
    this.#deferred.clear();
    this.#pubrels = [];
    this.drained();
  }

  #writeAlone(
    message: DeliveredMessage,
    topic: string,
    qos: 0 | 1 | 2,
    retain: boolean,
    duplicate: boolean,
    packetId: number,
  ): void {
    const { payload } = message;
    const head = encodePublish({ topic, qos, retain, duplicate, packetId }, payload);
    this.#outlet.write(head, followsWithId(message) ? payload : undefined);
    this.#sent(qos, payload.length);
  }

  #sent(qos: 0 | 1 | 2, bytes: number): void {
    const { tally } = this.#node;
    tally.sent[qos]++;
    tally.sentBytes += bytes;
  }
}
