import { type ControlAction, isUuid } from '@millrace/core';
import { example } from '../http/examples.ts';
import { permit, unscoped, userOf } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, noContent, type Route, route } from '../http/route.ts';
import { page } from '../http/schemas.ts';
import { pageAnswer } from '../inventory/page.ts';
import { invitationAnswer, problem, slower } from './answers.ts';
import type { Invitation, InvitationRefusal, Shown } from './invitations.ts';
import { requestOf } from './listing.ts';
import { givable, refusalOf } from './member-routes.ts';
import { InvitationAnswer, InvitationBody, InvitationListQuery, MyInvitationsQuery, TokenBody } from './schemas.ts';
import { badToken } from './token-routes.ts';
import type { User } from './users.ts';

const tag = 'invitations';
const one = { description: 'The invitation.', schema: InvitationAnswer };
const many = { description: 'A page of invitations.', schema: page('invitations', InvitationAnswer) };
const spent = problem('The token is unknown, used or expired; or the body is wrong.');
const parameters = { id: example.org };

export const invitationRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/orgs/{id}/invitations',
      tag,
      summary: 'Invite somebody, who need not have an account yet',
      description:
        'Mails them a token that is good for 7 days. An earlier invitation of the same address is void. Of a role you can give only what you have.',
      body: InvitationBody,
      answers: { 201: one, 409: problem('They are a member already, or there may be no more.'), 429: slower },
      examples: [{ name: 'a viewer', parameters, body: { email: 'joan@example.org', role: 'viewer' }, status: 201 }],
    },
    async (call, plane) => {
      const org = await invitingOrg(call, plane, 'invitations.create');
      const role = await givable(call, plane, org, call.body);
      const inviter = await plane.registry.users.get((await call.user()).id);
      if (inviter === null) throw notFound('user');
      const made = settled(
        await plane.registry.invitations.create(org, { email: call.body.email, role, inviter }),
        plane,
      );
      return json(201, invitationAnswer(made), { location: `/orgs/${org}/invitations/${made.id}` });
    },
  ),
  route(
    {
      method: 'get',
      path: '/orgs/{id}/invitations',
      tag,
      summary: 'Invitations to an organisation',
      query: InvitationListQuery,
      answers: { 200: many },
      examples: [{ name: 'all', parameters, query: { status: 'all' }, status: 200 }],
    },
    async (call, plane) => {
      const org = await invitingOrg(call, plane, 'invitations.list');
      const { status = 'pending', email } = call.query;
      const filter = { email, ...(status === 'all' ? {} : { state: status }) };
      const found = await plane.registry.invitations.list(org, filter, requestOf(call.query));
      return json(200, pageAnswer(found, 'invitations', invitationAnswer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/orgs/{id}/invitations/{invitation}',
      tag,
      summary: 'An invitation',
      answers: { 200: one },
      examples: [{ name: 'one', parameters: { id: example.org, invitation: example.invitation }, status: 200 }],
    },
    async (call, plane) => json(200, invitationAnswer(await invitationFor(call, plane, 'invitations.read'))),
  ),
  route(
    {
      method: 'delete',
      path: '/orgs/{id}/invitations/{invitation}',
      tag,
      summary: 'Take an invitation back',
      answers: { 204: { description: 'It is void.' }, 409: problem('It is answered already.') },
      examples: [{ name: 'one', parameters: { id: example.org, invitation: example.invitation }, status: 204 }],
    },
    async (call, plane) => {
      const { id } = await invitationFor(call, plane, 'invitations.delete');
      if (!(await plane.registry.invitations.revoke(id)))
        throw new Refusal(409, 'It is answered, taken back or expired already.');
      return noContent();
    },
  ),
  route(
    {
      method: 'get',
      path: '/invitations',
      tag,
      summary: 'My invitations',
      description: 'Once your address is confirmed.',
      query: MyInvitationsQuery,
      answers: { 200: many },
      examples: [{ name: 'mine', status: 200 }],
    },
    async (call, plane) => {
      const user = await self(call, plane);
      // Whoever registers with another's address must not see who invites them.
      const email = user.verified ? user.email : '';
      const found = await plane.registry.invitations.of(email, requestOf(call.query));
      return json(200, pageAnswer(found, 'invitations', invitationAnswer));
    },
  ),
  ...(['accept', 'decline'] as const).flatMap((verb) => [
    route(
      {
        method: 'post',
        path: `/invitations/{id}/${verb}`,
        tag,
        summary: `${verb === 'accept' ? 'Accept' : 'Decline'} an invitation of mine`,
        description: 'Once your address is confirmed.',
        answers: { 200: one },
        examples: [{ name: 'one', as: 'invited', parameters: { id: example.invitation }, status: 200 }],
      },
      async (call, plane) => {
        const user = await self(call, plane);
        const id = call.parameters.id ?? '';
        if (!isUuid(id) || !user.verified) throw notFound('invitation');
        return json(200, invitationAnswer(settled(await answer(plane, verb, { id }, user), plane)));
      },
    ),
    route(
      {
        method: 'post',
        path: `/invitations/${verb}`,
        tag,
        summary: `${verb === 'accept' ? 'Accept' : 'Decline'} an invitation with the token that came by mail`,
        ...(verb === 'accept'
          ? { description: 'Log in first; who has no account registers with the token (POST /users).' }
          : { open: true as const }),
        body: TokenBody,
        answers: { 200: one, 422: spent },
        examples: [{ name: 'as the mail says', as: 'invited', body: { token: example.invitationToken }, status: 200 }],
      },
      async (call, plane) => {
        const user = verb === 'accept' ? await self(call, plane) : null;
        const result = await answer(plane, verb, { token: call.body.token }, user);
        if (result === 'gone') throw badToken();
        return json(200, invitationAnswer(settled(result, plane)));
      },
    ),
  ]),
];

const answer = (
  plane: Plane,
  verb: 'accept' | 'decline',
  shown: Shown,
  user: User | null,
): Promise<Invitation | InvitationRefusal> => {
  const { invitations } = plane.registry;
  return verb === 'accept' && user !== null ? invitations.accept(shown, user) : invitations.decline(shown, user);
};

function settled(result: Invitation | InvitationRefusal, plane: Plane): Invitation {
  switch (result) {
    case 'gone':
      throw notFound('invitation');
    case 'other_address':
      throw notFound('invitation for your address');
    case 'member':
      throw new Refusal(409, 'They are a member already: PUT /orgs/{id}/members/{user} gives another role.');
    case 'too_many':
      throw new Refusal(429, 'Too many invitations were sent: wait an hour.', {
        'retry-after': '3600',
      });
    case 'full':
      throw refusalOf('full', plane);
    default:
      return result;
  }
}

/** @throws Refusal 401, 403 */
async function self(call: Call<unknown, unknown>, plane: Plane): Promise<User> {
  const { id } = await userOf(await unscoped(call));
  const user = await plane.registry.users.get(id);
  if (user === null) throw notFound('user');
  return user;
}

async function invitingOrg(call: Call<unknown, unknown>, plane: Plane, action: ControlAction): Promise<string> {
  await call.principal();
  const org = await plane.registry.orgs.get(call.parameters.id ?? '');
  if (org === null) throw notFound('organisation');
  const { invitation } = call.parameters;
  const object = invitation === undefined ? 'invitations' : `invitations/${invitation}`;
  await permit(call, plane, org.id, object, action, { hidden: 'organisation' });
  return org.id;
}

async function invitationFor(call: Call<unknown, unknown>, plane: Plane, action: ControlAction): Promise<Invitation> {
  const org = await invitingOrg(call, plane, action);
  const id = call.parameters.invitation ?? '';
  const found = isUuid(id) ? await plane.registry.invitations.get(id) : null;
  if (found === null || found.org !== org) throw notFound('invitation');
  return found;
}
