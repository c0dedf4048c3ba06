import { type Logger, type Metrics, type Presence, type Protocol, protocolNames } from '@millrace/core';
import type { Database } from '../database/database.ts';
import type { Topic } from '../parts.ts';

// hot

/** What is known of a thing's being there. */
export interface ThingPresence {
  readonly online: boolean;
  /** Since when it has been connected without a break; null while it is not. */
  readonly onlineSince: Date | null;
  readonly lastSeen: Date | null;
  /** By which it was last heard of. */
  readonly protocol: string | null;
  readonly address: string | null;
}
export interface PresenceStore extends Presence, Topic {
  /** Of every thing that was ever heard of; others are absent. */
  of(things: readonly string[]): Promise<ReadonlyMap<string, ThingPresence>>;
  /** Writes down what is gathered. */
  flush(): Promise<void>;
}
export interface PresenceOptions {
  readonly database: Database;
  readonly node: string;
  readonly now: () => number;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** How often what is gathered is written. */
  readonly everyMs: number;
  /** Things that are kept in mind; further ones are not noted (counted), unless they connect. */
  readonly thingsMax?: number;
}

/** The last sign of life is written at most so often for one thing: a chatty one costs no write a message. */
const SEEN_EVERY_MS = 60_000;
/** A thing that has been silent so long is forgotten here; the table knows it. */
const IDLE_MS = 10 * 60_000;
/** A node that has written nothing for so long is taken for dead, and its things for offline. */
export const NODE_SILENT = `interval '30 seconds'`;
const ROWS_MAX = 5_000;
const SWEPT_A_FLUSH = 20_000;
const ADDRESS_CHARACTERS_MAX = 64;
const THINGS_MAX = 1_000_000;

interface Entry {
  readonly thing: string;
  connections: number;
  onlineSinceMs: number;
  lastSeenMs: number;
  protocol: Protocol;
  address: string;
  /** As the table has it; 0: never. */
  writtenMs: number;
  /** Stands in the queue to be written. */
  queued: boolean;
}

const LIVE = 'SELECT 1 FROM registry.presence_nodes AS live WHERE live.id = presence.node AND live.seen_at > now()';
/** SQL for "the thing is connected with a node that lives", where `things` is in sight. */
export const ONLINE = `EXISTS (SELECT 1 FROM registry.presence WHERE presence.thing = things.id AND online_since IS NOT NULL
  AND EXISTS (${LIVE} - ${NODE_SILENT}))`;

/** Rows of other nodes say nothing any more once they are offline there and the thing is heard of here. */
const WRITE = `WITH told AS (
    SELECT told.* FROM jsonb_to_recordset($2) AS told (thing uuid, online_ms float8, seen_ms float8, protocol text, address text)
    JOIN registry.things ON things.id = told.thing),
  stale AS (
    DELETE FROM registry.presence USING told WHERE presence.thing = told.thing AND presence.node <> $1
      AND (presence.online_since IS NULL OR NOT EXISTS (${LIVE} - ${NODE_SILENT})))
  INSERT INTO registry.presence (thing, node, online_since, last_seen, protocol, address)
  SELECT thing, $1, to_timestamp(online_ms / 1000), to_timestamp(seen_ms / 1000), protocol, address FROM told ORDER BY thing
  ON CONFLICT (thing, node) DO UPDATE SET online_since = excluded.online_since, last_seen = excluded.last_seen,
    protocol = excluded.protocol, address = excluded.address`;
const HEARTBEAT = `INSERT INTO registry.presence_nodes AS node (id, seen_at) VALUES ($1, now())
  ON CONFLICT (id) DO UPDATE SET seen_at = now() RETURNING xmax = 0 AS fresh`;
const BURY = `WITH dead AS (DELETE FROM registry.presence_nodes WHERE seen_at < now() - 10 * ${NODE_SILENT} RETURNING id)
  UPDATE registry.presence SET online_since = NULL FROM dead WHERE node = dead.id AND online_since IS NOT NULL`;
