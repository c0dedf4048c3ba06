import { z } from '@hono/zod-openapi';
import { storedKinds } from '@millrace/core';
import { PageQuery, page, text } from '../http/schemas.ts';
import { INSTANT, isInstant, parseInstantUs } from '../readings/instant.ts';
import { deletionStatuses } from './deletions.ts';

/** They stand in the text of statements, several times. */
const LISTS_CHARACTERS_MAX = 16_000;
const INSTANT_US_MAX = 9_000_000_000_000_000n;

const ids = z
  .array(z.uuid().transform((value) => value.toLowerCase()))
  .min(1)
  .max(400);
const words = z.array(text(512)).min(1).max(400);
const instant = z
  .union([z.string().max(64), z.number().transform(String)], `must be ${INSTANT}`)
  .refine(isInstant, `must be ${INSTANT}`)
  .openapi({ type: ['string', 'number'] });
const reason = text(1_024).min(1).describe('Why, for who reads it later.');
const who = z
  .object({ kind: z.string(), id: z.string().nullable(), name: z.string().nullable() })
  .describe('Who asked for it.');
const counts = z.record(z.string(), z.int()).nullable().describe('Rows by kind; rollups are buckets and last values.');

const fits = (body: Readonly<Record<string, unknown>>): boolean =>
  Object.values(body)
    .filter(Array.isArray)
    .flat()
    .reduce((sum: number, each: unknown) => sum + String(each).length + 4, 0) <= LISTS_CHARACTERS_MAX;
const tooLong = `the lists hold more than ${LISTS_CHARACTERS_MAX} characters together: ask several times`;

export const NewDeletionBody = z
  .strictObject({
    channels: ids.optional().describe('Ids, also of channels that are deleted.'),
    all: z.literal(true).optional().describe('Every channel of the organisation, in the place of channels.'),
    publishers: ids.optional().describe('Only what these things or users have published.'),
    names: words.optional().describe('Only readings of these names; with what: readings.'),
    subtopics: words.optional(),
    from: instant.optional().describe(`From this time on: ${INSTANT}. Of readings their own time, else the reception.`),
    to: instant.optional().describe('Before this time.'),
    what: z.enum([...storedKinds, 'all']).describe('With readings go the rollups and last values made of them.'),
    reason,
    dry_run: z.boolean().optional().describe('Only count what would be deleted now.'),
  })
  .refine((body) => (body.channels === undefined) !== (body.all === undefined), 'needs either channels or all')
  .refine((body) => body.names === undefined || body.what === 'readings', 'names can be told of readings only')
  .refine(fits, tooLong);

const deletion = {
  id: z.uuid().describe('Also that of its job.'),
  org: z.uuid(),
  status: z.enum(deletionStatuses),
  reason: z.string(),
  request: z.record(z.string(), z.unknown()),
  request_hash: z.string().describe('SHA-256 of organisation, reason and request: names it in the audit.'),
  asked_by: who,
  asked_at: z.iso.datetime(),
  due_at: z.iso.datetime().describe('Not begun before.'),
  found: counts.describe('What it reached when it began.'),
  remaining: counts.describe('What was left of that, asked again when all was done: proof if 0.'),
  error: z.string().nullable(),
  finished_at: z.iso.datetime().nullable(),
};
export const DeletionAnswer = z.object(deletion).openapi('Deletion');
export const DryRunAnswer = z.object({ found: z.record(z.string(), z.int()) });
export const DeletionsPage = page('deletions', DeletionAnswer);
export const DeletionListQuery = PageQuery;

export const NewHoldBody = z
  .strictObject({
    name: text(256).min(1),
    channels: ids.optional().describe('Only these; all of the organisation if left out.'),
    publishers: ids.optional(),
    from: instant.optional().describe(`From this time on: ${INSTANT}.`),
    to: instant.optional().describe('Before this time.'),
    reason,
  })
  .refine(fits, tooLong);
export const HoldAnswer = z
  .object({
    id: z.uuid(),
    org: z.uuid(),
    name: z.string(),
    reason: z.string(),
    channels: z.array(z.uuid()).nullable().describe('null: all.'),
    publishers: z.array(z.uuid()).nullable().describe('null: all.'),
    from: z.iso.datetime().nullable(),
    to: z.iso.datetime().nullable(),
    created_by: who,
    created_at: z.iso.datetime(),
    in_force_at: z.iso
      .datetime()
      .nullable()
      .describe('Since then what was about to expire is kept, too; null: not yet.'),
    released_by: who.nullable(),
    released_at: z.iso.datetime().nullable(),
  })
  .openapi('Hold');
export const HoldsPage = page('holds', HoldAnswer);
export const HoldListQuery = PageQuery.extend({
  active: z
    .enum(['true', 'false'])
    .transform((value) => value === 'true')
    .optional()
    .describe('Those that are not released, or that are; all if left out.'),
});

/** @returns µs since 1970 as decimal text, as far as the engine can tell times apart */
export function instantText(given: string | undefined, edge: 'from' | 'to', nowMs: number): string | undefined {
  if (given === undefined) return undefined;
  const us = parseInstantUs(given, { nowMs, timeZone: 'UTC', edge }) ?? 0n;
  if (us > INSTANT_US_MAX) return String(INSTANT_US_MAX);
  return String(us < -INSTANT_US_MAX ? -INSTANT_US_MAX : us);
}
