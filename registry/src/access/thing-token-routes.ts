import { z } from '@hono/zod-openapi';
import { credentialOf, type ThingRecord } from '@millrace/core';
import { setActor } from '../audit/actor.ts';
import { CHALLENGE } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import type { AssertionRefusal } from './assertions.ts';
import { refused } from './schemas.ts';

const SECONDS = 900;
const SECONDS_MAX = 3_600;
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

const TokenBody = z.strictObject({
  seconds: z.int().min(1).max(SECONDS_MAX).optional().describe(`How long it is good for (${SECONDS}).`),
  client_assertion_type: z.literal(ASSERTION_TYPE).optional(),
  client_assertion: z
    .string()
    .max(16_384)
    .optional()
    .describe(
      'In place of a key: a JWT signed by the key of the certificate in its x5c; aud is this platform, exp at most five minutes away, jti never used before.',
    ),
});
const TokenAnswer = z.object({ token: z.string(), expires_in: z.int().describe('Seconds.') }).openapi('ThingToken');

const WRONG: Readonly<Record<AssertionRefusal, string>> = {
  malformed: 'The assertion is no JWT that is signed by the key of the certificate in its x5c.',
  expired: 'The assertion is over, for another audience, or good for more than five minutes.',
  spent: 'The assertion was shown before: make one with a new jti.',
  unknown: 'The certificate stands for no thing.',
};

export const thingTokenRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/things/token',
      tag: 'things',
      summary: 'Exchange the key or certificate of a thing for a token',
      description:
        'The token stands for the thing for at most an hour, so that its key need not travel with each request. It ends early when the thing is disabled or its key is replaced.',
      open: true,
      body: TokenBody,
      answers: {
        201: { description: 'The token.', schema: TokenAnswer },
        401: refused('The key, certificate or assertion is unknown.'),
        403: refused('This is for things, by their key or certificate.'),
        503: refused('A part of the platform does not answer; try again after Retry-After.'),
      },
      examples: [{ name: 'for ten minutes', as: 'thing', body: { seconds: 600 }, status: 201 }],
    },
    async (call, plane) => {
      const { client_assertion: assertion, seconds = SECONDS } = call.body;
      const thing = assertion === undefined ? await byKey(call, plane) : await byAssertion(call, plane, assertion);
      const token = await plane.registry.credentials.issueAccessToken(thing.id, thing.epoch, seconds);
      const detail = { seconds, by: assertion === undefined ? 'key' : 'certificate' };
      plane.registry.audit.note({
        action: 'things.token',
        entity: 'things',
        id: thing.id,
        org: thing.org,
        outcome: 'done',
        detail,
      });
      return json(201, { token, expires_in: seconds }, { 'cache-control': 'no-store' });
    },
  ),
];

/** @holds a token is no key: else one that leaked could be made to last for ever */
async function byKey(call: Call<unknown, unknown>, plane: Plane): Promise<ThingRecord> {
  const { subject } = await call.principal();
  if (subject.kind !== 'thing') throw new Refusal(403, 'This is for things; log in by POST /tokens.');
  const credential = credentialOf(call.request.headers.get('authorization'));
  const { directory, credentials } = plane.registry;
  const secret = credential?.kind === 'key' ? credential.key : credential?.kind === 'bearer' ? credential.token : '';
  const holder = await directory.thingByKey(credentials.digest(secret));
  if (holder === null || holder.subject.kind !== 'thing' || holder.subject.id !== subject.id)
    throw new Refusal(403, 'Show the key of the thing, or an assertion by its certificate: a token makes no tokens.');
  return holder.subject;
}

async function byAssertion(call: Call<unknown, unknown>, plane: Plane, assertion: string): Promise<ThingRecord> {
  const { access, certificates } = plane.registry;
  const asserted = await access.assertions.redeem(assertion, (fingerprint, der) => certificates.find(fingerprint, der));
  if (asserted.kind === 'refused') throw new Refusal(401, WRONG[asserted.reason], CHALLENGE);
  const { thing } = asserted;
  if (!thing.enabled) throw new Refusal(401, 'This thing is disabled.', CHALLENGE);
  setActor({
    kind: 'thing',
    id: thing.id,
    name: null,
    via: null,
    address: call.peer.remoteAddress,
    protocol: 'http',
  });
  return thing;
}
