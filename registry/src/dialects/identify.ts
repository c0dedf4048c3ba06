import { z } from '@hono/zod-openapi';
import { bareCredential, isUuid, type Principal, type RequestContext } from '@millrace/core';
import { example } from '../http/examples.ts';
import { permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { ProblemAnswer } from '../http/schemas.ts';
import { networkOf, slowDown } from '../people/logins.ts';
import { Identified } from './schemas.ts';

const tag = 'classic dialect';
const KeyToAsk = z.strictObject({ token: z.string().min(1).max(8_192) });
const ThingToAsk = z.strictObject({ thing_id: z.uuid() });
const refused = { description: 'No, or nobody knows it.', schema: ProblemAnswer, type: 'application/problem+json' };
const answers = { 200: { description: 'Yes: this is who.', schema: Identified }, 403: refused, 429: refused };
const NO = 'The token or key is unknown, or it may not.';

/** Whose a key is, and whether it may: for adapters of one's own. Whoever guesses is slowed down. */
export const identifyRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/identify',
      tag,
      summary: 'Whose a key or token is',
      open: true,
      body: KeyToAsk,
      answers,
      examples: [{ name: 'a key', as: 'nobody', body: { token: example.thingKey }, status: 200 }],
    },
    async (call, plane) => {
      const { subject } = await known(call, plane, call.body.token);
      return json(200, subject.kind === 'user' ? { id: subject.id, email: subject.email } : { id: subject.id });
    },
  ),
  route(
    {
      method: 'post',
      path: '/identify/channels/{id}/access-by-key',
      tag,
      summary: 'Whether the owner of a key may publish to a channel or subscribe to it',
      open: true,
      body: KeyToAsk,
      answers,
      examples: [
        {
          name: 'a key',
          as: 'nobody',
          parameters: { id: example.channel },
          body: { token: example.thingKey },
          status: 200,
        },
      ],
    },
    async (call, plane) => {
      const principal = await known(call, plane, call.body.token);
      if (!(await reaches(plane, principal, call.parameters.id ?? '', call.context))) throw new Refusal(403, NO);
      return json(200, { id: principal.subject.id });
    },
  ),
  route(
    {
      method: 'post',
      path: '/identify/channels/{id}/access-by-id',
      tag,
      summary: 'Whether a thing may publish to a channel or subscribe to it',
      description: 'For who may read the channel.',
      body: ThingToAsk,
      answers,
      examples: [
        { name: 'a thing', parameters: { id: example.channel }, body: { thing_id: example.thing }, status: 200 },
      ],
    },
    async (call, plane) => {
      const id = call.parameters.id ?? '';
      const channel = isUuid(id) ? await plane.registry.directory.channel(id, null) : null;
      if (channel === null) throw notFound('channel');
      await permit(call, plane, channel.org, `channels/${channel.id}`, 'channels.read', { groups: channel.groups });
      const found = await plane.gate.identify({ kind: 'subject', id: call.body.thing_id.toLowerCase() });
      if (found.kind !== 'known' || !(await reaches(plane, found.principal, channel.id, call.context)))
        throw new Refusal(403, NO);
      return json(200, { id: found.principal.subject.id });
    },
  ),
];

/** @throws Refusal 403, 429 */
async function known(call: Call<unknown, unknown>, plane: Plane, token: string): Promise<Principal> {
  const { identify } = plane.registry.slowness;
  const network = networkOf(call.peer.remoteAddress);
  slowDown(identify, network);
  const identified = await plane.gate.identify(bareCredential(token), call.peer.remoteAddress);
  if (identified.kind === 'known') return identified.principal;
  identify.failed(network, performance.now());
  throw new Refusal(403, NO);
}

async function reaches(plane: Plane, principal: Principal, channel: string, context: RequestContext): Promise<boolean> {
  const publish = await plane.gate.may(principal, 'publish', channel, '', context);
  if (publish.kind === 'allow') return true;
  return (await plane.gate.may(principal, 'subscribe', channel, '', context)).kind === 'allow';
}
