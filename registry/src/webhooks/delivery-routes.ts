import { uuidV7 } from '@millrace/core';
import { example } from '../http/examples.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import type { Route } from '../http/route.ts';
import { json, route } from '../http/route.ts';
import { webhookFor } from './routes.ts';
import { DeliveriesAnswer, LastQuery, LettersAnswer, ReplayAnswer, ReplayBody, TestAnswer } from './schemas.ts';

const tag = 'webhooks';
const here = { id: example.webhook };
const LAST = 20;

export const webhookDeliveryRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/webhooks/{id}/test',
      tag,
      summary: 'Try a webhook',
      description:
        'Makes one request of type "test", signed as all are, and tells how it went. Also while it is disabled.',
      answers: { 200: { description: 'How it went.', schema: TestAnswer } },
      examples: [{ name: 'by id', parameters: here, status: 200 }],
    },
    async (call, plane) => {
      const { id, org, channel } = await webhookFor(call, plane, 'update');
      if (plane.webhooks === null) throw new Refusal(503, 'This node sends nothing to webhooks: ask another one.');
      const { sender } = plane.webhooks;
      const target = await plane.registry.webhooks.webhooks.trial(id);
      if (target === null) throw notFound('webhook');
      const { principal } = call;
      const who = (await principal()).subject.id;
      const now = performance.now();
      if (plane.webhookTesting.waitMs(who, now) > 0) throw TOO_MANY;
      plane.webhookTesting.failed(who, now);
      const body = Buffer.from(JSON.stringify({ type: 'test', webhook: id, org, channel, messages: [] }));
      const request = { id: `test_${uuidV7()}`, headers: { 'content-type': 'application/json' }, body, messages: 0 };
      const outcome = await plane.webhookTesting.attempt(who, () => sender.send(target, request));
      if (outcome === null) throw TOO_MANY;
      const { status, ms, error } = outcome;
      return json(200, { status, ms, error });
    },
  ),
  route(
    {
      method: 'get',
      path: '/webhooks/{id}/deliveries',
      tag,
      summary: 'The last requests to a webhook',
      description: 'The newest first; of each webhook 100 are kept.',
      query: LastQuery,
      answers: { 200: { description: 'Each try by itself.', schema: DeliveriesAnswer } },
      examples: [{ name: 'the last', parameters: here, status: 200 }],
    },
    async (call, plane) => {
      const { id } = await webhookFor(call, plane, 'read');
      const found = await plane.registry.webhooks.records.deliveries(id, call.query.limit ?? LAST);
      const deliveries = found.map(({ request, at, ...rest }) => ({
        ...rest,
        webhook_id: request,
        at: at.toISOString(),
      }));
      return json(200, { deliveries });
    },
  ),
  route(
    {
      method: 'get',
      path: '/webhooks/{id}/letters',
      tag,
      summary: 'Requests to a webhook that were given up',
      description: 'The oldest first. Of each webhook 1,000 or 16 MiB are kept, then the oldest go.',
      query: LastQuery,
      answers: { 200: { description: 'What can be replayed.', schema: LettersAnswer } },
      examples: [{ name: 'the first', parameters: here, status: 200 }],
    },
    async (call, plane) => {
      const { id } = await webhookFor(call, plane, 'read');
      const found = await plane.registry.webhooks.records.letters(id, call.query.limit ?? LAST);
      const letters = found.map(({ request, createdAt, replayAt, ...rest }) => ({
        ...rest,
        webhook_id: request,
        created_at: createdAt.toISOString(),
        replay_at: replayAt?.toISOString() ?? null,
      }));
      return json(200, { letters });
    },
  ),
  route(
    {
      method: 'post',
      path: '/webhooks/{id}/replay',
      tag,
      summary: 'Send again what a webhook did not take',
      description:
        'Each request once more, as it was, with the same webhook-id and a new signature; in their order, beside what comes anew. What is taken is gone from the list.',
      body: ReplayBody,
      answers: { 200: { description: 'How many will be tried.', schema: ReplayAnswer } },
      examples: [{ name: 'all', parameters: here, body: {}, status: 200 }],
    },
    async (call, plane) => {
      const webhook = await webhookFor(call, plane, 'update');
      const replaying = await plane.registry.webhooks.records.replay(webhook, call.body.letters);
      return json(200, { replaying });
    },
  ),
];

const TOO_MANY = new Refusal(429, 'Too many tries: wait a little.', { 'retry-after': '5' });
