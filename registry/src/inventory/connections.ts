import type { MessageAction } from '@millrace/core';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import type { Channel } from './channels.ts';
import { Clauses, type Listed } from './page.ts';
import type { Thing } from './things.ts';

/** One end of a connection with what it allows. */
export interface Connected {
  readonly id: string;
  readonly name: string;
  readonly enabled: boolean;
  readonly publish: boolean;
  readonly subscribe: boolean;
}
export interface Connection {
  readonly thing: string;
  readonly channel: string;
  readonly publish: boolean;
  readonly subscribe: boolean;
  readonly createdAt: Date;
}
export interface ConnectionListQuery {
  readonly org: string;
  readonly offset: number;
  readonly limit: number;
  readonly thing?: string | undefined;
  readonly channel?: string | undefined;
}
/** What a thing shall be allowed on a channel. */
export type SettledPair = Pick<Connection, 'thing' | 'channel' | 'publish' | 'subscribe'>;
export interface Connections {
  /** Every thing with every channel; adds to what they already may.  @returns how many pairs changed
   *  @throws RegistryError REGISTRY_NOT_FOUND if one of them has gone meanwhile */
  connect(
    org: string,
    things: readonly string[],
    channels: readonly string[],
    types: readonly MessageAction[],
  ): Promise<number>;
  /** The same as a part of a transaction. */
  connectIn(
    tx: ChangeSession,
    org: string,
    things: readonly string[],
    channels: readonly string[],
    types: readonly MessageAction[],
  ): Promise<number>;
  /** Takes these types away from every pair.  @returns how many pairs changed */
  disconnect(
    org: string,
    things: readonly string[],
    channels: readonly string[],
    types: readonly MessageAction[],
  ): Promise<number>;
  disconnectIn(
    tx: ChangeSession,
    org: string,
    things: readonly string[],
    channels: readonly string[],
    types: readonly MessageAction[],
  ): Promise<number>;
  /** Makes each pair allow what it says, and no more; what allows nothing is disconnected.  @returns how many changed */
  settleIn(tx: ChangeSession, org: string, pairs: readonly SettledPair[]): Promise<number>;
  list(query: ConnectionListQuery): Promise<Listed<Connection>>;
  channelsOf(thing: Thing, offset: number, limit: number): Promise<Listed<Connected>>;
  thingsOf(channel: Channel, offset: number, limit: number): Promise<Listed<Connected>>;
  /** Those that could be connected, and are not. */
  channelsWithout(thing: Thing, offset: number, limit: number): Promise<Listed<Connected>>;
  thingsWithout(channel: Channel, offset: number, limit: number): Promise<Listed<Connected>>;
}

const PAIRS = 'FROM unnest($1::uuid[]) AS thing CROSS JOIN unnest($2::uuid[]) AS channel';

interface Pair {
  readonly thing: string;
  readonly channel: string;
}

/** One line a thing in the audit: many channels at once are one deed. */
function note(
  tx: ChangeSession,
  verb: string,
  org: string,
  pairs: readonly Pair[],
  types: readonly MessageAction[],
): void {
  const byThing = new Map<string, string[]>();
  for (const { thing, channel } of pairs) {
    const channels = byThing.get(thing);
    if (channels === undefined) byThing.set(thing, [channel]);
    else channels.push(channel);
  }
  for (const [thing, channels] of byThing)
    tx.audit({ action: `connections.${verb}`, entity: 'things', id: thing, org, detail: { channels, types } });
}

