import type {
  Attachment,
  DeliveredMessage,
  Position,
  RequestContext,
  Subscriber,
  Subscription,
  SubscriptionEnd,
} from '@millrace/core';
import type { CloseReason, MqttQos, Outlet, Retransmission, Session } from '../contract.ts';
import { Deferred, type Outgoing } from './deferred.ts';
import { publishKey } from './earlier-publishes.ts';
import { SessionError } from './error.ts';
import type { SessionFilter } from './filter.ts';
import type { Node } from './node.ts';
import { encodePublish, followsAtMostOnce, followsWithId, pubrel } from './publish-packet.ts';
import type { RecordHolder, SessionRecord } from './record.ts';
import { resend } from './resend.ts';
import type { ShareGroup } from './share-group.ts';
import { Subscriptions } from './subscriptions.ts';

// hot
/** Why a session took no message; bits. */
const WINDOW = 1;
const SOCKET = 2;
const STORE = 4;
const HELD = 8;
/** A socket that takes nothing for so long is slow: QoS 0 is dropped for it instead of waiting. */
const STALL_MS = 1_000;
/** Messages of all sessions that wait for their packet ids to be durable. */
const DEFERRED_MAX = 65_536;

/** A connected client's session: takes messages from the delivery into the client's window.
 *  @holds of a session that outlives its connection, a QoS 2 packet id is durable before its PUBLISH is sent, and its
 *         release before PUBREL; positions and in flight are always of the same moment */
export class ClientSession implements Session, Subscriber<SessionFilter>, RecordHolder {
  readonly record: SessionRecord;
  readonly outlet: Outlet;
  readonly node: Node;
  readonly subscriptions: Subscriptions;
  gone = false;
  /** What was unacknowledged is being sent again. */
  resuming = false;
  readonly #deferred = new Deferred();
  #pubrels: { readonly packetId: number; readonly mark: number }[] = [];
  #attachment: Attachment<SessionFilter> | null = null;
  #waits = 0;
  #stalledMs = 0;
  #writers: (() => void)[] = [];

  constructor(node: Node, record: SessionRecord, outlet: Outlet) {
    this.node = node;
    this.record = record;
    this.outlet = outlet;
    this.subscriptions = new Subscriptions(this);
    record.holder = this;
    record.leftMs = null;
  }

  get principal(): Outlet['principal'] {
    return this.outlet.principal;
  }

  get context(): RequestContext {
    return this.outlet.context;
  }

  get attachment(): Attachment<SessionFilter> {
    this.#attachment ??= this.node.delivery.attach<SessionFilter>(this);
    return this.#attachment;
  }

  begin(): void {
    const { record } = this;
    // The client was told that it has a session: a crash must not take it back.
    if (record.fresh && record.savedMark === 0) this.node.urge(record);
    if (record.inFlight.size === 0 && record.filters.size === 0) return;
    this.resuming = true;
    this.subscriptions.resumed = resend(this)
      .then(() => this.subscriptions.restore())
      .then(() => {
        this.resuming = false;
        this.#clear(HELD);
      })
      .catch((error: unknown) => {
        if (this.gone) return;
        this.node.logger.error({ err: error }, 'mqtt: a session could not be resumed');
        this.end('fault');
      });
  }

  subscribe(filters: readonly { readonly topic: string; readonly qos: MqttQos }[]): Promise<readonly number[]> {
    return this.subscriptions.subscribe(filters);
  }

  granted(filters: readonly { readonly topic: string; readonly qos: MqttQos }[], results: readonly number[]): void {
    this.subscriptions.granted(filters, results);
  }

  unsubscribe(topics: readonly string[]): void {
    this.subscriptions.unsubscribe(topics);
  }

  /** A filter is open, or room was made in another way than by the client. */
  opened(): void {
    this.#clear(HELD);
  }

  // ── from the log to the client ──

  offer(message: DeliveredMessage, matched: readonly Subscription<SessionFilter>[]): boolean {
    if (this.gone) return false;
    if (this.resuming) return this.#wait(HELD);
    let best: SessionFilter | null = null;
    for (let index = 0; index < matched.length; index++) {
      const filter = (matched[index] as Subscription<SessionFilter>).tag;
      if (!filter.open) return this.#wait(HELD);
      if (filter.accepts(message) && (best === null || filter.qos > best.qos)) best = filter;
    }
    return best === null || this.send(message, best, false, null);
  }

