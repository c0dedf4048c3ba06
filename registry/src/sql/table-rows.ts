import type { SqlInventory } from '@millrace/core';
import type { Session } from '../database/database.ts';
import { Refusal } from '../http/refusal.ts';

const ROWS_MAX = 100_000;
const METADATA_BYTES_MAX = 48 * 1024 * 1024;

const SELECTS: Readonly<Record<SqlInventory, string>> = {
  things: `SELECT json_build_object('id', id, 'name', name, 'type', type, 'enabled', enabled, 'tags', tags,
      'metadata', metadata::text, 'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'))::text AS line
    FROM registry.things WHERE org = $1 ORDER BY id LIMIT $2`,
  channels: `SELECT json_build_object('id', id, 'name', name, 'alias', coalesce(alias, ''), 'enabled', enabled, 'tags', tags,
      'metadata', metadata::text, 'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'))::text AS line
    FROM registry.channels WHERE org = $1 ORDER BY id LIMIT $2`,
};

/** Things and channels as statements see them. */
export class TableRows {
  readonly #session: Session;
  constructor(session: Session) {
    this.#session = session;
  }
  /** @throws Refusal 422 */
  async of(org: string, table: SqlInventory): Promise<string> {
    const [all] = await this.#session.query<{ count: number; size: number }>(
      `SELECT count(*)::integer AS count, coalesce(sum(octet_length(metadata::text)), 0)::float8 AS size
       FROM registry.${table} WHERE org = $1`,
      [org],
    );
    if ((all?.count ?? 0) > ROWS_MAX || (all?.size ?? 0) > METADATA_BYTES_MAX)
      throw new Refusal(
        422,
        `SQL can be asked of up to ${ROWS_MAX} ${table} with ${METADATA_BYTES_MAX} bytes of metadata, and there are more.`,
      );
    const rows = await this.#session.query<{ line: string }>(SELECTS[table], [org, ROWS_MAX]);
    return rows.map(({ line }) => line).join('\n');
  }
}
