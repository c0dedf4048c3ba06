import { createHash, randomBytes } from 'node:crypto';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { Browser, type Page } from './browser.ts';
import { type Listener, listen } from './listener.ts';
import { type OtherProvider, startOtherProvider } from './other-provider.ts';
import { ADMIN, Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

vi.setConfig({ testTimeout: 120_000 });

let plane: ControlPlane;
let front: Listener;
let other: OtherProvider;
let open: Node;
let closed: Node;
let alone: Node;

beforeAll(async () => {
  plane = await startControlPlane();
  front = await listen();
  other = await startOtherProvider(`${front.url}/login/oidc/callback`);
  const settings = {
    MILLRACE_PUBLIC_URL: front.url,
    MILLRACE_OIDC_ISSUER: other.issuer,
    MILLRACE_OIDC_CLIENT_ID: other.clientId,
    MILLRACE_OIDC_CLIENT_SECRET: other.secret,
    MILLRACE_OIDC_NAME: 'the <other> one',
  };
  open = await plane.node({ ...settings, MILLRACE_OIDC_REGISTER: 'on' });
  closed = await plane.node({ ...settings, MILLRACE_OIDC_REGISTER: 'off' });
  alone = await plane.node({ MILLRACE_PUBLIC_URL: front.url });
  front.handler = open.handler;
}, 120_000);
afterAll(async () => {
  await other?.stop();
  await front?.close();
  await plane?.dispose();
}, 60_000);

const ui = (url: URL): boolean => url.pathname.startsWith('/ui/');
const challengeOf = (verifier: string): string => createHash('sha256').update(verifier).digest('base64url');
const exchange = (code: string, verifier?: string) =>
  open.stranger.call('POST', '/tokens/code', { code, ...(verifier === undefined ? {} : { code_verifier: verifier }) });

/** Through to the console. */
async function logIn(browser = new Browser()): Promise<{ page: Page; verifier: string; code: string }> {
  const verifier = randomBytes(32).toString('base64url');
  const query = new URLSearchParams({ redirect: '/ui/login', code_challenge: challengeOf(verifier) });
  const page = await browser.go(`${front.url}/login/oidc?${query}`, ui);
  return { page, verifier, code: new URLSearchParams(new URL(page.url).hash.slice(1)).get('code') ?? '' };
}

test('makes an account for a stranger whose e-mail is verified there, once', async () => {
  other.person = { sub: 'new-1', email: 'New@Example.org', email_verified: true, name: 'New Person' };
  const { page, code, verifier } = await logIn();
  expect(new URL(page.url).search).toBe('');
  const tokens = await exchange(code, verifier);
  expect(tokens.status, JSON.stringify(tokens.body)).toBe(201);
  const me = await open.stranger.as(`Bearer ${tokens.body.token}`).call('GET', '/users/me');
  expect(me.body).toMatchObject({ email: 'new@example.org' });
  expect(me.body.orgs).toHaveLength(1);
  expect(
    (await open.stranger.call('POST', '/tokens/refresh', { refresh_token: tokens.body.refresh_token })).status,
  ).toBe(201);
  // The address may change there: who it is does not.
  other.person = { sub: 'new-1', email: 'renamed@example.org', email_verified: true };
  const again = await logIn();
  const second = await exchange(again.code, again.verifier);
  const same = await open.stranger.as(`Bearer ${second.body.token}`).call('GET', '/users/me');
  expect(same.body.id).toBe(me.body.id);
  // Written down in their own name.
  const admin = await open.stranger.asUser(ADMIN.email, ADMIN.password);
  const { entries } = (await admin.call('GET', `/audit?action=users.login&id=${me.body.id}`)).body;
  expect(entries.map(({ actor }: { actor: { id: string } }) => actor.id)).toEqual([me.body.id, me.body.id]);
});

test('a code is good once, and to whoever began only', async () => {
  other.person = { sub: 'once-1', email: 'once@example.org', email_verified: true };
  const first = await logIn();
  expect((await exchange(first.code)).status).toBe(401);
  const second = await logIn();
  expect((await exchange(second.code, randomBytes(32).toString('base64url'))).status).toBe(401);
  // Who tried with a wrong verifier spent it.
  expect((await exchange(second.code, second.verifier)).status).toBe(401);
  const third = await logIn();
  expect((await exchange(third.code, third.verifier)).status).toBe(201);
  expect((await exchange(third.code, third.verifier)).status).toBe(401);
  expect((await exchange('nothing', third.verifier)).status).toBe(401);
});

test('shows a code to copy where nothing waits for it', async () => {
  other.person = { sub: 'copy-1', email: 'copy@example.org', email_verified: true };
  const page = await new Browser().go(`${front.url}/login/oidc`);
  expect(page.status).toBe(200);
  expect(page.headers.get('content-security-policy')).toContain(`default-src 'none'`);
  expect(page.headers.get('cache-control')).toBe('no-store');
  const code = /<code>([\w-]+)<\/code>/.exec(page.text)?.[1] ?? '';
  expect((await exchange(code)).status).toBe(201);
});

test('gives a program on the same machine its code', async () => {
  other.person = { sub: 'cli-1', email: 'cli@example.org', email_verified: true };
  const verifier = randomBytes(32).toString('base64url');
  const query = new URLSearchParams({
    redirect: 'http://127.0.0.1:9/done?x=1',
    code_challenge: challengeOf(verifier),
  });
  const page = await new Browser().go(`${front.url}/login/oidc?${query}`, (url) => url.port === '9');
  const url = new URL(page.url);
  expect(url.searchParams.get('x')).toBe('1');
  expect((await exchange(url.searchParams.get('code') ?? '', verifier)).status).toBe(201);
});

test.each([
  'https://evil.example.org/',
  '//evil.example.org/',
  '/ui//evil.example.org',
  '/ui/../oauth/authorize',
  '/\\evil.example.org',
  'http://127.0.0.1@evil.example.org/',
  'http://localhost.evil.example.org/',
  'javascript:alert(1)',
  '/things',
])('never redirects to %s', async (redirect) => {
  const query = new URLSearchParams({ redirect, code_challenge: 'a'.repeat(43) });
  const page = await new Browser().fetch(`${front.url}/login/oidc?${query}`);
  expect(page.status).toBe(400);
  expect(page.headers.get('location')).toBeNull();
});

test('a redirect needs a challenge, so that nobody is logged in as somebody else', async () => {
  const page = await new Browser().fetch(`${front.url}/login/oidc?redirect=/ui/`);
  expect(page.status).toBe(400);
});

test('finds an account by its address only where both sides have verified it', async () => {
  const admin = await open.stranger.asUser(ADMIN.email, ADMIN.password);
  await open.stranger.newUser('squatted@example.org');
  other.person = { sub: 'victim', email: 'squatted@example.org', email_verified: true };
  const here = await logIn();
  expect(here.page.status).toBe(403);
  expect(here.page.text).toContain('nobody has shown that the address is theirs');
  other.person = { sub: 'liar', email: 'fresh@example.org', email_verified: false };
  const there = await logIn();
  expect(there.page.status).toBe(403);
  expect(there.page.text).toContain('not verified there');
  other.person = { sub: 'silent' };
  expect((await logIn()).page.status).toBe(403);
  const users = await admin.call('GET', '/users?limit=1000');
  expect(JSON.stringify(users.body)).not.toContain('fresh@example.org');
});

test('strangers get no account where registration is closed, and who is disabled no entrance', async () => {
  front.handler = closed.handler;
  try {
    other.person = { sub: 'stranger', email: 'stranger@example.org', email_verified: true };
    const { page } = await logIn();
    expect(page.status).toBe(403);
    expect(page.text).toContain('You have no account here');
  } finally {
    front.handler = open.handler;
  }
  other.person = { sub: 'banned', email: 'banned@example.org', email_verified: true };
  const first = await logIn();
  const { body } = await exchange(first.code, first.verifier);
  const me = await open.stranger.as(`Bearer ${body.token}`).call('GET', '/users/me');
  const admin = await open.stranger.asUser(ADMIN.email, ADMIN.password);
  const waiting = await logIn();
  expect((await admin.call('POST', `/users/${me.body.id}/disable`)).status).toBe(200);
  expect((await exchange(waiting.code, waiting.verifier)).status).toBe(401);
  expect((await logIn()).page.status).toBe(403);
});

test('a callback that nobody waits for, or of another browser, proves nothing', async () => {
  other.person = { sub: 'cross', email: 'cross@example.org', email_verified: true };
  const victim = new Browser();
  const attacker = new Browser();
  const stolen = await attacker.go(`${front.url}/login/oidc`, (url) => url.pathname === '/login/oidc/callback');
  expect(stolen.url).toContain('code=');
  expect((await victim.fetch(stolen.url)).status).toBe(400);
  // Also with a login of their own under way: the state is another.
  await victim.fetch(`${front.url}/login/oidc`);
  expect((await victim.fetch(stolen.url)).status).toBe(400);
  expect((await victim.fetch(`${front.url}/login/oidc/callback?code=x&state=y`)).status).toBe(400);
  const forged = await fetch(`${front.url}/login/oidc/callback?code=x&state=y`, {
    headers: { cookie: 'millrace_login=bm90aGluZw' },
  });
  expect(forged.status).toBe(400);
});

test('who changes their mind there is told so, and nobody is logged in', async () => {
  other.refuses = true;
  try {
    const { page } = await logIn();
    expect(page.status).toBe(400);
    expect(page.text).toContain('did not confirm the login');
  } finally {
    other.refuses = false;
  }
});

test('leads back into the authorization of an application', async () => {
  const ada = await open.stranger.newUser('ada@example.org');
  const app = await ada.call('POST', '/apps', {
    name: 'Dashboards',
    kind: 'web',
    redirect_uris: ['https://app.example.org/cb'],
    scopes: ['openid', 'email'],
  });
  const config = await oidc.discovery(new URL(front.url), app.body.id, app.body.client_secret, undefined, {
    execute: [oidc.allowInsecureRequests],
  });
  const verifier = oidc.randomPKCECodeVerifier();
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: 'https://app.example.org/cb',
    scope: 'openid email',
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  other.person = { sub: 'flow-1', email: 'flow@example.org', email_verified: true };
  const browser = new Browser();
  const login = await browser.go(url.href);
  expect(login.text).toContain('Continue with the &lt;other&gt; one');
  const entrance = /href="([^"]*\/login\/oidc[^"]*)"/.exec(login.text)?.[1] ?? '';
  const consent = await browser.go(new URL(entrance, login.url).href);
  expect(consent.text).toContain('flow@example.org');
  const done = await browser.submit(consent, '/consent', [['scope', 'email']], (to) => to.host === 'app.example.org');
  const tokens = await oidc.authorizationCodeGrant(config, new URL(done.url), { pkceCodeVerifier: verifier });
  expect(tokens.claims()).toMatchObject({ email: 'flow@example.org', email_verified: true });
  // What led back there is spent.
  const spent = await browser.fetch(`${login.url}/outside?code=${'a'.repeat(43)}`);
  expect(spent.status).toBe(400);
});

test('says which other provider there is, or that there is none', async () => {
  expect((await open.stranger.call('GET', '/login/providers')).body).toEqual({
    providers: [{ name: 'the <other> one', url: '/login/oidc' }],
  });
  expect((await alone.stranger.call('GET', '/login/providers')).body).toEqual({ providers: [] });
  expect((await alone.stranger.call('GET', '/login/oidc')).status).toBe(404);
  expect((await alone.stranger.call('GET', '/login/oidc/callback?code=x')).status).toBe(404);
});

test('while the other provider is away it says so, and recovers by itself', async () => {
  const fresh = await plane.node({
    MILLRACE_PUBLIC_URL: front.url,
    MILLRACE_OIDC_ISSUER: other.issuer,
    MILLRACE_OIDC_CLIENT_ID: other.clientId,
    MILLRACE_OIDC_CLIENT_SECRET: other.secret,
  });
  await other.stop();
  try {
    const away = await fresh.stranger.call('GET', '/login/oidc');
    expect(away.status).toBe(503);
    expect(away.headers.get('retry-after')).toBe('5');
  } finally {
    await other.start();
  }
  expect((await fresh.stranger.call('GET', '/login/oidc')).status).toBe(303);
  await fresh.stop();
});

test('no browser can make the platform keep more than it may', async () => {
  const flood = new Asker(open.handler, {}, '192.0.2.7');
  const answers = await Promise.all(Array.from({ length: 320 }, () => flood.raw('GET', '/login/oidc')));
  const statuses = new Set(answers.map(({ status }) => status));
  expect(statuses).toContain(303);
  expect(statuses).toContain(429);
});
