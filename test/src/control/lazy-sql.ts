import { join } from 'node:path';
import { createLogger, createMetrics, readConfig, type Started, type TenantSql } from '@millrace/core';
import { openStore, StorageConfig } from '@millrace/storage';

export interface LazySql {
  readonly sql: TenantSql;
  close(): Promise<void>;
}

/** SQL over a store without rows, which is opened when it is asked something: most tests never do. */
export function lazySql(directory: string): LazySql {
  let opened: Promise<Started<{ readonly sql: TenantSql }>> | null = null;
  const sql = async (): Promise<TenantSql> => {
    opened ??= openStore(readConfig(StorageConfig, {}), {
      directory: join(directory, 'clickhouse'),
      metrics: createMetrics(),
      logger: createLogger({ level: 'silent' }),
    }).start();
    return (await opened).value.sql;
  };
  return {
    sql: {
      ask: async (statement) => (await sql()).ask(statement),
      stream: async (statement, format) => (await sql()).stream(statement, format),
      check: async (statement) => (await sql()).check(statement),
      schema: () => ({ tables: [], functions: {} }),
    },
    async close() {
      await (await opened)?.stop();
    },
  };
}
