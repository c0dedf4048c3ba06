import { deleted, etag, expectedVersion } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { CHALLENGE, unscoped, userOf } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { json, noContent, type Route, route } from '../http/route.ts';
import { TokensAnswer } from '../http/schemas.ts';
import { changedSince, membershipAnswer, problem, removed, slower, userAnswer } from './answers.ts';
import { countDown, slowly } from './logins.ts';
import { CascadeQuery, EmailBody, MeAnswer, PasswordBody, ProfileBody, TokenBody, UserAnswer } from './schemas.ts';
import { badToken, newTokens } from './token-routes.ts';
import type { User } from './users.ts';

const tag = 'users';
const me = { description: 'The user and their organisations.', schema: MeAnswer };
const mailed = { description: 'A mail is on its way, unless there is nothing to confirm.' };

/** What people do with their own account. None of it is for API keys and applications, but to read the profile. */
export const accountRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/users/me',
      tag,
      summary: 'Who am I',
      answers: { 200: me },
      examples: [{ name: 'who am I', status: 200 }],
    },
    async (call, plane) => {
      const { id } = await call.user();
      return own(plane, await self(plane, id));
    },
  ),
  route(
    {
      method: 'patch',
      path: '/users/me',
      tag,
      summary: 'Change my profile',
      body: ProfileBody,
      answers: { 200: me, 412: changedSince },
      examples: [{ name: 'name', body: { name: 'Ada Lovelace', tags: ['maintenance'] }, status: 200 }],
    },
    async (call, plane) => {
      const { id } = await mine(call);
      const updated = await plane.registry.users.update(id, call.body, expectedVersion(call));
      if (typeof updated === 'string') throw gone();
      return own(plane, updated);
    },
  ),
  route(
    {
      method: 'delete',
      path: '/users/me',
      tag,
      summary: 'Delete my account',
      description:
        'With the organisations that nobody else owns: those that have things, channels or other members only with cascade=true.',
      query: CascadeQuery,
      answers: { ...removed, 409: problem('You are the only owner of an organisation, or the last administrator.') },
      examples: [{ name: 'one who owns nothing', as: 'member', status: 204 }],
    },
    async (call, plane) => {
      const { id } = await mine(call);
      const counts = await plane.registry.removal.user(id, call.query.cascade ?? false);
      if (counts === 'gone') throw gone();
      if (counts === 'last_admin') throw new Refusal(409, LAST_ADMIN);
      return deleted(call, counts);
    },
  ),
  route(
    {
      method: 'put',
      path: '/users/me/password',
      tag,
      summary: 'Change my password',
      description: 'All sessions end; the answer opens a new one.',
      body: PasswordBody,
      answers: {
        200: { description: 'Tokens of a new session.', schema: TokensAnswer },
        403: problem('The old password is wrong.'),
        429: slower,
      },
      examples: [
        {
          name: 'a better one',
          body: { old_password: example.password, password: 'a horse of another colour' },
          status: 200,
        },
      ],
    },
    async (call, plane) => {
      const user = await self(plane, (await mine(call)).id);
      const epoch = await slowly(plane, call.peer, user.email, () =>
        plane.registry.accounts.changePassword(user, call.body.old_password, call.body.password),
      );
      if (epoch === null)
        throw new Refusal(403, 'The old password is wrong (who has none asks for one: POST /password/reset-request).');
      return newTokens(plane, 200, user.id, epoch);
    },
  ),
  route(
    {
      method: 'post',
      path: '/users/me/logout',
      tag,
      summary: 'Log out everywhere',
      description: 'All access and refresh tokens are void at once. API keys are not: DELETE /keys/{id} revokes them.',
      answers: { 204: { description: 'All sessions are ended.' } },
      examples: [{ name: 'everywhere', status: 204 }],
    },
    async (call, plane) => {
      await plane.registry.accounts.logOutEverywhere((await mine(call)).id);
      return noContent();
    },
  ),
  route(
    {
      method: 'post',
      path: '/users/me/verify-request',
      tag,
      summary: 'Ask for a mail to confirm my address by',
      answers: { 202: mailed, 429: slower },
      examples: [{ name: 'again', status: 202 }],
    },
    async (call, plane) => {
      const user = await self(plane, (await mine(call)).id);
      if (!user.verified) {
        countDown(plane.registry.slowness.mails, user.email);
        await plane.registry.accounts.requestVerification(user);
      }
      return new Response(null, { status: 202 });
    },
  ),
  route(
    {
      method: 'post',
      path: '/users/me/email',
      tag,
      summary: 'Change my e-mail address',
      description: 'Takes effect when the new address is confirmed by POST /users/verify.',
      body: EmailBody,
      answers: {
        202: { description: 'A mail is on its way to the new address.' },
        403: problem('The password is wrong.'),
        429: slower,
      },
      examples: [
        { name: 'a new address', body: { email: 'ada@mill.example.org', password: example.password }, status: 202 },
      ],
    },
    async (call, plane) => {
      const user = await self(plane, (await mine(call)).id);
      const right = await slowly(plane, call.peer, user.email, () =>
        plane.registry.users.authenticate(user.email, call.body.password),
      );
      if (right === null) throw new Refusal(403, 'The password is wrong.');
      countDown(plane.registry.slowness.mails, user.email);
      await plane.registry.accounts.requestChange(user, call.body.email);
      return new Response(null, { status: 202 });
    },
  ),
  route(
    {
      method: 'post',
      path: '/users/verify',
      tag,
      summary: 'Confirm an address with a token that came by mail',
      open: true,
      body: TokenBody,
      answers: {
        200: { description: 'The user.', schema: UserAnswer },
        409: problem('Somebody else has taken the address.'),
        422: problem('The token is unknown, used or expired; or the body is wrong.'),
      },
      examples: [{ name: 'as the mail says', as: 'nobody', body: { token: example.verifyToken }, status: 200 }],
    },
    async (call, plane) => {
      const user = await plane.registry.accounts.verify(call.body.token);
      if (user === null) throw badToken();
      return json(200, userAnswer(user), etag(user.version));
    },
  ),
];

export const LAST_ADMIN = 'This is the last administrator of the installation: make another one first.';
const gone = (): Refusal => new Refusal(401, 'This user is gone.', CHALLENGE);

/** @throws Refusal 401, 403 */
const mine = async (call: Call<unknown, unknown>) => userOf(await unscoped(call));

async function self(plane: Plane, id: string): Promise<User> {
  const user = await plane.registry.users.get(id);
  if (user === null) throw gone();
  return user;
}

async function own(plane: Plane, user: User): Promise<Response> {
  const memberships = await plane.registry.users.memberships(user.id);
  return json(200, { ...userAnswer(user), orgs: memberships.map(membershipAnswer) }, etag(user.version));
}