export function createConnections(session: Session, feed: ChangeFeed): Connections {
  const ends = async (
    here: 'thing' | 'channel',
    id: string,
    offset: number,
    limit: number,
  ): Promise<Listed<Connected>> => {
    const there = here === 'thing' ? 'channel' : 'thing';
    const [items, [count]] = await Promise.all([
      session.query<Connected>(
        `SELECT other.id, other.name, other.enabled, publish, subscribe
         FROM registry.connections JOIN registry.${there}s AS other ON other.id = ${there}
         WHERE ${here} = $1 ORDER BY connections.created_at, other.id OFFSET $2 LIMIT $3`,
        [id, offset, limit],
      ),
      session.query<{ total: number }>(
        `SELECT count(*)::integer AS total FROM registry.connections WHERE ${here} = $1`,
        [id],
      ),
    ]);
    return { total: count?.total ?? 0, offset, limit, items };
  };

  const others = async (
    here: 'thing' | 'channel',
    { id, org }: Thing | Channel,
    offset: number,
    limit: number,
  ): Promise<Listed<Connected>> => {
    const there = here === 'thing' ? 'channel' : 'thing';
    const apart = `FROM registry.${there}s AS other WHERE other.org = $2
      AND NOT EXISTS (SELECT 1 FROM registry.connections WHERE ${here} = $1 AND ${there} = other.id)`;
    const [items, [count]] = await Promise.all([
      session.query<Connected>(
        `SELECT other.id, other.name, other.enabled, false AS publish, false AS subscribe ${apart}
         ORDER BY other.created_at, other.id OFFSET $3 LIMIT $4`,
        [id, org, offset, limit],
      ),
      session.query<{ total: number }>(`SELECT count(*)::integer AS total ${apart}`, [id, org]),
    ]);
    return { total: count?.total ?? 0, offset, limit, items };
  };

  const connectIn: Connections['connectIn'] = async (tx, org, things, channels, types) => {
    // In one order, so that two requests over the same pairs can't wait for each other.
    const changed = await tx.query<Pair>(
      `INSERT INTO registry.connections (thing, channel, org, publish, subscribe)
       SELECT thing, channel, $3, $4, $5 ${PAIRS} ORDER BY thing, channel
       ON CONFLICT (thing, channel) DO UPDATE
         SET publish = connections.publish OR excluded.publish, subscribe = connections.subscribe OR excluded.subscribe
         WHERE excluded.publish AND NOT connections.publish OR excluded.subscribe AND NOT connections.subscribe
       RETURNING thing, channel`,
      [things, channels, org, types.includes('publish'), types.includes('subscribe')],
    );
    // Also where nothing changed: it may have been another node, of whose change this one has not heard yet.
    for (const thing of things) tx.changed('connection', thing, org, [thing]);
    note(tx, 'create', org, changed, types);
    return changed.length;
  };

  const disconnectIn: Connections['disconnectIn'] = async (tx, org, things, channels, types) => {
    const values = [things, channels, types.includes('publish'), types.includes('subscribe')];
    const removed = await tx.query<Pair>(
      `DELETE FROM registry.connections AS connection USING (SELECT thing, channel ${PAIRS}) AS pair
       WHERE connection.thing = pair.thing AND connection.channel = pair.channel
         AND (NOT publish OR $3) AND (NOT subscribe OR $4)
       RETURNING connection.thing, connection.channel`,
      values,
    );
    const narrowed = await tx.query<Pair>(
      `UPDATE registry.connections AS connection SET publish = publish AND NOT $3, subscribe = subscribe AND NOT $4
       FROM (SELECT thing, channel ${PAIRS}) AS pair
       WHERE connection.thing = pair.thing AND connection.channel = pair.channel AND (publish AND $3 OR subscribe AND $4)
       RETURNING connection.thing, connection.channel`,
      values,
    );
    const touched = [...removed, ...narrowed];
    for (const thing of new Set(touched.map((row) => row.thing))) tx.changed('connection', thing, org, [thing]);
    note(tx, 'delete', org, touched, types);
    return touched.length;
  };

  const settleIn: Connections['settleIn'] = async (tx, org, pairs) => {
    const ids = [pairs.map(({ thing }) => thing), pairs.map(({ channel }) => channel)];
    const wanted = [...ids, pairs.map(({ publish }) => publish), pairs.map(({ subscribe }) => subscribe)];
    const SETTLED =
      'FROM unnest($1::uuid[], $2::uuid[], $3::boolean[], $4::boolean[]) AS pair (thing, channel, publish, subscribe)';
    const removed = await tx.query<Pair>(
      `DELETE FROM registry.connections AS connection USING (SELECT * ${SETTLED}) AS pair
       WHERE connection.thing = pair.thing AND connection.channel = pair.channel AND NOT pair.publish AND NOT pair.subscribe
       RETURNING connection.thing, connection.channel`,
      wanted,
    );
    const written = await tx.query<SettledPair>(
      `INSERT INTO registry.connections (thing, channel, org, publish, subscribe)
       SELECT thing, channel, $5, publish, subscribe ${SETTLED} WHERE publish OR subscribe ORDER BY thing, channel
       ON CONFLICT (thing, channel) DO UPDATE SET publish = excluded.publish, subscribe = excluded.subscribe
         WHERE (connections.publish, connections.subscribe) <> (excluded.publish, excluded.subscribe)
       RETURNING thing, channel, publish, subscribe`,
      [...wanted, org],
    );
    for (const thing of new Set([...removed, ...written].map((pair) => pair.thing)))
      tx.changed('connection', thing, org, [thing]);
    note(tx, 'delete', org, removed, ['publish', 'subscribe']);
    for (const types of [['publish', 'subscribe'], ['publish'], ['subscribe']] as const) {
      const alike = written.filter(
        ({ publish, subscribe }) =>
          publish === (types as readonly string[]).includes('publish') &&
          subscribe === (types as readonly string[]).includes('subscribe'),
      );
      note(tx, 'create', org, alike, types);
    }
    return removed.length + written.length;
  };

  return {
    connectIn,
    disconnectIn,
    settleIn,
    connect: (...what) => feed.transaction((tx) => connectIn(tx, ...what)),
    disconnect: (...what) => feed.transaction((tx) => disconnectIn(tx, ...what)),

    async list({ org, offset, limit, thing, channel }) {
      const clauses = new Clauses();
      clauses.add('org = ?', org);
      if (thing !== undefined) clauses.add('thing = ?', thing);
      if (channel !== undefined) clauses.add('channel = ?', channel);
      const { where, values } = clauses;
      const [items, [count]] = await Promise.all([
        session.query<Connection>(
          `SELECT thing, channel, publish, subscribe, created_at AS "createdAt" FROM registry.connections WHERE ${where}
           ORDER BY created_at DESC, thing, channel OFFSET $${values.length + 1} LIMIT $${values.length + 2}`,
          [...values, offset, limit],
        ),
        session.query<{ total: number }>(
          `SELECT count(*)::integer AS total FROM registry.connections WHERE ${where}`,
          values,
        ),
      ]);
      return { total: count?.total ?? 0, offset, limit, items };
    },

    channelsOf: (thing, offset, limit) => ends('thing', thing.id, offset, limit),
    thingsOf: (channel, offset, limit) => ends('channel', channel.id, offset, limit),
    channelsWithout: (thing, offset, limit) => others('thing', thing, offset, limit),
    thingsWithout: (channel, offset, limit) => others('channel', channel, offset, limit),
  };
}
