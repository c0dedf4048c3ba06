import { type Credentials, isUuid, type TicketStore } from '@millrace/core';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';

export interface Tickets extends TicketStore {
  /** Whose it was; null when it is unknown, used or too old, or what it was got by has been ended since. Of any number of
   *  tries one is answered. */
  redeem(digest: string): Promise<string | null>;
}

/** Tickets are kept as digests only. */
export function createTickets(session: Session, credentials: Credentials, now: () => number): Tickets {
  return {
    async issue(subject, expiresMs) {
      if (!isUuid(subject)) throw new RegistryError('REGISTRY_VALUE_REFUSED', 'never', { field: 'subject' });
      const ticket = credentials.newKey();
      await session.query(
        `INSERT INTO registry.tickets (digest, subject, expires_at, epoch)
         VALUES ($1, $2, to_timestamp($3::float8 / 1000), (
           SELECT epoch FROM registry.users WHERE id = $2 UNION ALL SELECT epoch FROM registry.things WHERE id = $2))`,
        [credentials.digest(ticket), subject, expiresMs],
      );
      return ticket;
    },
    async redeem(digest) {
      const [row] = await session.query<{ subject: string; live: boolean }>(
        `DELETE FROM registry.tickets WHERE digest = $1
         RETURNING subject, expires_at > to_timestamp($2::float8 / 1000)
           AND epoch = (SELECT epoch FROM registry.users WHERE id = subject
                        UNION ALL SELECT epoch FROM registry.things WHERE id = subject) AS live`,
        [digest, now()],
      );
      return row?.live === true ? row.subject : null;
    },
  };
}
