import type { Session } from '../database/database.ts';

// Who puts something into a group locks the group before the thing, as who deletes a group does: in any other order the
// two could wait for each other.

/** Keeps a group from being deleted until the end of the transaction.  @param group null: none is meant */
export async function keepGroup(tx: Session, group: string | null | undefined): Promise<void> {
  if (group === null || group === undefined) return;
  await tx.query('SELECT 1 FROM registry.groups WHERE id = $1 FOR KEY SHARE', [group]);
}

/** Waits for those who put something into a group or below it, and lets no others.
 *  @holds called under the organisation's lock of groups */
export async function lockBranch(tx: Session, group: string): Promise<void> {
  await tx.query('SELECT 1 FROM registry.groups WHERE id = $1 OR ancestors @> ARRAY[$1::uuid] ORDER BY id FOR UPDATE', [
    group,
  ]);
}
