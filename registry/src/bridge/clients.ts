import type {
  ClientClaim,
  ClientConnection,
  ClientStore,
  Credentials,
  DirectoryChange,
  DueWill,
  KeptWill,
  Logger,
  NodeEvents,
  SessionKey,
} from '@millrace/core';
import type { ChangeFeed } from '../changes.ts';
import type { Database } from '../database/database.ts';
import { NodeLease } from './node-lease.ts';
import { isValid, textOf } from './sessions.ts';

export interface ClientStoreOptions {
  readonly database: Database;
  readonly feed: ChangeFeed;
  readonly credentials: Pick<Credentials, 'encrypt' | 'decrypt'>;
  readonly node: string;
  readonly logger: Logger;
  readonly beatMs?: number;
  readonly leaseMs?: number;
}

const ROWS_A_STATEMENT_MAX = 1_000;
const CHARACTERS_A_STATEMENT_MAX = 4 * 1024 * 1024;
/** Wills that are taken over at once. */
const DUE_MAX = 200;
/** The lease must be renewed in between. */
const BATCHES_A_BEAT_MAX = 10;
/** What a node left behind that died while it took over another's is looked for now and then. */
const BEATS_A_LOOK = 30;

/** A row a connected client. Of two connections the one whose CONNECT came later has it, by the database's clock: each
 *  claim says how long ago that was, so it may be written late. */
export function createClientStore(options: ClientStoreOptions): ClientStore {
  const { database, feed, credentials, node, logger } = options;
  const lease = new NodeLease(options);
  let unlisten: (() => void) | null = null;
  let beats = 0;
  let more = true;

  /** What dead nodes have left. */
  async function takeOver(events: NodeEvents): Promise<void> {
    const rows = await database.query<DueRow>(TAKE_OVER, [node]);
    const due: DueWill[] = [];
    for (const row of rows) {
      const key = { owner: row.owner, clientId: row.client_id };
      const will = opened(credentials, row);
      if (will === null) logger.warn({ client: row.owner }, 'a will that was kept can not be read');
      else due.push({ key, connection: row.connection, will });
    }
    if (due.length > 0) events.due(due);
    const gone = await database.query(FORGET, [ROWS_A_STATEMENT_MAX]);
    more = rows.length === DUE_MAX || gone.length === ROWS_A_STATEMENT_MAX;
  }

  return {
    get alone() {
      return lease.alone;
    },

    async join(events) {
      unlisten = feed.onChange((change) => {
        const taken = takenBy(change);
        if (taken !== null && taken.node !== node) events.taken(taken.key, taken.connection);
      });
      await lease.start({
        joined: events.joined,
        buried: events.buried,
        async beat(buriedOthers) {
          more ||= buriedOthers || ++beats % BEATS_A_LOOK === 0;
          for (let batches = 0; more && batches < BATCHES_A_BEAT_MAX; batches++) await takeOver(events);
        },
      });
    },

    async leave() {
      unlisten?.();
      await lease.stop();
    },

    async claim(claims) {
      const over: string[] = [];
      for (const chunk of chunks(claims, credentials)) {
        const rows = await feed.transaction(async (tx) => {
          const kept = await tx.query<ClaimedRow>(CLAIM, [
            chunk.map(({ claim }) => claim.key.owner),
            chunk.map(({ claim }) => claim.key.clientId),
            chunk.map(({ claim }) => claim.connection),
            chunk.map(({ claim }) => claim.ageMs),
            chunk.map(({ will }) => will),
            node,
          ]);
          for (const { owner, client_id, connection, elsewhere } of kept)
            if (elsewhere) tx.changed('session', `${owner}/${client_id}`, null, ['0', node, connection]);
          return kept;
        });
        const kept = new Set(rows.map(({ connection }) => connection));
        for (const { claim } of chunk) if (!kept.has(claim.connection)) over.push(claim.connection);
      }
      return over;
    },

    async release(connections) {
      for (let from = 0; from < connections.length; from += ROWS_A_STATEMENT_MAX) {
        const chunk = connections.slice(from, from + ROWS_A_STATEMENT_MAX);
        await database.query(RELEASE, [
          chunk.map(({ key }) => key.owner),
          chunk.map(({ key }) => key.clientId),
          chunk.map(({ connection }) => connection),
          node,
        ]);
      }
    },
  };
}

interface ClaimedRow {
  readonly owner: string;
  readonly client_id: string;
  readonly connection: string;
  readonly elsewhere: boolean;
}
interface DueRow {
  readonly owner: string;
  readonly client_id: string;
  readonly connection: string;
  readonly will: string;
}
interface Sealed {
  readonly claim: ClientClaim;
  readonly will: string | null;
}

