import { z } from '@hono/zod-openapi';
import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { PageQuery, page, StatusListQuery } from '../http/schemas.ts';
import { listOf, pageOf } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import { statementAnswer, statementsOf } from './documents.ts';
import type { NewPolicy, Policy, PolicyPatch, PolicyVersion } from './policies.ts';
import { authorOf, mayPutInForce, policyAnswer, policyFor } from './policy-lookup.ts';
import {
  gone,
  malformedMatch,
  mismatch,
  NewPolicyBody,
  PoliciesBody,
  PolicyAnswer,
  PolicyListAnswer,
  PolicyPatchBody,
  PolicyVersionAnswer,
  RollbackBody,
  refused,
} from './schemas.ts';

const tag = 'policies';
const one = { description: 'The policy.', schema: PolicyAnswer };
const changed = { 200: one, 400: malformedMatch, 412: mismatch };
const OrgQuery = PageQuery.pick({ org: true });
const parameters = { id: example.policy };
const readings = {
  name: 'Readings of the hall',
  statements: [
    {
      sid: 'publish',
      effect: 'allow',
      actions: ['publish'],
      resources: [`channels/${example.channel}/messages/hall/*`],
      condition: { protocol: ['mqtt'], hours: { from: '06:00', to: '22:00' } },
    },
  ],
};

export const policyRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/policies',
      tag,
      summary: 'Make a policy',
      description: 'It has no effect until it is attached to a user, a thing, an app, a group or a role.',
      query: OrgQuery,
      body: NewPolicyBody,
      answers: { 201: one, 409: refused('The id or name is taken, or there are too many.') },
      examples: [{ name: 'publish in one place', body: readings, status: 201 }],
    },
    async (call, plane) => {
      const [policy] = await create(call, plane, [call.body]);
      if (policy === undefined) throw notFound('policy');
      return json(201, policyAnswer(policy), { location: `/policies/${policy.id}`, ...etag(policy.version) });
    },
  ),
  route(
    {
      method: 'post',
      path: '/policies/bulk',
      tag,
      summary: 'Make up to 1000 policies, all or none',
      query: OrgQuery,
      body: PoliciesBody,
      answers: { 201: { description: 'The policies, in the order of the request.', schema: PolicyListAnswer } },
      examples: [
        {
          name: 'two at once',
          body: [
            { ...readings, name: 'One' },
            { ...readings, name: 'Two' },
          ],
          status: 201,
        },
      ],
    },
    async (call, plane) => json(201, { policies: (await create(call, plane, call.body)).map(policyAnswer) }),
  ),
  route(
    {
      method: 'get',
      path: '/policies',
      tag,
      summary: 'List policies',
      query: StatusListQuery,
      answers: { 200: { description: 'A page of policies.', schema: page('policies', PolicyAnswer) } },
      examples: [{ name: 'by name', query: { order: 'name', dir: 'asc' }, status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'policies', 'policies.list');
      return json(
        200,
        pageAnswer(await plane.registry.access.policies.list(listOf(org, call.query)), 'policies', policyAnswer),
      );
    },
  ),
  route(
    {
      method: 'get',
      path: '/policies/{id}',
      tag,
      summary: 'Get a policy',
      answers: { 200: one },
      examples: [{ name: 'by id', parameters, status: 200 }],
    },
    async (call, plane) => shown(await policyFor(call, plane, 'read')),
  ),
  ...(['patch', 'put'] as const).map((method) =>
    route(
      {
        method,
        path: '/policies/{id}',
        tag,
        summary: 'Change fields of a policy',
        description:
          'Other statements make a new version, which takes effect at once. What is left out stays as it is.',
        body: PolicyPatchBody,
        answers: changed,
        examples: [{ name: 'rename', parameters, body: { name: `Renamed by ${method}` }, status: 200 }],
      },
      async (call, plane) => {
        const { statements, ...rest } = call.body;
        return update(call, plane, {
          ...rest,
          ...(statements === undefined ? {} : { statements: statementsOf(statements) }),
        });
      },
    ),
  ),
  route(
    {
      method: 'delete',
      path: '/policies/{id}',
      tag,
      summary: 'Delete a policy',
      query: z.object({
        cascade: z.enum(['true', 'false']).optional().describe('Also if it is attached; it is detached first.'),
      }),
      answers: { ...gone, 409: refused('It is attached; add ?cascade=true.') },
      examples: [{ name: 'with its attachments', parameters, query: { cascade: 'true' }, status: 204 }],
    },
    async (call, plane) => {
      const policy = await policyFor(call, plane, 'delete');
      const cascade = call.query.cascade === 'true';
      if (cascade) await mayPutInForce(call, plane, policy.org, [], policy.statements);
      const attachments = await plane.registry.access.policies.remove(policy.id, cascade, expectedVersion(call));
      if (attachments === null) throw notFound('policy');
      return deleted(call, { attachments });
    },
  ),
  ...(['enable', 'disable'] as const).map((verb) =>
    route(
      {
        method: 'post',
        path: `/policies/{id}/${verb}`,
        tag,
        summary: verb === 'enable' ? 'Let a policy take effect again' : 'Take a policy out of effect, at once',
        answers: changed,
        examples: [{ name: verb, parameters, status: 200 }],
      },
      (call, plane) => update(call, plane, { enabled: verb === 'enable' }),
    ),
  ),
  route(
    {
      method: 'get',
      path: '/policies/{id}/versions',
      tag,
      summary: 'List the versions of a policy, the newest first',
      description: 'The last hundred are kept.',
      query: PageQuery.omit({ org: true }),
      answers: { 200: { description: 'A page of versions.', schema: page('versions', PolicyVersionAnswer) } },
      examples: [{ name: 'all', parameters, status: 200 }],
    },
    async (call, plane) => {
      const { id } = await policyFor(call, plane, 'read');
      const asked = pageOf(call.query);
      const { total, versions } = await plane.registry.access.policies.versions(id, asked);
      return json(200, { total, ...asked, versions: versions.map(versionAnswer) });
    },
  ),
  route(
    {
      method: 'get',
      path: '/policies/{id}/versions/{version}',
      tag,
      summary: 'Get a version of a policy',
      answers: { 200: { description: 'The version.', schema: PolicyVersionAnswer } },
      examples: [{ name: 'the first', parameters: { ...parameters, version: '1' }, status: 200 }],
    },
    async (call, plane) => {
      const { id } = await policyFor(call, plane, 'read');
      return json(200, versionAnswer(await versionOf(plane, id, call.parameters.version ?? '')));
    },
  ),
  route(
    {
      method: 'post',
      path: '/policies/{id}/rollback',
      tag,
      summary: 'Go back to the statements of an earlier version',
      description: 'They become a new version, which takes effect at once.',
      body: RollbackBody,
      answers: changed,
      examples: [{ name: 'to the first', parameters, body: { version: 1 }, status: 200 }],
    },
    async (call, plane) => {
      const { id } = await policyFor(call, plane, 'update');
      const { statements } = await versionOf(plane, id, String(call.body.version));
      return update(call, plane, { statements });
    },
  ),
];

