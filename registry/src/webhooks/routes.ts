import { isUuid, type Position, partitionOf } from '@millrace/core';
import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { PageQuery } from '../http/schemas.ts';
import { channelFor, listOf } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import { conflicting, matched, removed } from '../inventory/problems.ts';
import {
  NewWebhookAnswer,
  NewWebhookBody,
  RotateBody,
  WebhookAnswer,
  WebhookListQuery,
  WebhookPatchBody,
  WebhookStatusAnswer,
  WebhooksPage,
} from './schemas.ts';
import { shownKey } from './secrets.ts';
import type { StoredWebhook, WebhookPatch, WebhookStatus } from './webhooks.ts';

const tag = 'webhooks';
const one = { description: 'The webhook, without its secrets.', schema: WebhookAnswer };
const here = { id: example.webhook };
const BATCH_MESSAGES = 100;
const BATCH_MS = 1_000;
const OVERLAP_SECONDS = 86_400;
const utf8 = new TextEncoder();

export const webhookRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/webhooks',
      tag,
      summary: 'Send the messages of a channel to a URL',
      description:
        'What is published from now on, in the order of the channel, at least once, signed as Standard Webhooks says. The secret is shown this once. It reads in the name of who makes it: what they may not read any more is not sent.',
      query: PageQuery.pick({ org: true }),
      body: NewWebhookBody,
      answers: { 201: { ...one, schema: NewWebhookAnswer }, ...conflicting },
      examples: [
        {
          name: 'temperatures',
          body: {
            channel: example.channel,
            name: 'Temperatures',
            url: 'https://example.org/hooks/millrace',
            subtopic: '+/temperature/#',
            headers: { authorization: 'Bearer a long secret' },
          },
          status: 201,
        },
      ],
    },
    async (call, plane) => {
      const { body } = call;
      const channel = await channelFor(call, plane, 'read', body.channel);
      const { groups } = channel;
      await permit(call, plane, channel.org, 'webhooks', 'webhooks.create', { groups });
      const subtopic = body.subtopic ?? '#';
      await permitReading(call, plane, channel.id, subtopic);
      const { webhook, key } = await plane.registry.webhooks.webhooks.create(channel.org, {
        id: body.id,
        channel: channel.id,
        name: body.name,
        url: body.url,
        subtopic,
        format: body.format ?? 'batch',
        batchMessages: body.batch_messages ?? BATCH_MESSAGES,
        batchMs: body.batch_ms ?? BATCH_MS,
        enabled: body.enabled ?? true,
        headers: body.headers ?? {},
        position: await endOf(plane, channel.id),
      });
      const heads = { ...etag(webhook.version), location: `/webhooks/${webhook.id}` };
      return json(201, { ...answer(webhook), secret: shownKey(key) }, heads);
    },
  ),
  route(
    {
      method: 'get',
      path: '/webhooks',
      tag,
      summary: 'List webhooks',
      query: WebhookListQuery,
      answers: { 200: { description: 'A page of webhooks.', schema: WebhooksPage } },
      examples: [
        { name: 'all', status: 200 },
        { name: 'of a channel', query: { channel: example.channel }, status: 200 },
      ],
    },
    async (call, plane) => {
      const { channel: named, ...query } = call.query;
      const channel = named === undefined ? undefined : await channelFor(call, plane, 'read', named);
      const org = channel?.org ?? (await orgOf(call, plane));
      await permit(call, plane, org, 'webhooks', 'webhooks.list', { groups: channel?.groups ?? [] });
      const found = await plane.registry.webhooks.webhooks.list({ ...listOf(org, query), channel: channel?.id });
      return json(200, pageAnswer(found, 'webhooks', answer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/webhooks/{id}',
      tag,
      summary: 'Get a webhook',
      answers: { 200: one },
      examples: [{ name: 'by id', parameters: here, status: 200 }],
    },
    async (call, plane) => shown(await webhookFor(call, plane, 'read')),
  ),
  route(
    {
      method: 'get',
      path: '/webhooks/{id}/status',
      tag,
      summary: 'How far a webhook has come',
      answers: { 200: { description: 'Whether it is taken, and how much was.', schema: WebhookStatusAnswer } },
      examples: [{ name: 'by id', parameters: here, status: 200 }],
    },
    async (call, plane) => {
      const webhook = await webhookFor(call, plane, 'read');
      const status = await plane.registry.webhooks.webhooks.status(webhook.id);
      const { position, failingSince, problem, delivered, givenUp, skipped, letters } = status;
      return json(200, {
        webhook: webhook.id,
        state: stateOf(webhook, status),
        problem,
        failing_since: failingSince?.toISOString() ?? null,
        position: position === null ? null : `${position.partition}-${position.offset}`,
        delivered,
        given_up: givenUp,
        skipped,
        letters,
      });
    },
  ),
  route(
    {
      method: 'patch',
      path: '/webhooks/{id}',
      tag,
      summary: 'Change a webhook',
      description:
        'Only what is given changes; headers as a whole. When the URL comes to name another host, port or scheme, they must be given again. From then on it reads in the name of who changes it.',
      body: WebhookPatchBody,
      answers: { 200: one, ...matched },
      examples: [{ name: 'another subtopic', parameters: here, body: { subtopic: 'hall/#' }, status: 200 }],
    },
    async (call, plane) => {
      const { batch_messages: batchMessages, batch_ms: batchMs, ...rest } = call.body;
      return update(call, plane, { ...rest, batchMessages, batchMs });
    },
  ),
  ...(['enable', 'disable'] as const).map((verb) =>
    route(
      {
        method: 'post',
        path: `/webhooks/{id}/${verb}`,
        tag,
        summary: verb === 'enable' ? 'Send to a webhook again, from where it stood' : 'Send nothing to a webhook',
        answers: { 200: one, ...matched },
        examples: [{ name: verb, parameters: here, status: 200 }],
      },
      (call, plane) => update(call, plane, { enabled: verb === 'enable' }),
    ),
  ),
  route(
    {
      method: 'post',
      path: '/webhooks/{id}/secret',
      tag,
      summary: 'Give a webhook a new secret',
      description: 'For a while requests bear signatures of both, so that nothing is refused meanwhile.',
      body: RotateBody,
      answers: { 200: { ...one, schema: NewWebhookAnswer } },
      examples: [
        { name: 'with an hour for the old one', parameters: here, body: { overlap_seconds: 3_600 }, status: 200 },
      ],
    },
    async (call, plane) => {
      const { id } = await webhookFor(call, plane, 'update');
      const overlapMs = 1_000 * (call.body.overlap_seconds ?? OVERLAP_SECONDS);
      const rotated = await plane.registry.webhooks.webhooks.rotate(id, overlapMs);
      if (rotated === null) throw notFound('webhook');
      const { webhook, key } = rotated;
      return json(200, { ...answer(webhook), secret: shownKey(key) }, etag(webhook.version));
    },
  ),
  route(
    {
      method: 'delete',
      path: '/webhooks/{id}',
      tag,
      summary: 'Delete a webhook',
      description: 'With what was given up.',
      answers: removed,
      examples: [{ name: 'by id', parameters: { id: example.otherWebhook }, status: 204 }],
    },
    async (call, plane) => {
      const { id } = await webhookFor(call, plane, 'delete');
      if (!(await plane.registry.webhooks.webhooks.remove(id, expectedVersion(call)))) throw notFound('webhook');
      return deleted(call);
    },
  ),
];

/** @throws Refusal 404, 403 */
export async function webhookFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: 'read' | 'update' | 'delete',
): Promise<StoredWebhook> {
  await call.principal();
  const { id = '' } = call.parameters;
  const webhook = isUuid(id) ? await plane.registry.webhooks.webhooks.get(id) : null;
  if (webhook === null) throw notFound('webhook');
  const groups = (await plane.registry.channels.get(webhook.channel, null))?.groups ?? [];
  await permit(call, plane, webhook.org, `webhooks/${webhook.id}`, `webhooks.${verb}`, { groups });
  return webhook;
}

