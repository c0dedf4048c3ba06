import type { LogShards } from '@millrace/core';
import type { Database } from '../database/database.ts';
import { RegistryError } from '../error.ts';

/** Pins are few and never change: each is asked for once.
 *  @throws RegistryError REGISTRY_UNREACHABLE (later) */
export function createLogShards(database: Database): LogShards {
  const pins = new Map<string, number>();
  return {
    async shardOf(topic, partition, shards) {
      const key = `${topic}/${partition}`;
      const known = pins.get(key);
      if (known !== undefined) return known;
      const shard = (await pinned(database, topic, partition)) ?? (await pin(database, topic, partition, shards));
      pins.set(key, shard);
      return shard;
    },
  };
}

interface Pin {
  readonly shard: number;
}

async function pinned(session: Pick<Database, 'query'>, topic: string, partition: number): Promise<number | null> {
  const [row] = await session.query<Pin>('SELECT shard FROM registry.log_shards WHERE topic = $1 AND partition = $2', [
    topic,
    partition,
  ]);
  return row?.shard ?? null;
}

async function pin(database: Database, topic: string, partition: number, shards: readonly number[]): Promise<number> {
  if (shards.length === 0) throw new RegistryError('REGISTRY_VALUE_REFUSED', 'never', { field: 'shards' });
  return database.transaction(async (session) => {
    // Nodes that pin at once would count alike, and all take the same shard.
    await session.query('LOCK TABLE registry.log_shards IN SHARE ROW EXCLUSIVE MODE');
    await session.query(
      `INSERT INTO registry.log_shards (topic, partition, shard)
       SELECT $1, $2, candidate FROM unnest($3::integer[]) AS candidate
       ORDER BY (SELECT count(*) FROM registry.log_shards WHERE topic = $1 AND shard = candidate), candidate LIMIT 1
       ON CONFLICT DO NOTHING`,
      [topic, partition, shards],
    );
    const shard = await pinned(session, topic, partition);
    if (shard === null) throw new RegistryError('REGISTRY_UNREACHABLE', 'later', { topic, partition });
    return shard;
  });
}
