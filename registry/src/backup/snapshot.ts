import { finished } from 'node:stream/promises';
import { type Logger, uuidV7 } from '@millrace/core';
import pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import { type Row, registryError } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { identifier, type RegistryTable, type Sequence, sequencesOf, tablesOf } from './tables.ts';

/** Advisory lock: one backup of the installation at a time. */
const LOCK = 0x4d_4c_0b;
const CONNECT_MS_MAX = 5_000;
/** A connection that nobody reads from any more ends by itself. */
const IDLE_MS_MAX = 600_000;

/** A server that is in the midst of a COPY does not hear that we leave. */
const CLOSE_MS_MAX = 2_000;
interface Wired {
  readonly connection: { readonly stream: { destroy(): void } };
}

/** The registry as it was at one moment. */
export interface RegistrySnapshot {
  /** Of the backup. */
  readonly id: string;
  /** Of the schema. */
  readonly schema: number;
  readonly taken: Date;
  readonly sequences: readonly Sequence[];
  readonly tables: readonly RegistryTable[];
  /** One at a time. @shape as PostgreSQL's COPY writes text */
  rows(table: RegistryTable): AsyncIterable<Uint8Array>;
  /** The moment need not be held any longer: the tables are read. */
  read(): Promise<void>;
  /** Ends it, and lets the next backup begin. */
  close(): Promise<void>;
}

/** Opens a connection of its own, on which one transaction sees the same all the time.
 *  @throws RegistryError REGISTRY_UNREACHABLE, REGISTRY_FULL while another backup is made */
export async function takeRegistrySnapshot(url: string, logger: Logger): Promise<RegistrySnapshot> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: CONNECT_MS_MAX,
    idle_in_transaction_session_timeout: IDLE_MS_MAX,
    statement_timeout: 0,
    application_name: 'millrace-backup',
    keepAlive: true,
  });
  client.on('error', (error) => logger.warn({ err: error.message }, 'lost the connection of a backup to postgres'));
  const query = async <R extends object>(sql: string, values: readonly unknown[] = []): Promise<R[]> => {
    try {
      return (await client.query<R & Row>(sql, [...values])).rows;
    } catch (error) {
      throw registryError(error);
    }
  };
  const session = { query };
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closed ??= end();
    return closed;
  };
  const end = async (): Promise<void> => {
    const late = setTimeout(() => (client as unknown as Wired).connection.stream.destroy(), CLOSE_MS_MAX);
    await client.end().catch(() => undefined);
    clearTimeout(late);
  };
  try {
    await client.connect().catch((error) => {
      throw registryError(error);
    });
    const [lock] = await query<{ held: boolean }>('SELECT pg_try_advisory_lock($1) AS held', [LOCK]);
    if (lock?.held !== true) throw new RegistryError('REGISTRY_FULL', 'later', { backups: 1 });
    await query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const [at] = await query<{ taken: Date; schema: number }>(
      'SELECT now() AS taken, max(version) AS schema FROM registry.migrations',
    );
    const [tables, sequences] = [await tablesOf(session), await sequencesOf(session)];
    return {
      id: uuidV7(),
      schema: at?.schema ?? 0,
      taken: at?.taken ?? new Date(),
      tables,
      sequences,
      async *rows({ name, columns }) {
        const stream = client.query(copyTo(`COPY registry.${identifier(name)} (${columns.map(identifier)}) TO STDOUT`));
        const ended = finished(stream).catch(() => undefined);
        try {
          yield* stream as AsyncIterable<Uint8Array>;
        } catch (error) {
          throw registryError(error);
        } finally {
          // Who takes no more of it ends the whole: what is still to come would stand in the way.
          stream.destroy();
          await ended;
        }
      },
      read: async () => {
        await query('COMMIT');
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