/** It reads in their name: they must be allowed to.  @throws Refusal 403 */
async function permitReading(
  call: Call<unknown, unknown>,
  plane: Plane,
  channel: string,
  subtopic: string,
): Promise<void> {
  const admission = await plane.gate.may(await call.principal(), 'subscribe', channel, subtopic, call.context);
  // A channel that is off for now will be on again.
  if (admission.kind === 'allow' || admission.reason === 'channel_disabled') return;
  throw new Refusal(403, 'You may not read these messages of the channel, so nothing can be sent in your name.');
}

async function update(call: Call<unknown, unknown>, plane: Plane, patch: WebhookPatch): Promise<Response> {
  const before = await webhookFor(call, plane, 'update');
  if (patch.enabled !== false || Object.keys(patch).length > 1)
    await permitReading(call, plane, before.channel, patch.subtopic ?? before.subtopic);
  const webhook = await plane.registry.webhooks.webhooks.update(before.id, patch, expectedVersion(call));
  if (webhook === null) throw notFound('webhook');
  return shown(webhook);
}

/** Where the log of a channel ends; null where this node has none. */
async function endOf({ log }: Plane, channel: string): Promise<Position | null> {
  if (log === null) return null;
  const partition = partitionOf(utf8.encode(channel), log.partitionCount);
  return { partition, offset: (await log.extent(partition)).next };
}

function stateOf({ enabled }: StoredWebhook, { problem, failingSince, isHeld }: WebhookStatus): string {
  if (!enabled) return 'off';
  if (!isHeld) return 'waiting';
  if (problem !== null) return 'refused';
  return failingSince === null ? 'delivering' : 'failing';
}

const shown = (webhook: StoredWebhook): Response => json(200, answer(webhook), etag(webhook.version));

function answer(webhook: StoredWebhook): Record<string, unknown> {
  const { actor, batchMessages, batchMs, headerNames, disabledReason, createdAt, updatedAt, ...rest } = webhook;
  return {
    ...rest,
    events: 'messages',
    batch_messages: batchMessages,
    batch_ms: batchMs,
    headers: headerNames,
    disabled_reason: disabledReason,
    made_by: { kind: actor.kind, id: actor.id, name: actor.name },
    created_at: createdAt.toISOString(),
    updated_at: updatedAt.toISOString(),
  };
}
