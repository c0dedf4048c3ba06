import { uuidV7 } from '@millrace/core';
import type { Session } from '../database/database.ts';
import type { Parts } from '../parts.ts';
import { isFinal, type Mail, outboxPostman, type Postman, smtpPostman } from './postman.ts';

/** Mails that are to be sent. They wait in the database, so that they commit with what caused them, outlive a crash, and
 *  no request waits for a mail server. */
export interface Mails {
  /** Puts a mail into the outbox of a transaction.  @returns false if too many wait already: then it is not kept */
  put(tx: Session, mail: Mail): Promise<boolean>;
  /** How many wait, and how often they were tried in vain. */
  waiting(): Promise<{ count: number; tried: number }>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Mails that may wait; beyond it new ones are refused. */
const WAITING_MAX = 10_000;
const TRIED_MS_MAX = 24 * 3_600_000;
/** How long one who takes a mail may be at it before another tries. More than DELIVERY_MS_MAX. */
const LEASE = `interval '60 seconds'`;
const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 300_000;
const LOOK_MS = 1_000;
const STOP_MS_MAX = 5_000;
/** Time for the transaction that puts a mail to commit. */
const SOON_MS = 20;

const PUT = `INSERT INTO registry.mails (id, sealed, expires_at)
  SELECT $1, $2, now() + $3 * interval '1 ms' WHERE (SELECT count(*) FROM registry.mails) < ${WAITING_MAX} RETURNING id`;
const TAKE = `UPDATE registry.mails SET tries = tries + 1, next_at = now() + ${LEASE} WHERE id = (
  SELECT id FROM registry.mails WHERE next_at <= now() ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
  RETURNING id, sealed, tries, expires_at < now() AS expired`;
const AGAIN = `UPDATE registry.mails SET next_at = now() + $2 * interval '1 ms' WHERE id = $1`;
const DONE = 'DELETE FROM registry.mails WHERE id = $1';

interface Waiting {
  readonly id: string;
  readonly sealed: string;
  readonly tries: number;
  readonly expired: boolean;
}

export function createMails({ database, credentials, config, directory, metrics, logger }: Parts): Mails {
  const outcomes = metrics.counter('millrace_mails_total', 'Mails, by what became of them.', ['outcome']);
  let postman: Postman | null = null;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | null = null;
  let soon = false;
  let stopped = false;

  const schedule = (ms: number): void => {
    if (stopped || postman === null) return;
    clearTimeout(timer);
    timer = setTimeout(look, ms);
    timer.unref();
  };
  const look = (): void => {
    // Whoever looks now may have looked past the newest: it looks again when it is done.
    if (running !== null) return;
    soon = false;
    running = round()
      .catch((error) => logger.warn({ err: error }, 'can not look for mails to send; tries again'))
      .finally(() => {
        running = null;
        schedule(soon ? SOON_MS : LOOK_MS);
      });
  };

  async function round(): Promise<void> {
    while (!stopped) {
      const [waiting] = await database.query<Waiting>(TAKE);
      if (waiting === undefined) return;
      await send(waiting);
    }
  }

  async function send({ id, sealed, tries, expired }: Waiting): Promise<void> {
    try {
      if (expired) throw Object.assign(new Error('it waited for a day'), { responseCode: 500 });
      const mail = JSON.parse(credentials.decrypt(sealed, id)) as Mail;
      await postman?.deliver(id, mail);
    } catch (error) {
      // The mail's own words are for its reader alone: neither address nor text is logged.
      const told = { mail: id, tries, reason: error instanceof Error ? error.message.slice(0, 300) : 'unknown' };
      if (isFinal(error)) {
        outcomes.inc({ outcome: 'failed' });
        logger.error(told, 'a mail can not be delivered and is given up');
        await database.query(DONE, [id]);
        return;
      }
      outcomes.inc({ outcome: 'retried' });
      logger.warn(told, 'a mail could not be sent; tries again');
      await database.query(AGAIN, [id, Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(tries, 20))]);
      return;
    }
    outcomes.inc({ outcome: 'sent' });
    await database.query(DONE, [id]);
  }

  return {
    async put(tx, mail) {
      const id = uuidV7();
      const [kept] = await tx.query(PUT, [id, credentials.encrypt(JSON.stringify(mail), id), TRIED_MS_MAX]);
      if (kept === undefined) {
        outcomes.inc({ outcome: 'refused' });
        logger.error({ waiting: WAITING_MAX }, 'a mail was not kept: too many wait; check MILLRACE_SMTP_URL');
        return false;
      }
      if (!soon) {
        soon = true;
        schedule(SOON_MS);
      }
      return true;
    },
    async waiting() {
      const sql = 'SELECT count(*)::integer AS count, coalesce(sum(tries), 0)::integer AS tried FROM registry.mails';
      return (await database.query<{ count: number; tried: number }>(sql))[0] ?? { count: 0, tried: 0 };
    },
    async start() {
      const from = config.MILLRACE_MAIL_FROM;
      if (config.MILLRACE_SMTP_URL !== undefined) postman = smtpPostman(config.MILLRACE_SMTP_URL, from);
      else if (directory !== null) postman = outboxPostman(directory, from);
      else logger.debug({}, 'this node sends no mails: it has neither a mail server nor a directory');
      schedule(LOOK_MS);
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      // A server that does not answer must not hold up the end: its mail is given to another when the lease is over.
      let late: NodeJS.Timeout | undefined;
      const patience = new Promise<void>((resolve) => {
        late = setTimeout(resolve, STOP_MS_MAX);
      });
      await Promise.race([running, patience]);
      clearTimeout(late);
      postman?.close();
    },
  };
}
