import { createHash } from 'node:crypto';
import type { Position, ShareGroupReport, ShareGroupShare, ShareGroupStore } from '@millrace/core';
import type { Database, Session } from '../database/database.ts';
import { quotas } from './share-quotas.ts';

const GROUPS_A_TRANSACTION_MAX = 200;

interface MemberRow {
  readonly group: string;
  readonly node: string;
  readonly members: number;
}
interface CursorRow {
  readonly group: string;
  readonly partition: number;
  readonly node: string | null;
  readonly alive: boolean;
}

/** Who reads what for the groups of `$share`. Nobody is told to: each node gives up what it has beyond its part, and
 *  takes what is free or a dead node's as long as it has less.
 *  @holds a partition is one node's at a time; a node is dead once its row in `nodes` is gone */
export function createShareGroupStore(database: Database, node: string): ShareGroupStore {
  async function share(tx: Session, reports: readonly ShareGroupReport[]): Promise<ShareGroupShare[]> {
    const keys = reports.map(({ key }) => digestOf(key));
    const counts = reports.map(({ members }) => members);
    await tx.query(SAVE_MEMBERS, [keys, counts, node]);
    if (counts.includes(0)) await tx.query(REMOVE_MEMBERS, [keys.filter((_, index) => counts[index] === 0), node]);
    const saved = flat(reports, keys, ({ held, released }) => [
      ...held.map((position) => ({ ...position, held: true })),
      ...released.map((position) => ({ ...position, held: false })),
    ]);
    if (saved.keys.length > 0)
      await tx.query(SAVE, [saved.keys, saved.partitions, saved.offsets, saved.rows.map(({ held }) => held), node]);
    if (counts.includes(0)) await tx.query(LET_GO, [keys.filter((_, index) => counts[index] === 0), node]);
    const members = await tx.query<MemberRow>(MEMBERS, [keys]);
    const cursors = await tx.query<CursorRow>(CURSORS, [keys]);
    const shares: ShareGroupShare[] = [];
    const wanted: (Position & { readonly group: string })[] = [];
    const forgotten: string[] = [];
    for (const [index, report] of reports.entries()) {
      const group = keys[index] as string;
      const nodes = members.filter((row) => row.group === group);
      if (report.members === 0) {
        if (nodes.length === 0 && !report.kept) forgotten.push(group);
        continue;
      }
      const known = new Map(cursors.filter((row) => row.group === group).map((row) => [row.partition, row]));
      const mine = report.starts.filter(({ partition }) => known.get(partition)?.node === node);
      const quota = quotas(group, nodes, report.starts.length).get(node) ?? 0;
      const free = report.starts.filter(({ partition }) => {
        const row = known.get(partition);
        return row === undefined || row.node === null || (row.node !== node && !row.alive);
      });
      for (const start of free.slice(0, Math.max(0, quota - mine.length))) wanted.push({ ...start, group });
      const isMine = new Set(mine.map(({ partition }) => partition));
      const held = new Set([...report.held, ...report.released].map(({ partition }) => partition));
      // What it had before it was restarted, or lost the answer.
      for (const start of mine) if (!held.has(start.partition)) wanted.push({ ...start, group });
      shares.push({
        key: report.key,
        taken: [],
        lost: report.held.filter(({ partition }) => !isMine.has(partition)).map(({ partition }) => partition),
        excess: Math.max(0, mine.length - quota),
      });
    }
    if (forgotten.length > 0) await tx.query(FORGET, [forgotten]);
    if (wanted.length === 0) return shares;
    const taken = await tx.query<{ group: string; partition: number; log_offset: string }>(TAKE, [
      wanted.map(({ group }) => group),
      wanted.map(({ partition }) => partition),
      wanted.map(({ offset }) => offset),
      node,
    ]);
    const ofKey = new Map(reports.map(({ key }, index) => [key, keys[index]]));
    return shares.map((one) => ({
      ...one,
      taken: taken
        .filter(({ group }) => group === ofKey.get(one.key))
        .map(({ partition, log_offset }) => ({ partition, offset: Number(log_offset) })),
    }));
  }

  return {
    async share(reports) {
      const shares: ShareGroupShare[] = [];
      for (let from = 0; from < reports.length; from += GROUPS_A_TRANSACTION_MAX) {
        const chunk = reports.slice(from, from + GROUPS_A_TRANSACTION_MAX);
        shares.push(...(await database.transaction((tx) => share(tx, chunk))));
      }
      return shares;
    },
  };
}