const READ = `SELECT thing, node, last_seen AS "lastSeen", protocol, address,
    CASE WHEN EXISTS (${LIVE} - ${NODE_SILENT}) THEN online_since END AS "onlineSince"
  FROM registry.presence WHERE thing = ANY ($1::uuid[]) ORDER BY last_seen`;

interface PresenceRow {
  readonly thing: string;
  readonly node: string;
  readonly onlineSince: Date | null;
  readonly lastSeen: Date;
  readonly protocol: string;
  readonly address: string;
}

/** Presence, gathered in memory and written in one statement every few seconds. Each node writes rows of its own, so that
 *  a thing that is connected with two is online until both have seen it go. */
export function createPresence(options: PresenceOptions): PresenceStore {
  const { database, node, now, metrics, logger, everyMs, thingsMax = THINGS_MAX } = options;
  const entries = new Map<string, Entry>();
  let queue: Entry[] = [];
  let sweeping = entries.values();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | null = null;
  let following: Promise<void> | null = null;
  let stopped = false;
  const dropped = metrics.counter('millrace_presence_dropped_total', 'Signs of life of things beyond the limit.');
  metrics.gauge(
    'millrace_presence_things',
    'Things that are kept in mind, by whether they are connected.',
    ['state'],
    (gauge) => {
      let online = 0;
      for (const entry of entries.values()) if (entry.connections > 0) online++;
      gauge.set({ state: 'online' }, online);
      gauge.set({ state: 'idle' }, entries.size - online);
    },
  );

  const enter = (thing: string, protocol: Protocol, address: string, nowMs: number): Entry => {
    const entry: Entry = {
      thing,
      connections: 0,
      onlineSinceMs: 0,
      lastSeenMs: nowMs,
      protocol,
      address,
      writtenMs: 0,
      queued: false,
    };
    entries.set(thing, entry);
    return entry;
  };
  const enqueue = (entry: Entry): void => {
    if (entry.queued) return;
    entry.queued = true;
    queue.push(entry);
  };

  async function write(batch: readonly Entry[]): Promise<void> {
    const rows = batch.map((entry) => ({
      thing: entry.thing,
      online_ms: entry.connections > 0 ? entry.onlineSinceMs : null,
      seen_ms: entry.lastSeenMs,
      protocol: protocolNames[entry.protocol] ?? 'unknown',
      address: entry.address.slice(0, ADDRESS_CHARACTERS_MAX),
    }));
    // What happens while it is written is queued again.
    for (const [index, entry] of batch.entries()) {
      entry.queued = false;
      entry.writtenMs = rows[index]?.seen_ms ?? 0;
    }
    try {
      await database.query(WRITE, [node, JSON.stringify(rows)]);
    } catch (error) {
      for (const entry of batch) enqueue(entry);
      throw error;
    }
  }

  /** Forgets things that have long been silent, some at a time. */
  function sweep(): void {
    const before = now() - IDLE_MS;
    for (let count = 0; count < SWEPT_A_FLUSH; count++) {
      const { value: entry, done } = sweeping.next();
      if (done === true || entry === undefined) {
        sweeping = entries.values();
        return;
      }
      if (entry.connections > 0 || entry.queued || entry.lastSeenMs > before) continue;
      if (entry.lastSeenMs > entry.writtenMs) enqueue(entry);
      else entries.delete(entry.thing);
    }
  }

  async function round(): Promise<void> {
    const [row] = await database.query<{ fresh: boolean }>(HEARTBEAT, [node]);
    // New, or buried alive: what is connected must be told again.
    if (row?.fresh === true) for (const entry of entries.values()) if (entry.connections > 0) enqueue(entry);
    const due = queue;
    queue = [];
    let at = 0;
    try {
      for (; at < due.length; at += ROWS_MAX) await write(due.slice(at, at + ROWS_MAX));
    } catch (error) {
      // Those of the batch that failed have queued themselves.
      queue = queue.concat(due.slice(at + ROWS_MAX));
      throw error;
    }
    sweep();
    await database.query(BURY);
  }

  /** @holds one round at a time; who asks while one is under way shares the next */
  function flush(): Promise<void> {
    if (running === null) {
      running = round().finally(() => {
        running = null;
      });
      return running;
    }
    following ??= running
      .catch(() => undefined)
      .then(() => {
        following = null;
        return flush();
      });
    return following;
  }

  function schedule(): void {
    if (stopped) return;
    timer = setTimeout(() => {
      flush()
        .catch((error: Error) => logger.warn({ err: error.message }, 'can not write who is there; tries again'))
        .finally(schedule);
    }, everyMs);
    timer.unref();
  }

  const shown = (entry: Entry): ThingPresence => ({
    online: entry.connections > 0,
    onlineSince: entry.connections > 0 ? new Date(entry.onlineSinceMs) : null,
    lastSeen: new Date(entry.lastSeenMs),
    protocol: protocolNames[entry.protocol] ?? 'unknown',
    address: entry.address.slice(0, ADDRESS_CHARACTERS_MAX),
  });

  return {
    connected(thing, _org, protocol, address) {
      const nowMs = now();
      const entry = entries.get(thing) ?? enter(thing, protocol, address, nowMs);
      if (entry.connections++ === 0) entry.onlineSinceMs = nowMs;
      entry.lastSeenMs = nowMs;
      entry.protocol = protocol;
      entry.address = address;
      enqueue(entry);
      let open = true;
      return () => {
        if (!open) return;
        open = false;
        entry.connections--;
        entry.lastSeenMs = now();
        enqueue(entry);
      };
    },

    seen(thing, _org, protocol, address, nowMs) {
      let entry = entries.get(thing);
      if (entry === undefined) {
        if (entries.size >= thingsMax) {
          dropped.inc();
          return;
        }
        entry = enter(thing, protocol, address, nowMs);
      }
      entry.lastSeenMs = nowMs;
      entry.protocol = protocol;
      entry.address = address;
      if (nowMs - entry.writtenMs >= SEEN_EVERY_MS) enqueue(entry);
    },

    async of(things) {
      const found = new Map<string, ThingPresence>();
      if (things.length === 0) return found;
      const rows = await database.query<PresenceRow>(READ, [things]);
      const here = things.map((thing) => entries.get(thing)).filter((entry) => entry !== undefined);
      const known = new Set(here.map(({ thing }) => thing));
      // The latest comes last and wins; of what is here the memory knows better than the table.
      for (const row of rows)
        if (row.node !== node || !known.has(row.thing)) found.set(row.thing, joined(found.get(row.thing), ofRow(row)));
      for (const entry of here) found.set(entry.thing, joined(found.get(entry.thing), shown(entry)));
      return found;
    },

    flush,

    async start() {
      await database.query(HEARTBEAT, [node]);
      schedule();
    },

    async stop() {
      stopped = true;
      clearTimeout(timer);
      for (const entry of entries.values()) {
        if (entry.connections > 0 || entry.lastSeenMs > entry.writtenMs) enqueue(entry);
        entry.connections = 0;
      }
      await flush().catch(() => undefined);
      await database.query('DELETE FROM registry.presence_nodes WHERE id = $1', [node]).catch(() => undefined);
    },
  };
}

const ofRow = ({ onlineSince, lastSeen, protocol, address }: PresenceRow): ThingPresence => ({
  online: onlineSince !== null,
  onlineSince,
  lastSeen,
  protocol,
  address,
});

/** What two nodes know of one thing: online if it is with either, and the later word of where. */
function joined(one: ThingPresence | undefined, other: ThingPresence): ThingPresence {
  if (one === undefined) return other;
  const later = (one.lastSeen?.getTime() ?? 0) > (other.lastSeen?.getTime() ?? 0) ? one : other;
  const since = [one.onlineSince, other.onlineSince].filter((each) => each !== null).map(Number);
  return {
    ...later,
    online: since.length > 0,
    onlineSince: since.length === 0 ? null : new Date(Math.min(...since)),
  };
}
