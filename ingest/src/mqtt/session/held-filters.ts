import type { Position } from '@millrace/core';
import type { MqttQos } from '../contract.ts';
import type { SessionFilter } from './filter.ts';
import type { ClientSession } from './session.ts';

/** How often a channel that is disabled is looked at again: soon at first, then now and then. */
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 5_000;

/** How adding a filter ended. `disabled`: it may be added once its channel is enabled. */
export type Added = boolean | 'disabled';

/** What held filters need of the session's others. */
export interface LiveFilters {
  add(topic: string, qos: MqttQos, from: readonly Position[]): Promise<Added>;
  get(topic: string): SessionFilter | undefined;
  remove(filter: SessionFilter): void;
  open(filter: SessionFilter): void;
}

/** Filters of a session whose channel, or its organisation, is disabled for now: they stand where they stood, and go on
 *  once it is enabled. Nothing of them is live meanwhile.
 *  @holds each is in the session's record, marked as held, and is counted among the node's subscriptions */
export class HeldFilters {
  /** What is being taken up just now is over. */
  settled: Promise<void> = Promise.resolve();
  readonly #session: ClientSession;
  readonly #live: LiveFilters;
  readonly #topics = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #busy = false;
  #waitMs = RETRY_MS_MIN;

  constructor(session: ClientSession, live: LiveFilters) {
    this.#session = session;
    this.#live = live;
  }

  get size(): number {
    return this.#topics.size;
  }

  has(topic: string): boolean {
    return this.#topics.has(topic);
  }

  add(topic: string, qos: MqttQos, from: readonly Position[]): void {
    const { record, node } = this.#session;
    record.filters.set(topic, { qos, from, held: true });
    this.#topics.add(topic);
    node.subscriptions++;
    node.urge(record);
    this.#waitMs = RETRY_MS_MIN;
    this.#lookLater();
  }

  delete(topic: string): void {
    if (this.#topics.delete(topic)) this.#session.node.subscriptions--;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#topics.clear();
  }

  #lookLater(): void {
    clearTimeout(this.#timer);
    if (this.#busy || this.#topics.size === 0 || this.#session.gone) return;
    this.#timer = setTimeout(() => {
      this.#busy = true;
      this.#waitMs = Math.min(RETRY_MS_MAX, this.#waitMs * 2);
      this.settled = this.#takeUp().finally(() => {
        this.#busy = false;
        this.#lookLater();
      });
    }, this.#waitMs);
    this.#timer.unref();
  }

  /** Goes on with those whose channels are enabled again. */
  async #takeUp(): Promise<void> {
    const { record, node } = this.#session;
    const live = this.#live;
    for (const topic of [...this.#topics]) {
      const kept = record.filters.get(topic);
      if (kept === undefined || !this.#topics.delete(topic)) continue;
      node.subscriptions--;
      // Who can't be asked now is asked again.
      const added = await live.add(topic, kept.qos, kept.from).catch((): Added => 'disabled');
      if (this.#session.gone) return;
      const filter = live.get(topic);
      if (!record.filters.has(topic)) {
        // Unsubscribed meanwhile.
        if (filter !== undefined) live.remove(filter);
      } else if (added === 'disabled') {
        this.#topics.add(topic);
        node.subscriptions++;
      } else if (filter === undefined) {
        record.filters.delete(topic);
        node.urge(record);
        node.tally.ended();
      } else {
        record.filters.set(topic, { qos: kept.qos, from: kept.from });
        node.urge(record);
        live.open(filter);
      }
    }
  }
}
