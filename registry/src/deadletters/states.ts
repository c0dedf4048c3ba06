import { isUuid, uuidV7 } from '@millrace/core';
import { currentActor } from '../audit/actor.ts';
import type { ChangeFeed } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { Clauses } from '../inventory/page.ts';
import type { Parts } from '../parts.ts';

/** What tells one dead letter from all others.  @shape index: null of a whole message */
export interface LetterKey {
  readonly message: string;
  readonly index: number | null;
}
/** As a path and a list of ids write it: `<message>` or `<message>.<index>`. */
export const letterId = ({ message, index }: LetterKey): string => (index === null ? message : `${message}.${index}`);

/** @returns null if it names none */
export function parseLetterId(text: string): LetterKey | null {
  const [message = '', index, ...rest] = text.split('.');
  if (!isUuid(message) || rest.length > 0) return null;
  if (index === undefined) return { message: message.toLowerCase(), index: null };
  return /^(?:0|[1-9]\d{0,8})$/.test(index) ? { message: message.toLowerCase(), index: Number(index) } : null;
}

export type ClosedState = 'replayed' | 'discarded';
/** What was done about a letter. */
export interface Closed {
  readonly state: ClosedState;
  readonly at: Date;
  /** Who did it: an e-mail, or the id of a thing; null: the platform. */
  readonly by: string | null;
  /** Messages that it was replayed as, the latest first. */
  readonly replays: readonly string[];
}
/** What is kept of a letter beside its key. */
export interface LetterFacts extends LetterKey {
  readonly org: string;
  readonly channel: string;
  readonly publisher: string;
  readonly reason: string;
  /** µs since 1970, decimal text. */
  readonly receivedUs: string;
}
/** A replay that was begun.  @shape id: of the new message */
export interface Replay {
  readonly id: string;
  readonly appended: boolean;
  /** Nobody had begun it before. */
  readonly fresh: boolean;
}
export interface ClosedQuery {
  readonly org: string | null;
  readonly state: ClosedState;
  readonly channel?: string | undefined;
  readonly publisher?: string | undefined;
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
  readonly fromUs?: bigint | undefined;
  readonly toUs?: bigint | undefined;
  readonly offset: number;
  readonly limit: number;
  readonly after?: ClosedPlace | undefined;
}
export interface ClosedPlace extends LetterKey {
  readonly receivedUs: string;
}

/** What was done about dead letters. */
export interface LetterStates {
  /** Of those of these letters about which something was done, by `letterId`. */
  of(keys: readonly LetterKey[]): Promise<ReadonlyMap<string, Closed>>;
  /** Whether anything was done about any letter of the org (null: of all). */
  any(org: string | null): Promise<boolean>;
  /** The newest letters first. */
  list(query: ClosedQuery): Promise<ClosedPlace[]>;
  /** Puts letters aside; those that were replayed stay what they are.  @returns how many were open */
  discard(org: string, letters: readonly LetterFacts[]): Promise<number>;
  /** Notes that a letter is to be replayed as a new message, before it is. The same again gives the same message. */
  begin(letter: LetterFacts, digest: string): Promise<Replay>;
  /** The message is on the log. */
  replayed(letter: LetterFacts, replay: Replay): Promise<void>;
  /** Which letter a message is the replay of. */
  origin(message: string): Promise<LetterKey | null>;
}

const WHOLE = -1;
const recordOf = ({ index }: LetterKey): number => index ?? WHOLE;
const keyOf = ({ message, record }: { message: string; record: number }): LetterKey => ({
  message,
  index: record === WHOLE ? null : record,
});
const AT = `timestamptz 'epoch' + interval '1 microsecond' *`;
const RECEIVED_US = `(extract(epoch FROM received) * 1000000)::bigint::text`;

