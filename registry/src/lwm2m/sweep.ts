import type { Parts, Topic } from '../parts.ts';

const EVERY_MS = 30_000;
const ROWS_MAX = 1_000;
/** Nodes that sweep at once take different rows. */
const SWEEP = `DELETE FROM registry.lwm2m_registrations WHERE thing IN (
    SELECT thing FROM registry.lwm2m_registrations WHERE expires_at <= now() LIMIT ${ROWS_MAX} FOR UPDATE SKIP LOCKED)
  RETURNING 1`;

/** Removes registrations whose lifetime is over: nobody is given them any more. */
export function createRegistrationSweep({ database, logger }: Pick<Parts, 'database' | 'logger'>): Required<Topic> {
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  const sweep = async (): Promise<void> => {
    try {
      while ((await database.query(SWEEP)).length === ROWS_MAX && timer !== undefined);
    } catch (error) {
      logger.warn({ err: error }, 'can not remove registrations that are over; tries again');
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
