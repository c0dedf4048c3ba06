import type { Attachment, DenyReason, Position } from '@millrace/core';
import { auditRefusal } from '../../refused-access.ts';
import { type MqttQos, SUBSCRIBE_FAILED } from '../contract.ts';
import { type ChannelFilter, parseFilter } from '../topic.ts';
import { SessionError } from './error.ts';
import { SessionFilter } from './filter.ts';
import { type Added, HeldFilters } from './held-filters.ts';
import { RetainedFeed } from './retained.ts';
import { untilDone } from './retry.ts';
import type { ClientSession } from './session.ts';
import type { ShareGroup } from './share-group.ts';

/** A SUBSCRIBE of a session that is kept is answered once it is saved, or refused after so long. */
const SAVE_MS_MAX = 10_000;

export interface Asked {
  readonly topic: string;
  readonly qos: MqttQos;
}

/** The filters of a connected session.
 *  @holds of a session that is kept, what SUBACK grants is durable before it is written */
export class Subscriptions {
  /** What the session had before is there again. */
  resumed: Promise<void> = Promise.resolve();
  readonly #session: ClientSession;
  readonly #filters = new Map<string, SessionFilter>();
  readonly #groups = new Map<string, ShareGroup>();
  readonly #system = new Set<string>();
  readonly #held: HeldFilters;
  /** Where the session stood before this connection; null once all its filters are there again. */
  #before: readonly Position[] | null;
  #pending = 0;
  #retained: RetainedFeed | null = null;

