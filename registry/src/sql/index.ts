import type { OrgRole, SqlInventory, SqlLimits } from '@millrace/core';
import { Refusal } from '../http/refusal.ts';
import type { Parts } from '../parts.ts';
import { createSavedQueries, type SavedQueries } from './saved-queries.ts';
import { TableRows } from './table-rows.ts';

/** What of SQL is the registry's: saved queries, the tables of things and channels, who may take how much. */
export interface Sql {
  readonly queries: SavedQueries;
  limits(role: OrgRole): SqlLimits;
  /** The rows of a table, one JSON object a line.  @throws Refusal 422 where there are too many */
  rows(org: string, table: SqlInventory): Promise<string>;
  /** A place among the statements that an org runs at once; called, it is given back.  @throws Refusal 429 */
  enter(org: string, role: OrgRole): () => void;
}

export function createSql({ database, feed, config }: Parts): Sql {
  const running = new Map<string, number>();
  const tableRows = new TableRows(database);
  return {
    queries: createSavedQueries(database, feed, config.MILLRACE_SAVED_QUERIES_PER_ORG_MAX),
    limits: (role) => ({
      seconds: config.MILLRACE_SQL_SECONDS[role],
      memoryBytes: config.MILLRACE_SQL_MEMORY_BYTES[role],
      rowsRead: config.MILLRACE_SQL_ROWS_READ[role],
      resultRows: config.MILLRACE_SQL_RESULT_ROWS[role],
      resultBytes: config.MILLRACE_SQL_RESULT_BYTES[role],
    }),
    rows: (org, table) => tableRows.of(org, table),
    enter(org, role) {
      const count = running.get(org) ?? 0;
      const countMax = config.MILLRACE_SQL_AT_ONCE[role];
      if (count >= countMax)
        throw new Refusal(
          429,
          `The organisation runs ${count} statements at once, which is the limit: wait for one to end.`,
          { 'retry-after': '1' },
        );
      running.set(org, count + 1);
      let left = false;
      return () => {
        if (left) return;
        left = true;
        const now = (running.get(org) ?? 1) - 1;
        if (now === 0) running.delete(org);
        else running.set(org, now);
      };
    },
  };
}

export { savedQueryRoutes } from './query-routes.ts';
export { sqlRoutes } from './sql-routes.ts';
