import { once } from 'node:events';
import { finished } from 'node:stream/promises';
import type { Logger, Metrics } from '@millrace/core';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { openDatabase, type Row, registryError, type Session } from '../database/database.ts';
import { MIGRATIONS, migrate } from '../database/migrate.ts';
import { RegistryError } from '../error.ts';
import type { BackupManifest } from './manifest.ts';
import { onNewLog } from './new-log.ts';
import { identifier } from './tables.ts';

/** What there must be none of. */
const COUNTED = ['users', 'orgs', 'things', 'channels'] as const;

/** A registry that is being filled from a backup; no node works with it. */
export interface RegistryRestore {
  /** Rows by table, of what an empty registry has none of; null: what is there is what a restore that was cut short left. */
  contents(): Promise<Readonly<Record<string, number>> | null>;
  /** Makes the schema of the backup. From now on no node starts here until all is loaded.
   *  @throws RegistryError REGISTRY_SCHEMA_NEWER when the backup is of a newer program */
  begin(manifest: BackupManifest): Promise<void>;
  /** Loads everything at once, or nothing, and brings it to this program's schema.
   *  @param partitionCount of a new log: sessions and retained messages are set to its beginning; null: the log is still there
   *  @param rowsOf the rows of a table, in the order of its files */
  load(
    manifest: BackupManifest,
    partitionCount: number | null,
    rowsOf: (table: string) => AsyncIterable<Uint8Array>,
  ): Promise<void>;
  close(): Promise<void>;
}

export const REGISTRY_SCHEMA = MIGRATIONS.length;

export function openRegistryRestore(options: {
  readonly url: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
}): RegistryRestore {
  const { url, logger } = options;
  const database = openDatabase({ ...options, connectionsMax: 2 });
  const isThere = async (table: string): Promise<boolean> =>
    (await database.query<{ there: boolean }>('SELECT to_regclass($1) IS NOT NULL AS there', [`registry.${table}`]))[0]
      ?.there === true;
  return {
    async contents() {
      if (await isThere('restores')) return null;
      if (!(await isThere('migrations'))) {
        // Another program's schema of the same name is not ours to drop.
        const others = await database.query<{ name: string }>(
          `SELECT relname AS name FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relnamespace = to_regnamespace('registry')`,
        );
        return Object.fromEntries(others.map(({ name }) => [`table ${name} of another program`, 1]));
      }
      const counts: Record<string, number> = {};
      for (const table of COUNTED) {
        if (!(await isThere(table))) continue;
        const [found] = await database.query<{ count: number }>(
          `SELECT count(*)::integer AS count FROM registry.${table}`,
        );
        if (found !== undefined && found.count > 0) counts[table] = found.count;
      }
      return counts;
    },

    async begin({ id, schema }) {
      if (schema.registry > REGISTRY_SCHEMA)
        throw new RegistryError('REGISTRY_SCHEMA_NEWER', 'never', {
          backup: schema.registry,
          program: REGISTRY_SCHEMA,
          advice: 'restore with the version of millrace that made the backup, or a newer one',
        });
      await database.query('DROP SCHEMA IF EXISTS registry CASCADE');
      await migrate(database, MIGRATIONS.slice(0, schema.registry));
      await database.query('CREATE TABLE registry.restores (backup uuid PRIMARY KEY, at timestamptz NOT NULL)');
      await database.query('INSERT INTO registry.restores VALUES ($1, now())', [id]);
    },

    async load(manifest, partitionCount, rowsOf) {
      const client = new pg.Client({
        connectionString: url,
        application_name: 'millrace-restore',
        statement_timeout: 0,
      });
      client.on('error', (error) => logger.warn({ err: error.message }, 'lost the connection of the restore'));
      const session: Session = {
        query: async <R extends object>(sql: string, values: readonly unknown[] = []) =>
          (await client.query<R & Row>(sql, [...values])).rows,
      };
      try {
        await client.connect();
        await session.query('BEGIN');
        for (const { store, table, columns } of manifest.tables)
          if (store === 'registry') await copy(client, table, columns, rowsOf(table));
        for (const { name, value, called } of manifest.sequences)
          await session.query('SELECT setval($1::regclass, $2, $3)', [`registry.${identifier(name)}`, value, called]);
        if (partitionCount !== null) await onNewLog(session, manifest, partitionCount);
        await session.query('DROP TABLE registry.restores');
        await session.query('COMMIT');
      } catch (error) {
        throw registryError(error);
      } finally {
        await client.end().catch(() => undefined);
      }
      await migrate(database);
    },

    close: () => database.close(),
  };
}

async function copy(
  client: pg.Client,
  table: string,
  columns: readonly string[],
  rows: AsyncIterable<Uint8Array>,
): Promise<void> {
  const stream = client.query(copyFrom(`COPY registry.${identifier(table)} (${columns.map(identifier)}) FROM STDIN`));
  const ended = finished(stream);
  // Heard below; until then no unhandled fault.
  ended.catch(() => undefined);
  for await (const bytes of rows) {
    if (stream.destroyed) break;
    if (!stream.write(bytes)) await Promise.race([once(stream, 'drain'), ended]);
  }
  stream.end();
  await ended;
}
