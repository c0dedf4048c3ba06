import type { ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';

/** What lies in a group and below it. */
export interface Branch {
  readonly counts: {
    /** Itself too. */
    readonly groups: number;
    readonly things: number;
    readonly channels: number;
    /** That people have in these groups. */
    readonly roles: number;
  };
  /** Ids; null if there are too many to name. */
  readonly things: readonly string[] | null;
  readonly channels: readonly string[] | null;
  readonly users: readonly string[] | null;
}

/** Named in one change; beyond it all of the organisation is void, which costs less than telling. */
const NAMED_MAX = 1_000;

interface BranchRow {
  readonly groups: number;
  readonly things: number;
  readonly channels: number;
  readonly roles: number;
  readonly thingIds: string[];
  readonly channelIds: string[];
  readonly userIds: string[];
}

export async function branchFrom(session: Session, id: string): Promise<Branch> {
  const [row] = await session.query<BranchRow>(
    `WITH branch AS MATERIALIZED (SELECT id FROM registry.groups WHERE id = $1 OR ancestors @> ARRAY[$1::uuid])
     SELECT (SELECT count(*) FROM branch)::integer AS groups,
       (SELECT count(*) FROM registry.things WHERE group_id IN (SELECT id FROM branch))::integer AS things,
       (SELECT count(*) FROM registry.channels WHERE group_id IN (SELECT id FROM branch))::integer AS channels,
       (SELECT count(*) FROM registry.group_roles WHERE group_id IN (SELECT id FROM branch))::integer AS roles,
       ARRAY(SELECT id FROM registry.things WHERE group_id IN (SELECT id FROM branch) LIMIT $2) AS "thingIds",
       ARRAY(SELECT id FROM registry.channels WHERE group_id IN (SELECT id FROM branch) LIMIT $2) AS "channelIds",
       ARRAY(SELECT DISTINCT user_id FROM registry.group_roles WHERE group_id IN (SELECT id FROM branch) LIMIT $2) AS "userIds"`,
    [id, NAMED_MAX + 1],
  );
  const { groups = 0, things = 0, channels = 0, roles = 0, thingIds = [], channelIds = [], userIds = [] } = row ?? {};
  const named = (ids: readonly string[]): readonly string[] | null => (ids.length > NAMED_MAX ? null : ids);
  return {
    counts: { groups, things, channels, roles },
    things: named(thingIds),
    channels: named(channelIds),
    users: named(userIds),
  };
}

/** Tells all nodes that a branch of the tree changed: what was decided about what is in it is void.
 *  @param switched it was enabled or disabled with that: its things identify anew, and lose what they have open */
export function tellBranch(
  tx: ChangeSession,
  org: string,
  id: string,
  { things, channels, users }: Branch,
  switched: boolean,
): void {
  const all = things === null || channels === null || users === null;
  const voids = all ? [org] : [...things, ...channels, ...users];
  tx.changed('group', id, org, voids.length > NAMED_MAX ? [org] : voids);
  if (!switched) return;
  const [first] = things ?? [id];
  if (first !== undefined) tx.changed('thing', first, org, things ?? [org]);
}
