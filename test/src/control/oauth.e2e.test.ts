import { createHash } from 'node:crypto';
import { Protocol } from '@millrace/core';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import * as oidc from 'openid-client';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Browser, type Page } from './browser.ts';
import { type Listener, listen } from './listener.ts';
import { ADMIN, Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

// Whole flows over two nodes, with waits in them, also where the machine is slow.
vi.setConfig({ testTimeout: 120_000 });

const REDIRECT = 'https://app.example.org/cb';
const SOON = { timeout: 20_000, interval: 50 };
const PASSWORD = 'a good password';
const EMAIL = 'ada@example.org';

let plane: ControlPlane;
let front: Listener;
let nodes: [Node, Node];
let ada: Asker;
let org: string;

beforeAll(async () => {
  plane = await startControlPlane();
  front = await listen();
  const settings = { MILLRACE_PUBLIC_URL: front.url };
  nodes = [await plane.node(settings), await plane.node(settings)];
  // As behind a balancer: every request goes to the other node than the one before.
  let turn = 0;
  front.handler = (request, peer) => (nodes[turn++ % 2] ?? nodes[0]).handler(request, peer);
  ada = await nodes[0].stranger.newUser(EMAIL, PASSWORD);
  org = (await ada.call('GET', '/users/me')).body.orgs[0].id;
}, 120_000);
afterAll(async () => {
  await front?.close();
  await plane?.dispose();
}, 60_000);

interface Made {
  readonly id: string;
  readonly secret: string;
}
async function makeApp(body: Record<string, unknown>): Promise<Made> {
  const made = await ada.call('POST', '/apps', body);
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return { id: made.body.id, secret: made.body.client_secret };
}
const webApp = (scopes: readonly string[], more: Record<string, unknown> = {}) =>
  makeApp({ name: 'Dashboards', kind: 'web', redirect_uris: [REDIRECT], scopes, ...more });

const discover = (app: Made, secret: string | undefined = app.secret) =>
  oidc.discovery(new URL(front.url), app.id, secret, secret === undefined ? oidc.None() : undefined, {
    execute: [oidc.allowInsecureRequests],
  });
const toApp = (url: URL): boolean => url.href.startsWith(REDIRECT);
const inNode = (index: 0 | 1, token: string) => new Asker(nodes[index].handler).as(`Bearer ${token}`);

interface Flow {
  readonly verifier: string;
  readonly state: string;
  readonly nonce: string;
  readonly url: URL;
}
async function beginFlow(config: oidc.Configuration, scope: string, more: Record<string, string> = {}): Promise<Flow> {
  const verifier = oidc.randomPKCECodeVerifier();
  const [state, nonce] = [oidc.randomState(), oidc.randomNonce()];
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: REDIRECT,
    scope,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    ...more,
  });
  return { verifier, state, nonce, url };
}
/** Logs in and agrees to what is given; to all where nothing is. @returns where the application is called back */
async function agree(
  browser: Browser,
  flow: Flow,
  agreed: readonly string[],
  place: string | null = org,
): Promise<{ readonly callback: URL; readonly consent: Page }> {
  const login = await browser.go(flow.url.href);
  const consent = login.text.includes('id="password"')
    ? await browser.submit(login, '/login', [
        ['email', EMAIL],
        ['password', PASSWORD],
      ])
    : login;
  const fields = agreed.map((scope) => ['scope', scope] as const);
  const done = await browser.submit(
    consent,
    '/consent',
    [...fields, ...(place === null ? [] : [['org', place] as const])],
    toApp,
  );
  return { callback: new URL(done.url), consent };
}
async function tokensOf(config: oidc.Configuration, flow: Flow, callback: URL) {
  return oidc.authorizationCodeGrant(config, callback, {
    pkceCodeVerifier: flow.verifier,
    expectedState: flow.state,
    expectedNonce: flow.nonce,
  });
}
async function letIn(app: Made, scopes: readonly string[], more: Record<string, string> = {}) {
  const config = await discover(app);
  const flow = await beginFlow(config, scopes.join(' '), more);
  const { callback } = await agree(new Browser(), flow, scopes);
  return { config, flow, callback, tokens: await tokensOf(config, flow, callback) };
}

