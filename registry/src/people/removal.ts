import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { insertOrgDeletion } from '../retention/deletions.ts';
import { lockAdmins, type UserRefusal } from './users.ts';

/** What went with what was deleted, by what it is. */
export type Counts = Readonly<Record<string, number>>;

/** Deletes organisations and users with what is theirs, all or nothing. */
export interface Removal {
  /** null if gone.  @throws RegistryError REGISTRY_IN_USE with what it has, unless `cascade` */
  org(id: string, cascade: boolean): Promise<Counts | null>;
  /** With the organisations that nobody else owns.
   *  @throws RegistryError REGISTRY_IN_USE if one of these has things, channels or other members, unless `cascade` */
  user(id: string, cascade: boolean): Promise<Counts | UserRefusal>;
}

const BATCH = 2_000;
/** What an organisation has, and what is deleted in turn: each statement stays short, however large it is. */
const OWNED = ['things', 'channels', 'groups', 'policies', 'roles', 'api_keys'] as const;

/** @param graceDays how long the stored data of an organisation outlives it */
export function createRemoval(feed: ChangeFeed, graceDays: number): Removal {
  return {
    org: (id, cascade) =>
      feed.transaction(async (tx) => {
        const [org] = await tx.query<{ name: string }>('SELECT name FROM registry.orgs WHERE id = $1 FOR UPDATE', [id]);
        if (org === undefined) return null;
        const counts = await countsOf(tx, id);
        const used = Object.entries(counts).filter(([what, count]) => count > (what === 'members' ? 1 : 0));
        if (used.length > 0 && !cascade) throw new RegistryError('REGISTRY_IN_USE', 'never', Object.fromEntries(used));
        await removeOrg(tx, id, org.name, counts, graceDays);
        return counts;
      }),

    user: (id, cascade) =>
      feed.transaction(async (tx) => {
        const admins = await lockAdmins(tx);
        const [user] = await tx.query<{ email: string; admin: boolean }>(
          'SELECT email, admin FROM registry.users WHERE id = $1 FOR UPDATE',
          [id],
        );
        if (user === undefined) return 'gone';
        if (user.admin && admins.every((admin) => admin === id)) return 'last_admin';
        let [orgs, things, channels, members] = [0, 0, 0, 0];
        const alone = await soleOwnerships(tx, id);
        for (const org of alone) {
          const counts = await countsOf(tx, org.id);
          const others = (counts.members ?? 0) - 1;
          const used = OWNED.some((what) => (counts[what] ?? 0) > 0) || others > 0;
          if (used && !cascade)
            throw new RegistryError('REGISTRY_IN_USE', 'never', { organisation: org.name, ...counts, members: others });
          orgs++;
          things += counts.things ?? 0;
          channels += counts.channels ?? 0;
          members += others;
          await removeOrg(tx, org.id, org.name, counts, graceDays);
        }
        const keys = await tx.query<{ id: string }>('DELETE FROM registry.api_keys WHERE user_id = $1 RETURNING id', [
          id,
        ]);
        await tx.query(`DELETE FROM registry.policy_attachments WHERE kind = 'user' AND target = $1`, [id]);
        await tx.query('DELETE FROM registry.users WHERE id = $1', [id]);
        tx.changed('user', id, null, [id, ...keys.map((key) => key.id)]);
        tx.audit({ action: 'users.delete', entity: 'users', id, org: null, detail: { email: user.email, orgs } });
        return { orgs, things, channels, members, api_keys: keys.length };
      }),
  };
}

async function countsOf(tx: Session, org: string): Promise<Record<string, number>> {
  const columns = [...OWNED, 'memberships AS members'].map((table) => {
    const [from, as = from] = table.split(' AS ');
    return `(SELECT count(*)::integer FROM registry.${from} WHERE org = $1) AS ${as}`;
  });
  const [counts] = await tx.query<Record<string, number>>(`SELECT ${columns.join(', ')}`, [org]);
  return counts ?? {};
}

async function removeOrg(
  tx: ChangeSession,
  id: string,
  name: string,
  counts: Counts,
  graceDays: number,
): Promise<void> {
  const keys = await tx.query<{ id: string }>('DELETE FROM registry.api_keys WHERE org = $1 RETURNING id', [id]);
  const grants = await tx.query<{ id: string }>(
    `DELETE FROM registry.oauth_grants USING registry.apps WHERE apps.id = app AND apps.org = $1 RETURNING oauth_grants.id`,
    [id],
  );
  await tx.query('DELETE FROM registry.memberships WHERE org = $1', [id]);
  for (const table of ['things', 'channels'] as const) {
    for (let count = BATCH; count === BATCH; ) {
      const sql = `DELETE FROM registry.${table} WHERE id IN (SELECT id FROM registry.${table} WHERE org = $1 LIMIT ${BATCH}) RETURNING 1`;
      count = (await tx.query(sql, [id])).length;
    }
  }
  await insertOrgDeletion(tx, id, graceDays);
  await tx.query('DELETE FROM registry.orgs WHERE id = $1', [id]);
  // Of the organisation itself all nodes void everything, also what its people were told in it; their keys are named, and
  // what others elsewhere let its applications do.
  tx.changed('org', id, id, []);
  const ended = [...keys, ...grants].map((each) => each.id);
  for (let from = 0; from < ended.length; from += BATCH) tx.changed('key', id, id, ended.slice(from, from + BATCH));
  tx.audit({ action: 'orgs.delete', entity: 'orgs', id, org: id, detail: { name, ...counts } });
}

/** Organisations that a user owns and no other enabled user does, locked in one order. */
const soleOwnerships = (tx: Session, user: string): Promise<{ id: string; name: string }[]> =>
  tx.query(
    `SELECT orgs.id, orgs.name FROM registry.orgs
     WHERE EXISTS (SELECT 1 FROM registry.memberships WHERE org = orgs.id AND user_id = $1 AND role = 'owner')
       AND NOT EXISTS (SELECT 1 FROM registry.memberships AS other JOIN registry.users ON users.id = other.user_id
         WHERE other.org = orgs.id AND other.role = 'owner' AND other.user_id <> $1 AND users.enabled)
     ORDER BY orgs.id FOR UPDATE OF orgs`,
    [user],
  );
