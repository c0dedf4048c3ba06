import { z } from '@hono/zod-openapi';
import { COMMAND_KINDS, COMMAND_STATES } from '@millrace/core';
import { PageQuery, page } from '../http/schemas.ts';

export const CommandAnswer = z
  .object({
    id: z.uuid(),
    org: z.uuid(),
    thing_id: z.uuid(),
    kind: z.enum(COMMAND_KINDS),
    state: z
      .enum(COMMAND_STATES)
      .describe(
        'queued: nobody has begun it; sent: on its way; acknowledged: the network has sent it, or the device has it; the others are final.',
      ),
    arguments: z
      .record(z.string(), z.unknown())
      .describe('What is written to the device is shown to who may give it commands alone.'),
    result: z.unknown().describe('What the device answered; null if nothing yet.'),
    detail: z.string().nullable().describe('Why it failed.'),
    actor: z.object({
      kind: z.enum(['user', 'thing', 'system', 'nobody']),
      id: z.string().nullable(),
      name: z.string().nullable(),
    }),
    attempts: z.int().describe('Times that it was begun.'),
    created_at: z.iso.datetime(),
    expires_at: z.iso.datetime(),
    settled_at: z.iso.datetime().nullable().describe('When it ended; null: it goes on.'),
  })
  .openapi('Command');
export const CommandsPage = page('commands', CommandAnswer);

/** Each may hold 64 KiB twice. */
export const PAGE_MAX = 100;
const names = <const T extends readonly [string, ...string[]]>(all: T) => z.array(z.enum(all)).min(1);
export const CommandListQuery = PageQuery.omit({ org: true }).extend({
  limit: PageQuery.shape.limit.describe(`How many to give at most, 1 to 1000 (10); never more than ${PAGE_MAX} come.`),
  kind: z.enum(COMMAND_KINDS).optional().describe('all if left out'),
  state: z
    .string()
    .max(128)
    .transform((value) => value.split(',').flatMap((state) => (state === 'open' ? OPEN : [state])))
    .pipe(names(COMMAND_STATES))
    .optional()
    .describe('One or several, separated by commas; open: those that go on.'),
  cursor: z.string().max(8_192).optional().describe('Where the page before ended, as its answer said.'),
});
const OPEN = ['queued', 'sent', 'acknowledged'];
