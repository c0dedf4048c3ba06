import { GONE_PARTITION_MIN, type SnapshotTable, StoreError } from '@millrace/core';
import type { StorageConfig } from '../config.ts';
import { insertError } from '../engine/errors.ts';
import { INSERT_TARGETS, MIGRATIONS, migrate, setDurability } from '../schema/migrate.ts';
import { openEngine } from '../store.ts';
import { quote } from './snapshot.ts';

const NAME = /^[a-z][a-z0-9_]{0,62}$/;

/** A store that is being filled from a backup; no node works with it. */
export interface StoreRestore {
  /** Rows by table, of tables that have any. */
  contents(): Promise<Readonly<Record<string, number>>>;
  /** Messages that a node has stored: no restore has. */
  storedCount(): Promise<number>;
  /** Makes the schema of the backup in an empty store; what a restore that was cut short has left goes.
   *  @throws StoreError STORE_REFUSED when the backup is of a newer program */
  begin(schema: number): Promise<void>;
  /** @param rows whole rows, as they were read */
  load(table: Pick<SnapshotTable, 'name' | 'columns'>, rows: Uint8Array, token: string): Promise<void>;
  clear(table: string): Promise<void>;
  /** Brings what was loaded to this program's schema. */
  finish(): Promise<void>;
  close(): Promise<void>;
}

export const STORE_SCHEMA = MIGRATIONS.at(-1)?.version ?? 0;

/** @throws StoreError STORE_UNREACHABLE */
export async function openStoreRestore(config: StorageConfig, directory: string): Promise<StoreRestore> {
  const engine = await openEngine(config, directory);
  await engine.createDatabase();
  const tables = async (): Promise<string[]> => {
    const rows = await engine.rows<{ name: string }>(
      'SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name',
    );
    const there = new Set(rows.map(({ name }) => name));
    return INSERT_TARGETS.filter((name) => there.has(name));
  };
  const clear = async (table: string): Promise<void> => {
    if (!(INSERT_TARGETS as readonly string[]).includes(table)) throw unknown(table);
    await engine.command(`TRUNCATE TABLE ${table}`);
  };
  return {
    async contents() {
      const counts: Record<string, number> = {};
      for (const table of await tables()) {
        const [found] = await engine.rows<{ count: string }>(`SELECT toString(count()) AS count FROM ${table}`);
        if (Number(found?.count) > 0) counts[table] = Number(found?.count);
      }
      return counts;
    },
    async storedCount() {
      if (!(await tables()).includes('message_log')) return 0;
      const [found] = await engine.rows<{ count: string }>(
        `SELECT toString(count()) AS count FROM message_log WHERE log_partition < ${GONE_PARTITION_MIN}`,
      );
      return Number(found?.count);
    },
    async begin(schema) {
      if (schema > STORE_SCHEMA)
        throw new StoreError('STORE_REFUSED', 'never', { schema, program: STORE_SCHEMA, problem: 'a newer backup' });
      await migrate(engine, MIGRATIONS.slice(0, MIGRATIONS.findIndex(({ version }) => version === schema) + 1));
      for (const table of await tables()) await clear(table);
      await setDurability(engine, config.MILLRACE_STORE_DURABILITY);
    },
    async load({ name, columns }, rows, token) {
      if (!(INSERT_TARGETS as readonly string[]).includes(name)) throw unknown(name);
      if (!columns.every((column) => NAME.test(column))) throw unknown(columns.join());
      try {
        await engine.insertText(`${name}(${columns.map(quote).join(',')})`, rows, token);
      } catch (cause) {
        throw insertError(cause, { table: name });
      }
    },
    clear,
    finish: () => migrate(engine),
    close: () => engine.close(),
  };
}

const unknown = (what: string): StoreError =>
  new StoreError('STORE_REFUSED', 'never', { what, problem: 'no table or column of the store' });
