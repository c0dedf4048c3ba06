import { z } from '@hono/zod-openapi';
import { isUuid, type PayloadHead, type Reading, type ReadingsPage } from '@millrace/core';
import { pageOf } from '../inventory/lookup.ts';
import { refuseFrozen } from '../people/frozen.ts';
import { readableChannel } from '../readings/rights.ts';
import { example } from './examples.ts';
import { orgOf } from './identity.ts';
import type { Call, Plane } from './plane.ts';
import { MessagesQuery, readingsQuery } from './readings-query.ts';
import { notFound } from './refusal.ts';
import { json, type Route, route } from './route.ts';
import { PageQuery, page } from './schemas.ts';
import { type TimeFormat, timeJson } from './time.ts';

const tag = 'messages';

const ReadingAnswer = z
  .object({
    channel: z.string(),
    subtopic: z.string().describe('"" if none.'),
    publisher: z.string(),
    protocol: z.string(),
    name: z.string(),
    unit: z.string().optional(),
    time: z.union([z.number(), z.string()]),
    update_time: z.number().optional(),
    value: z.number().optional(),
    string_value: z.string().optional(),
    bool_value: z.boolean().optional(),
    data_value: z.string().optional().describe('base64url without padding.'),
    sum: z.number().optional(),
  })
  .openapi('Reading');
const PayloadAnswer = z
  .object({
    id: z.uuid(),
    channel: z.string(),
    subtopic: z.string(),
    publisher: z.string(),
    protocol: z.string(),
    content_type: z.string(),
    received: z.iso.datetime(),
    size: z.int(),
  })
  .openapi('Payload');

export const messageRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/channels/{id}/messages',
      tag,
      summary: 'Readings of a channel, newest first',
      description: 'For things with subscribe on the channel and for members of its organisation.',
      query: MessagesQuery,
      answers: {
        200: {
          description: 'A page of readings.',
          schema: page('messages', ReadingAnswer).extend({ cursor: z.string().optional() }),
        },
      },
      examples: [
        {
          name: 'the last hour of a name',
          parameters: { id: example.channel },
          query: { name: 'temperature', from: '2026-01-05T11:00:00Z', to: '2026-01-05T12:00:00Z' },
          status: 200,
        },
      ],
    },
    async (call, plane) => {
      const channel = await readable(call, plane, call.query.subtopic);
      const found = await plane.store.readings(readingsQuery(call.query, channel.org, channel.id));
      return new Response(readingsText(found, call.query.time ?? 's'), {
        headers: { 'content-type': 'application/json' },
      });
    },
  ),
  route(
    {
      method: 'get',
      path: '/channels/{id}/payloads',
      tag,
      summary: 'Messages that are kept as they came, newest first',
      query: PageQuery.extend({
        cursor: z.string().min(1).max(4_096).optional().describe('From the page before; takes the place of offset.'),
      }),
      answers: {
        200: { description: 'A page of payloads, without their bytes.', schema: page('payloads', PayloadAnswer) },
      },
      examples: [{ name: 'the latest', parameters: { id: example.channel }, status: 200 }],
    },
    async (call, plane) => {
      const channel = await readable(call, plane);
      const after = call.query.cursor === undefined ? {} : { cursor: call.query.cursor };
      const asked = { org: channel.org, channel: channel.id, ...pageOf(call.query), ...after };
      const found = await plane.store.payloads(asked);
      const { total, offset, limit, cursor } = found;
      return json(200, {
        total,
        offset,
        limit,
        ...(cursor === undefined ? {} : { cursor }),
        payloads: found.payloads.map(head),
      });
    },
  ),
  route(
    {
      method: 'get',
      path: '/messages/{id}/payload',
      tag,
      summary: 'The bytes of a message that is kept as it came',
      answers: {
        200: {
          description: 'The bytes, with the content type that they were published with.',
          type: 'application/octet-stream',
          schema: z.any(),
        },
      },
      examples: [{ name: 'one that never was', parameters: { id: example.message }, status: 404 }],
    },
    async (call, plane) => {
      const id = call.parameters.id ?? '';
      await call.principal();
      const payload = isUuid(id) ? await plane.store.payload(id) : null;
      if (payload === null) throw notFound('payload');
      await mayRead(call, plane, payload);
      return new Response(new Uint8Array(payload.bytes), {
        headers: {
          'content-type': /^[\w.+-]+\/[\w.+-]+(;[ -~]*)?$/.test(payload.contentType)
            ? payload.contentType
            : 'application/octet-stream',
          // A device's bytes must never run as a page of ours.
          'x-content-type-options': 'nosniff',
          'content-disposition': `attachment; filename="${id}"`,
          'content-security-policy': "sandbox; default-src 'none'",
        },
      });
    },
  ),
];

