import { type ControlAction, isUuid } from '@millrace/core';
import { mustHold, mustHoldPoliciesOf } from '../access/holding.ts';
import { deleted } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { permit, unscoped } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { page } from '../http/schemas.ts';
import { pageAnswer } from '../inventory/page.ts';
import { memberAnswer, problem, removed } from './answers.ts';
import { requestOf } from './listing.ts';
import type { MemberRefusal } from './members.ts';
import { isOwner } from './owners.ts';
import type { RoleReference } from './roles.ts';
import { MemberAnswer, MemberBody, MemberListQuery } from './schemas.ts';

const tag = 'organisations';
const one = { description: 'The member.', schema: MemberAnswer };
const lastOwner = problem('It is the last owner.');

export const memberRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/orgs/{id}/members',
      tag,
      summary: 'Members of an organisation',
      query: MemberListQuery,
      answers: { 200: { description: 'A page of members.', schema: page('members', MemberAnswer) } },
      examples: [{ name: 'all', parameters: { id: example.org }, status: 200 }],
    },
    async (call, plane) => {
      const org = await memberOrg(call, plane, 'members.list');
      const { email, name, role } = call.query;
      const found = await plane.registry.members.list(org, { email, name, role }, requestOf(call.query));
      return json(200, pageAnswer(found, 'members', memberAnswer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/orgs/{id}/members/{user}',
      tag,
      summary: 'A member',
      answers: { 200: one },
      examples: [{ name: 'one', parameters: { id: example.org, user: example.member }, status: 200 }],
    },
    async (call, plane) => {
      const org = await memberOrg(call, plane, 'members.read');
      const user = call.parameters.user ?? '';
      const member = isUuid(user) ? await plane.registry.members.get(org, user) : null;
      if (member === null) throw notFound('member');
      return json(200, memberAnswer(member));
    },
  ),
  route(
    {
      method: 'put',
      path: '/orgs/{id}/members/{user}',
      tag,
      summary: 'Give a member another role',
      description:
        'Of a role you can give only what you have. Owners are made, and changed, by owners. Who is no member yet is invited (POST /orgs/{id}/invitations); an administrator of the installation may add them here.',
      body: MemberBody,
      answers: { 200: one, 409: lastOwner },
      examples: [
        {
          name: 'editor',
          parameters: { id: example.org, user: example.member },
          body: { role: 'editor' },
          status: 200,
        },
      ],
    },
    async (call, plane) => {
      const org = await memberOrg(call, plane, 'members.update');
      const { subject, scope } = await call.principal();
      const role = await givable(call, plane, org, call.body);
      const user = call.parameters.user ?? '';
      if (!isUuid(user)) throw notFound('member');
      const settled = await plane.registry.members.set(org, user, role, {
        byOwner: await isOwner(call, plane, org),
        add: subject.kind === 'user' && subject.admin && scope === null,
      });
      if (typeof settled === 'string') throw refusalOf(settled, plane);
      return json(200, memberAnswer(settled));
    },
  ),
  route(
    {
      method: 'delete',
      path: '/orgs/{id}/members/{user}',
      tag,
      summary: 'Remove a member, or leave',
      description:
        'With their roles in groups, their API keys and what policies are attached to them. Takes effect at once.',
      answers: { ...removed, 409: lastOwner },
      examples: [{ name: 'one', parameters: { id: example.org, user: example.member }, status: 204 }],
    },
    async (call, plane) => {
      const { subject } = await call.principal();
      const user = (call.parameters.user ?? '').toLowerCase();
      const leaves = subject.id === user;
      if (leaves) await unscoped(call);
      const org = leaves ? await orgOfMember(call, plane, user) : await memberOrg(call, plane, 'members.delete');
      if (!isUuid(user)) throw notFound('member');
      const byOwner = leaves || (await isOwner(call, plane, org));
      const settled = await plane.registry.members.remove(org, user, { byOwner });
      if (typeof settled === 'string') throw refusalOf(settled, plane);
      return deleted(call, settled);
    },
  ),
];

/** A role that the asker may give to somebody in an organisation.  @throws Refusal 403, 422 */
export async function givable(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  body: { readonly role?: RoleReference['role'] | undefined; readonly role_id?: string | undefined },
): Promise<RoleReference> {
  const role: RoleReference =
    body.role != null ? { role: body.role, roleId: null } : { role: null, roleId: body.role_id?.toLowerCase() ?? '' };
  const actions = await plane.registry.roles.actionsOf(org, role);
  if (actions === null) throw new Refusal(422, 'The body is wrong: role_id: the organisation has no such role.');
  await mustHold(call, plane, org, [{ actions, resources: ['*'] }]);
  await mustHoldPoliciesOf(call, plane, org, role.role ?? role.roleId ?? '');
  if (role.role === 'owner' && !(await isOwner(call, plane, org)))
    throw new Refusal(403, 'Only an owner of the organisation makes owners.');
  return role;
}

async function memberOrg(call: Call<unknown, unknown>, plane: Plane, action: ControlAction): Promise<string> {
  await call.principal();
  const org = await plane.registry.orgs.get(call.parameters.id ?? '');
  if (org === null) throw notFound('organisation');
  const { user } = call.parameters;
  const object = user === undefined ? 'members' : `members/${user}`;
  await permit(call, plane, org.id, object, action, { hidden: 'organisation' });
  return org.id;
}

/** Leaving takes no right. */
async function orgOfMember(call: Call<unknown, unknown>, plane: Plane, user: string): Promise<string> {
  const org = await plane.registry.orgs.get(call.parameters.id ?? '');
  if (org === null || (await plane.registry.members.get(org.id, user)) === null) throw notFound('organisation');
  return org.id;
}

export function refusalOf(reason: MemberRefusal, plane: Plane): Refusal {
  switch (reason) {
    case 'gone':
      return notFound('member');
    case 'last_owner':
      return new Refusal(409, 'This is the last owner of the organisation: make another one first, or delete it.');
    case 'owners_only':
      return new Refusal(403, 'Only an owner of the organisation changes or removes owners.');
    case 'full': {
      const max = plane.registry.peopleLimits.MILLRACE_MEMBERS_PER_ORG_MAX;
      return new Refusal(409, `The organisation has as many members as it may: ${max} (MILLRACE_MEMBERS_PER_ORG_MAX).`);
    }
  }
}
