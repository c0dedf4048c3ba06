import { createHash } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import { isUuid } from '@millrace/core';
import { RegistryError } from '../error.ts';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { PageQuery, page } from '../http/schemas.ts';
import type { Channel } from '../inventory/channels.ts';
import { pageOf } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import { problem } from '../people/answers.ts';
import { ERRORS_KEPT, type Import, importStatuses, PARTS_MAX } from './imports.ts';
import { fileFormats } from './mapping.ts';
import { digestOf, ImportQuery, requestOf } from './request.ts';

const tag = 'imports';
/** A file that is sent in one request. */
const WHOLE_BYTES_MAX = 64 * 1_048_576;
/** What each node takes, however it is set. */
const PART_BYTES_MAX = 1_048_576;
const octets = { type: 'application/octet-stream', schema: z.string().openapi({ format: 'binary' }) };

const ImportAnswer = z
  .object({
    id: z.uuid(),
    org: z.uuid(),
    channel: z.uuid(),
    format: z.enum(fileFormats),
    file: z.string().nullable(),
    sha256: z.string(),
    size: z.int().describe('Of the file, as far as it has come.'),
    parts: z.int().optional().describe('Parts that have come without a gap; of one that waits for its file.'),
    status: z.enum(importStatuses),
    dry_run: z.boolean(),
    job: z.uuid().nullable().describe('GET /jobs/{id}; POST /jobs/{id}/cancel stops it.'),
    reason: z.string().nullable().describe('Why it failed as a whole.'),
    entries: z.int().describe('Lines, rows or packs of the file that have been worked off.'),
    rows: z.int().describe('Of them, those that were put on the log.'),
    readings: z.int().describe('That they hold.'),
    messages: z.int(),
    rejected: z.int().describe('Of them, those that were not: GET /imports/{id}/errors says why.'),
    processed: z
      .boolean()
      .describe('Whether all its messages have been stored; what of them could not be is in GET /dead-letters.'),
    log: z
      .object({ partition: z.int(), first: z.int(), last: z.int() })
      .nullable()
      .describe('Where its messages stand in the log, with those of others between.'),
    created_at: z.iso.datetime(),
    finished_at: z.iso.datetime().nullable(),
  })
  .openapi('Import');
const one = { description: 'The import.', schema: ImportAnswer };