/** The channel of the path, if the asker may read it.  @throws Refusal 404, 403 */
const readable = (
  call: Call<unknown, unknown>,
  plane: Plane,
  subtopic?: string,
): Promise<{ id: string; org: string }> =>
  readableChannel(call, plane, call.parameters.id ?? '', {
    subtopics: subtopic === undefined ? undefined : [subtopic],
    org: () => orgOf(call, plane),
  });

/** Who may read of the channel, and the publisher itself.  @throws Refusal 404, 403 while its organisation is frozen */
export async function mayRead(
  call: Call<unknown, unknown>,
  plane: Plane,
  message: { readonly org: string; readonly channel: string; readonly subtopic: string; readonly publisher: string },
): Promise<void> {
  const principal = await call.principal();
  const { subject } = principal;
  // Ids may be chosen, and taken again in another organisation when their first owner has deleted them.
  if (subject.kind === 'thing' && subject.org !== message.org) throw notFound('message');
  const allowed = (): Promise<void> => refuseFrozen(plane.registry.orgs, message.org, 'messages.read');
  if (subject.id === message.publisher) return allowed();
  if (subject.kind === 'user') {
    // Rights and denials may be of a group that the channel is in; of one that is gone nobody knows where it was.
    const channel = await plane.registry.channels.get(message.channel, message.org);
    const groups = channel?.org === message.org ? channel.groups : [];
    const object = `channels/${message.channel}`;
    if (await plane.gate.allows(principal, message.org, object, 'messages.read', call.context, groups)) {
      const admission = await plane.gate.may(principal, 'subscribe', message.channel, message.subtopic, call.context);
      // A policy may keep one subtopic from who may read the channel.
      if (admission.kind === 'allow' || admission.reason !== 'denied_by_policy') return allowed();
    }
  } else {
    const admission = await plane.gate.may(principal, 'subscribe', message.channel, message.subtopic, call.context);
    if (admission.kind === 'allow') return allowed();
  }
  throw notFound('message');
}

function head(payload: PayloadHead) {
  return {
    id: payload.id,
    channel: payload.channel,
    subtopic: payload.subtopic,
    publisher: payload.publisher,
    protocol: payload.protocol,
    content_type: payload.contentType,
    received: receivedText(payload.receivedUs),
    size: payload.size,
  };
}

/** @param us since 1970, decimal text */
export const receivedText = (us: string): string => JSON.parse(timeJson(`${us}000`, 'rfc3339')) as string;

/** JSON by hand: a double does not carry ns, so JSON.stringify could not write them. */
function readingsText({ total, offset, limit, cursor, readings }: ReadingsPage, format: TimeFormat): string {
  const frame = JSON.stringify({ total, offset, limit, ...(cursor === undefined ? {} : { cursor }) });
  return `${frame.slice(0, -1)},"messages":[${readings.map((reading) => readingText(reading, format)).join(',')}]}`;
}

function readingText(reading: Reading, format: TimeFormat): string {
  const start = JSON.stringify({
    channel: reading.channel,
    subtopic: reading.subtopic,
    publisher: reading.publisher,
    protocol: reading.protocol,
    name: reading.name,
    ...(reading.unit === '' ? {} : { unit: reading.unit }),
  });
  const rest = JSON.stringify({
    update_time: reading.updateTime,
    value: reading.value,
    string_value: reading.stringValue,
    bool_value: reading.boolValue,
    data_value: reading.dataValue,
    sum: reading.sum,
  });
  return `${start.slice(0, -1)},"time":${timeJson(reading.timeNs, format)}${rest === '{}' ? '}' : `,${rest.slice(1)}`}`;
}
