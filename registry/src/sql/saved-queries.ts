import { type SqlParameter, uuidV7 } from '@millrace/core';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { checkVersion, noteChange } from '../inventory/change.ts';
import { type Listed, type ListQuery, listRows } from '../inventory/page.ts';

export interface SavedQuery {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly description: string;
  readonly query: string;
  /** Where who runs it gives none. */
  readonly parameters: Readonly<Record<string, SqlParameter>>;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
export type NewSavedQuery = Pick<SavedQuery, 'name' | 'description' | 'query' | 'parameters'>;

/** Statements that people keep under a name. */
export interface SavedQueries {
  /** @throws RegistryError REGISTRY_CONFLICT with field name, REGISTRY_FULL */
  create(org: string, query: NewSavedQuery): Promise<SavedQuery>;
  get(id: string): Promise<SavedQuery | null>;
  list(query: ListQuery): Promise<Listed<SavedQuery>>;
  /** null if it is gone.  @throws RegistryError REGISTRY_VERSION_MISMATCH, REGISTRY_CONFLICT */
  replace(id: string, query: NewSavedQuery, expected: number | null): Promise<SavedQuery | null>;
  /** false if it is gone.  @throws RegistryError REGISTRY_VERSION_MISMATCH */
  remove(id: string, expected: number | null): Promise<boolean>;
}

const COLUMNS = `id, org, name, description, query, parameters, version, created_at AS "createdAt", updated_at AS "updatedAt"`;

export function createSavedQueries(session: Session, feed: ChangeFeed, perOrgMax: number): SavedQueries {
  const locked = async (tx: ChangeSession, id: string, expected: number | null): Promise<SavedQuery | null> => {
    const [query] = await tx.query<SavedQuery>(
      `SELECT ${COLUMNS} FROM registry.saved_queries WHERE id = $1 FOR UPDATE`,
      [id],
    );
    if (query === undefined) return null;
    checkVersion('query', query, expected);
    return query;
  };
  return {
    create: (org, { name, description, query, parameters }) =>
      feed.transaction(async (tx) => {
        // One after the other, so that many at once don't pass the limit together.
        await tx.query('SELECT 1 FROM registry.orgs WHERE id = $1 FOR UPDATE', [org]);
        const [count] = await tx.query<{ all: number }>(
          'SELECT count(*)::integer AS all FROM registry.saved_queries WHERE org = $1',
          [org],
        );
        if ((count?.all ?? 0) >= perOrgMax) throw new RegistryError('REGISTRY_FULL', 'never', { queries: perOrgMax });
        const [made] = await tx.query<SavedQuery>(
          `INSERT INTO registry.saved_queries (id, org, name, description, query, parameters)
           VALUES ($1, $2, $3, $4, $5, $6) RETURNING ${COLUMNS}`,
          [uuidV7(), org, name, description, query, JSON.stringify(parameters)],
        );
        if (made === undefined) throw new TypeError('INSERT … RETURNING gave no row');
        noteChange(tx, 'queries', 'create', null, made);
        return made;
      }),

    async get(id) {
      const sql = `SELECT ${COLUMNS} FROM registry.saved_queries WHERE id = $1`;
      return (await session.query<SavedQuery>(sql, [id]))[0] ?? null;
    },

    list: (query) => listRows<SavedQuery>(session, 'registry.saved_queries', COLUMNS, query),

    replace: (id, { name, description, query, parameters }, expected) =>
      feed.transaction(async (tx) => {
        const before = await locked(tx, id, expected);
        if (before === null) return null;
        const [after] = await tx.query<SavedQuery>(
          `UPDATE registry.saved_queries SET name = $2, description = $3, query = $4, parameters = $5,
             version = version + 1, updated_at = now() WHERE id = $1 RETURNING ${COLUMNS}`,
          [id, name, description, query, JSON.stringify(parameters)],
        );
        if (after === undefined) return null;
        noteChange(tx, 'queries', 'update', before, after);
        return after;
      }),

    remove: (id, expected) =>
      feed.transaction(async (tx) => {
        const query = await locked(tx, id, expected);
        if (query === null) return false;
        await tx.query('DELETE FROM registry.saved_queries WHERE id = $1', [id]);
        noteChange(tx, 'queries', 'delete', query, null);
        return true;
      }),
  };
}
