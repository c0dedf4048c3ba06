import type {
  AuditTrail,
  Delivery,
  Gate,
  Log,
  Logger,
  Metrics,
  RetainedStore,
  SessionKey,
  SessionStore,
  ShareGroupStore,
} from '@millrace/core';
import type { Session, SessionOpening, Sessions } from '../contract.ts';
import { EarlierPublishes } from './earlier-publishes.ts';
import { SessionError } from './error.ts';
import type { Node, SessionLimits } from './node.ts';
import { Packets } from './publish-packet.ts';
import { keyText, SessionRecord } from './record.ts';
import { ClientSession } from './session.ts';
import { ShareGroups } from './share-group.ts';
import { systemFacts } from './system-facts.ts';
import { SystemTopics } from './system-topics.ts';
import { SessionTally } from './tally.ts';
import { Turnstile } from './turnstile.ts';
import { WriteBehind } from './write-behind.ts';

/** Questions to the store of retained messages at once. */
const LOOKUPS_MAX = 8;
const RETRY_MS = 500;
/** Keys of clean sessions that wait for what was kept under them to be removed. */
const REMOVALS_MAX = 100_000;

export interface SessionsConfig {
  readonly MILLRACE_MQTT_IN_FLIGHT_MAX: number;
  readonly MILLRACE_MQTT_UNSENT_BYTES_MAX: number;
  readonly MILLRACE_MQTT_SUBSCRIPTIONS_MAX: number;
  readonly MILLRACE_MQTT_RECEIVED_MAX: number;
  readonly MILLRACE_MQTT_RETAINED_MAX: number;
  readonly MILLRACE_MQTT_SESSION_EXPIRY_S: number;
  readonly MILLRACE_MQTT_SAVE_MS: number;
  readonly MILLRACE_MQTT_SAVE_ROWS_MAX: number;
  readonly MILLRACE_MQTT_UNSAVED_SESSIONS_MAX: number;
}

export interface SessionsOptions {
  readonly delivery: Delivery;
  /** The log of the messages; without it a QoS 2 publish that a killed node had appended may be appended again. */
  readonly log?: Log;
  /** null: no session outlives its connection. */
  readonly store: SessionStore | null;
  /** Shares groups with other nodes; absent: there are none. */
  readonly shareGroups?: ShareGroupStore | undefined;
  /** null: nothing is retained. */
  readonly retained: RetainedStore | null;
  readonly gate: Gate;
  /** Hears of refused subscriptions. */
  readonly audit?: AuditTrail | undefined;
  readonly config: SessionsConfig;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** As `$SYS/broker/version` tells it. */
  readonly version?: string;
  readonly nowMs?: () => number;
}

/** The MQTT sessions of this node. */
export function createSessions(options: SessionsOptions): Sessions {
  return new NodeSessions(options);
}

/** @holds one session a key on this node; what is kept of a session is written by its holder only */
class NodeSessions implements Sessions, Node {
  readonly delivery: Delivery;
  readonly gate: Gate;
  readonly audit: AuditTrail | undefined;
  readonly retained: RetainedStore | null;
  readonly lookups = new Turnstile(LOOKUPS_MAX);
  readonly packets = new Packets();
  readonly groups: ShareGroups;
  readonly earlier: EarlierPublishes | null;
  readonly system: SystemTopics;
  readonly limits: SessionLimits;
  readonly tally: SessionTally;
  readonly logger: Logger;
  readonly write: WriteBehind | null;
  readonly waiting = new Set<ClientSession>();
  readonly nowMs: () => number;
  deferred = 0;
  retainedBytes = 0;
  subscriptions = 0;
  readonly #store: SessionStore | null;
  readonly #live = new Map<string, ClientSession>();
  /** Records without a connection that are not saved yet. */
  readonly #left = new Map<string, SessionRecord>();
  readonly #opening = new Map<string, Promise<unknown>>();
  /** Of sessions being opened: the newest generation that another node was heard to have taken. */
  readonly #overtaken = new Map<string, number>();
  readonly #unlisten: () => void;
  readonly #timer: NodeJS.Timeout;
  #persistent = 0;