export function createLetterStates({ database, feed }: Pick<Parts, 'database' | 'feed'>): LetterStates {
  return {
    of: (keys) => closedOf(database, keys),

    async any(org) {
      const sql = `SELECT 1 FROM registry.dead_letter_states WHERE $1::uuid IS NULL OR org = $1 LIMIT 1`;
      return (await database.query(sql, [org])).length > 0;
    },

    async list({ org, state, offset, limit, after, fromUs, toUs, ...rest }) {
      const clauses = new Clauses();
      clauses.add('state = ?', state);
      if (org !== null) clauses.add('org = ?', org);
      for (const field of ['channel', 'publisher', 'reason', 'message'] as const)
        if (rest[field] !== undefined) clauses.add(`${field} = ?`, rest[field]);
      if (fromUs !== undefined) clauses.add(`received >= ${AT} ?::bigint`, bounded(fromUs));
      if (toUs !== undefined) clauses.add(`received < ${AT} ?::bigint`, bounded(toUs));
      const { values } = clauses;
      if (after !== undefined) {
        values.push(after.receivedUs, after.message, recordOf(after));
        const [at, message, record] = [values.length - 2, values.length - 1, values.length];
        clauses.add(`(received, message, record) < (${AT} $${at}::bigint, $${message}::uuid, $${record}::integer)`);
      }
      const rows = await database.query<{ message: string; record: number; receivedUs: string }>(
        `SELECT message, record, ${RECEIVED_US} AS "receivedUs" FROM registry.dead_letter_states WHERE ${clauses.where}
         ORDER BY received DESC, message DESC, record DESC OFFSET $${values.length + 1} LIMIT $${values.length + 2}`,
        [...values, offset, limit],
      );
      return rows.map((row) => ({ ...keyOf(row), receivedUs: row.receivedUs }));
    },

    discard: (org, letters) => discard(feed, org, letters),

    async begin(letter, digest) {
      const sql = `INSERT INTO registry.dead_letter_replays (id, message, record, org, digest) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (message, record, digest) DO UPDATE SET digest = excluded.digest RETURNING id, appended, xmax = 0 AS fresh`;
      const values = [uuidV7(), letter.message, recordOf(letter), letter.org, digest];
      const [replay] = await database.query<Replay>(sql, values);
      return replay as Replay;
    },

    replayed: (letter, { id }) =>
      feed.transaction(async (tx) => {
        const sql =
          'UPDATE registry.dead_letter_replays SET appended = true WHERE id = $1 AND NOT appended RETURNING 1';
        if ((await tx.query(sql, [id])).length === 0) return;
        await close(
          tx,
          [letter],
          'replayed',
          `state = 'replayed', at = now(), actor = excluded.actor, actor_name = excluded.actor_name`,
        );
        const { org, channel, reason } = letter;
        const detail = { channel, reason, replayed_as: id };
        tx.audit({ action: 'deadletters.replay', entity: 'deadletters', id: letterId(letter), org, detail });
      }),

    async origin(message) {
      const sql = 'SELECT message, record FROM registry.dead_letter_replays WHERE id = $1';
      const [row] = isUuid(message) ? await database.query<{ message: string; record: number }>(sql, [message]) : [];
      return row === undefined ? null : keyOf(row);
    },
  };
}

/** PostgreSQL knows no later times than the engine, and no earlier ones. */
const US_MAX = 9_223_372_036_854_775n;
const bounded = (us: bigint): string => String(us < 0n ? 0n : us > US_MAX ? US_MAX : us);

async function closedOf(session: Session, keys: readonly LetterKey[]): Promise<ReadonlyMap<string, Closed>> {
  const found = new Map<string, Closed>();
  if (keys.length === 0) return found;
  const rows = await session.query<Omit<Closed, 'replays'> & { message: string; record: number; replays: string[] }>(
    `SELECT message, record, state, at, coalesce(actor_name, actor) AS by,
       (SELECT coalesce(array_agg(id::text ORDER BY replays.at DESC), '{}') FROM registry.dead_letter_replays AS replays
        WHERE replays.message = states.message AND replays.record = states.record AND appended) AS replays
     FROM registry.dead_letter_states AS states
     JOIN unnest($1::uuid[], $2::integer[]) AS wanted (message, record) USING (message, record)`,
    [keys.map(({ message }) => message), keys.map(recordOf)],
  );
  for (const row of rows)
    found.set(letterId(keyOf(row)), { state: row.state, at: row.at, by: row.by, replays: row.replays });
  return found;
}

function discard(feed: ChangeFeed, org: string, letters: readonly LetterFacts[]): Promise<number> {
  if (letters.length === 0) return Promise.resolve(0);
  return feed.transaction(async (tx) => {
    const closed = await close(tx, letters, 'discarded', null);
    const [first] = closed;
    // One line a request: a thousand letters are one deed.
    if (first !== undefined) {
      const detail = { discarded: closed.length };
      tx.audit({ action: 'deadletters.delete', entity: 'deadletters', id: letterId(first), org, detail });
    }
    return closed.length;
  });
}

/** @param update of those about which something was done already; null: they stay  @returns those that it closed */
async function close(
  session: Session,
  letters: readonly LetterFacts[],
  state: ClosedState,
  update: string | null,
): Promise<LetterKey[]> {
  const actor = currentActor();
  const rows = await session.query<{ message: string; record: number }>(
    `INSERT INTO registry.dead_letter_states (message, record, org, channel, publisher, reason, received, state, actor, actor_name)
     SELECT DISTINCT ON (message, record) message, record, org, channel, publisher, reason, ${AT} received, $2, $3, $4
     FROM jsonb_to_recordset($1) AS letter (message uuid, record integer, org uuid, channel text, publisher text, reason text, received bigint)
     ON CONFLICT (message, record) DO ${update === null ? 'NOTHING' : `UPDATE SET ${update}`} RETURNING message, record`,
    [
      JSON.stringify(
        letters.map((letter) => ({
          ...letter,
          record: recordOf(letter),
          received: letter.receivedUs,
          publisher: kept(letter.publisher),
          channel: kept(letter.channel),
        })),
      ),
      state,
      actor.id,
      actor.name,
    ],
  );
  return rows.map(keyOf);
}

/** What came from outside may hold what PostgreSQL keeps none of. */
const kept = (text: string): string => text.replaceAll('\0', '').slice(0, 1_024);
