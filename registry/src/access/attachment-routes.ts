import { deleted } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { PageQuery, page } from '../http/schemas.ts';
import { pageOf } from '../inventory/lookup.ts';
import { type Attachment, type AttachmentKind, attachmentKinds, isBuiltInRole, type Target } from './attachments.ts';
import { mustHold } from './holding.ts';
import { mayPutInForce, policyAnswer, policyFor } from './policy-lookup.ts';
import { AttachmentAnswer, gone, PolicyListAnswer, refused } from './schemas.ts';

const tag = 'policies';
const one = { description: 'The attachment.', schema: AttachmentAnswer };
const OrgQuery = PageQuery.pick({ org: true });
const path = '/policies/{id}/attachments/{kind}/{target}';
const parameters = { id: example.policy, kind: 'thing', target: example.otherThing };

export const attachmentRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/policies/{id}/attachments',
      tag,
      summary: 'List what a policy is attached to',
      query: PageQuery.omit({ org: true }),
      answers: { 200: { description: 'A page of attachments.', schema: page('attachments', AttachmentAnswer) } },
      examples: [{ name: 'all', parameters: { id: example.policy }, status: 200 }],
    },
    async (call, plane) => {
      const { id } = await policyFor(call, plane, 'read');
      const asked = pageOf(call.query);
      const { total, attachments } = await plane.registry.access.attachments.list(id, asked);
      return json(200, { total, ...asked, attachments: attachments.map(answer) });
    },
  ),
  route(
    {
      method: 'put',
      path,
      tag,
      summary: 'Attach a policy',
      description:
        'To a user, a thing, an app, a group (for the things in it and below), or a role (for who has it; in a group, for that group). Nobody can attach what allows more than they may themselves.',
      answers: { 200: one, 201: one, 409: refused('There are too many policies there.') },
      examples: [{ name: 'to a thing', parameters, status: 201 }],
    },
    async (call, plane) => {
      const policy = await policyFor(call, plane, 'attach');
      const target = targetOf(call);
      const { attachments } = plane.registry.access;
      if (!(await attachments.exists(policy.org, target))) throw notFound(target.kind);
      await mayReach(call, plane, policy.org, target);
      await mayPutInForce(call, plane, policy.org, policy.statements, []);
      const { isNew, createdAt } = await attachments.attach(policy.org, policy.id, target, policy.statementsVersion);
      const location = `/policies/${policy.id}/attachments/${target.kind}/${target.target}`;
      const attachment = { policy: policy.id, ...target, createdAt };
      return json(isNew ? 201 : 200, answer(attachment), isNew ? { location } : {});
    },
  ),
  route(
    {
      method: 'delete',
      path,
      tag,
      summary: 'Detach a policy; what it did ends at once',
      answers: { 200: gone[200], 204: gone[204] },
      examples: [{ name: 'from a thing', parameters: { ...parameters, target: example.thing }, status: 204 }],
    },
    async (call, plane) => {
      const policy = await policyFor(call, plane, 'attach');
      const target = targetOf(call);
      await mayPutInForce(call, plane, policy.org, [], policy.enabled ? policy.statements : []);
      if (!(await plane.registry.access.attachments.detach(policy.org, policy.id, target)))
        throw notFound('attachment');
      return deleted(call);
    },
  ),
  ...(
    [
      ['thing', '/things/{id}/policies', example.thing],
      ['user', '/users/{id}/policies', example.member],
      ['group', '/groups/{id}/policies', example.group],
      ['role', '/roles/{id}/policies', example.role],
    ] as const
  ).map(([kind, ofPath, id]) =>
    route(
      {
        method: 'get',
        path: ofPath,
        tag,
        summary: `List the policies that are attached to a ${kind}`,
        query: OrgQuery,
        answers: { 200: { description: 'The policies.', schema: PolicyListAnswer } },
        examples: [{ name: `of a ${kind}`, parameters: { id }, status: 200 }],
      },
      async (call, plane) => {
        const org = await orgOf(call, plane);
        await permit(call, plane, org, 'policies', 'policies.list');
        const target = readTarget(kind, call.parameters.id ?? '');
        const { attachments, policies } = plane.registry.access;
        if (!(await attachments.exists(org, target))) throw notFound(kind);
        const ids = [
          ...(await attachments.policiesOf(org, target)),
          ...(kind === 'thing' ? await attachments.policiesOf(org, { ...target, kind: 'app' }) : []),
        ];
        return json(200, { policies: (await policies.many(org, ids)).map(policyAnswer) });
      },
    ),
  ),
];

const kinds: ReadonlySet<string> = new Set(attachmentKinds);

function targetOf({ parameters: { kind = '', target = '' } }: Call<unknown, unknown>): Target {
  if (!kinds.has(kind))
    throw new Refusal(
      404,
      `A policy is attached to one of ${attachmentKinds.join(', ')}, not to a ${kind.slice(0, 32)}.`,
    );
  return readTarget(kind as AttachmentKind, target);
}

/** @holds ids are compared as texts: in lower case */
const readTarget = (kind: AttachmentKind, target: string): Target => ({ kind, target: target.toLowerCase() });

/** Only owners touch owners.  @throws Refusal 403 */
export async function mayReach(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  { kind, target }: Target,
): Promise<void> {
  const isOwner =
    kind === 'role'
      ? isBuiltInRole(target) && target === 'owner'
      : kind === 'user' && (await plane.registry.access.isOwner(org, target));
  if (isOwner) await mustHold(call, plane, org, [{ actions: ['*'], resources: ['*'] }]);
}

const answer = ({ policy, kind, target, createdAt }: Attachment) => ({
  policy,
  kind,
  target,
  created_at: createdAt.toISOString(),
});
