import type { Parts, Topic } from '../parts.ts';

const EVERY_MS = 60_000;
const ROWS_MAX = 1_000;

/** What has expired, each a bounded statement; nodes that sweep at once take different rows. */
const SWEEPS: readonly { readonly what: string; readonly sql: string }[] = [
  {
    what: 'oauth_items',
    sql: `DELETE FROM registry.oauth_items WHERE (kind, digest) IN (
      SELECT kind, digest FROM registry.oauth_items WHERE expires_at <= now() LIMIT ${ROWS_MAX} FOR UPDATE SKIP LOCKED) RETURNING 1`,
  },
  {
    what: 'oauth_grants',
    sql: `DELETE FROM registry.oauth_grants WHERE id IN (
      SELECT id FROM registry.oauth_grants WHERE expires_at <= now() LIMIT ${ROWS_MAX} FOR UPDATE SKIP LOCKED) RETURNING 1`,
  },
  {
    what: 'login_codes',
    sql: `DELETE FROM registry.login_codes WHERE digest IN (
      SELECT digest FROM registry.login_codes WHERE expires_at <= now() LIMIT ${ROWS_MAX} FOR UPDATE SKIP LOCKED) RETURNING 1`,
  },
];

/** Removes what nobody can use any more. */
export function createSweep({
  database,
  logger,
  metrics,
}: Pick<Parts, 'database' | 'logger' | 'metrics'>): Required<Topic> {
  const swept = metrics.counter('millrace_oauth_swept_total', 'Rows that were removed in time.', ['what']);
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  const sweep = async (): Promise<void> => {
    try {
      for (const { what, sql } of SWEEPS) {
        let gone: number;
        do {
          gone = (await database.query(sql)).length;
          if (gone > 0) swept.inc({ what }, gone);
        } while (gone === ROWS_MAX && timer !== undefined);
      }
    } catch (error) {
      logger.warn({ err: error }, 'can not remove what has expired; tries again');
    }
  };
  return {
    async start() {
      timer = setInterval(() => {
        running = running.then(sweep);
      }, EVERY_MS);
      timer.unref();
    },
    async stop() {
      clearInterval(timer);
      timer = undefined;
      await running;
    },
  };
}
