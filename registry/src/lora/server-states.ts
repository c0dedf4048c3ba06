import type { Logger, NetworkServerReport } from '@millrace/core';
import type { Session } from '../database/database.ts';
import { keepable } from './keepable.ts';

/** How one node's connection with a server is. */
export interface ServerState {
  readonly node: string;
  readonly state: NetworkServerReport['state'];
  readonly detail: string;
  readonly since: Date;
  readonly lastEventAt: Date | null;
  readonly seenAt: Date;
}
export interface ServerStates {
  /** As `LoraDirectory.report` says. */
  report(server: string, report: NetworkServerReport): void;
  /** Of the nodes that live. What other nodes say may be some seconds old. */
  of(server: string): Promise<readonly ServerState[]>;
  flush(): Promise<void>;
  start(): void;
  stop(): Promise<void>;
}
export interface ServerStatesOptions {
  readonly session: Session;
  readonly node: string;
  readonly now: () => number;
  readonly logger: Logger;
  readonly everyMs?: number;
}

interface Entry {
  state: NetworkServerReport['state'];
  detail: string;
  sinceMs: number;
  lastEventMs: number | null;
  writtenMs: number;
  changed: boolean;
}

const EVERY_MS = 3_000;
/** A node says again what has not changed so often … */
const AGAIN_MS = 20_000;
/** … and is not believed any more when it has not for so long. */
const NODE_SILENT = `interval '90 seconds'`;
const SERVERS_MAX = 10_000;
const DETAIL_CHARACTERS_MAX = 500;

/** Of a server that is gone or disabled nothing is kept: its connections are closed. */
const CONNECTED = `(SELECT network_servers.id FROM registry.network_servers JOIN registry.orgs ON orgs.id = org
  WHERE enabled AND NOT frozen) AS connected ON connected.id = server`;
const WRITE = `WITH told AS (
    SELECT * FROM jsonb_to_recordset($2) AS told (server uuid, state text, detail text, since_ms float8, event_ms float8)),
  swept AS (DELETE FROM registry.network_server_states WHERE seen_at < now() - 10 * ${NODE_SILENT} AND node <> $1)
  INSERT INTO registry.network_server_states (server, node, state, detail, since, last_event_at, seen_at)
  SELECT server, $1, state, detail, to_timestamp(since_ms / 1000), to_timestamp(event_ms / 1000), now()
  FROM told JOIN ${CONNECTED} ORDER BY server
  ON CONFLICT (server, node) DO UPDATE SET state = excluded.state, detail = excluded.detail, since = excluded.since,
    last_event_at = excluded.last_event_at, seen_at = excluded.seen_at
  RETURNING server`;

/** What this node says of its connections, gathered and written together. @holds at most SERVERS_MAX are kept in mind */
export function createServerStates(options: ServerStatesOptions): ServerStates {
  const { session, node, now, logger, everyMs = EVERY_MS } = options;
  const entries = new Map<string, Entry>();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  let stopped = false;

  async function write(): Promise<void> {
    const nowMs = now();
    const due = [...entries].filter(([, entry]) => entry.changed || nowMs - entry.writtenMs >= AGAIN_MS);
    if (due.length === 0) return;
    const rows = due.map(([server, { state, detail, sinceMs, lastEventMs }]) => ({
      server,
      state,
      detail,
      since_ms: sinceMs,
      event_ms: lastEventMs,
    }));
    for (const [, entry] of due) entry.changed = false;
    try {
      const written = await session.query<{ server: string }>(WRITE, [node, JSON.stringify(rows)]);
      const there = new Set(written.map(({ server }) => server));
      for (const [server, entry] of due) {
        entry.writtenMs = nowMs;
        if (!there.has(server)) entries.delete(server);
      }
    } catch (error) {
      for (const [, entry] of due) entry.changed = true;
      throw error;
    }
  }
  const flush = (): Promise<void> => {
    const next = running.then(write);
    running = next.catch(() => undefined);
    return next;
  };
  function schedule(): void {
    if (stopped) return;
    timer = setTimeout(() => {
      flush()
        .catch((error: Error) =>
          logger.warn({ err: error.message }, 'can not write how network servers are; tries again'),
        )
        .finally(schedule);
    }, everyMs);
    timer.unref();
  }

  return {
    flush,
    report(server, { state, detail, lastEventMs }) {
      const told = keepable(detail, DETAIL_CHARACTERS_MAX);
      const before = entries.get(server);
      if (before === undefined) {
        if (entries.size >= SERVERS_MAX) return;
        entries.set(server, { state, detail: told, sinceMs: now(), lastEventMs, writtenMs: 0, changed: true });
        return;
      }
      if (before.state !== state) before.sinceMs = now();
      before.changed ||= before.state !== state || before.detail !== told || before.lastEventMs !== lastEventMs;
      before.state = state;
      before.detail = told;
      before.lastEventMs = lastEventMs ?? before.lastEventMs;
    },

    of: (server) =>
      session.query<ServerState>(
        `SELECT node, state, detail, since, last_event_at AS "lastEventAt", seen_at AS "seenAt"
         FROM registry.network_server_states JOIN ${CONNECTED}
         WHERE server = $1 AND seen_at > now() - ${NODE_SILENT} ORDER BY node`,
        [server],
      ),

    start: schedule,
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await running;
      const gone = 'DELETE FROM registry.network_server_states WHERE node = $1';
      await session.query(gone, [node]).catch(() => undefined);
    },
  };
}
