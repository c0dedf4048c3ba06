import { z } from '@hono/zod-openapi';
import { isUuid } from '@millrace/core';
import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { ListQuery, PageQuery } from '../http/schemas.ts';
import { listOf } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import { conflicting, matched, removed } from '../inventory/problems.ts';
import { CodecAnswer, CodecPatchBody, CodecsPage, NewCodecBody } from './codec-schemas.ts';
import type { Codec, CodecSummary } from './codecs.ts';

const tag = 'codecs';
const one = { description: 'The codec.', schema: CodecAnswer };
const here = { id: example.codec };
const CascadeQuery = z.object({
  cascade: z
    .enum(['true', 'false'])
    .optional()
    .describe('Also where things or channels name it in metadata.lora.codec.'),
});

export const codecRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/codecs',
      tag,
      summary: 'Make a codec',
      description:
        'It turns bytes of devices into data and back: those whose metadata.lora.codec names it, and those of its device profiles.',
      query: PageQuery.pick({ org: true }),
      body: NewCodecBody,
      answers: { 201: one, ...conflicting },
      examples: [
        {
          name: 'a script',
          body: {
            name: 'Door sensor',
            kind: 'javascript',
            script: 'function decodeUplink({ bytes }) { return { data: { open: bytes[0] === 1 } }; }',
            device_profiles: ['door-sensor-v2'],
          },
          status: 201,
        },
        { name: 'built in', body: { name: 'Cayenne', kind: 'cayenne-lpp' }, status: 201 },
      ],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'codecs', 'codecs.create');
      const { device_profiles: deviceProfiles, ...rest } = call.body;
      const codec = await plane.registry.codecs.create(org, { ...rest, deviceProfiles });
      return json(201, answer(codec), { ...etag(codec.version), location: `/codecs/${codec.id}` });
    },
  ),
  route(
    {
      method: 'get',
      path: '/codecs',
      tag,
      summary: 'List codecs, without their scripts',
      query: ListQuery.omit({ tag: true, tags: true, metadata: true }),
      answers: { 200: { description: 'A page of codecs.', schema: CodecsPage } },
      examples: [{ name: 'by name', query: { order: 'name', dir: 'asc' }, status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'codecs', 'codecs.list');
      const found = await plane.registry.codecs.list(listOf(org, call.query));
      return json(200, pageAnswer(found, 'codecs', summary));
    },
  ),
  route(
    {
      method: 'get',
      path: '/codecs/{id}',
      tag,
      summary: 'Get a codec',
      answers: { 200: one },
      examples: [{ name: 'by id', parameters: here, status: 200 }],
    },
    async (call, plane) => shown(await codecFor(call, plane, 'read')),
  ),
  route(
    {
      method: 'patch',
      path: '/codecs/{id}',
      tag,
      summary: 'Change a codec',
      description:
        'What its devices send is decoded by the new one within a second. A name by which things or channels call it is kept, unless cascade is true: they would be decoded no more.',
      query: CascadeQuery,
      body: CodecPatchBody,
      answers: { 200: one, ...matched },
      examples: [
        { name: 'a further profile', parameters: here, body: { device_profiles: ['lht65', 'lht65n'] }, status: 200 },
      ],
    },
    async (call, plane) => {
      const { id } = await codecFor(call, plane, 'update');
      const { device_profiles: deviceProfiles, ...rest } = call.body;
      const codec = await plane.registry.codecs.update(
        id,
        { ...rest, deviceProfiles },
        expectedVersion(call),
        call.query.cascade === 'true',
      );
      if (codec === null) throw notFound('codec');
      return shown(codec);
    },
  ),
  route(
    {
      method: 'delete',
      path: '/codecs/{id}',
      tag,
      summary: 'Delete a codec',
      description: 'Payloads of what had it are kept as they come.',
      query: CascadeQuery,
      answers: removed,
      examples: [{ name: 'by id', parameters: { id: example.otherCodec }, status: 204 }],
    },
    async (call, plane) => {
      const { id } = await codecFor(call, plane, 'delete');
      const uses = await plane.registry.codecs.remove(id, call.query.cascade === 'true', expectedVersion(call));
      if (uses === null) throw notFound('codec');
      return deleted(call);
    },
  ),
];

/** @throws Refusal 404, 403 */
export async function codecFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: 'read' | 'update' | 'delete',
  id = call.parameters.id ?? '',
): Promise<Codec> {
  await call.principal();
  const codec = isUuid(id) ? await plane.registry.codecs.get(id) : null;
  if (codec === null) throw notFound('codec');
  await permit(call, plane, codec.org, `codecs/${codec.id}`, `codecs.${verb}`);
  return codec;
}

const shown = (codec: Codec): Response => json(200, answer(codec), etag(codec.version));

const summary = (codec: CodecSummary) => ({
  id: codec.id,
  org: codec.org,
  name: codec.name,
  kind: codec.kind,
  device_profiles: codec.deviceProfiles,
  description: codec.description,
  version: codec.version,
  created_at: codec.createdAt.toISOString(),
  updated_at: codec.updatedAt.toISOString(),
});
const answer = (codec: Codec) => ({ ...summary(codec), script: codec.script });