  constructor(session: ClientSession) {
    this.#session = session;
    this.#held = new HeldFilters(session, {
      add: (topic, qos, from) => this.#add(topic, qos, from),
      get: (topic) => this.#filters.get(topic),
      remove: (filter) => this.#remove(filter),
      open: (filter) => this.#open(filter),
    });
    this.#before = session.record.filters.size > 0 ? session.record.positions : null;
  }

  get size(): number {
    return this.#filters.size + this.#groups.size + this.#system.size + this.#held.size;
  }

  get hasAtMostOnce(): boolean {
    for (const { qos } of this.#filters.values()) if (qos === 0) return true;
    return false;
  }

  async subscribe(asked: readonly Asked[]): Promise<readonly number[]> {
    const { record, node } = this.#session;
    await this.resumed;
    await this.#held.settled;
    this.#session.assertHeld();
    const granted = new Map<string, boolean>();
    const qos = new Map(asked.map((each) => [each.topic, each.qos]));
    const settled = await Promise.allSettled(
      [...qos].map(async ([topic, wanted]) => granted.set(topic, (await this.#add(topic, wanted, 'tail')) === true)),
    );
    this.#session.assertHeld();
    let mark = 0;
    for (const [topic, wanted] of qos) {
      if (granted.get(topic) !== true || this.#system.has(topic)) continue;
      const kept = record.filters.get(topic);
      if (kept?.qos === wanted) continue;
      record.filters.set(topic, { ...kept, qos: wanted, from: kept?.from ?? [] });
      mark = node.urge(record);
    }
    const failed = settled.find((each) => each.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    if (mark > 0) await saved(record.whenDurable(mark));
    this.#session.assertHeld();
    return asked.map((each) => (granted.get(each.topic) === true ? each.qos : SUBSCRIBE_FAILED));
  }

  granted(asked: readonly Asked[], results: readonly number[]): void {
    const { node } = this.#session;
    for (const [index, { topic }] of asked.entries()) {
      const result = results[index];
      if (result === undefined || result > 2) continue;
      if (this.#system.has(topic)) node.system.show(this.#session, topic);
      const filter = this.#filters.get(topic);
      if (filter === undefined) continue;
      filter.qos = result as MqttQos;
      if (filter.parsed.share !== null || node.retained === null) this.#open(filter);
      else {
        this.#retained ??= new RetainedFeed(this.#session, node.retained, (done) => this.#open(done));
        this.#retained.add(filter);
      }
    }
  }

  unsubscribe(topics: readonly string[]): void {
    for (const topic of topics) {
      if (this.#system.delete(topic)) this.#session.node.system.remove(this.#session, topic);
      const filter = this.#filters.get(topic);
      if (filter !== undefined) this.#remove(filter);
      this.#held.delete(topic);
      if (this.#session.record.filters.delete(topic)) this.#session.node.urge(this.#session.record);
    }
  }

  /** The gate refused what a client asked for. What it had before, and lost while it was away, it did not ask for. */
  refused({ parsed }: SessionFilter, reason: DenyReason): void {
    const { node, principal, context, resuming } = this.#session;
    const { channel, subtopic } = parsed.filter;
    if (!resuming) {
      auditRefusal(node.audit, principal, 'subscribe', { channel: channel ?? '*', subtopic }, reason, context);
    }
  }

  /** The subscriber may no longer read what the filter names. */
  ended(filter: SessionFilter): void {
    if (this.#filters.get(filter.topic) !== filter) return;
    const { record, node } = this.#session;
    this.#remove(filter);
    record.filters.delete(filter.topic);
    node.urge(record);
    node.tally.ended();
  }

  /** The channel of a filter is disabled. */
  hold(filter: SessionFilter, at: readonly Position[]): void {
    const { topic, qos } = filter;
    if (this.#filters.get(topic) !== filter) return;
    this.#remove(filter);
    this.#held.add(topic, qos, at);
  }

  /** Subscribes again to what the session had, from where it stood. Waits while the registry or log can't be asked.
   *  @param left messages that were sent, not acknowledged, and can't be sent again as long as their channel is disabled */
  async restore(left: readonly Position[]): Promise<void> {
    const { record, node } = this.#session;
    const before = this.#before ?? [];
    await Promise.all(
      [...record.filters].map(async ([topic, { qos, from, held }]) => {
        const starts = held === true || topic.startsWith('$share/') ? from : latest(before, from);
        const added = await untilDone(
          () => this.#session.gone,
          () => this.#add(topic, qos, starts),
        );
        // Another connection has the record by now: what was refused to this one says nothing.
        if (added === null || this.#session.gone) return;
        const filter = this.#filters.get(topic);
        if (filter !== undefined) filter.open = true;
        if (added.value === 'disabled') {
          this.#held.add(topic, qos, earliest(starts, left));
          return;
        }
        if (held === true) record.filters.set(topic, { qos, from });
        if (added.value) return;
        record.filters.delete(topic);
        node.touch(record);
        node.tally.ended();
      }),
    );
    if (!this.#session.gone) this.#before = null;
  }

  positions(attachment: Attachment<SessionFilter> | null): readonly Position[] {
    const at = attachment?.positions() ?? [];
    if (this.#before === null) return at;
    const known = new Set(this.#before.map(({ partition }) => partition));
    return [...this.#before, ...at.filter(({ partition }) => !known.has(partition))];
  }

  startOf(topic: string): readonly Position[] {
    const group = this.#groups.get(topic);
    if (group !== undefined) return group.positions();
    return this.#filters.get(topic)?.from ?? this.#session.record.filters.get(topic)?.from ?? [];
  }

  roomMade(): void {
    this.#retained?.pump();
    for (const group of this.#groups.values()) group.roomMade();
  }

  /** @param handOver the session goes on in another connection: what it holds of groups stays with it */
  stop(handOver: boolean): void {
    const { node } = this.#session;
    this.#retained?.stop();
    for (const topic of this.#system) node.system.remove(this.#session, topic);
    for (const group of this.#groups.values()) group.leave(this.#session, handOver);
    node.subscriptions -= this.size;
    this.#held.stop();
    this.#groups.clear();
    this.#system.clear();
    this.#filters.clear();
  }

  async #add(topic: string, qos: MqttQos, from: 'tail' | readonly Position[]): Promise<Added> {
    const { node, principal } = this.#session;
    const parsed = parseFilter(topic);
    if (parsed.kind === 'malformed') return false;
    if (this.#filters.has(topic) || this.#system.has(topic) || this.#held.has(topic)) return true;
    if (this.size + this.#pending >= node.limits.subscriptionsMax) return false;
    if (parsed.kind === 'sys') {
      const { subject, scope } = principal;
      if (subject.kind !== 'user' || !subject.admin || scope !== null) return false;
      this.#system.add(topic);
      node.subscriptions++;
      node.system.add(this.#session, topic);
      return true;
    }
    const { subject } = principal;
    const filter = new SessionFilter(topic, parsed, qos);
    if (parsed.org !== null && subject.kind === 'thing' && parsed.org !== subject.org) {
      this.refused(filter, 'no_such_channel');
      return false;
    }
    this.#pending++;
    try {
      const added = await (parsed.share === null ? this.#subscribe(filter, from) : this.#join(filter, parsed, from));
      if (added !== true) return added;
    } finally {
      this.#pending--;
    }
    if (this.#session.gone) return false;
    this.#filters.set(topic, filter);
    node.subscriptions++;
    return true;
  }

  async #subscribe(filter: SessionFilter, from: 'tail' | readonly Position[]): Promise<Added> {
    const subscribed = await this.#session.attachment.subscribe(filter.parsed.filter, filter, from);
    if (subscribed.kind === 'denied') {
      if (from === 'tail') this.refused(filter, subscribed.reason);
      return subscribed.reason === 'channel_disabled' ? 'disabled' : false;
    }
    if (subscribed.kind !== 'subscribed') return false;
    filter.subscription = subscribed.subscription;
    filter.from = subscribed.from;
    return true;
  }

  async #join(filter: SessionFilter, parsed: ChannelFilter, from: 'tail' | readonly Position[]): Promise<boolean> {
    const group = await this.#session.node.groups.join(this.#session, filter, parsed, from);
    if (group === null) return false;
    if (this.#session.gone) group.leave(this.#session, false);
    else this.#groups.set(filter.topic, group);
    return true;
  }

  #open(filter: SessionFilter): void {
    if (filter.open || this.#filters.get(filter.topic) !== filter) return;
    filter.open = true;
    this.#session.opened();
    this.#groups.get(filter.topic)?.roomMade();
  }

  #remove(filter: SessionFilter): void {
    const { topic, subscription } = filter;
    filter.removed = true;
    this.#filters.delete(topic);
    this.#session.node.subscriptions--;
    if (subscription !== null) this.#session.attachment.unsubscribe(subscription);
    const group = this.#groups.get(topic);
    if (group === undefined) return;
    this.#groups.delete(topic);
    group.leave(this.#session, false);
  }
}

/** For each partition the later of two positions. */
export function latest(some: readonly Position[], others: readonly Position[]): Position[] {
  const offsets = new Map(some.map(({ partition, offset }) => [partition, offset]));
  for (const { partition, offset } of others) offsets.set(partition, Math.max(offset, offsets.get(partition) ?? 0));
  return [...offsets].map(([partition, offset]) => ({ partition, offset }));
}

/** Those positions, moved back to the others where these are earlier. */
function earliest(some: readonly Position[], others: readonly Position[]): Position[] {
  const offsets = new Map(some.map(({ partition, offset }) => [partition, offset]));
  for (const { partition, offset } of others)
    offsets.set(partition, Math.min(offset, offsets.get(partition) ?? offset));
  return [...offsets].map(([partition, offset]) => ({ partition, offset }));
}

async function saved(durable: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new SessionError('SESSION_NOT_SAVED', 'later')), SAVE_MS_MAX);
  });
  try {
    await Promise.race([durable, late]);
  } finally {
    clearTimeout(timer);
  }
}
