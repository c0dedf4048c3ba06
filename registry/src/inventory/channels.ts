import { type ChannelLimits, type ChannelProfile, isUuid, uuidV7 } from '@millrace/core';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { wantSweep } from '../retention/wanted.ts';
import { checkVersion, noteChange } from './change.ts';
import { keepGroup } from './group-lock.ts';
import { inBranch, within } from './group-scope.ts';
import { type Listed, type ListQuery, listRows } from './page.ts';
import type { Removed } from './things.ts';

export interface Channel {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly alias: string | null;
  readonly enabled: boolean;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tags: readonly string[];
  readonly contentType: string | null;
  readonly groupId: string | null;
  /** The group that it is in and those above it. */
  readonly groups: readonly string[];
  readonly profile: ChannelProfile;
  readonly limits: ChannelLimits;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
export interface NewChannel {
  readonly id?: string | undefined;
  readonly name?: string | undefined;
  readonly alias?: string | null | undefined;
  readonly enabled?: boolean | undefined;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly contentType?: string | null | undefined;
  readonly groupId?: string | null | undefined;
  readonly profile?: ChannelProfile | undefined;
  readonly limits?: ChannelLimits | undefined;
}
/** What is undefined stays as it is; profile and limits are replaced as a whole. */
export type ChannelPatch = Omit<NewChannel, 'id'>;
export interface ChannelListQuery extends ListQuery {
  readonly group?: string | undefined;
  /** With group: also those in groups below it. */
  readonly below?: boolean | undefined;
  /** Only those in these groups and below them. */
  readonly within?: readonly string[] | undefined;
}

export interface Channels {
  /** All or none.
   *  @throws RegistryError REGISTRY_CONFLICT with field id or alias, REGISTRY_NOT_FOUND if a group is not of the org */
  create(org: string, channels: readonly NewChannel[]): Promise<Channel[]>;
  /** The same as a part of a transaction. */
  createIn(tx: ChangeSession, org: string, channels: readonly NewChannel[]): Promise<Channel[]>;
  /** By id, or by alias within an org. */
  get(reference: string, org: string | null): Promise<Channel | null>;
  /** Those of the references that are found. */
  many(references: readonly string[], org: string): Promise<Channel[]>;
  list(query: ChannelListQuery): Promise<Listed<Channel>>;
  /** Their ids alone, and how many there are in all. */
  ids(query: ChannelListQuery): Promise<{ readonly ids: readonly string[]; readonly total: number }>;
  /** null if it is gone.  @param expected the version that the change was made for; null: any
   *  @throws RegistryError REGISTRY_VERSION_MISMATCH, and as `create` */
  update(id: string, patch: ChannelPatch, expected?: number | null): Promise<Channel | null>;
  updateIn(tx: ChangeSession, id: string, patch: ChannelPatch, expected?: number | null): Promise<Channel | null>;
  /** null if there is none. What is stored of its messages stays for as long as it is kept. */
  remove(id: string, expected?: number | null): Promise<Removed | null>;
  removeIn(tx: ChangeSession, id: string, expected?: number | null): Promise<Removed | null>;
}

/** @holds over registry.channels under its own name */
const COLUMNS = `channels.id, channels.org, channels.name, channels.alias, channels.enabled, channels.metadata, channels.tags,
  channels.content_type AS "contentType", channels.group_id AS "groupId", channels.profile, channels.limits, channels.version,
  coalesce((SELECT above.ancestors || above.id FROM registry.groups AS above WHERE above.id = channels.group_id), '{}') AS groups,
  channels.created_at AS "createdAt", channels.updated_at AS "updatedAt"`;

export function createChannels(session: Session, feed: ChangeFeed): Channels {
  async function createIn(tx: ChangeSession, org: string, channels: readonly NewChannel[]): Promise<Channel[]> {
    const rows = channels.map((channel, index) => ({
      at: index,
      id: channel.id?.toLowerCase() ?? uuidV7(),
      name: channel.name ?? '',
      alias: channel.alias ?? null,
      enabled: channel.enabled ?? true,
      metadata: channel.metadata ?? {},
      tags: channel.tags ?? [],
      content_type: channel.contentType ?? null,
      group_id: channel.groupId ?? null,
      profile: channel.profile ?? {},
      limits: channel.limits ?? {},
    }));
    const created = await tx.query<Channel>(
      `INSERT INTO registry.channels (id, org, name, alias, enabled, metadata, tags, content_type, group_id, profile, limits)
       SELECT id, $1, name, alias, enabled, metadata, ARRAY(SELECT jsonb_array_elements_text(tags)), content_type, group_id,
         profile, limits
       FROM jsonb_to_recordset($2) AS channel (at integer, id uuid, name text, alias text, enabled boolean, metadata jsonb,
         tags jsonb, content_type text, group_id uuid, profile jsonb, limits jsonb)
       ORDER BY at RETURNING ${COLUMNS}`,
      [org, JSON.stringify(rows)],
    );
    for (const channel of created) {
      tx.changed('channel', channel.id, org, named(channel));
      noteChange(tx, 'channels', 'create', null, channel);
    }
    return created;
  }

  async function updateIn(
    tx: ChangeSession,
    id: string,
    patch: ChannelPatch,
    expected: number | null = null,
  ): Promise<Channel | null> {
    await keepGroup(tx, patch.groupId);
    const [before] = await tx.query<Channel>(
      `SELECT ${COLUMNS} FROM registry.channels WHERE id = $1 FOR UPDATE OF channels`,
      [id],
    );
    if (before === undefined) return null;
    checkVersion('channel', before, expected);
    const next = {
      name: patch.name ?? before.name,
      alias: patch.alias === undefined ? before.alias : patch.alias,
      enabled: patch.enabled ?? before.enabled,
      metadata: patch.metadata ?? before.metadata,
      tags: patch.tags ?? before.tags,
      contentType: patch.contentType === undefined ? before.contentType : patch.contentType,
      groupId: patch.groupId === undefined ? before.groupId : patch.groupId,
      profile: patch.profile ?? before.profile,
      limits: patch.limits ?? before.limits,
    };
    const [channel] = await tx.query<Channel>(
      `UPDATE registry.channels SET name = $2, alias = $3, enabled = $4, metadata = $5, tags = $6, content_type = $7,
         group_id = $8, profile = $9, limits = $10, version = version + 1, updated_at = now()
       WHERE id = $1 RETURNING ${COLUMNS}`,
      [
        id,
        next.name,
        next.alias,
        next.enabled,
        JSON.stringify(next.metadata),
        next.tags,
        next.contentType,
        next.groupId,
        JSON.stringify(next.profile),
        JSON.stringify(next.limits),
      ],
    );
    if (channel === undefined) return null;
    tx.changed('channel', id, channel.org, [...new Set([...named(before), ...named(channel)])]);
    if (isKeptOtherwise(before.profile, channel.profile)) await wantSweep(tx);
    noteChange(tx, 'channels', 'update', before, channel);
    return channel;
  }

  async function removeIn(tx: ChangeSession, id: string, expected: number | null = null): Promise<Removed | null> {
    const [counts] = await tx.query<{ retained: number }>(
      `SELECT (SELECT count(*) FROM registry.retained WHERE channel = $1 AND cleared_at IS NULL)::integer AS retained
       FROM registry.channels WHERE id = $1 FOR UPDATE OF channels`,
      [id],
    );
    if (counts === undefined) return null;
    const things = await tx.query<{ thing: string }>(
      'DELETE FROM registry.connections WHERE channel = $1 RETURNING thing',
      [id],
    );
    const [gone] = await tx.query<Channel>(`DELETE FROM registry.channels WHERE id = $1 RETURNING ${COLUMNS}`, [id]);
    if (gone === undefined) return null;
    checkVersion('channel', gone, expected);
    tx.changed('channel', id, gone.org, [...named(gone), ...things.map((row) => row.thing)]);
    noteChange(tx, 'channels', 'delete', gone, null);
    return { connections: things.length, retained_messages: counts.retained };
  }

  const rows = <T extends { readonly id: string }>(columns: string, query: ChannelListQuery): Promise<Listed<T>> =>
    listRows<T>(session, 'registry.channels', columns, query, (clauses) => {
      if (query.group !== undefined) inBranch(clauses, query.group, query.below === true);
      if (query.within !== undefined) within(clauses, query.within);
    });

  return {
    createIn,
    updateIn,
    removeIn,
    create: (org, channels) => feed.transaction((tx) => createIn(tx, org, channels)),
    update: (id, patch, expected = null) => feed.transaction((tx) => updateIn(tx, id, patch, expected)),
    remove: (id, expected = null) => feed.transaction((tx) => removeIn(tx, id, expected)),

    async get(reference, org) {
      if (isUuid(reference)) {
        const sql = `SELECT ${COLUMNS} FROM registry.channels WHERE id = $1`;
        return (await session.query<Channel>(sql, [reference]))[0] ?? null;
      }
      if (org === null) return null;
      const sql = `SELECT ${COLUMNS} FROM registry.channels WHERE org = $1 AND alias = $2`;
      return (await session.query<Channel>(sql, [org, reference]))[0] ?? null;
    },

    many: (references, org) =>
      session.query<Channel>(
        `SELECT ${COLUMNS} FROM registry.channels WHERE id = ANY ($1::uuid[]) OR (org = $2 AND alias = ANY ($3::text[]))`,
        [references.filter(isUuid), org, references.filter((each) => !isUuid(each))],
      ),

    list: (query) => rows<Channel>(COLUMNS, query),

    async ids(query) {
      const { items, total } = await rows<{ id: string }>('channels.id', query);
      return { ids: items.map(({ id }) => id), total };
    },
  };
}

const isKeptOtherwise = (before: ChannelProfile, after: ChannelProfile): boolean =>
  before.retentionDays !== after.retentionDays || before.rollupRetentionDays !== after.rollupRetentionDays;

/** What answers about a channel may be memoised under. */
const named = ({ id, alias }: Channel): string[] => (alias === null ? [id] : [id, alias]);