export const importRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/imports',
      tag,
      summary: 'Import a file of readings into a channel',
      description: `The body is the file: CSV, NDJSON, Parquet, line protocol or SenML, plain or packed with gzip or zstd, up to 64 MiB. Larger ones come in parts of at most 1 MiB: leave the body empty and say ?sha256=, then PUT /imports/{id}/parts/{place} and POST /imports/{id}/start. The same file for the same channel, read the same way, is the same import: of a finished one the answer is 200, one that was cut short goes on where it was. Rows are published as any message is; who imports may speak for things that they may update (things.update), where the thing may publish.`,
      query: ImportQuery,
      ownBody: { ...octets, bytesMax: WHOLE_BYTES_MAX },
      answers: {
        200: { description: 'It was imported before.', schema: ImportAnswer },
        201: { description: 'It waits for its parts.', schema: ImportAnswer },
        202: { description: 'It is being imported.', schema: ImportAnswer },
        415: problem('The file is of a kind that is not read here.'),
        422: problem('The file, or how it is to be read, is wrong; detail says how.'),
      },
      examples: [
        {
          name: 'one that comes in parts',
          query: {
            channel: example.channel,
            file: 'history.csv',
            sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
          },
          status: 201,
        },
      ],
    },
    async (call, plane) => {
      const { query } = call;
      const channel = await channelOf(call, plane, query.channel);
      const request = requestOf(query);
      const { imports } = plane.registry;
      const bytes = new Uint8Array(await call.request.arrayBuffer());
      const isWhole = bytes.length > 0;
      if (bytes.length > WHOLE_BYTES_MAX) throw new Refusal(413, 'The file is larger than 64 MiB: send it in parts.');
      if (!isWhole && query.sha256 === undefined)
        throw new Refusal(400, 'The body is empty: it is the file. Or say ?sha256= of a file that comes in parts.');
      const sha256 = isWhole ? createHash('sha256').update(bytes).digest('hex') : (query.sha256 ?? '');
      if (query.sha256 !== undefined && query.sha256 !== sha256)
        throw new Refusal(422, 'The body is wrong: its SHA-256 is not the one that was announced.');
      const { org } = channel;
      const { subject } = await call.principal();
      const digest = digestOf(request, subject.id);
      const force = query.force === 'true';
      const opened = await imports.open({ org, channel: channel.id, request, sha256, digest, force });
      if (opened.status !== 'uploading') return answered(opened.status === 'done' ? 200 : 202, opened, plane);
      if (!isWhole) return answered(201, opened, plane);
      // As large as parts that are sent by themselves.
      for (let place = 0; place * PART_BYTES_MAX < bytes.length; place++)
        await keepPart(plane, opened, place, bytes.subarray(place * PART_BYTES_MAX, (place + 1) * PART_BYTES_MAX));
      return answered(202, await start(plane, opened, channel), plane);
    },
  ),
  route(
    {
      method: 'put',
      path: '/imports/{id}/parts/{place}',
      tag,
      summary: 'Send a part of a file',
      description: 'Of at most 1 MiB, places from 0 on. A part that is sent again replaces what was there.',
      ownBody: octets,
      answers: {
        200: one,
        400: problem('It is no part, or has no place.'),
        422: problem('The part is wrong; detail says how.'),
      },
      examples: [{ name: 'of none', parameters: { id: example.import, place: '0' }, status: 404 }],
    },
    async (call, plane) => {
      const { found } = await importFor(call, plane, 'create');
      const place = /^\d{1,7}$/.test(call.parameters.place ?? '') ? Number(call.parameters.place) : PARTS_MAX;
      if (place >= PARTS_MAX) throw new Refusal(400, 'The place of the part is no whole number from 0.');
      const bytes = new Uint8Array(await call.request.arrayBuffer());
      if (bytes.length === 0) throw new Refusal(400, 'The part is empty.');
      if (bytes.length > PART_BYTES_MAX) throw new Refusal(413, 'A part has at most 1 MiB.');
      return answered(200, await keepPart(plane, found, place, bytes), plane);
    },
  ),
  route(
    {
      method: 'post',
      path: '/imports/{id}/start',
      tag,
      summary: 'Begin with an import whose parts have all come',
      answers: { 202: one },
      examples: [{ name: 'of none', parameters: { id: example.import }, status: 404 }],
    },
    async (call, plane) => {
      const { found, channel } = await importFor(call, plane, 'create');
      if (found.status === 'running') return answered(202, found, plane);
      if (found.status !== 'uploading')
        throw new Refusal(409, `The import is over (${found.status}): POST /imports again.`);
      if (channel === null) throw new Refusal(409, 'The channel is gone.');
      const parts = await plane.registry.imports.parts(found.id);
      const gap = parts.findIndex(({ place }, index) => place !== index);
      if (parts.length === 0 || gap >= 0)
        throw new Refusal(409, `Part ${Math.max(gap, 0)} of the file has not come yet.`);
      return answered(202, await start(plane, found, channel), plane);
    },
  ),
  route(
    {
      method: 'get',
      path: '/imports',
      tag,
      summary: 'List imports, newest first',
      query: PageQuery.extend({ status: z.enum(importStatuses).optional().describe('all if left out') }),
      answers: { 200: { description: 'A page of imports.', schema: page('imports', ImportAnswer) } },
      examples: [{ name: 'those that run', query: { status: 'running' }, status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'imports', 'imports.list');
      const found = await plane.registry.imports.list({ org, ...pageOf(call.query), status: call.query.status });
      const told = new Map(
        await Promise.all(found.items.map(async (one) => [one, await importAnswer(one, plane)] as const)),
      );
      return json(
        200,
        pageAnswer(found, 'imports', (one) => told.get(one)),
      );
    },
  ),
  route(
    {
      method: 'get',
      path: '/imports/{id}',
      tag,
      summary: 'How far an import is, and what it came to',
      answers: { 200: one },
      examples: [{ name: 'of none', parameters: { id: example.import }, status: 404 }],
    },
    async (call, plane) => answered(200, (await importFor(call, plane, 'read')).found, plane),
  ),
  route(
    {
      method: 'get',
      path: '/imports/{id}/errors',
      tag,
      summary: 'Rows of a file that were rejected, and why',
      description: `The first ${ERRORS_KEPT} are kept with the beginning of their line; the import says how many there are.`,
      query: PageQuery.omit({ org: true }),
      answers: {
        200: {
          description: 'A page of rejected rows, in the order of the file.',
          schema: page('errors', z.object({ line: z.int(), reason: z.string(), text: z.string() })),
        },
      },
      examples: [{ name: 'of none', parameters: { id: example.import }, status: 404 }],
    },
    async (call, plane) => {
      const { found } = await importFor(call, plane, 'read');
      const { offset, limit } = pageOf(call.query);
      const errors = await plane.registry.imports.errors(found.id, offset, limit);
      return json(
        200,
        pageAnswer(errors, 'errors', (error) => error),
      );
    },
  ),
  route(
    {
      method: 'post',
      path: '/imports/{id}/cancel',
      tag,
      summary: 'Stop an import; what is on the log stays',
      description: 'The same file, sent again, goes on where this one ended.',
      answers: { 200: one },
      examples: [{ name: 'of none', parameters: { id: example.import }, status: 404 }],
    },
    async (call, plane) => {
      const { found } = await importFor(call, plane, 'create');
      const { imports, jobs } = plane.registry;
      if (found.status === 'uploading') await imports.end(found.id, 'cancelled', null);
      if (found.status === 'running' && found.job !== null) {
        await jobs.cancel(found.job);
        const job = await jobs.get(found.job);
        // It may have come to its end meanwhile.
        if (job?.status === 'cancelled') return answered(200, { ...found, status: 'cancelled' }, plane);
      }
      return answered(200, (await imports.get(found.id)) ?? found, plane);
    },
  ),
];