async function create(
  call: Call<unknown, unknown>,
  plane: Plane,
  bodies: readonly z.output<typeof NewPolicyBody>[],
): Promise<Policy[]> {
  const org = await orgOf(call, plane);
  await permit(call, plane, org, 'policies', 'policies.create');
  const policies: NewPolicy[] = bodies.map((body) => ({ ...body, statements: statementsOf(body.statements) }));
  return plane.registry.access.policies.create(org, policies, await authorOf(call));
}

/** What is in force changes only by who may give and take it. */
async function update(call: Call<unknown, unknown>, plane: Plane, patch: PolicyPatch): Promise<Response> {
  const version = expectedVersion(call);
  const before = await policyFor(call, plane, 'update');
  const { policies } = plane.registry.access;
  const attached = await policies.isAttached(before.id);
  if (attached) {
    const isOn = patch.enabled ?? before.enabled;
    const now = before.enabled ? before.statements : [];
    const then = isOn ? (patch.statements ?? before.statements) : [];
    if (then !== now) await mayPutInForce(call, plane, before.org, then, now);
  }
  const judged = { statementsVersion: before.statementsVersion, enabled: before.enabled, attached };
  const policy = await policies.update(before.id, patch, await authorOf(call), { version, judged });
  if (policy === null) throw notFound('policy');
  return shown(policy);
}

const shown = (policy: Policy): Response => json(200, policyAnswer(policy), etag(policy.version));

async function versionOf(plane: Plane, policy: string, asked: string): Promise<PolicyVersion> {
  const number = /^[1-9]\d{0,8}$/.test(asked) ? Number(asked) : null;
  const version = number === null ? null : await plane.registry.access.policies.version(policy, number);
  if (version === null) throw notFound('version');
  return version;
}

const versionAnswer = ({ version, statements, author, createdAt }: PolicyVersion) => ({
  version,
  statements: statements.map(statementAnswer),
  author,
  created_at: createdAt.toISOString(),
});
