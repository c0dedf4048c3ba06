import { z } from '@hono/zod-openapi';
import { PageQuery, page, text } from '../http/schemas.ts';
import { parseTimeUs } from '../http/time.ts';

export const letterStates = ['open', 'replayed', 'discarded'] as const;

const instant = z
  .string()
  .max(64)
  .transform((given, context) => {
    const us = parseTimeUs(given);
    if (us !== null) return us;
    context.addIssue({ code: 'custom', message: 'must be seconds since 1970 or an RFC 3339 time' });
    return z.NEVER;
  })
  .openapi({ type: 'string' });

const filter = {
  channel: text(128).optional().describe('Id of the channel.'),
  publisher: text(128).optional().describe('Id of the thing or user that published.'),
  message: z.uuid().optional().describe('Id of the message.'),
  reason: text(64).optional().describe('Why it could not be processed.'),
  from: instant.optional().describe('Received from this time on: seconds since 1970, or RFC 3339.'),
  to: instant.optional().describe('Received before this time.'),
};

export const LettersQuery = PageQuery.extend({
  ...filter,
  state: z
    .enum([...letterStates, 'all'])
    .optional()
    .describe('open if left out: those about which nothing was done.'),
  cursor: z.string().min(1).max(4_096).optional().describe('From the page before; takes the place of offset.'),
});
/** Of open letters. */
export const LettersFilter = z.strictObject(filter).describe('Which open letters; an empty object: all.');
export type LettersFilterBody = z.output<typeof LettersFilter>;

const LetterId = z
  .string()
  .max(64)
  .regex(/^[0-9a-fA-F-]{36}(\.\d{1,9})?$/, 'must be an id that the list gave');

const contentType = text(255).regex(/^[\w.+-]+\/[\w.+-]+(;[ -~]*)?$/, 'must be a content type');
export const ReplayBody = z.strictObject({
  payload: z
    .unknown()
    .optional()
    .describe('What to publish instead: a text, or JSON. Left out: what the letter holds.'),
  encoding: z.enum(['utf8', 'base64']).optional().describe('Of a payload that is a text; utf8 if left out.'),
  content_type: contentType.optional().describe('Of what is published; the one of the letter if left out.'),
});
export const ReplayAnswer = z
  .object({
    id: z.uuid().describe('Of the new message: GET /messages/{id} tells what becomes of it.'),
    repeated: z.boolean().describe('The very same was replayed before: nothing was done now.'),
  })
  .openapi('Replay');

export const ReplayManyBody = z.strictObject({
  filter: LettersFilter,
  dry_run: z.boolean().optional().describe('Only tell how many there are.'),
});
export const MatchingAnswer = z
  .object({ matching: z.int(), more: z.boolean().describe('There are more than could be counted.') })
  .openapi('MatchingDeadLetters');

export const DiscardBody = z
  .strictObject({
    ids: z.array(LetterId).min(1).max(1_000).optional(),
    filter: LettersFilter.optional(),
  })
  .refine(({ ids, filter: of }) => (ids === undefined) !== (of === undefined), 'must have either ids or a filter');
export const DiscardAnswer = z
  .object({
    discarded: z.int().describe('Those that were open.'),
    more: z.boolean().describe('The filter matches more: ask again.'),
  })
  .openapi('Discarded');

export const LetterAnswer = z
  .object({
    id: z.string().describe('Of the letter: the id of the message, with `.<index>` of a record.'),
    message: z.uuid(),
    org: z.string(),
    channel: z.string(),
    subtopic: z.string(),
    publisher: z.string(),
    protocol: z.string(),
    content_type: z.string(),
    received: z.iso.datetime(),
    index: z.int().nullable().describe('Of the record in its pack; null: the whole message.'),
    reason: z.string(),
    detail: z.string(),
    payload: z.string().describe('In a list, the beginning of a large one.'),
    encoding: z.enum(['utf8', 'base64', 'hex']),
    size: z.int().describe('Bytes of the whole payload.'),
    truncated: z.boolean(),
    state: z.enum(letterStates),
    state_at: z.iso.datetime().nullable(),
    state_by: z.string().nullable(),
    replays: z.array(z.uuid()).describe('Messages that it was replayed as, the latest first.'),
    log: z.object({ partition: z.int(), offset: z.int() }),
  })
  .openapi('DeadLetter');
export const InspectedAnswer = LetterAnswer.extend({
  advice: z.string().describe('What to do about it.'),
  json: z.unknown().optional().describe('The payload as JSON, if it is some.'),
  json_error: z
    .object({
      message: z.string(),
      position: z.int().optional().describe('Character, from 0.'),
      line: z.int().optional(),
      column: z.int().optional(),
      near: z.string().optional(),
    })
    .optional()
    .describe('Why it is no JSON, and where.'),
  replay_of: z.string().optional().describe('Id of the letter that this message is the replay of.'),
}).openapi('InspectedDeadLetter');
export const LettersPage = page('dead_letters', LetterAnswer);
