import { unscoped } from './identity.ts';
import { Refusal } from './refusal.ts';
import { json, type Route, route } from './route.ts';
import { ProblemAnswer, TicketAnswer } from './schemas.ts';

const TICKET_SECONDS = 60;

export const ticketRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/tickets',
      tag: 'users',
      summary: 'Get a ticket to open a socket with',
      description: `Browsers can send no Authorization header with a WebSocket or an event stream: they show ?ticket=<ticket>. It is good once, for ${TICKET_SECONDS} s, for whoever asked for it: a user by token or a thing by key.`,
      answers: {
        201: { description: 'The ticket.', schema: TicketAnswer },
        429: {
          description: 'Too many tickets; try again after Retry-After.',
          schema: ProblemAnswer,
          type: 'application/problem+json',
        },
      },
      examples: [{ name: 'for a socket', status: 201 }],
    },
    async (call, plane) => {
      // A ticket stands for all of its owner: who may only a part of that gets none.
      const { id } = (await unscoped(call)).subject;
      const nowMs = performance.now();
      const waitMs = plane.ticketing.waitMs(id, nowMs);
      if (waitMs > 0) {
        const seconds = Math.ceil(waitMs / 1_000);
        throw new Refusal(429, `Too many tickets: wait ${seconds} s.`, { 'retry-after': String(seconds) });
      }
      plane.ticketing.failed(id, nowMs);
      const ticket = await plane.registry.tickets.issue(id, Date.now() + TICKET_SECONDS * 1_000);
      return json(201, { ticket, expires_in: TICKET_SECONDS }, { 'cache-control': 'no-store' });
    },
  ),
];
