import type { z } from '@hono/zod-openapi';
import { isUuid } from '@millrace/core';
import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { page } from '../http/schemas.ts';
import { listOf, permitNew } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import { parseFingerprint } from './authorities.ts';
import type { BroughtAuthority, JustInTime, Registering, Registration } from './brought.ts';
import {
  AuthorityAnswer,
  AuthorityListQuery,
  AuthorityPatchBody,
  CascadeQuery,
  CodeAnswer,
  DeletedAnswer,
  NewAuthorityBody,
  OrgQuery,
  problemAnswer,
  RegistrationAnswer,
  RegistrationListQuery,
} from './schemas.ts';

const tag = 'certificates';
const path = '/certs/authorities';
const one = { description: 'The authority.', schema: AuthorityAnswer };
const gone = {
  200: { description: 'It is gone; as Prefer: return=representation asks.', schema: DeletedAnswer },
  204: { description: 'It is gone; the header Deleted counts what went with it.' },
};

export const broughtRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: `${path}/code`,
      tag,
      summary: 'A code that proves that you hold an authority',
      description: 'Issue a certificate to it (CN), and register the authority with that certificate within an hour.',
      query: OrgQuery,
      answers: { 200: { description: 'The code.', schema: CodeAnswer } },
      examples: [{ name: 'of your organisation', status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'certs/authorities', 'certs.create', { hidden: 'organisation' });
      const { code, expiresAt } = plane.registry.authorities.code(org);
      return json(200, { code, expires_at: expiresAt.toISOString() });
    },
  ),
  route(
    {
      method: 'post',
      path,
      tag,
      summary: 'Register an authority of your own',
      description: 'With jit, whatever it issues becomes a thing the first time that it connects.',
      query: OrgQuery,
      body: NewAuthorityBody,
      answers: { 201: one, 409: problemAnswer('It is registered already, or there are as many as there may be.') },
      examples: [
        {
          name: 'with things made as they come',
          body: {
            name: 'Factory',
            certificate: example.authorityCertificate,
            proof: example.authorityProof,
            jit: { enabled: true, type: 'device', channel_ids: [example.channel] },
          },
          status: 201,
        },
      ],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'certs/authorities', 'certs.create', { hidden: 'organisation' });
      const { name = '', certificate, proof } = call.body;
      const jit = await justInTimeOf(call, plane, org, call.body.jit ?? null);
      const authority = registered(await plane.registry.authorities.register({ org, name, certificate, proof, jit }));
      return json(201, answer(authority), { location: `${path}/${authority.id}`, ...etag(authority.version) });
    },
  ),
  route(
    {
      method: 'get',
      path,
      tag,
      summary: 'List the authorities of an organisation',
      query: AuthorityListQuery,
      answers: { 200: { description: 'A page of authorities.', schema: page('authorities', AuthorityAnswer) } },
      examples: [{ name: 'all', status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'certs/authorities', 'certs.list', { hidden: 'organisation' });
      const found = await plane.registry.authorities.list(listOf(org, call.query));
      return json(200, pageAnswer(found, 'authorities', answer));
    },
  ),
  route(
    {
      method: 'get',
      path: `${path}/{id}`,
      tag,
      summary: 'Get an authority',
      answers: { 200: one },
      examples: [{ name: 'one', parameters: { id: example.authority }, status: 200 }],
    },
    async (call, plane) => shown(await authorityFor(call, plane, 'read')),
  ),
  route(
    {
      method: 'patch',
      path: `${path}/{id}`,
      tag,
      summary: 'Change what becomes of the certificates of an authority',
      body: AuthorityPatchBody,
      answers: { 200: one, 412: problemAnswer('It was changed meanwhile.') },
      examples: [
        { name: 'stop making things', parameters: { id: example.authority }, body: { jit: null }, status: 200 },
      ],
    },
    async (call, plane) => {
      const { id, org } = await authorityFor(call, plane, 'update');
      const { name, jit } = call.body;
      const patch = { name, jit: jit === undefined ? undefined : await justInTimeOf(call, plane, org, jit) };
      const outcome = await plane.registry.authorities.update(id, patch, expectedVersion(call));
      if (outcome === null) throw notFound('authority');
      return shown(registered(outcome));
    },
  ),
  route(
    {
      method: 'delete',
      path: `${path}/{id}`,
      tag,
      summary: 'Forget an authority, and what came in by it',
      description: 'The things stay; with cascade, their certificates of this authority are not taken any more.',
      query: CascadeQuery,
      answers: {
        ...gone,
        409: problemAnswer('Things rely on it; the answer says how many.'),
        412: problemAnswer('It was changed meanwhile.'),
      },
      examples: [{ name: 'one', parameters: { id: example.authority }, status: 204 }],
    },
    async (call, plane) => {
      const { id } = await authorityFor(call, plane, 'delete');
      const things = await plane.registry.authorities.remove(id, call.query.cascade === 'true', expectedVersion(call));
      if (things === null) throw notFound('authority');
      return deleted(call, { certificates: things });
    },
  ),
  route(
    {
      method: 'get',
      path: `${path}/{id}/registrations`,
      tag,
      summary: 'What came in by an authority, the newest first',
      query: RegistrationListQuery,
      answers: {
        200: { description: 'A page of registrations.', schema: page('registrations', RegistrationAnswer) },
      },
      examples: [{ name: 'what came', parameters: { id: example.authority }, status: 200 }],
    },
    async (call, plane) => {
      const { id, org } = await authorityFor(call, plane, 'read');
      const found = await plane.registry.authorities.registrations(id, listOf(org, call.query));
      return json(200, pageAnswer(found, 'registrations', registrationAnswer));
    },
  ),
  route(
    {
      method: 'delete',
      path: `${path}/{id}/registrations/{fingerprint}`,
      tag,
      summary: 'Let the certificate of a deleted thing register again',
      answers: { ...gone, 409: problemAnswer('The thing is still there.') },
      examples: [
        {
          name: 'one that never came',
          parameters: {
            id: example.authority,
            fingerprint: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
          },
          status: 404,
        },
      ],
    },
    async (call, plane) => {
      const { id } = await authorityFor(call, plane, 'update');
      const fingerprint = parseFingerprint(call.parameters.fingerprint ?? '');
      if (fingerprint === null || !(await plane.registry.authorities.forget(id, fingerprint)))
        throw notFound('registration');
      return deleted(call);
    },
  ),
];

