import {
  MillraceError,
  type OpenedSession,
  type RetainedMessage,
  type RetainedStore,
  type SessionKey,
  type SessionState,
  type SessionStore,
} from '@millrace/core';
import { keyText } from '../record.ts';

export class StoreAway extends MillraceError<'REGISTRY_UNREACHABLE'> {
  constructor() {
    super('REGISTRY_UNREACHABLE', 'later');
  }
}

interface Row {
  readonly key: SessionKey;
  generation: number;
  /** As text, so that nobody shares an object with the store. */
  state: string | null;
  expiresMs: number | null;
}

/** A store of sessions for tests; several nodes may share one. It can be away, or slow: then what is asked waits. */
export class MemorySessionStore implements SessionStore {
  readonly rows = new Map<string, Row>();
  away = false;
  /** While set, saves wait for it. */
  gate: Promise<void> | null = null;
  /** A client id that can't be saved. */
  poison: string | null = null;
  saves = 0;
  savedRows = 0;
  opens = 0;
  removes = 0;
  /** Calls of `save` at the same time, at most. */
  concurrency = 0;
  #saving = 0;
  readonly #listeners = new Set<(key: SessionKey, generation: number) => void>();

  async open(key: SessionKey): Promise<OpenedSession> {
    await this.#asked();
    this.opens++;
    const text = keyText(key);
    const row = this.rows.get(text) ?? { key, generation: 0, state: null, expiresMs: null };
    const held = this.rows.has(text) && row.expiresMs === null;
    row.generation++;
    row.expiresMs = null;
    this.rows.set(text, row);
    const { generation, state } = row;
    if (held) for (const listener of this.#listeners) listener(key, generation);
    return { generation, state: state === null ? null : (JSON.parse(state) as SessionState) };
  }

  async save(sessions: Parameters<SessionStore['save']>[0]): Promise<readonly SessionKey[]> {
    this.#saving++;
    this.concurrency = Math.max(this.concurrency, this.#saving);
    const rows = sessions.map((each) => ({ ...each, state: JSON.stringify(each.state) }));
    try {
      await this.#asked();
      if (this.gate !== null) await this.gate;
      if (this.away) throw new StoreAway();
      if (sessions.some(({ key }) => key.clientId === this.poison)) throw new Error('no such value');
    } finally {
      this.#saving--;
    }
    this.saves++;
    this.savedRows += rows.length;
    const fenced: SessionKey[] = [];
    for (const { key, generation, state, expiresMs } of rows) {
      const row = this.rows.get(keyText(key));
      if (row === undefined || row.generation !== generation) fenced.push(key);
      else {
        row.state = state;
        row.expiresMs = expiresMs;
      }
    }
    return fenced;
  }

  async remove(removals: Parameters<SessionStore['remove']>[0]): Promise<void> {
    await this.#asked();
    this.removes++;
    for (const { key } of removals) this.rows.delete(keyText(key));
  }

  onTaken(listener: (key: SessionKey, generation: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  stateOf(key: SessionKey): SessionState | null {
    const state = this.rows.get(keyText(key))?.state ?? null;
    return state === null ? null : (JSON.parse(state) as SessionState);
  }

  async #asked(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.away) throw new StoreAway();
  }
}

/** A store of retained messages for tests. */
export class MemoryRetainedStore implements RetainedStore {
  readonly messages = new Map<string, RetainedMessage>();
  away = false;
  finds = 0;

  async keep(messages: readonly RetainedMessage[]): Promise<readonly number[]> {
    if (this.away) throw new StoreAway();
    for (const message of messages) {
      const topic = `${message.channel}/${message.subtopic}`;
      const known = this.messages.get(topic);
      if (known === undefined || known.offset < message.offset) this.messages.set(topic, message);
    }
    return [];
  }

  async find({
    channel,
    prefix,
    exact,
    limit,
  }: Parameters<RetainedStore['find']>[0]): Promise<readonly RetainedMessage[]> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.away) throw new StoreAway();
    this.finds++;
    return [...this.messages.values()]
      .filter((message) => message.payload.length > 0)
      .filter((message) => channel === null || message.channel === channel)
      .filter(({ subtopic }) =>
        exact ? subtopic === prefix : prefix === '' || subtopic === prefix || subtopic.startsWith(`${prefix}/`),
      )
      .slice(0, limit);
  }
}