  constructor(options: SessionsOptions) {
    const { delivery, gate, retained, store, config, metrics, logger } = options;
    this.delivery = delivery;
    this.gate = gate;
    this.audit = options.audit;
    this.retained = retained;
    this.logger = logger;
    this.nowMs = options.nowMs ?? Date.now;
    this.#store = store;
    this.limits = {
      inFlightMax: config.MILLRACE_MQTT_IN_FLIGHT_MAX,
      unsentBytesMax: config.MILLRACE_MQTT_UNSENT_BYTES_MAX,
      subscriptionsMax: config.MILLRACE_MQTT_SUBSCRIPTIONS_MAX,
      receivedMax: config.MILLRACE_MQTT_RECEIVED_MAX,
      retainedMax: config.MILLRACE_MQTT_RETAINED_MAX,
    };
    this.tally = new SessionTally(metrics, {
      connected: () => this.#live.size,
      persistent: () => this.#persistent,
      subscriptions: () => this.subscriptions,
      unsaved: () => this.write?.unsaved ?? 0,
      oldestSeconds: () => {
        const oldestMs = this.write?.oldestMs ?? null;
        return oldestMs === null ? 0 : Math.max(0, this.nowMs() - oldestMs) / 1_000;
      },
    });
    this.earlier = options.log === undefined || store === null ? null : new EarlierPublishes(options.log);
    this.groups = new ShareGroups({ delivery, gate, logger }, options.shareGroups);
    this.system = new SystemTopics(
      systemFacts({
        version: options.version ?? 'development',
        metrics,
        tally: this.tally,
        nowMs: this.nowMs,
        connected: () => this.#live.size,
        waiting: () => this.#left.size,
        subscriptions: () => this.subscriptions,
      }),
    );
    this.write =
      store === null
        ? null
        : new WriteBehind({
            store,
            logger,
            tally: this.tally,
            nowMs: this.nowMs,
            intervalMs: config.MILLRACE_MQTT_SAVE_MS,
            rowsMax: config.MILLRACE_MQTT_SAVE_ROWS_MAX,
            expiryMs: config.MILLRACE_MQTT_SESSION_EXPIRY_S * 1_000,
            unsavedMax: config.MILLRACE_MQTT_UNSAVED_SESSIONS_MAX,
            onSettled: (record) => {
              if (this.#left.get(record.keyText) === record) this.#left.delete(record.keyText);
            },
            onBack: () => {
              for (const session of this.#live.values()) session.durable(session.record.savedMark);
            },
          });
    this.#unlisten = store?.onTaken((key, generation) => this.#taken(key, generation)) ?? (() => {});
    this.#timer = setInterval(() => {
      for (const session of [...this.waiting]) session.retry();
    }, RETRY_MS);
    this.#timer.unref();
  }

