import {
  type DirectoryChange,
  isUuid,
  type OpenedSession,
  type SessionKey,
  type SessionState,
  type SessionStore,
} from '@millrace/core';
import type { ChangeFeed } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { Gathering } from './gathering.ts';
import { isKeepable } from './keepable.ts';

/** Longer ones do not fit into the index. */
const CLIENT_ID_BYTES_MAX = 2_048;
const OPENS_A_STATEMENT_MAX = 500;
const OPENS_WAITING_MAX = 50_000;
const ROWS_A_STATEMENT_MAX = 1_000;
const CHARACTERS_A_STATEMENT_MAX = 4 * 1024 * 1024;

export interface SessionStoreOptions {
  readonly session: Session;
  readonly feed: ChangeFeed;
  /** This process, as the holder of sessions. */
  readonly node: string;
  readonly perOwnerMax: number;
  readonly now: () => number;
}

interface OpenedRow {
  readonly owner: string;
  readonly client_id: string;
  readonly generation: string;
  readonly state: SessionState | null;
  readonly taken: boolean;
}

/** Generations come from one sequence, drawn while the row is locked: they rise for each session, and none comes again
 *  after a session was removed. Rows are locked in order of their key, so statements of several nodes never deadlock.
 *  @throws RegistryError REGISTRY_SESSIONS_FULL, REGISTRY_VALUE_REFUSED (a client id with U+0000), both never */
export function createSessionStore(options: SessionStoreOptions): SessionStore {
  const { session, feed, node, now } = options;

  const open = async (keys: readonly SessionKey[]): Promise<(OpenedSession | Error)[]> => {
    const rows = await feed.transaction(async (tx) => {
      const opened = await tx.query<OpenedRow>(OPEN, [
        keys.map((key) => key.owner),
        keys.map((key) => key.clientId),
        node,
        now(),
        options.perOwnerMax,
      ]);
      for (const row of opened)
        if (row.taken) tx.changed('session', `${row.owner}/${row.client_id}`, null, [row.generation, node]);
      return opened;
    });
    const byKey = new Map(rows.map((row) => [textOf({ owner: row.owner, clientId: row.client_id }), row]));
    return keys.map((key) => {
      const row = byKey.get(textOf(key));
      if (row !== undefined) return { generation: Number(row.generation), state: row.state };
      const facts = { owner: key.owner, sessionsMax: options.perOwnerMax };
      return new RegistryError('REGISTRY_SESSIONS_FULL', 'never', facts);
    });
  };
  const opens = new Gathering<SessionKey, OpenedSession>({
    key: textOf,
    run: open,
    itemsMax: OPENS_A_STATEMENT_MAX,
    waitingMax: OPENS_WAITING_MAX,
  });

  return {
    open(key) {
      if (isValid(key)) return opens.add(key);
      return Promise.reject(new RegistryError('REGISTRY_VALUE_REFUSED', 'never', { field: 'client_id' }));
    },

    async save(sessions) {
      const fenced: SessionKey[] = [];
      for (const chunk of chunks(sessions)) {
        const rows = await session.query<{ owner: string; client_id: string }>(SAVE, [
          chunk.map(({ key }) => key.owner),
          chunk.map(({ key }) => key.clientId),
          chunk.map(({ generation }) => generation),
          chunk.map(({ text }) => text),
          chunk.map(({ expiresMs }) => expiresMs),
          node,
        ]);
        const saved = new Set(rows.map((row) => textOf({ owner: row.owner, clientId: row.client_id })));
        for (const { key } of chunk) if (!saved.has(textOf(key))) fenced.push(key);
      }
      for (const { key } of sessions) if (!isValid(key)) fenced.push(key);
      return fenced;
    },

    async remove(removals) {
      const valid = removals.filter(({ key }) => isValid(key));
      for (let from = 0; from < valid.length; from += ROWS_A_STATEMENT_MAX) {
        const chunk = valid.slice(from, from + ROWS_A_STATEMENT_MAX);
        await feed.transaction(async (tx) => {
          const rows = await tx.query<OpenedRow>(REMOVE, [
            chunk.map(({ key }) => key.owner),
            chunk.map(({ key }) => key.clientId),
            node,
            chunk.map(({ ageMs }) => ageMs),
          ]);
          for (const row of rows)
            if (row.taken) tx.changed('session', `${row.owner}/${row.client_id}`, null, [row.generation, node]);
        });
      }
    },

    onTaken: (listener) =>
      feed.onChange((change) => {
        const taken = takenBy(change);
        if (taken !== null && taken.node !== node) listener(taken.key, taken.generation);
      }),
  };
}

interface Saved {
  readonly key: SessionKey;
  readonly generation: number;
  readonly text: string;
  readonly expiresMs: number | null;
}