/** Statements of bounded size, each with a key once: the latest connection of those given. Of the others nothing is said;
 *  who gives them knows which of its own is the latest. */
function* chunks(claims: readonly ClientClaim[], credentials: Pick<Credentials, 'encrypt'>): Generator<Sealed[]> {
  const latest = new Map<string, ClientClaim>();
  for (const claim of claims) {
    if (!isValid(claim.key)) continue;
    const text = textOf(claim.key);
    const before = latest.get(text);
    if (before === undefined || before.ageMs >= claim.ageMs) latest.set(text, claim);
  }
  let chunk: Sealed[] = [];
  let characters = 0;
  for (const claim of latest.values()) {
    const will = claim.will === null ? null : sealed(credentials, claim, claim.will);
    const size = will?.length ?? 0;
    if (chunk.length === ROWS_A_STATEMENT_MAX || (chunk.length > 0 && characters + size > CHARACTERS_A_STATEMENT_MAX)) {
      yield chunk;
      chunk = [];
      characters = 0;
    }
    chunk.push({ claim, will });
    characters += size;
  }
  if (chunk.length > 0) yield chunk;
}

const sealed = (credentials: Pick<Credentials, 'encrypt'>, { connection }: ClientConnection, will: KeptWill): string =>
  credentials.encrypt(JSON.stringify({ ...will, payload: will.payload.toString('base64') }), connection);

function opened(credentials: Pick<Credentials, 'decrypt'>, { connection, will }: DueRow): KeptWill | null {
  try {
    const { payload, ...rest } = JSON.parse(credentials.decrypt(will, connection)) as Omit<KeptWill, 'payload'> & {
      readonly payload: string;
    };
    return { ...rest, payload: Buffer.from(payload, 'base64') };
  } catch {
    return null;
  }
}

/** @shape voids: '0', the node, the connection. Programs before this one take it for a session's generation, older than
 *         any that they hold */
function takenBy({ entity, id, voids }: DirectoryChange): { key: SessionKey; node: string; connection: string } | null {
  const [, node, connection] = voids;
  if (entity !== 'session' || node === undefined || connection === undefined) return null;
  const slash = id.indexOf('/');
  return { key: { owner: id.slice(0, slash), clientId: id.slice(slash + 1) }, node, connection };
}

/** Those that are not returned have come elsewhere later.
 *  @shape $1 owners, $2 client ids, $3 connections, $4 ms since their CONNECT, $5 wills, $6 node */
const CLAIM = `
INSERT INTO registry.mqtt_clients AS held (owner, client_id, connection, node, connected_at, will)
SELECT owner, client_id, connection, $6::uuid, now() - age_ms * interval '1 ms', will
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::float8[], $5::text[]) AS given (owner, client_id, connection, age_ms, will)
ORDER BY owner, client_id COLLATE "C"
ON CONFLICT (owner, client_id) DO UPDATE SET
  connection = excluded.connection, node = excluded.node, connected_at = excluded.connected_at, will = excluded.will,
  previous = held.node
WHERE held.connection = excluded.connection OR held.connected_at <= excluded.connected_at
RETURNING owner, client_id, connection, previous IS NOT NULL AND previous <> node AS elsewhere`;

/** @shape $1 owners, $2 client ids, $3 connections, $4 node */
const RELEASE = `
WITH doomed AS (
  SELECT held.owner, held.client_id FROM registry.mqtt_clients AS held
  JOIN unnest($1::uuid[], $2::text[], $3::uuid[]) AS given (owner, client_id, connection)
    ON held.owner = given.owner AND held.client_id = given.client_id AND held.connection = given.connection
  WHERE held.node = $4::uuid
  ORDER BY held.owner, held.client_id FOR UPDATE OF held
)
DELETE FROM registry.mqtt_clients AS held USING doomed
WHERE held.owner = doomed.owner AND held.client_id = doomed.client_id`;

const DEAD = `NOT EXISTS (SELECT FROM registry.nodes WHERE nodes.id = held.node)`;

/** @shape $1 node */
const TAKE_OVER = `
UPDATE registry.mqtt_clients SET node = $1::uuid WHERE (owner, client_id) IN (
  SELECT owner, client_id FROM registry.mqtt_clients AS held WHERE will IS NOT NULL AND ${DEAD}
  LIMIT ${DUE_MAX} FOR UPDATE SKIP LOCKED)
RETURNING owner, client_id, connection, will`;

/** @shape $1 rows at most */
const FORGET = `
DELETE FROM registry.mqtt_clients WHERE (owner, client_id) IN (
  SELECT owner, client_id FROM registry.mqtt_clients AS held WHERE will IS NULL AND ${DEAD}
  LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING 1`;
