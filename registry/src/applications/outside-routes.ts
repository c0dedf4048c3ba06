import { z } from '@hono/zod-openapi';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal, refusalOf } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { ProblemAnswer, TokensAnswer } from '../http/schemas.ts';
import { countDown, loggedIn, networkOf } from '../people/logins.ts';
import type { OutsideLogin } from './identities.ts';
import { PENDING_SECONDS } from './outside.ts';
import { codePage, errorPage, pageHeaders, prefersPage } from './pages.ts';
import { INTERACTION_PATH } from './provider.ts';
import { isLoopback } from './redirects.ts';
import { LoginCodeBody, OutsideCallbackQuery, OutsideLoginQuery, ProvidersAnswer } from './schemas.ts';

const tag = 'applications';
const COOKIE = 'millrace_login';
const refused = (description: string) => ({ description, schema: ProblemAnswer, type: 'application/problem+json' });

export const outsideRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/login/providers',
      tag,
      summary: 'By which other providers people may log in',
      open: true,
      answers: { 200: { description: 'Their names, and where to send the browser.', schema: ProvidersAnswer } },
      examples: [{ name: 'all', status: 200 }],
    },
    (_, plane) => {
      const entrance = plane.registry.applications.outside.entrance();
      return json(200, { providers: entrance === null ? [] : [entrance] });
    },
  ),
  route(
    {
      method: 'get',
      path: '/login/oidc',
      tag,
      summary: 'Log in by another provider: for browsers',
      description:
        'Sends the browser there. It comes back with a code, good once for a minute: in the fragment of a page below /ui/, in the query of an address on the loopback, or on a page to copy it from. POST /tokens/code exchanges it.',
      open: true,
      query: OutsideLoginQuery,
      answers: {
        303: { description: 'On to that provider.' },
        400: refused('The redirect is none of ours.'),
        404: refused('There is no such provider.'),
        429: refused('Too many tries.'),
        503: refused('That provider does not answer.'),
      },
      examples: [{ name: 'where there is no other provider', status: 404 }],
    },
    (call, plane) => forPeople(call, plane, () => begin(call, plane)),
  ),
  route(
    {
      method: 'get',
      path: '/login/oidc/callback',
      tag,
      summary: 'Where the other provider sends browsers back to',
      open: true,
      query: OutsideCallbackQuery,
      answers: {
        200: { description: 'A page with a code to copy.', type: 'text/html', schema: z.string() },
        303: { description: 'On to where the login was begun.' },
        400: refused('It was begun in another browser, or too long ago.'),
        403: refused('This person may not log in here.'),
        404: refused('There is no such provider.'),
        503: refused('That provider does not answer.'),
      },
      examples: [
        { name: 'where there is no other provider', query: { state: 'unknown', code: 'unknown' }, status: 404 },
      ],
    },
    (call, plane) => forPeople(call, plane, () => comeBack(call, plane)),
  ),
  route(
    {
      method: 'post',
      path: '/tokens/code',
      tag,
      summary: 'Exchange the code of a login by another provider',
      open: true,
      body: LoginCodeBody,
      answers: {
        201: { description: 'An access token and a refresh token.', schema: TokensAnswer },
        401: refused('The code is unknown, used or too old, or the verifier is wrong.'),
        429: refused('Too many tries; try again after Retry-After.'),
      },
      examples: [{ name: 'an unknown code', body: { code: 'unknown' }, status: 401 }],
    },
    async (call, plane) => {
      const { code, code_verifier: verifier } = call.body;
      const { registry } = plane;
      const user = await registry.applications.loginCodes.redeem(code, { verifier });
      if (user === null) throw new Refusal(401, 'The code is unknown, used or too old: log in again.');
      const [token, refreshToken] = await Promise.all([
        registry.credentials.issueAccessToken(user.id, user.epoch),
        registry.refreshTokens.issue(user.id, user.epoch),
      ]);
      return json(201, { token, refresh_token: refreshToken }, { 'cache-control': 'no-store' });
    },
  ),
];

type BeginCall = Call<(typeof OutsideLoginQuery)['_output'], unknown>;

async function begin(call: BeginCall, plane: Plane): Promise<Response> {
  const { redirect, code_challenge: challenge, interaction } = call.query;
  const { applications } = plane.registry;
  if (!applications.outside.enabled) throw new Refusal(404, 'There is no other provider to log in by.');
  countDown(applications.starting, networkOf(call.peer.remoteAddress));
  if (redirect !== undefined) {
    if (!isOurs(redirect)) throw new Refusal(400, 'The redirect must be a page below /ui/, or http on the loopback.');
    // Else somebody could send others a link that logs them in as somebody else.
    if (challenge === undefined) throw new Refusal(400, 'A redirect needs a code_challenge.');
  }
  let begun: Awaited<ReturnType<typeof applications.outside.begin>>;
  try {
    begun = await applications.outside.begin({
      redirect: redirect ?? null,
      challenge: challenge ?? null,
      interaction: interaction ?? null,
    });
  } catch (error) {
    plane.logger.warn({ err: error }, 'the outside OpenID Connect provider can not be asked');
    throw new Refusal(503, `${applications.outside.name} does not answer. Try again later.`, { 'retry-after': '5' });
  }
  return redirectTo(begun.url, cookie(plane, begun.sealed, PENDING_SECONDS));
}

