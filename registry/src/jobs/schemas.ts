import { z } from '@hono/zod-openapi';
import { PageQuery, page } from '../http/schemas.ts';
import { ChannelAnswer, ThingAnswer } from '../inventory/schemas.ts';
import { lineKinds, stepKinds } from './jobs.ts';

export const jobStatuses = ['waiting', 'running', 'done', 'failed', 'cancelled'] as const;

export const JobAnswer = z
  .object({
    id: z.uuid(),
    org: z.uuid(),
    kind: z.enum([...lineKinds, ...stepKinds]),
    status: z.enum(jobStatuses),
    unit: z.string().describe('What total, done and failed count: items, rows, bytes, messages.'),
    total: z.int().describe('0 while it is not known.'),
    done: z.int().describe('What has been worked off, whether it could be made or not.'),
    failed: z.int().describe('Of it, what could not be made: of items GET /jobs/{id}/results?errors=true tells why.'),
    reason: z.string().nullable().describe('Why it failed as a whole.'),
    result: z.unknown().describe('What it came to, as far as it is known; null of jobs that make items.'),
    created_at: z.iso.datetime(),
    finished_at: z.iso.datetime().nullable(),
  })
  .openapi('Job');
export const JobListQuery = PageQuery.extend({ status: z.enum(jobStatuses).optional().describe('all if left out') });
export const JobsPage = page('jobs', JobAnswer);
export const ResultsQuery = PageQuery.omit({ org: true }).extend({
  errors: z.enum(['true', 'false']).optional().describe('true: only what could not be made.'),
});
export const ResultsPage = page(
  'results',
  z.object({
    line: z.int().describe('Of the item in the request, from 1.'),
    id: z.uuid().optional(),
    key: z.string().optional().describe('Of a thing; only to who asked for the job or may update things.'),
    error: z.string().optional(),
  }),
);
export const ThingsMadeAnswer = z.object({ things: z.array(ThingAnswer) });
export const ChannelsMadeAnswer = z.object({ channels: z.array(ChannelAnswer) });
