import type { ControlAction } from '@millrace/core';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import { receivedText } from '../http/messages.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { pageOf } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import { problem } from '../people/answers.ts';
import { whoAnswer } from './deletion-routes.ts';
import type { LegalHold } from './holds.ts';
import { HoldAnswer, HoldListQuery, HoldsPage, instantText, NewHoldBody } from './schemas.ts';

const tag = 'retention';
const one = { description: 'The hold.', schema: HoldAnswer };
const examples = [{ name: 'one that never was', parameters: { id: example.message }, status: 404 }];

export const holdRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/holds',
      tag,
      summary: 'Hold stored data: it is neither deleted nor does it expire',
      description:
        'Holds for what is stored and for what comes, until it is released. What retention had already overtaken may be gone before it is in force.',
      body: NewHoldBody,
      answers: {
        201: one,
        409: problem('A deletion of some of it has begun already.'),
      },
      examples: [
        {
          name: 'a month of a channel',
          body: {
            name: 'Case 17',
            channels: [example.channel],
            from: '2026-01-01T00:00:00Z',
            to: '2026-02-01T00:00:00Z',
            reason: 'Asked for by the court.',
          },
          status: 201,
        },
      ],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'holds', 'holds.create');
      const { from, to, ...rest } = call.body;
      const { nowMs } = call.context;
      const made = await plane.registry.retention.holds.create(org, {
        ...rest,
        from_us: instantText(from, 'from', nowMs),
        to_us: instantText(to, 'to', nowMs),
      });
      return json(201, holdAnswer(made), { location: `/holds/${made.id}` });
    },
  ),
  route(
    {
      method: 'get',
      path: '/holds',
      tag,
      summary: 'List holds, newest first; released ones, too',
      query: HoldListQuery,
      answers: { 200: { description: 'A page of holds.', schema: HoldsPage } },
      examples: [{ name: 'those that hold', query: { active: 'true' }, status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'holds', 'holds.list');
      const { active } = call.query;
      const found = await plane.registry.retention.holds.list({ org, ...pageOf(call.query), active });
      return json(200, pageAnswer(found, 'holds', holdAnswer));
    },
  ),
  route(
    { method: 'get', path: '/holds/{id}', tag, summary: 'Get a hold', answers: { 200: one }, examples },
    async (call, plane) => json(200, holdAnswer(await holdFor(call, plane, 'holds.read'))),
  ),
  route(
    {
      method: 'delete',
      path: '/holds/{id}',
      tag,
      summary: 'Release a hold',
      description: 'Retention holds again for what it spoke of, but for what another one holds. It stays in the list.',
      answers: { 200: { description: 'The hold, released.', schema: HoldAnswer } },
      examples,
    },
    async (call, plane) => {
      const { id } = await holdFor(call, plane, 'holds.delete');
      const released = await plane.registry.retention.holds.release(id);
      if (released === null) throw notFound('hold');
      return json(200, holdAnswer(released));
    },
  ),
];

/** @throws Refusal 404, 403 */
async function holdFor(call: Call<unknown, unknown>, plane: Plane, action: ControlAction): Promise<LegalHold> {
  await call.principal();
  const hold = await plane.registry.retention.holds.get(call.parameters.id ?? '');
  if (hold === null) throw notFound('hold');
  await permit(call, plane, hold.org, `holds/${hold.id}`, action);
  return hold;
}

const holdAnswer = (hold: LegalHold) => ({
  id: hold.id,
  org: hold.org,
  name: hold.name,
  reason: hold.reason,
  channels: hold.channels,
  publishers: hold.publishers,
  from: hold.fromUs === null ? null : receivedText(hold.fromUs),
  to: hold.toUs === null ? null : receivedText(hold.toUs),
  created_by: whoAnswer(hold.actor),
  created_at: hold.createdAt.toISOString(),
  in_force_at: hold.inForceAt?.toISOString() ?? null,
  released_by: hold.releasedBy === null ? null : whoAnswer(hold.releasedBy),
  released_at: hold.releasedAt?.toISOString() ?? null,
});
