import {
  MillraceError,
  type OpenedSession,
  type RetainedMessage,
  type RetainedStore,
  type SessionKey,
  type SessionState,
  type SessionStore,
  type ShareGroupStore,
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

/** Shares groups among nodes of a test, by parts that the test sets. */
export class MemoryShareGroups {
  /** Partitions that each node is to read. */
  readonly parts = new Map<string, number>();
  readonly cursors = new Map<string, { node: string | null; offset: number }>();
  away = false;

  of(node: string): ShareGroupStore {
    return {
      share: async (reports) => {
        await new Promise((resolve) => setImmediate(resolve));
        if (this.away) throw new StoreAway();
        return reports.flatMap(({ key, members, starts, held, released }) => {
          const at = (partition: number): string => `${key}/${partition}`;
          for (const [places, reads] of [
            [held, true],
            [released, false],
          ] as const)
            for (const { partition, offset } of places) {
              const cursor = this.cursors.get(at(partition)) ?? { node, offset };
              if (cursor.node === node) this.cursors.set(at(partition), { node: reads ? node : null, offset });
            }
          if (members === 0) return [];
          const isMine = (partition: number): boolean => this.cursors.get(at(partition))?.node === node;
          const part = this.parts.get(node) ?? 0;
          const before = starts.filter(({ partition }) => isMine(partition)).length;
          const free = starts.filter(({ partition }) => (this.cursors.get(at(partition))?.node ?? null) === null);
          const taken = free.slice(0, Math.max(0, part - before)).map(({ partition, offset }) => {
            const cursor = { node, offset: this.cursors.get(at(partition))?.offset ?? offset };
            this.cursors.set(at(partition), cursor);
            return { partition, offset: cursor.offset };
          });
          const lost = held.map(({ partition }) => partition).filter((partition) => !isMine(partition));
          return [{ key, taken, lost, excess: Math.max(0, before - part) }];
        });
      },
    };
  }

  /** A node has died. */
  bury(node: string): void {
    for (const cursor of this.cursors.values()) if (cursor.node === node) cursor.node = null;
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
