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
import { publishKey } from './earlier-publishes.ts';
import { SessionError } from './error.ts';
import type { SessionFilter } from './filter.ts';
import type { Node } from './node.ts';
import { Output } from './output.ts';
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

/** A connected client's session: takes messages from the delivery into the client's window.
 *  @holds of a session that outlives its connection, a QoS 2 packet id is durable before its PUBLISH is sent, and its
 *         release before PUBREL; positions and in flight are always of the same moment */
export class ClientSession implements Session, Subscriber<SessionFilter>, RecordHolder {
  readonly record: SessionRecord;
  readonly outlet: Outlet;
  readonly node: Node;
  readonly output: Output;
  readonly subscriptions: Subscriptions;
  gone = false;
  /** What was unacknowledged is being sent again. */
  resuming = false;
  #attachment: Attachment<SessionFilter> | null = null;
  #waits = 0;
  #stalledMs = 0;

  constructor(node: Node, record: SessionRecord, outlet: Outlet) {
    this.node = node;
    this.record = record;
    this.outlet = outlet;
    this.output = new Output(node, outlet);
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
      .then((left) => this.subscriptions.restore(left))
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
    const { record, output, node } = this;
    const { partition, offset } = message;
    const { inFlight, persistent } = record;
    const qos = Math.min(filter.qos, message.qos) as MqttQos;
    if (output.full) {
      if (qos > 0 || !this.#stalled()) return this.#wait(SOCKET);
      node.tally.dropped('slow');
      if (persistent) node.touch(record);
      return true;
    }
    const topic = filter.topicOf(message);
    const blocked = output.blocks(partition);
    if (qos === 0) {
      if (blocked && !output.mayDefer) return this.#wait(STORE);
      if (blocked) output.defer({ message, topic, qos, retain, entry: null });
      else output.publish(message, topic, 0, retain, 0);
      // Where it stands must not grow old: all since would be sent again after a crash.
      if (persistent) node.touch(record);
      return true;
    }
    if (inFlight.full) return this.#wait(WINDOW);
    const durable = persistent && qos === 2;
    if ((durable && node.write?.away === true) || ((durable || blocked) && !output.mayDefer)) return this.#wait(STORE);
    const entry = inFlight.add(partition, offset, qos, topic, origin, 0);
    entry.mark = durable ? node.urge(record) : node.touch(record);
    if (durable || blocked) output.defer({ message, topic, qos, retain, entry });
    else output.publish(message, topic, qos, retain, entry.packetId);
    return true;
  }

  gap(): void {
    this.node.tally.gap();
  }

  ended(subscription: Subscription<SessionFilter>, reason: SubscriptionEnd, at: readonly Position[]): void {
    if (reason === 'channel_disabled') this.subscriptions.hold(subscription.tag, at);
    else this.subscriptions.ended(subscription.tag);
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
      this.output.pubrel(packetId);
      return;
    }
    // Again, or for the first time: PUBREL follows the durable release.
    const mark = node.urge(record);
    entry.mark = mark;
    this.output.deferPubrel(packetId, mark);
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
    this.output.drained();
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
    this.output.durable(mark);
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
    this.output.stop();
    node.waiting.delete(this);
  }

  end(reason: CloseReason): void {
    if (this.gone) return;
    if (reason === 'session_lost') this.node.abandon(this);
    else this.leave();
    this.outlet.close(reason);
  }

  /** Called now and then while it waits for its socket or the store: what may be dropped for a slow client is offered
   *  again, and what waited for others' messages to be saved. */
  retry(): void {
    const { node } = this;
    if (this.#stalled() && this.subscriptions.hasAtMostOnce) this.#clear(SOCKET);
    if (node.write?.away !== true) this.#clear(STORE);
    if ((this.#waits & (SOCKET | STORE)) === 0) node.waiting.delete(this);
  }

  writeSystem(packet: Buffer): void {
    this.output.packet(packet);
  }

  assertHeld(): void {
    if (this.gone) throw new SessionError('SESSION_TAKEN', 'now');
  }

  #wait(reason: number): false {
    this.#waits |= reason;
    if (reason === SOCKET || reason === STORE) this.node.waiting.add(this);
    if (reason === SOCKET && this.#stalledMs === 0) this.#stalledMs = this.node.nowMs();
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
