import { z } from '@hono/zod-openapi';
import { isUuid } from '@millrace/core';
import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { orgOf, permit, unscoped, userOf } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { pageAnswer } from '../inventory/page.ts';
import { LAST_ADMIN } from './account-routes.ts';
import { changedSince, personAnswer, problem, removed, slower, userAnswer } from './answers.ts';
import { requestOf } from './listing.ts';
import { countDown, networkOf } from './logins.ts';
import {
  CascadeQuery,
  NewUserBody,
  PersonAnswer,
  UserAnswer,
  UserListQuery,
  UserPatchBody,
  UsersPage,
} from './schemas.ts';
import { badToken } from './token-routes.ts';
import type { User, UserRefusal } from './users.ts';

const tag = 'users';
const one = { description: 'The user.', schema: UserAnswer };
const lastAdmin = problem('It is the last administrator of the installation.');

export const userRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/users',
      tag,
      summary: 'Register a user, with an organisation of their own',
      description:
        'Open to strangers only while self-registration is on; to who is invited, and to an administrator, always. Who registers with an invitation becomes a member where they are invited, and gets no organisation of their own.',
      open: true,
      body: NewUserBody,
      answers: {
        201: one,
        403: problem('Registration is closed.'),
        409: problem('The e-mail or the id is taken.'),
        422: problem('The invitation is not for this address, or not good any more; or the body is wrong.'),
        429: slower,
      },
      examples: [{ name: 'register', body: { email: 'grace@example.org', password: example.password }, status: 201 }],
    },
    async (call, plane) => {
      const { email, password, id, name, invitation } = call.body;
      if (invitation !== undefined) {
        countRegistration(call, plane);
        const invited = await plane.registry.invitations.register(invitation, { id, email, password, name });
        if (invited === null) throw badToken();
        return made(invited);
      }
      if (!plane.selfRegister) await registersOthers(call);
      else countRegistration(call, plane);
      return made(await plane.registry.users.register(email, password, { id, name }));
    },
  ),
  route(
    {
      method: 'get',
      path: '/users',
      tag,
      summary: 'Users',
      description:
        'Administrators of the installation see all; others the members of an organisation of theirs, and less of each.',
      query: UserListQuery,
      answers: { 200: { description: 'A page of users.', schema: UsersPage } },
      examples: [{ name: 'of my organisation', query: { org: example.org, limit: '20' }, status: 200 }],
    },
    async (call, plane) => {
      const { email, name, tag: tagged, metadata, status } = call.query;
      const { users, members } = plane.registry;
      const principal = await call.principal();
      if (principal.subject.kind === 'user' && principal.subject.admin && principal.scope === null && !call.query.org) {
        const enabled = status === undefined || status === 'all' ? undefined : status === 'enabled';
        const filter = { email, name, tag: tagged, metadata, enabled };
        return json(200, pageAnswer(await users.list(filter, requestOf(call.query)), 'users', userAnswer));
      }
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'members', 'members.list', { hidden: 'organisation' });
      const found = await members.list(org, { email, name }, requestOf(call.query));
      return json(200, pageAnswer(found, 'users', personAnswer));
    },
  ),
  route(
    {
      method: 'get',
      path: '/users/{id}',
      tag,
      summary: 'A user',
      description: 'Members of an organisation that you share show less.',
      answers: {
        200: {
          description: 'The user, or as much as fellow members see.',
          schema: z.union([UserAnswer, PersonAnswer]),
        },
      },
      examples: [{ name: 'a fellow member', parameters: { id: example.member }, status: 200 }],
    },
    async (call, plane) => {
      const asker = await call.user();
      const { scope } = await call.principal();
      const user = await found(call, plane);
      if (scope === null && (asker.admin || asker.id === user.id))
        return json(200, userAnswer(user), etag(user.version));
      const [theirs, ours] = await Promise.all([
        plane.registry.users.memberships(user.id),
        plane.registry.users.memberships(asker.id),
      ]);
      const common = theirs.filter(({ org }) => ours.some((membership) => membership.org === org));
      for (const { org } of common)
        if (await plane.gate.allows(await call.principal(), org, `members/${user.id}`, 'members.read', call.context))
          return json(200, personAnswer(user));
      throw notFound('user');
    },
  ),
  route(
    {
      method: 'patch',
      path: '/users/{id}',
      tag,
      summary: 'Change a user (administrators of the installation)',
      body: UserPatchBody,
      answers: { 200: one, 409: lastAdmin, 412: changedSince },
      examples: [
        {
          name: 'a name',
          as: 'administrator',
          parameters: { id: example.member },
          body: { name: 'Charles' },
          status: 200,
        },
      ],
    },
    async (call, plane) => {
      await onlyAdmin(call);
      const { id } = await found(call, plane);
      const user = settled(await plane.registry.users.update(id, call.body, expectedVersion(call)));
      return json(200, userAnswer(user), etag(user.version));
    },
  ),
  ...[true, false].map((enabled) =>
    route(
      {
        method: 'post',
        path: `/users/{id}/${enabled ? 'enable' : 'disable'}`,
        tag,
        summary: `${enabled ? 'Enable' : 'Disable'} a user (administrators of the installation)`,
        examples: [{ name: 'one', as: 'administrator', parameters: { id: example.member }, status: 200 }],
        ...(enabled
          ? {}
          : { description: 'Who is disabled is out at once, everywhere; their sessions and tokens are void.' }),
        answers: { 200: one, 409: lastAdmin },
      },
      async (call, plane) => {
        await onlyAdmin(call);
        const { id } = await found(call, plane);
        const user = settled(await plane.registry.users.setEnabled(id, enabled));
        return json(200, userAnswer(user), etag(user.version));
      },
    ),
  ),
  route(
    {
      method: 'delete',
      path: '/users/{id}',
      tag,
      summary: 'Delete a user (administrators of the installation)',
      description:
        'With the organisations that nobody else owns: those that have things, channels or other members only with cascade=true.',
      query: CascadeQuery,
      answers: { ...removed, 409: problem('They are the only owner of an organisation, or the last administrator.') },
      examples: [
        { name: 'one who owns nothing', as: 'administrator', parameters: { id: example.member }, status: 204 },
      ],
    },
    async (call, plane) => {
      await onlyAdmin(call);
      const { id } = await found(call, plane);
      const counts = await plane.registry.removal.user(id, call.query.cascade ?? false);
      if (counts === 'gone') throw notFound('user');
      if (counts === 'last_admin') throw new Refusal(409, LAST_ADMIN);
      return deleted(call, counts);
    },
  ),
];

