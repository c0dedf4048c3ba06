import type { Logger, Metrics } from '@millrace/core';
import pg from 'pg';
import { RegistryError } from '../error.ts';

export type Row = Record<string, unknown>;
/** What statements run on: the pool, or a transaction. */
export interface Session {
  /** @param prepared names a statement that is asked often: PostgreSQL plans it once a connection. The text must always
   *  be the same for one name. */
  query<R extends object = Row>(sql: string, values?: readonly unknown[], prepared?: string): Promise<R[]>;
}
export interface Database extends Session {
  /** All or nothing. When the connection is lost at the commit, whether it happened is not known. */
  transaction<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /** How many there are. */
  connections(): { readonly open: number; readonly idle: number; readonly waiting: number };
  health(): Promise<string | null>;
  close(): Promise<void>;
}
export interface DatabaseOptions {
  readonly url: string;
  readonly connectionsMax: number;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Statements that wait for a connection; beyond it they are refused. */
const WAITING_MAX = 500;
const CONNECT_MS_MAX = 3_000;
const STATEMENT_MS_MAX = 10_000;

/** A bounded pool whose errors are RegistryErrors. It recovers by itself when the database comes back. */
export function openDatabase({ url, connectionsMax, logger, metrics }: DatabaseOptions): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: connectionsMax,
    connectionTimeoutMillis: CONNECT_MS_MAX,
    idleTimeoutMillis: 60_000,
    statement_timeout: STATEMENT_MS_MAX,
    query_timeout: STATEMENT_MS_MAX + 1_000,
    idle_in_transaction_session_timeout: STATEMENT_MS_MAX,
    application_name: 'millrace',
    keepAlive: true,
  });
  // An idle connection that breaks is replaced; without a listener it would end the process.
  pool.on('error', (error) => logger.warn({ err: error.message }, 'lost an idle connection to postgres'));
  const failures = metrics.counter('millrace_registry_errors_total', 'Statements that failed, by reason.', ['reason']);

  const refuse = (cause: unknown): never => {
    const error = registryError(cause);
    failures.inc({ reason: error.code });
    throw error;
  };
  const full = (): boolean => pool.waitingCount >= WAITING_MAX;
  const refuseFull = (): never => refuse(new RegistryError('REGISTRY_UNREACHABLE', 'later', { waiting: WAITING_MAX }));

  async function query<R extends object>(
    sql: string,
    values: readonly unknown[] = [],
    prepared?: string,
  ): Promise<R[]> {
    if (full()) refuseFull();
    try {
      const named = prepared === undefined ? {} : { name: prepared };
      return (await pool.query<R & Row>({ ...named, text: sql, values: [...values] })).rows;
    } catch (error) {
      return refuse(error);
    }
  }

  async function transaction<T>(work: (session: Session) => Promise<T>): Promise<T> {
    if (full()) refuseFull();
    const client = await pool.connect().catch(refuse);
    let broken: Error | undefined;
    // While a client is checked out the pool does not listen on it.
    const onError = (error: Error): void => {
      broken = error;
    };
    client.on('error', onError);
    try {
      await client.query('BEGIN');
      const result = await work({
        query: async <R extends object>(sql: string, values: readonly unknown[] = []) =>
          (await client.query<R & Row>(sql, [...values])).rows,
      });
      await client.query('COMMIT');
      return result;
    } catch (error) {
      await client.query('ROLLBACK').catch((rollback: Error) => {
        broken = rollback;
      });
      return refuse(error);
    } finally {
      client.off('error', onError);
      client.release(broken);
    }
  }

  return {
    query,
    transaction,
    connections: () => ({ open: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    async health() {
      try {
        await query('SELECT 1');
        return null;
      } catch {
        return 'PostgreSQL does not answer: check that it runs and that MILLRACE_POSTGRES_URL is right';
      }
    },
    close: () => pool.end(),
  };
}

/** What a failure of PostgreSQL means to us.  @source PostgreSQL, Appendix A: error codes */
export function registryError(cause: unknown): Error & { code: string } {
  if (!(cause instanceof pg.DatabaseError)) {
    if (cause instanceof Error && 'retry' in cause && 'code' in cause) return cause as Error & { code: string };
    // Bugs of ours show as themselves; all else is the network's.
    if (cause instanceof TypeError || cause instanceof RangeError || cause instanceof SyntaxError)
      return Object.assign(cause, { code: 'BUG' });
    return new RegistryError('REGISTRY_UNREACHABLE', 'later', {}, { cause });
  }
  const state = cause.code ?? '';
  if (state === '23505')
    return new RegistryError('REGISTRY_CONFLICT', 'never', { field: fieldOf(cause.constraint ?? '') }, { cause });
  if (state === '23503')
    return new RegistryError('REGISTRY_NOT_FOUND', 'never', { constraint: cause.constraint }, { cause });
  if (state.startsWith('22')) return new RegistryError('REGISTRY_VALUE_REFUSED', 'never', { state }, { cause });
  if (/^(08|25|40|53|55|57|58|XX|28|3D)/.test(state))
    return new RegistryError('REGISTRY_UNREACHABLE', 'later', { state }, { cause });
  return Object.assign(cause, { code: state });
}

/** @shape constraints are named `<table>_<field>_unique` or `<table>_pkey` */
function fieldOf(constraint: string): string {
  if (constraint.endsWith('_pkey')) return 'id';
  return /_([a-z]+)_unique$/.exec(constraint)?.[1] ?? constraint;
}
