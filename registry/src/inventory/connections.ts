import type { MessageAction } from '@millrace/core';
import type { ChangeFeed } from '../changes.ts';
import type { Session } from '../database/database.ts';
import type { Channel } from './channels.ts';
import type { Listed } from './page.ts';
import type { Thing } from './things.ts';

/** One end of a connection with what it allows. */
export interface Connected {
  readonly id: string;
  readonly name: string;
  readonly enabled: boolean;
  readonly publish: boolean;
  readonly subscribe: boolean;
}
export interface Connections {
  /** Every thing with every channel; adds to what they already may.
   *  @throws RegistryError REGISTRY_NOT_FOUND if one of them has gone meanwhile */
  connect(
    org: string,
    things: readonly string[],
    channels: readonly string[],
    types: readonly MessageAction[],
  ): Promise<void>;
  /** Takes these types away from every pair.  @returns how many pairs changed */
  disconnect(
    org: string,
    things: readonly string[],
    channels: readonly string[],
    types: readonly MessageAction[],
  ): Promise<number>;
  channelsOf(thing: Thing, offset: number, limit: number): Promise<Listed<Connected>>;
  thingsOf(channel: Channel, offset: number, limit: number): Promise<Listed<Connected>>;
}

const PAIRS = 'FROM unnest($1::uuid[]) AS thing CROSS JOIN unnest($2::uuid[]) AS channel';

export function createConnections(session: Session, feed: ChangeFeed): Connections {
  const list = async (
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
  return {
    connect: (org, things, channels, types) =>
      feed.transaction(async (tx) => {
        // In one order, so that two requests over the same pairs can't wait for each other.
        await tx.query(
          `INSERT INTO registry.connections (thing, channel, org, publish, subscribe)
           SELECT thing, channel, $3, $4, $5 ${PAIRS} ORDER BY thing, channel
           ON CONFLICT (thing, channel) DO UPDATE
             SET publish = connections.publish OR excluded.publish, subscribe = connections.subscribe OR excluded.subscribe`,
          [things, channels, org, types.includes('publish'), types.includes('subscribe')],
        );
        for (const thing of things) tx.changed('connection', thing, org, [thing]);
      }),

    disconnect: (org, things, channels, types) =>
      feed.transaction(async (tx) => {
        const values = [things, channels, types.includes('publish'), types.includes('subscribe')];
        const removed = await tx.query<{ thing: string }>(
          `DELETE FROM registry.connections AS connection USING (SELECT thing, channel ${PAIRS}) AS pair
           WHERE connection.thing = pair.thing AND connection.channel = pair.channel
             AND (NOT publish OR $3) AND (NOT subscribe OR $4)
           RETURNING connection.thing`,
          values,
        );
        const narrowed = await tx.query<{ thing: string }>(
          `UPDATE registry.connections AS connection SET publish = publish AND NOT $3, subscribe = subscribe AND NOT $4
           FROM (SELECT thing, channel ${PAIRS}) AS pair
           WHERE connection.thing = pair.thing AND connection.channel = pair.channel AND (publish AND $3 OR subscribe AND $4)
           RETURNING connection.thing`,
          values,
        );
        const touched = [...removed, ...narrowed];
        for (const thing of new Set(touched.map((row) => row.thing))) tx.changed('connection', thing, org, [thing]);
        return touched.length;
      }),

    channelsOf: (thing, offset, limit) => list('thing', thing.id, offset, limit),
    thingsOf: (channel, offset, limit) => list('channel', channel.id, offset, limit),
  };
}
