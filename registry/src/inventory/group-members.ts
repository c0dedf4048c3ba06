import type { ChangeFeed, ChangeSession } from '../changes.ts';
import { keepGroup } from './group-lock.ts';

export interface Members {
  readonly things: readonly string[];
  readonly channels: readonly string[];
}
export interface GroupMembers {
  /** Puts them into the group, out of the one that they are in. Who is there already stays untouched.
   *  @returns how many came in */
  put(org: string, group: string, members: Members): Promise<{ things: number; channels: number }>;
  /** Takes those out that are right in it.  @returns how many went */
  take(org: string, group: string, members: Members): Promise<{ things: number; channels: number }>;
}

const TABLES = [
  { entity: 'things', kind: 'thing' },
  { entity: 'channels', kind: 'channel' },
] as const;

export function createGroupMembers(feed: ChangeFeed): GroupMembers {
  /** @param condition of who is moved; $1 the ids, $2 the org, $3 where to, $4 the group in question */
  async function move(
    tx: ChangeSession,
    org: string,
    group: string,
    members: Members,
    to: string | null,
    condition: string,
  ): Promise<{ things: number; channels: number }> {
    await keepGroup(tx, to);
    const moved = { things: 0, channels: 0 };
    for (const { entity, kind } of TABLES) {
      const rows = await tx.query<{ id: string; name: string; from: string | null }>(
        `UPDATE registry.${entity} SET group_id = $3, version = ${entity}.version + 1, updated_at = now()
         FROM (SELECT id, group_id AS before FROM registry.${entity} WHERE id = ANY ($1::uuid[]) AND org = $2
           ORDER BY id FOR UPDATE) AS was
         WHERE ${entity}.id = was.id AND ${condition} RETURNING ${entity}.id, name, was.before AS from`,
        [members[entity], org, to, group],
      );
      for (const { id, name, from } of rows) {
        tx.changed(kind, id, org, [id]);
        const detail = { name, changed: { group_id: { from, to } } };
        tx.audit({ action: `${entity}.update`, entity, id, org, detail });
      }
      moved[entity] = rows.length;
    }
    return moved;
  }
  return {
    put: (org, group, members) =>
      feed.transaction((tx) => move(tx, org, group, members, group, 'was.before IS DISTINCT FROM $4::uuid')),
    take: (org, group, members) =>
      feed.transaction((tx) => move(tx, org, group, members, null, 'was.before = $4::uuid')),
  };
}
