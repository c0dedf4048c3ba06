import { StoreError, TABLES } from '@millrace/core';
import type { Engine } from '../engine/engine.ts';
import { initial } from './initial.ts';
import { leanerReadings } from './leaner-readings.ts';
import { leanerRollups } from './leaner-rollups.ts';
import { LEASES, SchemaLease } from './lease.ts';

/** One step of the schema. Every statement may run again: a step that was cut short is done once more. */
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly statements: readonly string[];
  /** Only adds what programs before it need not know (tables, views of their own, columns with a default): they go on
   *  working with it, also when they start again, so nodes can be upgraded one by one. */
  readonly expands?: boolean;
}

/** Before the name of a migration that only expands: it is told apart without another column, which would have to be
 *  added to the table in the midst of older programs. */
const EXPANDS = '+';

/** In order; a released one is never edited. */
export const MIGRATIONS: readonly Migration[] = [initial, leanerReadings, leanerRollups];

export type Durability = 'fsync' | 'commit';

const FSYNC = ['fsync_after_insert', 'fsync_part_directory'] as const;
/** Every table that an insert reaches. */
export const INSERT_TARGETS = [...TABLES, 'rollups', 'latest_others'] as const;

export const MADE = `CREATE TABLE IF NOT EXISTS schema_migrations (version UInt32, name String, applied DateTime('UTC') DEFAULT now())
ENGINE = ReplacingMergeTree ORDER BY version`;

/** Brings the database to this program's schema. Safe to run twice, and by several nodes at once: one does it, the others
 *  wait for it. A statement may still run again, when a node has died in the middle. A newer database is taken if all that
 *  is newer only expands it.
 *  @throws StoreError STORE_UNREACHABLE (never) when a newer program has been at work here */
export async function migrate(engine: Engine, migrations: readonly Migration[] = MIGRATIONS): Promise<void> {
  await engine.command(MADE);
  if ((await missing(engine, migrations)).length > 0) {
    await engine.command(LEASES);
    // The embedded engine's directory is one process's.
    const lease = engine.name === 'embedded' ? null : await SchemaLease.take(engine);
    try {
      await engine.settle('schema_migrations');
      for (const { version, name, statements, expands = false } of await missing(engine, migrations)) {
        for (const statement of statements) {
          lease?.check();
          await engine.command(statement);
        }
        lease?.check();
        const told = expands ? EXPANDS + name : name;
        await engine.command(`INSERT INTO schema_migrations (version, name) VALUES (${version}, '${told}')`);
      }
    } finally {
      await lease?.give();
    }
  }
  await engine.complete();
}

async function missing(engine: Engine, migrations: readonly Migration[]): Promise<Migration[]> {
  const [found] = await engine.rows<{ version: number; changed: number }>(
    `SELECT max(schema_migrations.version) AS version, maxIf(schema_migrations.version, NOT startsWith(name, '${EXPANDS}')) AS changed
     FROM schema_migrations`,
  );
  const schema = found?.version ?? 0;
  const program = migrations.at(-1)?.version ?? 0;
  if ((found?.changed ?? 0) > program)
    throw new StoreError('STORE_UNREACHABLE', 'never', {
      schema,
      program,
      problem: 'the database was made by a newer version: upgrade this node',
    });
  return migrations.filter(({ version }) => version > schema);
}

/** Sets whether parts are synced to disk before an insert is answered, where it is not set so already. */
export async function setDurability(engine: Engine, durability: Durability): Promise<void> {
  const wanted = durability === 'fsync' ? 1 : 0;
  const tables = await engine.rows<{ name: string; definition: string }>(
    'SELECT name, create_table_query AS definition FROM system.tables WHERE database = currentDatabase()',
  );
  for (const name of INSERT_TARGETS) {
    const definition = tables.find((table) => table.name === engine.localTable(name))?.definition;
    if (definition === undefined) continue;
    if (FSYNC.every((setting) => definition.includes(`${setting} = 1`)) === (wanted === 1)) continue;
    await engine.command(`ALTER TABLE ${name} MODIFY SETTING ${FSYNC.map((each) => `${each} = ${wanted}`).join(', ')}`);
  }
}