  /** @returns false if there is no room: `roomMade` follows */
  send(message: DeliveredMessage, filter: SessionFilter, retain: boolean, origin: ShareGroup | null): boolean {
    const { record, outlet, node } = this;
    const qos = Math.min(filter.qos, message.qos) as MqttQos;
    if (outlet.unsentBytes > node.limits.unsentBytesMax) {
      if (qos > 0 || !this.#stalled()) return this.#wait(SOCKET);
      node.tally.dropped('slow');
      return true;
    }
    const topic = filter.topicOf(message);
    const blocked = this.#deferred.blocks(message.partition);
    if (qos === 0) {
      if (!blocked) this.#write(message, topic, 0, retain, 0);
      else if (!this.#hasRoomToDefer()) return this.#wait(STORE);
      else this.#defer({ message, topic, qos, retain, entry: null });
      return true;
    }
    const { inFlight, persistent } = record;
    if (inFlight.full) return this.#wait(WINDOW);
    const durable = persistent && qos === 2;
    if ((durable && node.write?.away === true) || ((durable || blocked) && !this.#hasRoomToDefer())) {
      return this.#wait(STORE);
    }
    const entry = inFlight.add(message.partition, message.offset, qos, topic, origin, 0);
    entry.mark = durable ? node.urge(record) : node.touch(record);
    if (durable || blocked) this.#defer({ message, topic, qos, retain, entry });
    else this.#write(message, topic, qos, retain, entry.packetId);
    return true;
  }

  gap(): void {
    this.node.tally.gap();
  }

  ended(subscription: Subscription<SessionFilter>, _reason: SubscriptionEnd): void {
    this.subscriptions.ended(subscription.tag);
  }

  // ── from the client ──

  onPuback(packetId: number): void {
    if (this.gone || this.record.inFlight.acknowledge(packetId) === null) return;
    this.node.touch(this.record);
    this.#freed();
  }

  onPubrec(packetId: number): void {
    if (this.gone) return;
    const { record, node } = this;
    const entry = record.inFlight.receive(packetId);
    if (entry === null || !record.persistent) {
      this.writePubrel(packetId);
      return;
    }
    // Again, or for the first time: PUBREL follows the durable release.
    const mark = node.urge(record);
    entry.mark = mark;
    this.#pubrels.push({ packetId, mark });
  }

  onPubcomp(packetId: number): void {
    if (this.gone || this.record.inFlight.complete(packetId) === null) return;
    this.node.touch(this.record);
    this.#freed();
  }

  receive(packetId: number, again?: Retransmission): 'new' | 'known' | 'full' | Promise<void> {
    const { record, node } = this;
    const { inbound } = record;
    if (inbound.has(packetId)) return 'known';
    if (inbound.size >= node.limits.receivedMax) return 'full';
    if (again !== undefined && record.persistent && node.earlier !== null && inbound.isDoubtful(packetId)) {
      const { owner: publisher, clientId } = record.key;
      return node.earlier.find({ ...again, publisher, clientId, packetId }).then((found) => {
        inbound.settle(packetId, found);
      });
    }
    inbound.take(packetId);
    node.touch(record);
    return 'new';
  }

  dedupKey(packetId: number): string | undefined {
    const { persistent, inbound, key } = this.record;
    const use = persistent ? inbound.useOf(packetId) : undefined;
    return use === undefined ? undefined : publishKey(key.clientId, packetId, use);
  }

  forget(packetId: number): void {
    if (!this.record.inbound.release(packetId)) return;
    if (this.gone) this.node.amend(this.record);
    else this.node.touch(this.record);
  }

  release(packetId: number): void {
    if (this.record.inbound.release(packetId)) this.node.touch(this.record);
  }

  drained(): void {
    this.#stalledMs = 0;
    this.node.stalled.delete(this);
    this.#wakeWriters();
    this.#clear(SOCKET);
  }

  leave(): void {
    if (this.gone) return;
    this.node.left(this);
  }

  // ── its record ──

  positions(): readonly Position[] {
    return this.subscriptions.positions(this.#attachment);
  }

  startOf(topic: string): readonly Position[] {
    return this.subscriptions.startOf(topic);
  }

  durable(mark: number): void {
    for (const { message, topic, qos, retain, entry } of this.#released(mark)) {
      this.#write(message, topic, qos, retain, entry?.packetId ?? 0);
    }
    if (this.#pubrels.length > 0) {
      const pubrels = this.#pubrels;
      this.#pubrels = pubrels.filter((each) => each.mark > mark);
      for (const each of pubrels) if (each.mark <= mark) this.writePubrel(each.packetId);
    }
    this.#clear(STORE);
  }

  lost(): void {
    this.node.tally.taken('elsewhere');
    this.end('session_lost');
  }

  // ── its end ──

  /** Lets go of everything, so that another may hold the record. Idempotent.
   *  @param handOver the client goes on with it in another connection on this node */
  detach(handOver: boolean): void {
    if (this.gone) return;
    const { record, node } = this;
    this.gone = true;
    record.release();
    this.subscriptions.stop(handOver);
    this.#attachment?.detach();
    node.deferred -= this.#deferred.size;
    this.#deferred.clear();
    this.#pubrels = [];
    node.stalled.delete(this);
    this.#wakeWriters();
  }

  end(reason: CloseReason): void {
    if (this.gone) return;
    if (reason === 'session_lost') this.node.abandon(this);
    else this.leave();
    this.outlet.close(reason);
  }

  /** The client is slow: what may be dropped for it is offered again. */
  retry(): void {
    if (this.#stalled() && this.subscriptions.hasAtMostOnce) this.#clear(SOCKET);
  }

  /** A PUBLISH again, as it was before. */
  writeAgain(message: DeliveredMessage, topic: string, qos: 1 | 2, packetId: number): void {
    const head = encodePublish({ topic, qos, retain: false, duplicate: true, packetId }, message.payload);
    this.outlet.write(head, followsWithId(message) ? message.payload : undefined);
    this.#sent(qos, message.payload.length);
  }

  writePubrel(packetId: number): void {
    this.outlet.write(pubrel(packetId));
  }

  writeSystem(packet: Buffer): void {
    if (this.gone || this.outlet.unsentBytes > this.node.limits.unsentBytesMax) return;
    this.outlet.write(packet);
    this.#sent(0, packet.length);
  }

  /** Settles when the client has taken enough of what was written, or is gone. */
  async roomInSocket(): Promise<void> {
    while (!this.gone && this.outlet.unsentBytes > this.node.limits.unsentBytesMax) {
      await new Promise<void>((resolve) => this.#writers.push(resolve));
    }
  }

  assertHeld(): void {
    if (this.gone) throw new SessionError('SESSION_TAKEN', 'now');
  }

  #write(message: DeliveredMessage, topic: string, qos: 0 | 1 | 2, retain: boolean, packetId: number): void {
    const { outlet } = this;
    const { payload } = message;
    if (retain) {
      const head = encodePublish({ topic, qos, retain, duplicate: false, packetId }, payload);
      outlet.write(head, followsWithId(message) ? payload : undefined);
    } else if (qos === 0) {
      outlet.write(this.node.packets.atMostOnce(message, topic), followsAtMostOnce(message) ? payload : undefined);
    } else {
      outlet.write(
        this.node.packets.withId(message, topic, qos, packetId),
        followsWithId(message) ? payload : undefined,
      );
    }
    this.#sent(qos, payload.length);
  }

  #sent(qos: 0 | 1 | 2, bytes: number): void {
    const { tally } = this.node;
    tally.sent[qos]++;
    tally.sentBytes += bytes;
  }

  #wakeWriters(): void {
    const writers = this.#writers;
    this.#writers = [];
    for (const wake of writers) wake();
  }

  #hasRoomToDefer(): boolean {
    return this.#deferred.size < this.node.limits.inFlightMax && this.node.deferred < DEFERRED_MAX;
  }

  #defer(outgoing: Outgoing): void {
    this.#deferred.push(outgoing);
    this.node.deferred++;
  }

  #released(mark: number): readonly Outgoing[] {
    const released = this.#deferred.release(mark);
    this.node.deferred -= released.length;
    return released;
  }

  #wait(reason: number): false {
    this.#waits |= reason;
    if (reason === SOCKET && this.#stalledMs === 0) {
      this.#stalledMs = this.node.nowMs();
      this.node.stalled.add(this);
    }
    return false;
  }

  #stalled(): boolean {
    return this.#stalledMs !== 0 && this.node.nowMs() - this.#stalledMs >= STALL_MS;
  }

  /** A packet id is free. A window that was full opens when it is half empty: each opening costs a look at the log. */
  #freed(): void {
    if ((this.#waits & WINDOW) !== 0 && this.record.inFlight.size <= this.node.limits.inFlightMax >>> 1) {
      this.#clear(WINDOW);
    }
  }

  #clear(reason: number): void {
    if ((this.#waits & reason) === 0 || this.gone) return;
    this.#waits &= ~reason;
    this.#attachment?.resume();
    this.subscriptions.roomMade();
  }
}
