import { isUuid } from '@millrace/core';
import type { Session } from '../database/database.ts';

/** Where an object lies. */
export interface Place {
  /** The group that it is in and those above it; of a group also itself. */
  readonly groups: readonly string[];
  /** False if the object names a thing, channel or group that the organisation has not. */
  readonly exists: boolean;
  /** False if it is disabled. */
  readonly enabled: boolean;
}

const NOWHERE: Place = { groups: [], exists: true, enabled: true };
const ABSENT: Place = { groups: [], exists: false, enabled: false };
const GROUPS = `CASE WHEN groups.id IS NULL THEN '{}' ELSE groups.ancestors || groups.id END AS groups, true AS exists`;

const PLACED: Readonly<Record<string, string>> = {
  things: `SELECT ${GROUPS}, things.enabled AND NOT frozen AS enabled FROM registry.things JOIN registry.orgs ON orgs.id = things.org
    LEFT JOIN registry.groups ON groups.id = group_id WHERE things.id = $1 AND things.org = $2`,
  channels: `SELECT ${GROUPS}, channels.enabled AND NOT frozen AS enabled FROM registry.channels JOIN registry.orgs ON orgs.id = channels.org
    LEFT JOIN registry.groups ON groups.id = group_id WHERE channels.id = $1 AND channels.org = $2`,
  groups:
    'SELECT ancestors || id AS groups, true AS exists, true AS enabled FROM registry.groups WHERE id = $1 AND org = $2',
};

/** The place of `things/<id>`, `channels/<id>[/…]` or `groups/<id>`; anything else lies nowhere. */
export async function placeOf(session: Session, org: string, object: string): Promise<Place> {
  const [entity = '', id] = object.split('/', 2);
  const sql = Object.hasOwn(PLACED, entity) ? PLACED[entity] : undefined;
  if (sql === undefined || id === undefined) return NOWHERE;
  if (!isUuid(id)) return ABSENT;
  return (await session.query<Place>(sql, [id, org]))[0] ?? ABSENT;
}

/** Of groups of an organisation: each with those above it and itself. Others are left out. */
export async function branches(
  session: Session,
  org: string,
  groups: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  if (groups.length === 0) return new Map();
  const rows = await session.query<{ id: string; branch: string[] }>(
    'SELECT id, ancestors || id AS branch FROM registry.groups WHERE org = $1 AND id = ANY ($2::uuid[])',
    [org, [...new Set(groups)]],
  );
  return new Map(rows.map(({ id, branch }) => [id, branch]));
}
