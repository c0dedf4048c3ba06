import { storedKinds } from '@millrace/core';
import type { z } from 'zod';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import { receivedText } from '../http/messages.ts';
import type { Call } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { pageOf } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import { problem } from '../people/answers.ts';
import type { DeletionRecord } from './deletions.ts';
import {
  DeletionAnswer,
  DeletionListQuery,
  DeletionsPage,
  DryRunAnswer,
  instantText,
  NewDeletionBody,
} from './schemas.ts';
import { type DeletionRequest, deletionOf } from './selection.ts';

const tag = 'retention';

export const deletionRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/deletions',
      tag,
      summary: 'Delete stored data, physically',
      description:
        'What was accepted before it began is deleted, on every replica, and rollups and last values are corrected. GET /deletions/{id} proves it.',
      body: NewDeletionBody,
      answers: {
        200: { description: 'With dry_run: what would be deleted.', schema: DryRunAnswer },
        202: { description: 'It is being done: Location names it.', schema: DeletionAnswer },
        409: problem('Some of it is held: detail says by which hold.'),
      },
      examples: [
        {
          name: 'what a device said on one channel',
          body: {
            channels: [example.otherChannel],
            publishers: [example.otherThing],
            what: 'all',
            reason: 'Its owner asked for it.',
          },
          status: 202,
        },
      ],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'deletions', 'deletions.create');
      const request = requestOf(call);
      if (call.body.dry_run !== true) {
        const made = await plane.registry.retention.erase(org, request, call.body.reason);
        return json(202, deletionAnswer(made), { location: `/deletions/${made.id}` });
      }
      if (plane.upkeep === null) throw new Refusal(503, 'This node keeps no readings: ask another one.');
      return json(200, { found: await plane.upkeep.count(deletionOf(org, request, null)) });
    },
  ),
  route(
    {
      method: 'get',
      path: '/deletions',
      tag,
      summary: 'List deletions, newest first',
      description: 'They stay here when what they deleted is gone, also those of deleted channels.',
      query: DeletionListQuery,
      answers: { 200: { description: 'A page of deletions.', schema: DeletionsPage } },
      examples: [{ name: 'the latest', query: { limit: '5' }, status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'deletions', 'deletions.list');
      const found = await plane.registry.retention.deletions.list({ org, ...pageOf(call.query) });
      return json(200, pageAnswer(found, 'deletions', deletionAnswer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/deletions/{id}',
      tag,
      summary: 'What became of a deletion',
      answers: { 200: { description: 'The deletion; once it is done, the proof of it.', schema: DeletionAnswer } },
      examples: [{ name: 'one that never was', parameters: { id: example.message }, status: 404 }],
    },
    async (call, plane) => {
      await call.principal();
      const found = await plane.registry.retention.deletions.get(call.parameters.id ?? '');
      if (found === null) throw notFound('deletion');
      await permit(call, plane, found.org, `deletions/${found.id}`, 'deletions.read');
      return json(200, deletionAnswer(found));
    },
  ),
];

function requestOf({ body, context }: Call<unknown, z.output<typeof NewDeletionBody>>): DeletionRequest {
  return {
    what: body.what === 'all' ? storedKinds : [body.what],
    channels: body.channels,
    publishers: body.publishers,
    names: body.names,
    subtopics: body.subtopics,
    from_us: instantText(body.from, 'from', context.nowMs),
    to_us: instantText(body.to, 'to', context.nowMs),
  };
}

const timeText = (us: string | undefined): string | undefined => (us === undefined ? undefined : receivedText(us));

export const whoAnswer = ({ kind, id, name }: DeletionRecord['actor']) => ({ kind, id, name });

export function deletionAnswer(found: DeletionRecord) {
  const { from_us: fromUs, to_us: toUs, ...request } = found.request;
  return {
    id: found.id,
    org: found.org,
    status: found.status,
    reason: found.reason,
    request: { ...request, from: timeText(fromUs), to: timeText(toUs) },
    request_hash: found.requestHash,
    asked_by: whoAnswer(found.actor),
    asked_at: found.askedAt.toISOString(),
    due_at: found.dueAt.toISOString(),
    found: found.before,
    remaining: found.remaining,
    error: found.error,
    finished_at: found.finishedAt?.toISOString() ?? null,
  };
}
