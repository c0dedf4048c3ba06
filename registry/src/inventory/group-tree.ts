import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';

/** A group with those right below it, in order of their names. */
export interface GroupNode {
  readonly id: string;
  readonly name: string;
  readonly enabled: boolean;
  readonly children: GroupNode[];
}
export interface TreeRow {
  readonly id: string;
  readonly parent: string | null;
  readonly name: string;
  readonly enabled: boolean;
}
export interface TreeQuery {
  readonly org: string;
  /** Only this branch. */
  readonly root?: string | undefined;
  /** Levels below the topmost that are told; all if absent. */
  readonly depth?: number | undefined;
  /** Only these groups and those below them. */
  readonly within?: readonly string[] | undefined;
}

const GROUPS_MAX = 100_000;

/** A whole tree by one statement: a group knows all that it is below, so nothing is walked.
 *  @throws RegistryError REGISTRY_INVALID with field depth if it is larger than can be told at once */
export async function readTree(
  session: Session,
  { org, root, depth, within }: TreeQuery,
): Promise<{ total: number; groups: GroupNode[] }> {
  const values: unknown[] = [org];
  const place = (value: unknown): string => `$${values.push(value)}`;
  const conditions = ['groups.org = $1'];
  let top = '0';
  if (root !== undefined) {
    const at = place(root);
    conditions.push(`(id = ${at}::uuid OR ancestors @> ARRAY[${at}::uuid])`);
    top = `(SELECT cardinality(ancestors) FROM registry.groups WHERE id = ${at}::uuid)`;
  }
  if (within !== undefined) {
    const mine = place(within);
    conditions.push(`(id = ANY (${mine}::uuid[]) OR ancestors && ${mine}::uuid[])`);
  }
  if (depth !== undefined) conditions.push(`cardinality(ancestors) <= ${top} + ${place(depth)}::integer`);
  const rows = await session.query<TreeRow>(
    `SELECT id, parent, name, enabled FROM registry.groups WHERE ${conditions.join(' AND ')}
     ORDER BY cardinality(ancestors), name, id LIMIT ${GROUPS_MAX + 1}`,
    values,
  );
  if (rows.length > GROUPS_MAX)
    throw new RegistryError('REGISTRY_INVALID', 'never', {
      field: 'depth',
      because: `gives more than ${GROUPS_MAX} groups`,
    });
  return { total: rows.length, groups: nest(rows) };
}

/** Whose parent is not among them are on top.
 *  @holds parents come before their children; brothers and sisters keep their order */
export function nest(rows: readonly TreeRow[]): GroupNode[] {
  const nodes = new Map<string, GroupNode>();
  const topmost: GroupNode[] = [];
  for (const { id, parent, name, enabled } of rows) {
    const node: GroupNode = { id, name, enabled, children: [] };
    nodes.set(id, node);
    const above = parent === null ? undefined : nodes.get(parent);
    (above?.children ?? topmost).push(node);
  }
  return topmost;
}
