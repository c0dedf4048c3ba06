import { z } from '@hono/zod-openapi';
import { isUuid, type PayloadHead } from '@millrace/core';
import { pageOf } from '../inventory/lookup.ts';
import { refuseFrozen } from '../people/frozen.ts';
import { readableChannel } from '../readings/rights.ts';
import { example } from './examples.ts';
import { orgOf } from './identity.ts';
import type { Call, Plane } from './plane.ts';
import { notFound } from './refusal.ts';
import { json, type Route, route } from './route.ts';
import { PageQuery, page } from './schemas.ts';
import { timeJson } from './time.ts';

const tag = 'messages';

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