/** @throws Refusal 404, 403 */
async function authorityFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: 'read' | 'update' | 'delete',
): Promise<BroughtAuthority> {
  await call.principal();
  const { id = '' } = call.parameters;
  const authority = isUuid(id) ? await plane.registry.authorities.get(id) : null;
  if (authority === null) throw notFound('authority');
  await permit(call, plane, authority.org, `certs/authorities/${authority.id}`, `certs.${verb}`, {
    hidden: 'authority',
  });
  return authority;
}

/** Registering just in time makes things and connections in the name of who asks for it.  @throws Refusal 403 */
async function justInTimeOf(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  given: z.output<typeof NewAuthorityBody>['jit'] | null,
): Promise<JustInTime | null> {
  if (given == null) return null;
  await permitNew(call, plane, org, 'things', [given]);
  const channelIds = [...new Set((given.channel_ids ?? []).map((id) => id.toLowerCase()))];
  if (channelIds.length > 0) await permit(call, plane, org, 'connections', 'connections.create');
  return {
    enabled: given.enabled ?? true,
    groupId: given.group_id?.toLowerCase() ?? null,
    type: given.type ?? 'device',
    channelIds,
    types: [...new Set(given.types ?? (['publish', 'subscribe'] as const))],
    nameFrom: given.name_from ?? 'cn',
  };
}

function registered(outcome: Registering): BroughtAuthority {
  switch (outcome.kind) {
    case 'ok':
      return outcome.authority;
    case 'refused':
      throw new Refusal(422, `The body is wrong: ${outcome.field}: ${outcome.problem}.`);
    case 'full':
      throw new Refusal(409, `The organisation has ${outcome.countMax} authorities: delete one first.`);
  }
}

const registrationAnswer = ({ fingerprint, thing, name, createdAt }: Registration) => ({
  fingerprint,
  thing_id: thing,
  name,
  created_at: createdAt.toISOString(),
});

const shown = (authority: BroughtAuthority): Response => json(200, answer(authority), etag(authority.version));

function answer({ jit, ...authority }: BroughtAuthority): z.input<typeof AuthorityAnswer> {
  return {
    id: authority.id,
    org: authority.org,
    name: authority.name,
    subject: authority.subject,
    fingerprint: authority.fingerprint,
    certificate: `${authority.certificate}\n`,
    not_before: authority.notBefore.toISOString(),
    expires_at: authority.expiresAt.toISOString(),
    jit:
      jit === null
        ? null
        : {
            enabled: jit.enabled,
            group_id: jit.groupId,
            type: jit.type,
            channel_ids: [...jit.channelIds],
            types: [...jit.types],
            name_from: jit.nameFrom,
          },
    version: authority.version,
    created_at: authority.createdAt.toISOString(),
    updated_at: authority.updatedAt.toISOString(),
  };
}