async function comeBack(call: Call<unknown, unknown>, plane: Plane): Promise<Response> {
  const { applications } = plane.registry;
  const { outside } = applications;
  if (!outside.enabled) throw new Refusal(404, 'There is no other provider to log in by.');
  const [, sealed = ''] = /(?:^|;\s*)millrace_login=([\w-]+)/.exec(call.request.headers.get('cookie') ?? '') ?? [];
  const pending = outside.pending(sealed);
  if (pending === null) throw new Refusal(400, 'This login was begun in another browser, or too long ago. Begin anew.');
  let login: OutsideLogin;
  try {
    const identity = await outside.complete(new URL(call.request.url).search, pending);
    login = await applications.recognise(identity, plane.selfRegister);
  } catch (error) {
    if (refusalOf(error)?.status === 503) throw error;
    plane.logger.warn({ err: error }, 'a login by the outside OpenID Connect provider failed');
    throw new Refusal(400, `${outside.name} did not confirm the login. Begin anew.`);
  }
  if (login.kind === 'refused') throw new Refusal(403, REASONS[login.reason]);
  const user = loggedIn(plane, call.peer, login.user);
  const { challenge, interaction, redirect } = pending;
  const code = await applications.loginCodes.issue(user, {
    challenge: challenge ?? undefined,
    interaction: interaction ?? undefined,
  });
  const gone = cookie(plane, '', 0);
  if (interaction !== null) {
    const base = applications.prefix();
    return redirectTo(`${base}${INTERACTION_PATH}/${interaction}/outside?code=${code}`, gone);
  }
  if (redirect === null) return new Response(codePage(code), { headers: { ...pageHeaders(), 'set-cookie': gone } });
  // Fragments stay in the browser; a program on the loopback sees only the query.
  if (redirect.startsWith('/')) return redirectTo(`${applications.prefix()}${redirect}#code=${code}`, gone);
  const target = new URL(redirect);
  target.searchParams.set('code', code);
  return redirectTo(target.href, gone);
}

const REASONS: Readonly<Record<Extract<OutsideLogin, { kind: 'refused' }>['reason'], string>> = {
  disabled: 'Your account is disabled.',
  unknown: 'You have no account here. Ask an administrator for one.',
  unverified_there: 'Your e-mail address is not verified there, so your account can not be found by it.',
  unverified_here:
    'There is an account with your e-mail address, but nobody has shown that the address is theirs. Log in with its password and verify the address first.',
};

/** Where codes may be sent: to the console, or to a program on the same machine. */
function isOurs(redirect: string): boolean {
  if (/^\/ui\/[\w./-]*$/.test(redirect)) return !redirect.includes('..') && !redirect.includes('//');
  if (!URL.canParse(redirect)) return false;
  const url = new URL(redirect);
  return url.protocol === 'http:' && isLoopback(url) && url.username === '' && url.password === '' && url.hash === '';
}

function cookie(plane: Plane, value: string, seconds: number): string {
  const { secure, prefix } = plane.registry.applications;
  const path = `${prefix()}/login/oidc`;
  return `${COOKIE}=${value}; Path=${path}; Max-Age=${seconds}; HttpOnly; SameSite=Lax${secure() ? '; Secure' : ''}`;
}

const redirectTo = (location: string, setCookie: string): Response =>
  new Response(null, {
    status: 303,
    headers: { location, 'set-cookie': setCookie, 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' },
  });

/** Shows refusals as a page to who reads it. */
async function forPeople(
  { request }: Call<unknown, unknown>,
  plane: Plane,
  work: () => Promise<Response>,
): Promise<Response> {
  try {
    return await work();
  } catch (error) {
    if (!prefersPage(request)) throw error;
    const refusal = refusalOf(error);
    if (refusal === null) plane.logger.error({ err: error }, 'a login by another provider failed');
    const status = refusal?.status ?? 500;
    const text = refusal?.message ?? 'Something went wrong here; the log of the node says what.';
    return new Response(errorPage(`HTTP ${status}`, text), {
      status,
      headers: { ...refusal?.headers, ...pageHeaders() },
    });
  }
}
