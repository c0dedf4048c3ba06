import { Protocol, type RetainedMessage, type RetainedStore } from '@millrace/core';
import { type SessionFilter, subtopicMatches } from './filter.ts';
import { untilDone } from './retry.ts';
import type { ClientSession } from './session.ts';

/** Answers of the store in memory, of all sessions: payload bytes beyond which no further one is asked for. */
const ANSWERS_BYTES_MAX = 64 * 1_048_576;

/** Sends what is retained for the filters that a session was granted, one filter at a time, as there is room.
 *  @holds at most one answer of the store in memory; a filter opens for live messages once what was retained before it
 *         began has been sent, or at once when the store does not answer (what is retained then follows) */
export class RetainedFeed {
  readonly #session: ClientSession;
  readonly #store: RetainedStore;
  readonly #onDone: (filter: SessionFilter) => void;
  readonly #queue: SessionFilter[] = [];
  #running = false;
  #stopped = false;
  #room: (() => void) | null = null;

  constructor(session: ClientSession, store: RetainedStore, onDone: (filter: SessionFilter) => void) {
    this.#session = session;
    this.#store = store;
    this.#onDone = onDone;
  }

  add(filter: SessionFilter): void {
    if (!this.#queue.includes(filter)) this.#queue.push(filter);
    if (this.#running) return;
    this.#running = true;
    this.#run()
      .catch((error: unknown) => {
        this.#session.node.logger.error({ err: error }, 'mqtt: retained messages could not be sent');
        for (const each of this.#queue.splice(0)) this.#onDone(each);
      })
      .finally(() => {
        this.#running = false;
      });
  }

  /** There is room again. */
  pump(): void {
    this.#room?.();
  }

  stop(): void {
    this.#stopped = true;
    this.#queue.length = 0;
    this.#room?.();
  }

  async #run(): Promise<void> {
    const { node } = this.#session;
    const over = (): boolean => this.#stopped;
    for (let filter = this.#queue.shift(); filter !== undefined; filter = this.#queue.shift()) {
      const current = filter;
      const found = await untilDone(
        over,
        () => node.lookups.through(() => this.#lookUp(current)),
        () => this.#onDone(current),
      );
      if (found === null) return;
      const messages = found.value.toSorted(
        (one, other) => one.partition - other.partition || one.offset - other.offset,
      );
      const bytes = messages.reduce((sum, { payload }) => sum + payload.length, 0);
      if (messages.length > node.limits.retainedMax) {
        node.tally.dropped('retained_limit', messages.length - node.limits.retainedMax);
        messages.length = node.limits.retainedMax;
      }
      node.retainedBytes += bytes;
      for (const message of messages) {
        if (this.#stopped || current.removed) break;
        await this.#send(current, message);
      }
      node.retainedBytes -= bytes;
      if (this.#stopped) return;
      this.#onDone(current);
    }
  }

  /** @holds what other sessions have not sent yet bounds the memory that answers take: then it waits */
  async #lookUp(filter: SessionFilter): Promise<readonly RetainedMessage[]> {
    const { node } = this.#session;
    while (node.retainedBytes > ANSWERS_BYTES_MAX && !this.#stopped) {
      await new Promise((resolve) => setTimeout(resolve, 20).unref());
    }
    return this.#stopped ? [] : this.#find(filter);
  }

  async #find(filter: SessionFilter): Promise<readonly RetainedMessage[]> {
    const { node, principal } = this.#session;
    const { subtopic } = filter.parsed.filter;
    const segments = subtopic === '' ? [] : subtopic.split('/');
    const wild = segments.findIndex((segment) => segment === '+' || segment === '#');
    const found = await this.#store.find({
      owner: principal.subject.id,
      channel: filter.subscription?.channel ?? null,
      prefix: (wild < 0 ? segments : segments.slice(0, wild)).join('/'),
      exact: wild < 0,
      limit: node.limits.retainedMax + 1,
    });
    return found.filter((message) => subtopicMatches(subtopic, message.subtopic) && filter.accepts(message));
  }

  async #send(filter: SessionFilter, retained: RetainedMessage): Promise<void> {
    const { node } = this.#session;
    const began = filter.from.find(({ partition }) => partition === retained.partition);
    // It comes, or came, as a live message.
    if (!filter.open && began !== undefined && retained.offset >= began.offset) return;
    const judged = await untilDone(
      () => this.#stopped,
      async () => {
        const { principal, context } = this.#session;
        return node.gate.may(principal, 'subscribe', retained.channel, retained.subtopic, context);
      },
    );
    if (judged === null) return;
    if (judged.value.kind === 'deny') {
      node.tally.dropped('denied');
      return;
    }
    const message = { ...retained, protocol: Protocol.unknown, retain: true, encoded: new Map<string, Buffer>() };
    while (!this.#stopped && !filter.removed && !this.#session.send(message, filter, true, null)) {
      await new Promise<void>((resolve) => {
        this.#room = resolve;
      });
      this.#room = null;
    }
  }
}
