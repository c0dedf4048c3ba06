import type { HttpPeer } from '@millrace/core';
import { example } from '../http/examples.ts';
import { CHALLENGE } from '../http/identity.ts';
import type { Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { json, noContent, type Route, route } from '../http/route.ts';
import { TokensAnswer } from '../http/schemas.ts';
import { problem, slower } from './answers.ts';
import { countDown, logIn, networkOf } from './logins.ts';
import { CredentialsBody, RefreshBody, ResetBody, ResetRequestBody } from './schemas.ts';
import { normaliseEmail } from './users.ts';

const tag = 'users';
const tokens = { description: 'An access token and a refresh token.', schema: TokensAnswer };
/** Requests for a mail that are worked on at a time; further ones are forgotten. */
const RESETS_MAX = 100;
let resets = 0;

export const tokenRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/tokens',
      tag,
      summary: 'Log in',
      open: true,
      body: CredentialsBody,
      answers: { 201: tokens, 401: problem('E-mail or password is wrong.'), 429: slower },
      examples: [
        { name: 'log in', as: 'nobody', body: { email: example.email, password: example.password }, status: 201 },
      ],
    },
    async (call, plane) => {
      const user = await logIn(plane, call.peer, call.body.email, call.body.password);
      return newTokens(plane, 201, user.id, user.epoch);
    },
  ),
  route(
    {
      method: 'post',
      path: '/tokens/refresh',
      tag,
      summary: 'Exchange a refresh token',
      description: 'Each refresh token is good for one use; using one twice ends the session.',
      open: true,
      body: RefreshBody,
      answers: { 201: tokens, 401: problem('The refresh token is unknown, used or expired.') },
      examples: [{ name: 'one', as: 'nobody', body: { refresh_token: example.refreshToken }, status: 201 }],
    },
    async (call, plane) => {
      const refreshed = await plane.registry.refreshTokens.rotate(call.body.refresh_token);
      if (refreshed.kind === 'ok') {
        const token = await plane.registry.credentials.issueAccessToken(refreshed.user, refreshed.epoch);
        return json(201, { token, refresh_token: refreshed.refreshToken }, NO_STORE);
      }
      if (refreshed.kind === 'reused') noteReuse(plane, call.peer, refreshed.user);
      throw new Refusal(401, 'The refresh token is unknown, used or expired: log in again.', CHALLENGE);
    },
  ),
  route(
    {
      method: 'post',
      path: '/tokens/revoke',
      tag,
      summary: 'Log out: end the session of a refresh token',
      description:
        'An access token of the session holds until it expires, 15 minutes at most; POST /users/me/logout ends all at once.',
      open: true,
      body: RefreshBody,
      answers: { 204: { description: 'The session is ended, or there was none.' } },
      examples: [{ name: 'log out', as: 'nobody', body: { refresh_token: example.refreshToken }, status: 204 }],
    },
    async (call, plane) => {
      const user = await plane.registry.refreshTokens.revoke(call.body.refresh_token);
      if (user !== null)
        plane.registry.audit.note({ action: 'users.logout', entity: 'users', id: user, org: null, outcome: 'done' });
      return noContent();
    },
  ),
  route(
    {
      method: 'post',
      path: '/password/reset-request',
      tag,
      summary: 'Ask for a mail to choose a new password by',
      description: 'Answers the same whether or not somebody has this address.',
      open: true,
      body: ResetRequestBody,
      answers: { 202: { description: 'If somebody has this address, a mail is on its way.' }, 429: slower },
      examples: [{ name: 'forgotten', body: { email: 'nobody@example.org' }, status: 202 }],
    },
    (call, plane) => {
      const { slowness, accounts } = plane.registry;
      countDown(slowness.mailRequests, networkOf(call.peer.remoteAddress));
      countDown(slowness.mails, normaliseEmail(call.body.email));
      // Not awaited: how long it takes would tell whether there is such a user.
      if (resets < RESETS_MAX) {
        resets++;
        accounts
          .requestReset(call.body.email)
          .catch((error) => plane.logger.warn({ err: error }, 'could not mail a token for a new password'))
          .finally(() => resets--);
      }
      return new Response(null, { status: 202 });
    },
  ),
  route(
    {
      method: 'post',
      path: '/password/reset',
      tag,
      summary: 'Choose a new password with a token that came by mail',
      description:
        'The token is good once, for an hour. All sessions of the user end, and what they let applications do; their API keys too, if nobody had confirmed the address until now.',
      open: true,
      body: ResetBody,
      answers: {
        204: { description: 'The password is set.' },
        422: problem('The token is unknown, used or expired; or the body is wrong.'),
      },
      examples: [
        {
          name: 'as the mail says',
          as: 'nobody',
          body: { token: example.resetToken, password: example.password },
          status: 204,
        },
      ],
    },
    async (call, plane) => {
      if (!(await plane.registry.accounts.reset(call.body.token, call.body.password))) throw badToken();
      return noContent();
    },
  ),
];

export const NO_STORE = { 'cache-control': 'no-store' };
export const badToken = (): Refusal => new Refusal(422, 'The token is unknown, used or expired: ask for a new mail.');

/** A new session. */
export async function newTokens(plane: Plane, status: number, user: string, epoch: number): Promise<Response> {
  const { credentials, refreshTokens } = plane.registry;
  const [token, refreshToken] = await Promise.all([
    credentials.issueAccessToken(user, epoch),
    refreshTokens.issue(user, epoch),
  ]);
  return json(status, { token, refresh_token: refreshToken }, NO_STORE);
}

function noteReuse(plane: Plane, { remoteAddress }: HttpPeer, user: string): void {
  plane.logger.warn({ user, address: remoteAddress }, 'a refresh token was used twice; its session is ended');
  const detail = { reason: 'a used refresh token came again; its session is ended' };
  plane.registry.audit.note({
    action: 'users.refresh',
    entity: 'users',
    id: user,
    org: null,
    outcome: 'denied',
    detail,
  });
}