/** Statements of bounded size. Of one key that is given twice the newest counts: the older would be fenced by it. */
function* chunks(sessions: Parameters<SessionStore['save']>[0]): Generator<Saved[]> {
  const latest = new Map<string, (typeof sessions)[number]>();
  for (const each of sessions) {
    if (!isValid(each.key)) continue;
    const text = textOf(each.key);
    const before = latest.get(text);
    if (before === undefined || before.generation <= each.generation) latest.set(text, each);
  }
  let chunk: Saved[] = [];
  let characters = 0;
  for (const { key, generation, state, expiresMs } of latest.values()) {
    const text = JSON.stringify(state);
    if (
      chunk.length === ROWS_A_STATEMENT_MAX ||
      (chunk.length > 0 && characters + text.length > CHARACTERS_A_STATEMENT_MAX)
    ) {
      yield chunk;
      chunk = [];
      characters = 0;
    }
    chunk.push({ key, generation, text, expiresMs });
    characters += text.length;
  }
  if (chunk.length > 0) yield chunk;
}

export const isValid = ({ owner, clientId }: SessionKey): boolean =>
  isUuid(owner) && clientId !== '' && isKeepable(clientId, CLIENT_ID_BYTES_MAX);

/** @holds an owner's id holds no slash */
export const textOf = ({ owner, clientId }: SessionKey): string => `${owner.toLowerCase()}/${clientId}`;

function takenBy({ entity, id, voids }: DirectoryChange): { key: SessionKey; generation: number; node: string } | null {
  const [generation, node] = voids;
  if (entity !== 'session' || generation === undefined || node === undefined) return null;
  const slash = id.indexOf('/');
  return { key: { owner: id.slice(0, slash), clientId: id.slice(slash + 1) }, generation: Number(generation), node };
}

/** Those that are not returned are one too many for their owner.
 *  @shape $1 owners, $2 client ids, $3 node, $4 now in ms, $5 sessions of one owner at most */
const OPEN = `
WITH wanted AS (
  SELECT wanted.*, held.owner IS NULL AS fresh
  FROM unnest($1::uuid[], $2::text[]) AS wanted (owner, client_id)
  LEFT JOIN registry.mqtt_sessions AS held ON held.owner = wanted.owner AND held.client_id = wanted.client_id
), placed AS (
  SELECT *, row_number() OVER (PARTITION BY owner, fresh ORDER BY client_id) AS place FROM wanted
)
INSERT INTO registry.mqtt_sessions AS held (owner, client_id, generation, node)
SELECT owner, client_id, nextval('registry.session_generations'), $3 FROM placed
WHERE NOT fresh OR place + (
  SELECT count(*) FROM registry.mqtt_sessions AS other
  WHERE other.owner = placed.owner AND (other.expires_at IS NULL OR other.expires_at > to_timestamp($4::float8 / 1000))
) <= $5
ORDER BY owner, client_id COLLATE "C"
ON CONFLICT (owner, client_id) DO UPDATE SET
  generation = nextval('registry.session_generations'),
  state = CASE WHEN held.expires_at <= to_timestamp($4::float8 / 1000) THEN NULL ELSE held.state END,
  taken = held.node IS NOT NULL AND held.node <> excluded.node,
  node = excluded.node, expires_at = NULL, opened_at = now(), updated_at = now()
RETURNING owner, client_id, generation, state, taken`;

/** @shape $1 owners, $2 client ids, $3 generations, $4 states, $5 expiries in ms or null, $6 node */
const SAVE = `
WITH given AS (
  SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::json[], $5::float8[])
    AS given (owner, client_id, generation, state, expires_ms)
), ours AS (
  SELECT given.* FROM given JOIN registry.mqtt_sessions AS held
    ON held.owner = given.owner AND held.client_id = given.client_id AND held.generation = given.generation
  ORDER BY held.owner, held.client_id FOR UPDATE OF held
)
UPDATE registry.mqtt_sessions AS held SET
  state = ours.state, expires_at = to_timestamp(ours.expires_ms / 1000),
  node = CASE WHEN ours.expires_ms IS NULL THEN $6::uuid END, updated_at = now()
FROM ours WHERE held.owner = ours.owner AND held.client_id = ours.client_id AND held.generation = ours.generation
RETURNING held.owner, held.client_id`;

/** @shape $1 owners, $2 client ids, $3 node, $4 ms since each was due */
const REMOVE = `
WITH doomed AS (
  SELECT held.owner, held.client_id FROM registry.mqtt_sessions AS held
  JOIN unnest($1::uuid[], $2::text[], $4::float8[]) AS given (owner, client_id, age_ms)
    ON held.owner = given.owner AND held.client_id = given.client_id
      AND held.opened_at <= now() - given.age_ms * interval '1 ms'
  ORDER BY held.owner, held.client_id FOR UPDATE OF held
)
DELETE FROM registry.mqtt_sessions AS held USING doomed
WHERE held.owner = doomed.owner AND held.client_id = doomed.client_id
RETURNING held.owner, held.client_id, nextval('registry.session_generations') AS generation,
  held.node IS NOT NULL AND held.node <> $3::uuid AS taken`;
