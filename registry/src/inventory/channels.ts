import { isUuid, uuidV7 } from '@millrace/core';
import type { ChangeFeed } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { type Listed, type ListQuery, listClauses } from './page.ts';

export interface Channel {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly alias: string | null;
  readonly enabled: boolean;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tags: readonly string[];
  readonly contentType: string | null;
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
}
/** What is undefined stays as it is. */
export type ChannelPatch = Omit<NewChannel, 'id'>;

export interface Channels {
  /** All or none.  @throws RegistryError REGISTRY_CONFLICT with field id or alias */
  create(org: string, channels: readonly NewChannel[]): Promise<Channel[]>;
  /** By id, or by alias within an org. */
  get(reference: string, org: string | null): Promise<Channel | null>;
  /** Those of the references that are found. */
  many(references: readonly string[], org: string): Promise<Channel[]>;
  list(query: ListQuery): Promise<Listed<Channel>>;
  update(id: string, patch: ChannelPatch): Promise<Channel | null>;
  remove(id: string): Promise<boolean>;
}

const COLUMNS = `id, org, name, alias, enabled, metadata, tags, content_type AS "contentType", version,
  created_at AS "createdAt", updated_at AS "updatedAt"`;

export function createChannels(session: Session, feed: ChangeFeed): Channels {
  return {
    create(org, channels) {
      const rows = channels.map((channel, index) => ({
        at: index,
        id: channel.id?.toLowerCase() ?? uuidV7(),
        name: channel.name ?? '',
        alias: channel.alias ?? null,
        enabled: channel.enabled ?? true,
        metadata: channel.metadata ?? {},
        tags: channel.tags ?? [],
        content_type: channel.contentType ?? null,
      }));
      return feed.transaction(async (tx) => {
        const created = await tx.query<Channel>(
          `INSERT INTO registry.channels (id, org, name, alias, enabled, metadata, tags, content_type)
           SELECT id, $1, name, alias, enabled, metadata, ARRAY(SELECT jsonb_array_elements_text(tags)), content_type
           FROM jsonb_to_recordset($2) AS channel (at integer, id uuid, name text, alias text, enabled boolean, metadata jsonb,
             tags jsonb, content_type text)
           ORDER BY at RETURNING ${COLUMNS}`,
          [org, JSON.stringify(rows)],
        );
        for (const channel of created) tx.changed('channel', channel.id, org, named(channel));
        return created;
      });
    },

    async get(reference, org) {
      if (isUuid(reference))
        return (
          (await session.query<Channel>(`SELECT ${COLUMNS} FROM registry.channels WHERE id = $1`, [reference]))[0] ??
          null
        );
      if (org === null) return null;
      const sql = `SELECT ${COLUMNS} FROM registry.channels WHERE org = $1 AND alias = $2`;
      return (await session.query<Channel>(sql, [org, reference]))[0] ?? null;
    },

    many: (references, org) =>
      session.query<Channel>(
        `SELECT ${COLUMNS} FROM registry.channels WHERE id = ANY ($1::uuid[]) OR (org = $2 AND alias = ANY ($3::text[]))`,
        [references.filter(isUuid), org, references.filter((each) => !isUuid(each))],
      ),

    async list(query) {
      const { where, order, values } = listClauses(query);
      const [items, [count]] = await Promise.all([
        session.query<Channel>(
          `SELECT ${COLUMNS} FROM registry.channels WHERE ${where} ORDER BY ${order} OFFSET $${values.length + 1} LIMIT $${values.length + 2}`,
          [...values, query.offset, query.limit],
        ),
        session.query<{ total: number }>(
          `SELECT count(*)::integer AS total FROM registry.channels WHERE ${where}`,
          values,
        ),
      ]);
      return { total: count?.total ?? 0, offset: query.offset, limit: query.limit, items };
    },

    update: (id, patch) =>
      feed.transaction(async (tx) => {
        const [before] = await tx.query<Channel>(`SELECT ${COLUMNS} FROM registry.channels WHERE id = $1 FOR UPDATE`, [
          id,
        ]);
        if (before === undefined) return null;
        const next = {
          name: patch.name ?? before.name,
          alias: patch.alias === undefined ? before.alias : patch.alias,
          enabled: patch.enabled ?? before.enabled,
          metadata: patch.metadata ?? before.metadata,
          tags: patch.tags ?? before.tags,
          contentType: patch.contentType === undefined ? before.contentType : patch.contentType,
        };
        const [channel] = await tx.query<Channel>(
          `UPDATE registry.channels SET name = $2, alias = $3, enabled = $4, metadata = $5, tags = $6, content_type = $7,
             version = version + 1, updated_at = now()
           WHERE id = $1 RETURNING ${COLUMNS}`,
          [id, next.name, next.alias, next.enabled, JSON.stringify(next.metadata), next.tags, next.contentType],
        );
        if (channel === undefined) return null;
        tx.changed('channel', id, channel.org, [...new Set([...named(before), ...named(channel)])]);
        return channel;
      }),

    remove: (id) =>
      feed.transaction(async (tx) => {
        const things = await tx.query<{ thing: string }>('SELECT thing FROM registry.connections WHERE channel = $1', [
          id,
        ]);
        const [gone] = await tx.query<Channel>(`DELETE FROM registry.channels WHERE id = $1 RETURNING ${COLUMNS}`, [
          id,
        ]);
        if (gone === undefined) return false;
        tx.changed('channel', id, gone.org, [...named(gone), ...things.map((row) => row.thing)]);
        return true;
      }),
  };
}

/** What answers about a channel may be memoised under. */
const named = ({ id, alias }: Channel): string[] => (alias === null ? [id] : [id, alias]);