describe('people let an application in', () => {
  test('discovery, login, consent, tokens, who it is: over two nodes in turn', async () => {
    const app = await webApp(['openid', 'email', 'profile', 'offline_access', 'things:read']);
    const scopes = ['openid', 'email', 'things:read', 'offline_access'];
    const { config, tokens } = await letIn(app, scopes, { prompt: 'consent' });
    const metadata = config.serverMetadata();
    expect(metadata.issuer).toBe(front.url);
    expect(metadata.code_challenge_methods_supported).toEqual(['S256']);
    const keys = createRemoteJWKSet(new URL(metadata.jwks_uri ?? ''));
    const { payload, protectedHeader } = await jwtVerify(tokens.id_token ?? '', keys, {
      issuer: front.url,
      audience: app.id,
    });
    expect(protectedHeader.alg).toBe('ES256');
    const me = (await ada.call('GET', '/users/me')).body;
    expect(payload).toMatchObject({ sub: me.id, email: EMAIL, email_verified: false });
    expect(await oidc.fetchUserInfo(config, tokens.access_token, me.id)).toMatchObject({ sub: me.id, email: EMAIL });
    expect(tokens.refresh_token).toBeDefined();
    const jwks = await (await fetch(metadata.jwks_uri ?? '')).json();
    expect(JSON.stringify(jwks)).not.toContain('"d"');
  });

  test('a token opens what was agreed to, and nothing else', async () => {
    const app = await webApp(['openid', 'things:read', 'things:write', 'channels:read']);
    const config = await discover(app);
    const flow = await beginFlow(config, 'openid things:read things:write');
    // Of what was asked for, writing is refused.
    const { callback } = await agree(new Browser(), flow, ['things:read']);
    const tokens = await tokensOf(config, flow, callback);
    expect(tokens.scope?.split(' ').toSorted()).toEqual(['openid', 'things:read']);
    for (const index of [0, 1] as const) {
      const api = inNode(index, tokens.access_token);
      expect((await api.call('GET', '/things')).status).toBe(200);
      expect((await api.call('POST', '/things', { name: 'No' })).status).toBe(403);
      expect((await api.call('GET', '/channels')).status).toBe(403);
      expect((await api.call('GET', '/apps')).status).toBe(403);
      expect((await api.call('GET', '/users/me/grants')).status).toBe(403);
    }
  });

  test('messages too: who may only read publishes nothing', async () => {
    const channel = (await ada.call('POST', '/channels', { name: 'Readings' })).body.id;
    const app = await webApp(['openid', 'messages:subscribe', 'messages:publish']);
    const may = async (token: string, action: 'publish' | 'subscribe'): Promise<string> => {
      const { gate } = nodes[1];
      const identified = await gate.identify({ kind: 'bearer', token });
      if (identified.kind === 'refused') return identified.reason;
      const context = {
        protocol: Protocol.http,
        remoteAddress: '127.0.0.1',
        tls: false,
        mutualTls: false,
        nowMs: Date.now(),
      };
      return (await gate.may(identified.principal, action, channel, '', context)).kind;
    };
    const { tokens: reader } = await letIn(app, ['openid', 'messages:subscribe']);
    expect(await may(reader.access_token, 'subscribe')).toBe('allow');
    expect(await may(reader.access_token, 'publish')).toBe('deny');
    const { tokens: writer } = await letIn(app, ['openid', 'messages:publish']);
    expect(await may(writer.access_token, 'publish')).toBe('allow');
    expect(await may(writer.access_token, 'subscribe')).toBe('deny');
    const { tokens: nobody } = await letIn(app, ['openid']);
    expect(await may(nobody.access_token, 'subscribe')).toBe('unknown');
  });

  test('an application of an administrator may no more than its scopes either, and gets out of them by nothing', async () => {
    const admin = await nodes[0].stranger.asUser(ADMIN.email, ADMIN.password);
    const place = (await admin.call('GET', '/users/me')).body.orgs[0].id;
    const app = await webApp(['openid', 'things:read']);
    const config = await discover(app);
    const flow = await beginFlow(config, 'openid things:read');
    const browser = new Browser();
    const login = await browser.go(flow.url.href);
    const consent = await browser.submit(login, '/login', [
      ['email', ADMIN.email],
      ['password', ADMIN.password],
    ]);
    const fields = [
      ['scope', 'things:read'],
      ['org', place],
    ] as const;
    const done = await browser.submit(consent, '/consent', fields, toApp);
    const tokens = await tokensOf(config, flow, new URL(done.url));
    const api = inNode(1, tokens.access_token);
    expect((await api.call('GET', '/things')).status).toBe(200);
    for (const [method, path, body] of [
      ['POST', '/tickets', undefined],
      ['POST', '/things', { name: 'No' }],
      ['GET', '/dead-letters', undefined],
      ['GET', '/users', undefined],
      ['PATCH', '/users/me', { name: 'Changed' }],
      ['POST', '/users/me/logout', undefined],
      ['POST', '/keys', { name: 'More', grants: [{ actions: ['*'], resources: ['*'] }] }],
      ['POST', '/apps', { name: 'More', kind: 'machine' }],
      ['POST', '/things/token', {}],
      ['POST', '/orgs', { name: 'More' }],
    ] as const)
      expect([403, 404], `${method} ${path}`).toContain((await api.call(method, path, body)).status);
    const other = (await ada.call('GET', '/users/me')).body.orgs[0].id;
    expect((await api.call('GET', `/things?org=${other}`)).status).toBe(404);
  });

  test('a token is good in the organisation that was chosen, and in no other of the user', async () => {
    const other = await ada.call('POST', '/orgs', { name: 'Other' });
    expect(other.status).toBe(201);
    const app = await webApp(['openid', 'things:read']);
    const config = await discover(app);
    const flow = await beginFlow(config, 'openid things:read');
    const { callback, consent } = await agree(new Browser(), flow, ['things:read'], other.body.id);
    expect(consent.text).toContain(`value="${org}"`);
    const { access_token: token } = await tokensOf(config, flow, callback);
    expect((await inNode(0, token).call('GET', `/things?org=${other.body.id}`)).status).toBe(200);
    expect((await inNode(0, token).call('GET', `/things?org=${org}`)).status).toBe(404);
  });

  test('an organisation of somebody else can not be chosen', async () => {
    const eve = await nodes[0].stranger.newUser('eve@example.org');
    const hers = (await eve.call('GET', '/users/me')).body.orgs[0].id;
    const app = await webApp(['openid', 'things:read']);
    const browser = new Browser();
    const flow = await beginFlow(await discover(app), 'openid things:read');
    const login = await browser.go(flow.url.href);
    const consent = await browser.submit(login, '/login', [
      ['email', EMAIL],
      ['password', PASSWORD],
    ]);
    const refused = await browser.submit(consent, '/consent', [
      ['scope', 'things:read'],
      ['org', hers],
    ]);
    expect(refused.status).toBe(400);
    expect(refused.text).toContain('Choose one of your organisations');
  });

  test('a second time nobody is asked again, unless for more', async () => {
    const app = await webApp(['openid', 'email', 'things:read']);
    const config = await discover(app);
    const browser = new Browser();
    await agree(browser, await beginFlow(config, 'openid email'), ['email']);
    const again = await browser.go((await beginFlow(config, 'openid email')).url.href, toApp);
    expect(again.url).toContain('code=');
    const more = await browser.go((await beginFlow(config, 'openid email things:read')).url.href, toApp);
    expect(more.text).toContain('see your things');
  });

  test('who refuses sends the application away with access_denied', async () => {
    const config = await discover(await webApp(['openid']));
    const browser = new Browser();
    const login = await browser.go((await beginFlow(config, 'openid')).url.href);
    const back = await browser.submit(login, '/abort', [], toApp);
    expect(new URL(back.url).searchParams.get('error')).toBe('access_denied');
  });

  test('a wrong password is told apart from nothing, slowed and written down', async () => {
    const config = await discover(await webApp(['openid']));
    const browser = new Browser();
    let page = await browser.go((await beginFlow(config, 'openid')).url.href);
    page = await browser.submit(page, '/login', [
      ['email', 'nobody@example.org'],
      ['password', 'wrong'],
    ]);
    expect(page.status).toBe(401);
    const unknown = page.text.replaceAll('nobody@example.org', '');
    for (let count = 0; count < 40 && page.status === 401; count++)
      page = await browser.submit(page, '/login', [
        ['email', 'slow@example.org'],
        ['password', 'wrong'],
      ]);
    expect(page.status).toBe(429);
    expect(Number(page.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(unknown).toContain('E-mail or password is wrong.');
  });

  test('pages let nothing in from elsewhere, and no form from another site', async () => {
    const app = await makeApp({
      name: `<script>alert('x')</script>`,
      kind: 'native',
      redirect_uris: ['com.example.app:/cb'],
      scopes: ['openid'],
    });
    const config = await discover(app, undefined);
    const browser = new Browser();
    const flow = await beginFlow(config, 'openid', { redirect_uri: 'com.example.app:/cb', login_hint: '"><script>' });
    const page = await browser.go(flow.url.href);
    expect(page.status).toBe(200);
    expect(page.text).not.toMatch(/<script/i);
    const policy = page.headers.get('content-security-policy') ?? '';
    expect(policy).toContain(`default-src 'none'`);
    expect(policy).toContain(`form-action 'self' com.example.app:;`);
    expect(policy).toContain(`frame-ancestors 'none'`);
    const style = /<style>([\s\S]*?)<\/style>/.exec(page.text)?.[1] ?? '';
    expect(policy).toContain(`'sha256-${createHash('sha256').update(style).digest('base64')}'`);
    const foreign = await browser.submit(page, '/login', [['email', EMAIL]], undefined, {
      origin: 'https://evil.example.org',
      'sec-fetch-site': 'cross-site',
    });
    expect(foreign.status).toBe(403);
    // Without the cookie of whoever began, the address is good for nothing.
    expect((await new Browser().go(page.url)).status).toBe(400);
  });

  test('logs out, and is asked to log in again', async () => {
    const app = await webApp(['openid'], { post_logout_redirect_uris: ['https://app.example.org/bye'] });
    const config = await discover(app);
    const browser = new Browser();
    const flow = await beginFlow(config, 'openid');
    const { callback } = await agree(browser, flow, []);
    const tokens = await tokensOf(config, flow, callback);
    const url = oidc.buildEndSessionUrl(config, {
      id_token_hint: tokens.id_token ?? '',
      post_logout_redirect_uri: 'https://app.example.org/bye',
    });
    const page = await browser.go(url.href);
    expect(page.headers.get('content-security-policy')).toContain('https://app.example.org');
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)?.[1] ?? '';
    const bye = await browser.submit(
      page,
      '/confirm',
      [
        ['xsrf', xsrf],
        ['logout', 'yes'],
      ],
      (to) => to.pathname === '/bye',
    );
    expect(bye.url).toContain('https://app.example.org/bye');
    const done = await browser.fetch(`${front.url}/oauth/logout/success`);
    expect(done.status).toBe(200);
    expect(done.text).toContain('You are logged out');
    expect((await browser.go((await beginFlow(config, 'openid')).url.href)).text).toContain('id="password"');
  });

  test('who logs out everywhere is out of these pages too', async () => {
    const made = await nodes[0].stranger.newUser('oliver@example.org', PASSWORD);
    const config = await discover(await webApp(['openid']));
    const browser = new Browser();
    const login = await browser.go((await beginFlow(config, 'openid')).url.href);
    const consent = await browser.submit(login, '/login', [
      ['email', 'oliver@example.org'],
      ['password', PASSWORD],
    ]);
    await browser.submit(consent, '/consent', [], toApp);
    const again = await browser.go((await beginFlow(config, 'openid')).url.href, toApp);
    expect(again.url).toContain('code=');
    expect((await made.call('POST', '/users/me/logout')).status).toBe(204);
    expect((await browser.go((await beginFlow(config, 'openid')).url.href)).text).toContain('id="password"');
  });
});

describe('tokens', () => {
  test('a refresh token is good once; used twice it ends all that was granted', async () => {
    const app = await webApp(['openid', 'offline_access', 'things:read']);
    const { config, tokens } = await letIn(app, ['openid', 'offline_access', 'things:read'], { prompt: 'consent' });
    const first = tokens.refresh_token ?? '';
    const renewed = await oidc.refreshTokenGrant(config, first);
    expect(renewed.refresh_token).not.toBe(first);
    expect((await inNode(1, renewed.access_token).call('GET', '/things')).status).toBe(200);
    await expect(oidc.refreshTokenGrant(config, first)).rejects.toMatchObject({ error: 'invalid_grant' });
    await expect(oidc.refreshTokenGrant(config, renewed.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_grant',
    });
    for (const index of [0, 1] as const)
      await expect
        .poll(async () => (await inNode(index, renewed.access_token).call('GET', '/things')).status, SOON)
        .toBe(401);
  });

  test('of many who refresh with one token at the same moment, at most one gets on', async () => {
    const app = await webApp(['openid', 'offline_access']);
    const { config, tokens } = await letIn(app, ['openid', 'offline_access'], { prompt: 'consent' });
    const tries = await Promise.allSettled(
      Array.from({ length: 6 }, () => oidc.refreshTokenGrant(config, tokens.refresh_token ?? '')),
    );
    expect(tries.filter(({ status }) => status === 'fulfilled').length).toBeLessThanOrEqual(1);
  });

  test('a code is good once; used twice the tokens of its first use end', async () => {
    const app = await webApp(['openid', 'things:read']);
    const { config, flow, callback, tokens } = await letIn(app, ['openid', 'things:read']);
    expect((await inNode(0, tokens.access_token).call('GET', '/things')).status).toBe(200);
    await expect(tokensOf(config, flow, callback)).rejects.toMatchObject({ error: 'invalid_grant' });
    for (const index of [0, 1] as const)
      await expect
        .poll(async () => (await inNode(index, tokens.access_token).call('GET', '/things')).status, SOON)
        .toBe(401);
  });

  test('a code is worth nothing without its verifier, or to another application', async () => {
    const app = await webApp(['openid']);
    const other = await webApp(['openid']);
    const config = await discover(app);
    const flow = await beginFlow(config, 'openid');
    const { callback } = await agree(new Browser(), flow, []);
    await expect(
      tokensOf(config, { ...flow, verifier: oidc.randomPKCECodeVerifier() }, callback),
    ).rejects.toMatchObject({ error: 'invalid_grant' });
    await expect(tokensOf(await discover(other), flow, callback)).rejects.toMatchObject({ error: 'invalid_grant' });
  });

  test('introspection tells its owner, and nobody else, what a token is good for', async () => {
    const app = await webApp(['openid', 'things:read']);
    const { config, tokens } = await letIn(app, ['openid', 'things:read']);
    const told = await oidc.tokenIntrospection(config, tokens.access_token);
    expect(told).toMatchObject({ active: true, client_id: app.id, scope: 'openid things:read', org, iss: front.url });
    // Another application of the organisation guards something that the token is shown to.
    const guard = await makeApp({ name: 'Guard', kind: 'machine' });
    expect(await oidc.tokenIntrospection(await discover(guard), tokens.access_token)).toMatchObject({ active: true });
    const zoe = await nodes[0].stranger.newUser(`zoe-${app.id}@example.org`);
    const { body } = await zoe.call('POST', '/apps', { name: 'Foreign', kind: 'machine' });
    const foreign = await discover({ id: body.id, secret: body.client_secret });
    expect(await oidc.tokenIntrospection(foreign, tokens.access_token)).toEqual({ active: false });
    expect(await oidc.tokenIntrospection(config, 'unknown')).toEqual({ active: false });
    await ada.call('POST', `/apps/${app.id}/disable`);
    expect(await oidc.tokenIntrospection(await discover(guard), tokens.access_token)).toEqual({ active: false });
  });

  test('what is revoked, withdrawn, disabled or deleted is dead on every node', async () => {
    const app = await webApp(['openid', 'things:read', 'offline_access']);
    const scopes = ['openid', 'things:read', 'offline_access'];
    const becomes = async (token: string, status: number): Promise<void> => {
      for (const index of [0, 1] as const)
        await expect.poll(async () => (await inNode(index, token).call('GET', '/things')).status, SOON).toBe(status);
    };
    const alive = (token: string): Promise<void> => becomes(token, 200);
    const dead = (token: string): Promise<void> => becomes(token, 401);
    const { config, tokens } = await letIn(app, scopes, { prompt: 'consent' });
    await alive(tokens.access_token);
    await oidc.tokenRevocation(config, tokens.access_token);
    await dead(tokens.access_token);
    // With it what was issued beside it.
    await expect(oidc.refreshTokenGrant(config, tokens.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_grant',
    });
    const other = await letIn(app, scopes, { prompt: 'consent' });
    await alive(other.tokens.access_token);
    await oidc.tokenRevocation(config, other.tokens.refresh_token ?? '');
    await dead(other.tokens.access_token);

    const second = await letIn(app, scopes, { prompt: 'consent' });
    await alive(second.tokens.access_token);
    const grants = (await ada.call('GET', '/users/me/grants?limit=100')).body.grants;
    const grant = grants.find((each: { app: { id: string } }) => each.app.id === app.id);
    expect(grant).toMatchObject({ org, app: { name: 'Dashboards' } });
    expect(grant.scopes.toSorted()).toEqual(scopes.toSorted());
    const eve = await nodes[0].stranger.newUser(`eve-${app.id}@example.org`);
    expect((await eve.call('DELETE', `/users/me/grants/${grant.id}`)).status).toBe(404);
    expect((await ada.call('DELETE', `/users/me/grants/${grant.id}`)).status).toBe(204);
    await dead(second.tokens.access_token);
    await expect(oidc.refreshTokenGrant(second.config, second.tokens.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_grant',
    });

    const third = await letIn(app, ['openid', 'things:read']);
    await alive(third.tokens.access_token);
    expect((await ada.call('POST', `/apps/${app.id}/disable`)).status).toBe(200);
    await dead(third.tokens.access_token);
    await ada.call('POST', `/apps/${app.id}/enable`);
    await alive(third.tokens.access_token);
    expect((await ada.call('DELETE', `/apps/${app.id}`)).status).toBe(204);
    await dead(third.tokens.access_token);
  });
});

describe('a machine acts for itself', () => {
  test('with the rights that its policies give it, narrowed by the scopes that it asks for', async () => {
    const machine = await makeApp({ name: 'Importer', kind: 'machine' });
    const config = await discover(machine);
    const { access_token: before } = await oidc.clientCredentialsGrant(config);
    expect((await inNode(0, before).call('GET', '/things')).status).toBe(403);
    const policy = await ada.call('POST', '/policies', {
      name: `importer ${machine.id}`,
      statements: [{ effect: 'allow', actions: ['things.*'], resources: ['*'] }],
    });
    expect(policy.status, JSON.stringify(policy.body)).toBe(201);
    const attached = await ada.call('PUT', `/policies/${policy.body.id}/attachments/app/${machine.id}`);
    expect(attached.status, JSON.stringify(attached.body)).toBeLessThan(300);
    await expect.poll(async () => (await inNode(1, before).call('GET', '/things')).status, SOON).toBe(200);
    expect((await inNode(1, before).call('POST', '/things', { name: 'Made by a machine' })).status).toBe(201);
    const { access_token: narrow } = await oidc.clientCredentialsGrant(config, { scope: 'things:read' });
    expect((await inNode(1, narrow).call('GET', '/things')).status).toBe(200);
    expect((await inNode(1, narrow).call('POST', '/things', { name: 'No' })).status).toBe(403);
    expect((await inNode(1, narrow).call('GET', `/things/${machine.id}`)).body.id).toBe(machine.id);
    await oidc.tokenRevocation(config, narrow);
    await expect.poll(async () => (await inNode(1, narrow).call('GET', '/things')).status, SOON).toBe(401);
  });

  test('never beyond the scopes that it may ask for', async () => {
    const machine = await makeApp({ name: 'Reader', kind: 'machine', scopes: ['things:read'] });
    const config = await discover(machine);
    await expect(oidc.clientCredentialsGrant(config, { scope: 'things:write' })).rejects.toMatchObject({
      error: 'invalid_scope',
    });
    expect(
      await oidc.tokenIntrospection(config, (await oidc.clientCredentialsGrant(config)).access_token),
    ).toMatchObject({
      active: true,
      client_id: machine.id,
      org,
    });
  });

  test('an old secret holds until its overlap ends, and not longer', async () => {
    const machine = await makeApp({ name: 'Rotated', kind: 'machine' });
    const old = await discover(machine);
    await oidc.clientCredentialsGrant(old);
    const { body } = await ada.call('POST', `/apps/${machine.id}/secret`, { overlap_seconds: 3_600 });
    await oidc.clientCredentialsGrant(old);
    await oidc.clientCredentialsGrant(await discover({ id: machine.id, secret: body.client_secret }));
    await ada.call('POST', `/apps/${machine.id}/secret`, {});
    await expect(oidc.clientCredentialsGrant(old)).rejects.toMatchObject({ error: 'invalid_client' });
    await expect(
      oidc.clientCredentialsGrant(await discover({ id: machine.id, secret: body.client_secret })),
    ).rejects.toMatchObject({ error: 'invalid_client' });
  });
});

describe('bad requests', () => {
  const authorize = (query: Record<string, string>) =>
    new Browser().go(
      `${front.url}/oauth/authorize?${new URLSearchParams(query)}`,
      (url) => !url.href.startsWith(front.url),
    );

  test('a redirect that is not registered goes nowhere', async () => {
    const app = await webApp(['openid']);
    for (const redirect of [
      'https://evil.example.org/cb',
      `${REDIRECT}/../x`,
      `${REDIRECT}?x=1`,
      `${REDIRECT}@evil.example.org`,
    ]) {
      const page = await authorize({
        client_id: app.id,
        response_type: 'code',
        scope: 'openid',
        redirect_uri: redirect,
        code_challenge: 'a'.repeat(43),
        code_challenge_method: 'S256',
      });
      expect(page.status).toBe(400);
      expect(page.url).toContain(front.url);
      expect(page.text).toContain('redirect_uri');
    }
  });

  test('no code without PKCE, nor with a plain challenge', async () => {
    const app = await webApp(['openid']);
    const base = { client_id: app.id, response_type: 'code', scope: 'openid', redirect_uri: REDIRECT };
    for (const more of [{}, { code_challenge: 'a'.repeat(43), code_challenge_method: 'plain' }]) {
      const page = await authorize({ ...base, ...more });
      expect(new URL(page.url).searchParams.get('error')).toBe('invalid_request');
    }
  });

  test('hostile input is refused, and never a fault', async () => {
    const hostile = ['', '\0', `' OR 1=1 --`, '%00', 'a'.repeat(2_000), '../../etc', '\u{1f600}', '{}', '-1'];
    for (const value of hostile) {
      const body = new URLSearchParams({ grant_type: value, code: value, client_id: value, refresh_token: value });
      for (const path of ['/oauth/token', '/oauth/introspect', '/oauth/revoke', '/oauth/userinfo']) {
        const { status } = await fetch(`${front.url}${path}`, { method: 'POST', body });
        expect([400, 401, 413], `${path} ${JSON.stringify(value)}`).toContain(status);
      }
      const page = await authorize({ client_id: value, redirect_uri: value, response_type: value, state: value });
      expect(page.status, JSON.stringify(value)).toBe(400);
    }
    const huge = await fetch(`${front.url}/oauth/token`, { method: 'POST', body: 'a'.repeat(70_000) });
    expect(huge.status).toBe(413);
    const json = await fetch(`${front.url}/oauth/token`, {
      method: 'POST',
      body: '{}',
      headers: { 'content-type': 'application/json' },
    });
    expect(json.status).toBe(400);
    const spoofed = await fetch(`${front.url}/.well-known/openid-configuration`, {
      headers: { 'x-forwarded-host': 'evil.example.org', 'x-forwarded-proto': 'https', forwarded: 'host=evil' },
    });
    expect(await spoofed.text()).not.toContain('evil');
  });

  test('a program in a browser may ask from its own site only', async () => {
    const app = await makeApp({ name: 'SPA', kind: 'browser', redirect_uris: ['https://spa.example.org/cb'] });
    const ask = (origin: string) =>
      fetch(`${front.url}/oauth/token`, {
        method: 'POST',
        body: new URLSearchParams({
          grant_type: 'authorization_code',
          client_id: app.id,
          code: 'x',
          redirect_uri: 'x',
        }),
        headers: { origin },
      });
    expect((await ask('https://spa.example.org')).headers.get('access-control-allow-origin')).toBe(
      'https://spa.example.org',
    );
    expect((await ask('https://evil.example.org')).headers.get('access-control-allow-origin')).toBeNull();
  });
});

describe('while PostgreSQL is away', () => {
  test('it says so to programs and to people, and goes on by itself', async () => {
    const machine = await makeApp({ name: 'Patient', kind: 'machine' });
    const config = await discover(machine);
    const { access_token: known } = await oidc.clientCredentialsGrant(config);
    const ask = () =>
      fetch(`${front.url}/oauth/token`, {
        method: 'POST',
        body: new URLSearchParams({
          grant_type: 'client_credentials',
          client_id: machine.id,
          client_secret: machine.secret,
        }),
      });
    expect((await ask()).status).toBe(200);
    const database = new URL(plane.url).pathname.slice(1);
    await letDatabase(database, false);
    try {
      const answer = await ask();
      expect(answer.status).toBe(503);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      const page = await new Browser().go((await beginFlow(config, 'openid')).url.href);
      expect(page.status).toBe(503);
      expect(page.text).toContain('Try again later');
      expect(page.text).not.toMatch(/sql|postgres:|relation/i);
    } finally {
      await letDatabase(database, true);
    }
    await expect.poll(async () => (await ask()).status, SOON).toBe(200);
    await expect.poll(async () => (await oidc.tokenIntrospection(config, known)).active, SOON).toBe(true);
  });
});

/** Lets nobody into a database of this PostgreSQL, and those out who are in; or everybody in again. */
async function letDatabase(name: string, open: boolean): Promise<void> {
  const elsewhere = new URL(plane.url);
  elsewhere.pathname = '/template1';
  const client = new pg.Client({ connectionString: elsewhere.href });
  await client.connect();
  try {
    await client.query('UPDATE pg_database SET datallowconn = $2 WHERE datname = $1', [name, open]);
    if (!open) await client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [name]);
  } finally {
    await client.end();
  }
}
