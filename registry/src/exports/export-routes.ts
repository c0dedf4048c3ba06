import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from '@hono/zod-openapi';
import { isUuid } from '@millrace/core';
import { example } from '../http/examples.ts';
import { isMember, orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { pageOf } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import { isOwn } from '../jobs/job-routes.ts';
import { questionOf } from '../readings/question.ts';
import { readableChannels } from '../readings/rights.ts';
import { resolveScope } from '../readings/scope.ts';
import { analystOf } from '../sql/rights.ts';
import { exportAnswer, listedAnswer } from './answers.ts';
import { fileAnswer } from './download.ts';
import { type Export, type ExportPlan, type ExportQuestion, isUnderWay } from './export-store.ts';
import { contentTypeOf, FILE_TYPES } from './files.ts';
import { ExportAnswer, ExportListQuery, ExportsPage, KEPT_SECONDS, NewExportBody } from './schemas.ts';
import { checkSql } from './sql-answer.ts';

const tag = 'exports';
const one = { description: 'The export.', schema: ExportAnswer };
/** None is there before somebody asked for it. */
const examples = [{ name: 'one that never was', parameters: { id: example.message }, status: 404 }];

export const exportRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/exports',
      tag,
      summary: 'Write the answer of a question to files',
      description:
        'A job writes them, in parts of about a million rows each. What the platform took after the request is not in them.',
      body: NewExportBody,
      answers: { 202: { description: 'It is being made: Location names it.', schema: ExportAnswer } },
      examples: [
        {
          name: 'a day of a channel',
          body: {
            query: { channels: [example.channel], from: '2026-01-05T00:00:00Z', to: '2026-01-06T00:00:00Z' },
            format: 'csv',
            compression: 'gzip',
            name: 'hall',
          },
          status: 202,
        },
      ],
    },
    async (call, plane) => {
      const { body } = call;
      const { org, question, plan } = await asked(call, plane);
      await permit(call, plane, org, 'exports', 'exports.create');
      const { registry } = plane;
      const { destination = 'download' } = body;
      if (destination !== 'download' && registry.exports.bucket === null)
        throw new Refusal(422, 'The body is wrong: destination: the platform is configured with no bucket.');
      if (destination === 'download' && registry.exports.place() === null)
        throw new Refusal(503, 'This node has no directory for files: ask another one.');
      const job = await registry.jobs.submit(
        org,
        'exports.create',
        {},
        {
          unit: 'rows',
          with: (tx, made) =>
            registry.exports.store.insert(tx, made, {
              name: body.name ?? 'export',
              question,
              plan,
              format: body.format,
              compression: body.compression ?? null,
              spreadsheet: body.spreadsheet ?? false,
              destination: destination === 'download' ? 'download' : 's3',
              prefix: destination === 'download' ? '' : (destination.s3.prefix ?? '').replace(/\/$/, ''),
              keptSeconds: body.expires_in ?? KEPT_SECONDS,
            }),
        },
      );
      return json(202, await answerOf(job.id, plane), { location: `/exports/${job.id}` });
    },
  ),
  route(
    {
      method: 'get',
      path: '/exports',
      tag,
      summary: 'List exports, newest first',
      query: ExportListQuery,
      answers: { 200: { description: 'A page of exports.', schema: ExportsPage } },
      examples: [{ name: 'the latest', status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'exports', 'exports.list');
      const found = await plane.registry.exports.store.list({ org, ...pageOf(call.query) });
      return json(200, pageAnswer(found, 'exports', listedAnswer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/exports/{id}',
      tag,
      summary: 'How far an export is, and its files',
      answers: { 200: one },
      examples,
    },
    async (call, plane) => {
      const { id } = await exportFor(call, plane, 'read');
      return json(200, await answerOf(id, plane));
    },
  ),
  route(
    {
      method: 'get',
      path: '/exports/{id}/files/{name}',
      tag,
      summary: 'A file of an export',
      description:
        'Takes Range, If-Range and If-None-Match. Who asks must be allowed to read all of what was asked for.',
      answers: {
        200: { description: 'The file.', type: FILE_TYPES, schema: z.any() },
        206: { description: 'The part that Range names.', type: FILE_TYPES, schema: z.any() },
      },
      examples: [
        { name: 'of one that never was', parameters: { id: example.message, name: 'hall-0001.csv.gz' }, status: 404 },
      ],
    },
    async (call, plane) => {
      const found = await exportFor(call, plane, 'read');
      await mayRead(call, plane, found);
      const { store, place } = plane.registry.exports;
      const name = call.parameters.name ?? '';
      const file = (await store.files(found.id)).find((each) => each.name === name);
      if (file === undefined || found.expired) throw notFound('file: it was never made, or has expired');
      if (file.url !== null) throw new Refusal(409, `It lies in the bucket: ${file.url}.`);
      const here = place()?.place;
      if (here === undefined || here.id !== file.place)
        throw new Refusal(
          409,
          'The file lies on another node: ask that one, or give all nodes one MILLRACE_EXPORTS_DIRECTORY or a bucket.',
        );
      const answer = await fileAnswer(call.request, {
        ...file,
        path: here.fileOf(found.id, file.name),
        contentType: contentTypeOf(found),
      });
      // Also of a part: the whole may be taken in parts.
      if (answer.body !== null && call.request.method !== 'HEAD') await store.taking(found, name);
      return answer;
    },
  ),
  route(
    {
      method: 'post',
      path: '/exports/{id}/cancel',
      tag,
      summary: 'Stop an export; what it has made is removed',
      answers: { 200: one },
      examples,
    },
    async (call, plane) => {
      const { id } = await exportFor(call, plane, 'update');
      await plane.registry.jobs.cancel(id);
      return json(200, await answerOf(id, plane));
    },
  ),
  route(
    {
      method: 'delete',
      path: '/exports/{id}',
      tag,
      summary: 'Delete an export and its files',
      description: 'One that is under way is stopped. Objects in a bucket stay.',
      answers: { 204: { description: 'It is gone.' } },
      examples,
    },
    async (call, plane) => {
      const found = await exportFor(call, plane, 'delete');
      const { exports, jobs } = plane.registry;
      if (isUnderWay(found)) await jobs.cancel(found.id);
      if (!(await exports.store.delete(found.id))) throw notFound('export');
      const here = exports.place()?.place;
      // Other nodes find by themselves that nobody may ask for theirs.
      if (here !== undefined) await rm(join(here.directory, found.id), { recursive: true, force: true });
      return new Response(null, { status: 204 });
    },
  ),
];

/** What is asked for, once rights are judged. What is wrong with it is told now, and not by the job.
 *  @throws Refusal */
async function asked(
  call: Call<unknown, NewExportBody>,
  plane: Plane,
): Promise<{ org: string; question: ExportQuestion; plan: ExportPlan }> {
  const { query, sql } = call.body;
  if (query !== undefined) {
    const scope = await resolveScope(call, plane, query, () => orgOf(call, plane));
    questionOf(query, scope);
    const { org, leftOut, nowMs, channels, publishers } = scope;
    const plan = { channels, leftOut, nowMs, ...(publishers === undefined ? {} : { publishers }) };
    return { org, question: { query }, plan };
  }
  if (sql === undefined) throw new Refusal(422, 'The body is wrong: query: give either query or sql.');
  const org = await checkSql(call, plane, sql);
  return { org, question: { sql }, plan: { channels: [], leftOut: 0, nowMs: call.context.nowMs } };
}

async function answerOf(id: string, plane: Plane) {
  const { store, place } = plane.registry.exports;
  const found = await store.get(id);
  if (found === null) throw notFound('export');
  return exportAnswer(found, await store.files(id), place()?.place.id ?? null);
}

/** Who asked for an export may see, stop and delete it, whatever their role is now.  @throws Refusal 404, 403 */
async function exportFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: 'read' | 'update' | 'delete',
): Promise<Export> {
  const principal = await call.principal();
  const id = call.parameters.id ?? '';
  const found = isUuid(id) ? await plane.registry.exports.store.get(id) : null;
  if (found === null) throw notFound('export');
  if (isOwn(found, principal) && (await isMember(principal, plane, found.org))) return found;
  await permit(call, plane, found.org, `exports/${found.id}`, `exports.${verb}`);
  return found;
}

/** @throws Refusal 403, 404 where some of it is none of theirs to read */
async function mayRead(call: Call<unknown, unknown>, plane: Plane, { org, question, plan }: Export): Promise<void> {
  if ('sql' in question) {
    await analystOf(call, plane, org);
    return;
  }
  const { subtopics } = question.query;
  await readableChannels(call, plane, { channels: plan.channels, subtopics, org: async () => org });
}