/** To others all paths of administrators look alike, whether or not there is such a user.  @throws Refusal 403 */
async function onlyAdmin(call: Call<unknown, unknown>): Promise<void> {
  if (!(await userOf(await unscoped(call))).admin)
    throw new Refusal(403, 'This is for administrators of the installation.');
}

async function found(call: Call<unknown, unknown>, plane: Plane): Promise<User> {
  const id = call.parameters.id ?? '';
  const user = isUuid(id) ? await plane.registry.users.get(id) : null;
  if (user === null) throw notFound('user');
  return user;
}

function settled(result: User | UserRefusal): User {
  if (result === 'gone') throw notFound('user');
  if (result === 'last_admin') throw new Refusal(409, LAST_ADMIN);
  return result;
}

const made = (user: User): Response =>
  json(201, userAnswer(user), { location: `/users/${user.id}`, ...etag(user.version) });

function countRegistration(call: Call<unknown, unknown>, plane: Plane): void {
  countDown(plane.registrations, networkOf(call.peer.remoteAddress));
}

async function registersOthers(call: Call<unknown, unknown>): Promise<void> {
  if (!call.request.headers.has('authorization'))
    throw new Refusal(
      403,
      'Registration is closed: ask an administrator for an account (MILLRACE_SELF_REGISTER opens it).',
    );
  if (!(await userOf(await unscoped(call))).admin)
    throw new Refusal(403, 'Registration is closed: only an administrator makes users.');
}
