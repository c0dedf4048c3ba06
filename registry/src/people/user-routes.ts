import { CHALLENGE } from '../http/identity.ts';
import type { Call } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { CredentialsBody, NewUserBody, ProblemAnswer, RefreshBody, TokensAnswer, UserAnswer } from '../http/schemas.ts';
import type { Throttle } from './throttle.ts';
import type { User } from './users.ts';

const tag = 'users';
const tokens = { description: 'An access token and a refresh token.', schema: TokensAnswer };
const refused = (description: string) => ({ description, schema: ProblemAnswer, type: 'application/problem+json' });
const slower = refused('Too many tries; try again after Retry-After.');

export const userRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/users',
      tag,
      summary: 'Register a user, with an organisation of their own',
      description: 'Open to strangers only while self-registration is on; an administrator may always.',
      open: true,
      body: NewUserBody,
      answers: {
        201: { description: 'The user.', schema: UserAnswer },
        403: refused('Registration is closed.'),
        409: refused('The e-mail is taken.'),
        429: slower,
      },
    },
    async (call, plane) => {
      if (!plane.selfRegister) await onlyAdmin(call);
      else {
        slowDown(plane.registrations, call.peer.remoteAddress);
        plane.registrations.failed(call.peer.remoteAddress, performance.now());
      }
      const user = await plane.registry.users.register(call.body.email, call.body.password);
      return json(201, answer(user), { location: `/users/${user.id}` });
    },
  ),
  route(
    {
      method: 'post',
      path: '/tokens',
      tag,
      summary: 'Log in',
      open: true,
      body: CredentialsBody,
      answers: { 201: tokens, 401: refused('E-mail or password is wrong.'), 429: slower },
    },
    async (call, plane) => {
      const { email, password } = call.body;
      const who = `${email.trim().toLowerCase()} ${call.peer.remoteAddress}`;
      slowDown(plane.throttle, who);
      const tried = await plane.throttle.attempt(who, async () => ({
        user: await plane.registry.users.authenticate(email, password),
      }));
      if (tried === null) throw tooMany(1);
      const { user } = tried;
      if (user === null) {
        plane.throttle.failed(who, performance.now());
        throw new Refusal(401, 'E-mail or password is wrong.', CHALLENGE);
      }
      plane.throttle.succeeded(who);
      const { credentials, refreshTokens } = plane.registry;
      const [token, refreshToken] = await Promise.all([
        credentials.issueAccessToken(user.id, user.epoch),
        refreshTokens.issue(user.id),
      ]);
      return json(201, { token, refresh_token: refreshToken }, { 'cache-control': 'no-store' });
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
      answers: { 201: tokens, 401: refused('The refresh token is unknown, used or expired.') },
    },
    async (call, plane) => {
      const refreshed = await plane.registry.refreshTokens.rotate(call.body.refresh_token);
      if (refreshed.kind === 'refused') {
        if (refreshed.reason === 'reused')
          plane.logger.warn(
            { address: call.peer.remoteAddress },
            'a refresh token was used twice; its session is ended',
          );
        throw new Refusal(401, 'The refresh token is unknown, used or expired: log in again.', CHALLENGE);
      }
      const token = await plane.registry.credentials.issueAccessToken(refreshed.user, refreshed.epoch);
      return json(201, { token, refresh_token: refreshed.refreshToken }, { 'cache-control': 'no-store' });
    },
  ),
  route(
    {
      method: 'get',
      path: '/users/me',
      tag,
      summary: 'Who am I',
      answers: { 200: { description: 'The user and their organisations.', schema: UserAnswer } },
    },
    async (call, plane) => {
      const { id } = await call.user();
      const [user, memberships] = await Promise.all([
        plane.registry.users.get(id),
        plane.registry.users.memberships(id),
      ]);
      if (user === null) throw new Refusal(401, 'This user is gone.', CHALLENGE);
      return json(200, { ...answer(user), orgs: memberships.map(({ org, name, role }) => ({ id: org, name, role })) });
    },
  ),
];

async function onlyAdmin(call: Call<unknown, unknown>): Promise<void> {
  if (!call.request.headers.has('authorization'))
    throw new Refusal(
      403,
      'Registration is closed: ask an administrator for an account (MILLRACE_SELF_REGISTER opens it).',
    );
  if (!(await call.user()).admin) throw new Refusal(403, 'Registration is closed: only an administrator makes users.');
}

/** @throws Refusal 429 with the time to wait */
function slowDown(throttle: Throttle, who: string): void {
  const waitMs = throttle.waitMs(who, performance.now());
  if (waitMs > 0) throw tooMany(Math.ceil(waitMs / 1_000));
}

const tooMany = (seconds: number): Refusal =>
  new Refusal(429, `Too many tries: wait ${seconds} s.`, { 'retry-after': String(seconds) });

function answer({ id, email, admin, createdAt }: User) {
  return { id, email, admin, created_at: createdAt.toISOString() };
}