/** A channel that who asks may import into.  @throws Refusal 404, 403 */
async function channelOf(call: Call<unknown, unknown>, plane: Plane, reference: string): Promise<Channel> {
  const org = isUuid(reference) ? null : await orgOf(call, plane);
  const channel = await plane.registry.channels.get(reference, org);
  if (channel === null) throw notFound('channel');
  const { groups } = channel;
  await permit(call, plane, channel.org, 'imports', 'imports.create', { groups, hidden: 'channel' });
  return channel;
}

/** @throws Refusal 404, 403 */
async function importFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: 'read' | 'create',
): Promise<{ found: Import; channel: Channel | null }> {
  await call.principal();
  const id = call.parameters.id ?? '';
  const found = isUuid(id) ? await plane.registry.imports.get(id) : null;
  if (found === null) throw notFound('import');
  const kept = await plane.registry.channels.get(found.channel, null);
  const channel = kept?.org === found.org ? kept : null;
  await permit(call, plane, found.org, verb === 'create' ? 'imports' : `imports/${found.id}`, `imports.${verb}`, {
    groups: channel?.groups ?? [],
    hidden: 'import',
  });
  return { found, channel };
}

async function keepPart(plane: Plane, found: Import, place: number, bytes: Uint8Array): Promise<Import> {
  try {
    const kept = await plane.registry.imports.part(found.id, place, bytes);
    if (kept === null) throw new Refusal(409, 'The import waits for no file.');
    return kept;
  } catch (error) {
    if (!(error instanceof RegistryError) || error.code !== 'REGISTRY_FULL') throw error;
    throw new Refusal(413, `The file is larger than ${error.facts.bytes} bytes (MILLRACE_IMPORTS_BYTES_MAX).`);
  }
}

async function start(plane: Plane, found: Import, channel: Channel): Promise<Import> {
  const { imports, jobs } = plane.registry;
  let isStarted = false;
  await jobs.submit(
    found.org,
    'imports.create',
    { id: found.id },
    {
      unit: 'rows',
      groups: [channel.groupId],
      async with(tx, job) {
        isStarted = await imports.startIn(tx, found.id, job.id);
        if (!isStarted) throw new Refusal(409, 'The import has been started or stopped meanwhile.');
      },
    },
  );
  return (await imports.get(found.id)) ?? found;
}

async function answered(status: number, found: Import, plane: Plane): Promise<Response> {
  const answer = await importAnswer(found, plane);
  return json(status, answer, status === 202 || status === 201 ? { location: `/imports/${found.id}` } : {});
}

async function importAnswer(found: Import, plane: Plane) {
  const { partition, firstOffset, lastOffset } = found;
  const place =
    partition === null || firstOffset === null || lastOffset === null
      ? null
      : { partition, first: firstOffset, last: lastOffset };
  const parts = found.status === 'uploading' ? await plane.registry.imports.parts(found.id) : null;
  const gap = parts?.findIndex((part, index) => part.place !== index) ?? -1;
  return {
    id: found.id,
    org: found.org,
    channel: found.channel,
    format: found.request.mapping.format,
    file: found.request.fileName,
    sha256: found.sha256,
    size: found.size,
    ...(parts === null ? {} : { parts: gap < 0 ? parts.length : gap }),
    status: found.status,
    dry_run: found.request.dryRun,
    job: found.job,
    reason: found.reason,
    entries: found.entries,
    rows: found.rows,
    readings: found.readings,
    messages: found.messages,
    rejected: found.rejected,
    processed: await isProcessed(place, plane),
    log: place,
    created_at: found.createdAt.toISOString(),
    finished_at: found.finishedAt?.toISOString() ?? null,
  };
}

async function isProcessed(place: { partition: number; last: number } | null, plane: Plane): Promise<boolean> {
  if (place === null || plane.log === null) return place === null;
  const { offset } = await plane.log.committed(plane.processorsGroup, place.partition);
  return offset > place.last;
}