/** A filter may be as long as a packet, and hold what no text of the database may. */
const digestOf = (key: string): string => createHash('sha256').update(key).digest('base64url');

function flat<T extends Position>(
  reports: readonly ShareGroupReport[],
  keys: readonly string[],
  rowsOf: (report: ShareGroupReport) => readonly T[],
) {
  const rows = reports
    .flatMap((report, index) => rowsOf(report).map((row) => ({ ...row, group: keys[index] as string })))
    .sort((one, other) =>
      one.group < other.group ? -1 : one.group > other.group ? 1 : one.partition - other.partition,
    );
  return {
    rows,
    keys: rows.map(({ group }) => group),
    partitions: rows.map(({ partition }) => partition),
    offsets: rows.map(({ offset }) => offset),
  };
}

/** @shape $1 keys, $2 members, $3 node */
const SAVE_MEMBERS = `
INSERT INTO registry.mqtt_share_members AS known (group_key, node, members)
SELECT group_key, $3::uuid, members FROM unnest($1::text[], $2::integer[]) AS given (group_key, members)
WHERE members > 0 ORDER BY group_key COLLATE "C"
ON CONFLICT (group_key, node) DO UPDATE SET members = excluded.members WHERE known.members <> excluded.members`;
const REMOVE_MEMBERS = 'DELETE FROM registry.mqtt_share_members WHERE group_key = ANY ($1::text[]) AND node = $2';

/** Of what others have taken meanwhile nothing is saved. What nobody has any row of is its reader's.
 *  @shape $1 keys, $2 partitions, $3 offsets, $4 whether it is still read, $5 node */
const SAVE = `
INSERT INTO registry.mqtt_share_cursors AS held (group_key, partition, node, log_offset)
SELECT group_key, partition, CASE WHEN reads THEN $5::uuid END, log_offset
FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::boolean[]) AS given (group_key, partition, log_offset, reads)
ORDER BY group_key COLLATE "C", partition
ON CONFLICT (group_key, partition) DO UPDATE SET log_offset = excluded.log_offset, node = excluded.node, updated_at = now()
WHERE held.node = $5::uuid AND (held.log_offset <> excluded.log_offset OR excluded.node IS NULL)`;

/** What was taken and not heard of any more. */
const LET_GO = `UPDATE registry.mqtt_share_cursors SET node = NULL, updated_at = now()
  WHERE group_key = ANY ($1::text[]) AND node = $2`;

const MEMBERS = `SELECT group_key AS "group", node, members FROM registry.mqtt_share_members
  JOIN registry.nodes ON nodes.id = mqtt_share_members.node WHERE group_key = ANY ($1::text[])`;
const CURSORS = `SELECT group_key AS "group", partition, node,
    EXISTS (SELECT FROM registry.nodes WHERE nodes.id = held.node) AS alive
  FROM registry.mqtt_share_cursors AS held WHERE group_key = ANY ($1::text[])`;
const FORGET = `DELETE FROM registry.mqtt_share_cursors AS held WHERE group_key = ANY ($1::text[])
  AND NOT EXISTS (SELECT FROM registry.nodes WHERE nodes.id = held.node)`;

/** @shape $1 keys, $2 partitions, $3 offsets where nobody has read, $4 node */
const TAKE = `
INSERT INTO registry.mqtt_share_cursors AS held (group_key, partition, node, log_offset)
SELECT group_key, partition, $4::uuid, log_offset
FROM unnest($1::text[], $2::integer[], $3::bigint[]) AS given (group_key, partition, log_offset)
ORDER BY group_key COLLATE "C", partition
ON CONFLICT (group_key, partition) DO UPDATE SET node = excluded.node, updated_at = now()
WHERE held.node IS NULL OR held.node = excluded.node
  OR NOT EXISTS (SELECT FROM registry.nodes WHERE nodes.id = held.node)
RETURNING group_key AS "group", partition, log_offset`;
