import { RegistryError } from '../error.ts';
import type { Database } from './database.ts';
import * as controlPlane from './migrations/0001-control-plane.ts';
import * as bridge from './migrations/0002-bridge.ts';
import * as tenancy from './migrations/0003-tenancy.ts';
import * as people from './migrations/0004-people.ts';
import * as inventory from './migrations/0005-inventory.ts';
import * as access from './migrations/0006-access.ts';
import * as applications from './migrations/0007-applications.ts';
import * as certificates from './migrations/0008-certificates.ts';
import * as audit from './migrations/0009-audit.ts';
import * as jobs from './migrations/0010-jobs.ts';
import * as commands from './migrations/0011-commands.ts';
import * as lwm2m from './migrations/0012-lwm2m.ts';
import * as lora from './migrations/0013-lora.ts';
import * as deviceKeys from './migrations/0014-device-keys.ts';
import * as logShards from './migrations/0015-log-shards.ts';
import * as nodes from './migrations/0016-nodes.ts';
import * as steps from './migrations/0017-steps.ts';
import * as savedQueries from './migrations/0018-saved-queries.ts';
import * as imports from './migrations/0019-imports.ts';
import * as retention from './migrations/0020-retention.ts';
import * as deadLetters from './migrations/0021-dead-letters.ts';
import * as webhooks from './migrations/0022-webhooks.ts';

export interface Migration {
  readonly name: string;
  readonly sql: string;
  /** Only adds what programs before it need not know (tables, columns with a default): they go on working with it, so
   *  nodes can be upgraded one by one, and an old one that restarts meanwhile comes back. */
  readonly expands?: boolean;
}

/** In order; a migration that was released never changes. */
export const MIGRATIONS: readonly Migration[] = [
  controlPlane,
  bridge,
  tenancy,
  people,
  inventory,
  access,
  applications,
  certificates,
  audit,
  jobs,
  commands,
  lwm2m,
  lora,
  deviceKeys,
  logShards,
  nodes,
  steps,
  savedQueries,
  imports,
  retention,
  deadLetters,
  webhooks,
];

/** Advisory locks of the registry, by what they guard. */
export const LOCKS = { migrate: 0x4d_4c_01, firstRun: 0x4d_4c_02, changes: 0x4d_4c_03, sweep: 0x4d_4c_04 } as const;

/** Brings the database to this program's version. Nodes that start at once take turns. A newer database is taken if all
 *  that is newer only expands it.
 *  @returns how many migrations ran
 *  @throws RegistryError REGISTRY_SCHEMA_NEWER, REGISTRY_RESTORE_UNFINISHED, REGISTRY_UNREACHABLE */
export async function migrate(database: Database, migrations: readonly Migration[] = MIGRATIONS): Promise<number> {
  return database.transaction(async (session) => {
    await session.query('SET LOCAL statement_timeout = 0');
    await session.query('SELECT pg_advisory_xact_lock($1)', [LOCKS.migrate]);
    await session.query('CREATE SCHEMA IF NOT EXISTS registry');
    await session.query(
      'CREATE TABLE IF NOT EXISTS registry.migrations (version integer PRIMARY KEY, name text NOT NULL, at timestamptz NOT NULL DEFAULT now())',
    );
    const [restore] = await session.query<{ unfinished: boolean }>(
      `SELECT to_regclass('registry.restores') IS NOT NULL AS unfinished`,
    );
    if (restore?.unfinished === true)
      throw new RegistryError('REGISTRY_RESTORE_UNFINISHED', 'never', {
        advice: 'a restore was begun here and cut short: run millrace restore again, to its end',
      });
    // Altering would wait for whoever reads the table, a backup for example: only where it has to be.
    const known = await session.query(
      `SELECT FROM pg_attribute WHERE attrelid = 'registry.migrations'::regclass AND attname = 'expands'`,
    );
    if (known.length === 0)
      await session.query('ALTER TABLE registry.migrations ADD COLUMN expands boolean NOT NULL DEFAULT false');
    const rows = await session.query<{ at: number | null; changed: number | null }>(
      'SELECT max(version) AS at, max(version) FILTER (WHERE NOT expands) AS changed FROM registry.migrations',
    );
    const at = rows[0]?.at ?? 0;
    if ((rows[0]?.changed ?? 0) > migrations.length)
      throw new RegistryError('REGISTRY_SCHEMA_NEWER', 'never', {
        database: at,
        program: migrations.length,
        advice: 'run a newer millrace, or restore a backup from before the upgrade',
      });
    for (const [index, { name, sql, expands = false }] of migrations.entries()) {
      if (index < at) continue;
      await session.query(sql);
      await session.query('INSERT INTO registry.migrations (version, name, expands) VALUES ($1, $2, $3)', [
        index + 1,
        name,
        expands,
      ]);
    }
    return Math.max(0, migrations.length - at);
  });
}