  get count(): { readonly connected: number; readonly offline: number } {
    return { connected: this.#live.size, offline: this.#left.size };
  }

  open(opening: SessionOpening): Promise<{ readonly session: Session; readonly present: boolean }> {
    const text = keyText(opening.key);
    const before = this.#opening.get(text);
    const mine = before === undefined ? this.#open(text, opening) : before.then(() => this.#open(text, opening));
    const settled = mine.then(noop, noop).then(() => {
      if (this.#opening.get(text) === settled) this.#opening.delete(text);
    });
    this.#opening.set(text, settled);
    return mine;
  }

  async flush(deadlineMs: number): Promise<void> {
    await Promise.all([this.write?.flush(deadlineMs), this.groups.flush(deadlineMs)]);
  }

  stop(): void {
    this.#unlisten();
    clearInterval(this.#timer);
    this.system.stop();
    this.earlier?.stop();
    this.write?.stop();
    for (const session of [...this.#live.values()]) session.leave();
    this.groups.stop();
  }

  urge(record: SessionRecord): number {
    return this.write === null || !record.persistent ? ++record.mark : this.write.urge(record);
  }

  touch(record: SessionRecord): number {
    return this.write === null || !record.persistent ? ++record.mark : this.write.touch(record);
  }

  left(session: ClientSession): void {
    const { record } = session;
    this.#end(session, false);
    if (!record.persistent || record.lost || this.write === null) return;
    record.leftMs = this.nowMs();
    this.#left.set(record.keyText, record);
    this.write.leave(record);
  }

  amend(record: SessionRecord): void {
    if (record.leftMs === null || !record.persistent || record.lost || this.write === null) return;
    if (this.#live.has(record.keyText) || this.#opening.has(record.keyText)) return;
    this.#left.set(record.keyText, record);
    this.write.leave(record);
  }

  abandon(session: ClientSession): void {
    this.#end(session, false);
    this.write?.forget(session.record);
  }

  /** @param handOver its client has come back in another connection */
  #end(session: ClientSession, handOver: boolean): void {
    const { record } = session;
    if (this.#live.get(record.keyText) === session) {
      this.#live.delete(record.keyText);
      if (record.persistent) this.#persistent--;
    }
    session.detach(handOver);
  }

  async #open(text: string, { key, clean, outlet }: SessionOpening): Promise<{ session: Session; present: boolean }> {
    let record = this.#takeHere(text, clean);
    let present = record !== null;
    if (clean || this.#store === null) {
      if (clean) this.#removeKept(key, record);
      record = new SessionRecord({
        key,
        persistent: false,
        generation: 0,
        windowMax: this.limits.inFlightMax,
        state: null,
      });
      present = false;
    } else if (record === null) {
      const { generation, state } = await this.#openKept(text, key, this.#store);
      const windowMax = this.limits.inFlightMax;
      record = new SessionRecord({ key, persistent: true, generation, windowMax, state });
      present = state !== null;
    } else if (this.#left.delete(text)) this.write?.unleave(record);
    const session = new ClientSession(this, record, outlet);
    this.#live.set(text, session);
    if (record.persistent) this.#persistent++;
    return { session, present };
  }

  /** What this node has in memory of a session that is kept; whoever is connected with it is sent away. */
  #takeHere(text: string, clean: boolean): SessionRecord | null {
    const session = this.#live.get(text);
    if (session === undefined) return this.#left.get(text) ?? null;
    const { record } = session;
    this.tally.taken('here');
    this.#end(session, record.persistent && !clean);
    session.outlet.close('taken_over');
    return record.persistent ? record : null;
  }

  #removeKept(key: SessionKey, record: SessionRecord | null): void {
    if (this.write === null) return;
    if (record !== null) {
      this.#left.delete(record.keyText);
      this.write.forget(record);
      record.lost = true;
    }
    if (this.write.removals >= REMOVALS_MAX) throw new SessionError('SESSION_NOT_SAVED', 'later');
    this.write.remove(key);
  }

  async #openKept(text: string, key: SessionKey, store: SessionStore) {
    await this.write?.whenRemoved(text);
    this.#overtaken.set(text, 0);
    try {
      const opened = await store.open(key);
      if ((this.#overtaken.get(text) ?? 0) > opened.generation) throw new SessionError('SESSION_TAKEN', 'now');
      return opened;
    } finally {
      this.#overtaken.delete(text);
    }
  }

  #taken(key: SessionKey, generation: number): void {
    const text = keyText(key);
    const overtaken = this.#overtaken.get(text);
    if (overtaken !== undefined) this.#overtaken.set(text, Math.max(overtaken, generation));
    const record = this.#live.get(text)?.record ?? this.#left.get(text);
    if (record === undefined || !record.persistent || record.generation >= generation) return;
    this.#left.delete(text);
    this.write?.forget(record);
    record.fenced(new SessionError('SESSION_TAKEN', 'now'));
  }
}

function noop(): void {}
