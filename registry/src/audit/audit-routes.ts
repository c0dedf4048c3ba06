import { z } from '@hono/zod-openapi';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { json, type Route, route } from '../http/route.ts';
import { PageQuery, text } from '../http/schemas.ts';
import { csvHead, csvLine } from './csv.ts';
import { COUNTED_MAX, cursorText, type Entry, type EntryCursor, type EntryFilter, parseCursor } from './entries.ts';

const tag = 'audit';
const EXPORT_ROWS = 1_000;

const time = z.iso
  .datetime({ offset: true })
  .transform((value) => new Date(value))
  .optional();
const FilterQuery = z.object({
  org: PageQuery.shape.org.describe(
    'The organisation, if you are a member of several; an administrator who leaves it out sees the whole installation.',
  ),
  entity: text(64).optional().describe('In the plural, as in paths: things, policies.'),
  id: text(1_024).optional().describe('Of the entity.'),
  actor: z.uuid().optional().describe('Id of the user or thing that did it.'),
  action: text(64).optional().describe('How the action begins: things, things.update.'),
  outcome: z.enum(['done', 'denied']).optional().describe('What was done, or what was denied; both if left out'),
  from: time.describe('Inclusive.'),
  to: time.describe('Exclusive.'),
});
const EntryAnswer = z
  .object({
    id: z.uuid(),
    at: z.iso.datetime(),
    org: z.uuid().nullable(),
    action: z.string(),
    entity: z.string(),
    entity_id: z.string(),
    outcome: z.enum(['done', 'denied']),
    actor: z.object({
      kind: z.enum(['user', 'thing', 'system', 'nobody']),
      id: z.string().nullable(),
      name: z.string().nullable(),
      via: z.string().nullable().describe('The API key or grant by which they came.'),
    }),
    address: z.string().nullable(),
    protocol: z.string().nullable(),
    count: z.int().describe('How often: denials of one kind within seconds are one entry.'),
    detail: z.record(z.string(), z.unknown()).describe('What was changed, from and to; or why it was denied.'),
  })
  .openapi('AuditEntry');
const EntriesAnswer = z.object({
  total: z.int().describe(`Counted up to ${COUNTED_MAX}; one more says that there are more.`),
  offset: z.int(),
  limit: z.int(),
  cursor: z.string().optional().describe('For the next page; absent on the last.'),
  entries: z.array(EntryAnswer),
});

export const auditRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/audit',
      tag,
      summary: 'List changes and denied access, the newest first',
      description: 'Nothing changes or removes an entry before its time (MILLRACE_AUDIT_RETENTION_DAYS).',
      query: FilterQuery.extend({
        offset: PageQuery.shape.offset,
        limit: PageQuery.shape.limit,
        cursor: text(512).optional().describe('Where the page before ended, as its answer said.'),
      }),
      answers: { 200: { description: 'A page of entries.', schema: EntriesAnswer } },
      examples: [
        { name: 'the latest', query: { org: example.org }, status: 200 },
        { name: 'of one thing', query: { org: example.org, entity: 'things', id: example.thing }, status: 200 },
        { name: 'denied access', query: { org: example.org, outcome: 'denied' }, status: 200 },
      ],
    },
    async (call, plane) => {
      const { offset = 0, limit = 10, cursor, ...rest } = call.query;
      const filter = await filterFor(call, plane, rest, 'audit.read');
      const { audit } = plane.registry;
      // What was denied by this node a moment ago is part of the picture.
      await audit.flush();
      const after = cursor === undefined ? null : parseCursor(cursor);
      const [{ entries, next }, total] = await Promise.all([
        audit.entries(filter, { offset, limit, after }),
        audit.count(filter),
      ]);
      const more = next === null ? {} : { cursor: cursorText(next) };
      return json(200, { total, offset, limit, ...more, entries: entries.map(answer) });
    },
  ),
  route(
    {
      method: 'get',
      path: '/audit/export',
      tag,
      summary: 'Export the audit, the newest first',
      query: FilterQuery.extend({ format: z.enum(['ndjson', 'csv']).optional().describe('ndjson if left out') }),
      answers: {
        200: {
          description: 'One entry a line; as CSV with a head.',
          schema: z.string(),
          type: ['application/x-ndjson', 'text/csv'],
        },
      },
      examples: [
        { name: 'as JSON lines', query: { org: example.org }, status: 200 },
        { name: 'as a table', query: { org: example.org, format: 'csv' }, status: 200 },
      ],
    },
    async (call, plane) => {
      const { format = 'ndjson', ...rest } = call.query;
      const filter = await filterFor(call, plane, rest, 'audit.export');
      const { audit } = plane.registry;
      await audit.flush();
      const isCsv = format === 'csv';
      const head = isCsv ? csvHead : '';
      const line = isCsv ? csvLine : (entry: Entry) => `${JSON.stringify(answer(entry))}\n`;
      return new Response(exported(plane, filter, head, line), {
        headers: {
          'content-type': isCsv ? 'text/csv; charset=utf-8; header=present' : 'application/x-ndjson',
          'content-disposition': `attachment; filename="audit.${format}"`,
        },
      });
    },
  ),
];

/** @throws Refusal 404, 403 */
async function filterFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  filter: Omit<EntryFilter, 'org'> & { org?: string | undefined },
  action: 'audit.read' | 'audit.export',
): Promise<EntryFilter> {
  const { subject, scope } = await call.principal();
  const all = filter.org === undefined && subject.kind === 'user' && subject.admin && scope === null;
  if (all) return { ...filter, org: null };
  const org = await orgOf(call, plane);
  await permit(call, plane, org, 'audit', action);
  return { ...filter, org };
}

/** A page is read when the one before has been taken: a slow reader costs no memory. */
function exported(
  plane: Plane,
  filter: EntryFilter,
  head: string,
  line: (entry: Entry) => string,
): ReadableStream<Uint8Array> {
  const { audit } = plane.registry;
  const encoder = new TextEncoder();
  let after: EntryCursor | null = null;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      if (head !== '') controller.enqueue(encoder.encode(head));
    },
    async pull(controller) {
      try {
        const { entries, next } = await audit.entries(filter, { limit: EXPORT_ROWS, after });
        if (entries.length > 0) controller.enqueue(encoder.encode(entries.map(line).join('')));
        after = next;
        if (next !== null) return;
        controller.close();
      } catch (error) {
        // The answer has begun: that it breaks off is all that can still be said.
        plane.logger.warn({ err: error }, 'an export of the audit broke off');
        controller.error(error);
      }
    },
  });
}

const answer = (entry: Entry) => ({
  id: entry.id,
  at: entry.at.toISOString(),
  org: entry.org,
  action: entry.action,
  entity: entry.entity,
  entity_id: entry.entityId,
  outcome: entry.outcome,
  actor: { kind: entry.actorKind, id: entry.actor, name: entry.actorName, via: entry.via },
  address: entry.address,
  protocol: entry.protocol,
  count: entry.count,
  detail: entry.detail,
});
