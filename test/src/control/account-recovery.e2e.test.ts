import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Browser } from './browser.ts';
import { type Listener, listen } from './listener.ts';
import { Mailbox } from './mailbox.ts';
import { Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

// Whole flows over two nodes, with waits in them, also where the machine is slow.
vi.setConfig({ testTimeout: 120_000 });

const REDIRECT = 'https://app.example.org/cb';
const PASSWORD = 'a good password';
const NEXT = 'a better password';

let plane: ControlPlane;
let front: Listener;
let nodes: [Node, Node];
let mailbox: Mailbox;

beforeAll(async () => {
  plane = await startControlPlane();
  front = await listen();
  const settings = { MILLRACE_PUBLIC_URL: front.url };
  nodes = [await plane.node(settings), await plane.node(settings)];
  front.handler = nodes[0].handler;
  mailbox = new Mailbox(plane.directory);
}, 120_000);
afterAll(async () => {
  await front?.close();
  await plane?.dispose();
}, 60_000);

async function reset(email: string): Promise<void> {
  await nodes[0].stranger.call('POST', '/password/reset-request', { email });
  const token = await mailbox.token(email, 'reset');
  const { status } = await nodes[0].stranger.call('POST', '/password/reset', { token, password: NEXT });
  expect(status).toBeLessThan(300);
}

/** An application of the user's own organisation, and a request of it for access. */
async function beginFlow(user: Asker) {
  const scopes = ['openid', 'things:read', 'offline_access'];
  const made = await user.call('POST', '/apps', { name: 'App', kind: 'web', redirect_uris: [REDIRECT], scopes });
  const config = await oidc.discovery(new URL(front.url), made.body.id, made.body.client_secret, undefined, {
    execute: [oidc.allowInsecureRequests],
  });
  const verifier = oidc.randomPKCECodeVerifier();
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: REDIRECT,
    scope: scopes.join(' '),
    prompt: 'consent',
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  return { config, url, verifier, scopes };
}

async function letIn(user: Asker, email: string) {
  const { config, url, verifier, scopes } = await beginFlow(user);
  const browser = new Browser();
  const org = (await user.call('GET', '/users/me')).body.orgs[0].id;
  const login = await browser.go(url.href);
  const consent = await browser.submit(login, '/login', [
    ['email', email],
    ['password', PASSWORD],
  ]);
  const fields = [...scopes.map((scope) => ['scope', scope] as const), ['org', org] as const];
  const done = await browser.submit(consent, '/consent', fields, (to) => to.href.startsWith(REDIRECT));
  const tokens = await oidc.authorizationCodeGrant(config, new URL(done.url), { pkceCodeVerifier: verifier });
  return { config, tokens };
}

const things = async (node: Node, token: string): Promise<number> =>
  (await new Asker(node.handler).as(`Bearer ${token}`).call('GET', '/things')).status;

describe('a new password by mail', () => {
  test('ends what applications were let do, on every node, and is written down', async () => {
    const email = 'reset@example.org';
    const user = await nodes[0].stranger.newUser(email, PASSWORD);
    const { config, tokens } = await letIn(user, email);
    for (const node of nodes) expect(await things(node, tokens.access_token)).toBe(200);
    await reset(email);
    for (const node of nodes) await expect.poll(() => things(node, tokens.access_token), { timeout: 20_000 }).toBe(401);
    await expect(oidc.refreshTokenGrant(config, tokens.refresh_token ?? '')).rejects.toThrow();
    const again = await nodes[0].stranger.asUser(email, NEXT);
    expect((await again.call('GET', '/users/me/grants')).body.total).toBe(0);
    expect((await again.call('GET', '/audit?action=apps.revoke')).body.total).toBe(1);
  });

  test('ends the API keys of an account whose address nobody had confirmed: a stranger may have made them', async () => {
    const email = 'taken@example.org';
    const stranger = await nodes[0].stranger.newUser(email, PASSWORD);
    const grants = [{ actions: ['things.list'], resources: ['*'] }];
    const key = await stranger.call('POST', '/keys', { name: 'mine', grants });
    expect(key.status).toBe(201);
    for (const node of nodes) expect(await things(node, key.body.secret)).toBe(200);
    await reset(email);
    for (const node of nodes) await expect.poll(() => things(node, key.body.secret), { timeout: 20_000 }).toBe(401);

    // Whoever has shown that the address is theirs keeps their own.
    const owner = await nodes[0].stranger.asUser(email, NEXT);
    const own = await owner.call('POST', '/keys', { name: 'mine', grants });
    await nodes[0].registry.accounts.requestReset(email);
    const token = await mailbox.token(email, 'reset', 2);
    expect(await nodes[0].registry.accounts.reset(token, PASSWORD)).toBe(true);
    expect(await things(nodes[0], own.body.secret)).toBe(200);
  });
});

describe('who has ended all sessions', () => {
  test('has ended those too that were begun with the old password and are not there yet', async () => {
    const email = 'slow@example.org';
    await nodes[0].stranger.newUser(email, PASSWORD);
    const { registry } = nodes[0];
    const user = await registry.users.authenticate(email, PASSWORD);
    if (user === null) throw new Error('no such user');
    await registry.accounts.logOutEverywhere(user.id);
    const refreshToken = await registry.refreshTokens.issue(user.id, user.epoch);
    expect(await registry.refreshTokens.rotate(refreshToken)).toMatchObject({ kind: 'refused' });
    const verifier = 'a'.repeat(43);
    const challenge = await oidc.calculatePKCECodeChallenge(verifier);
    const code = await registry.applications.loginCodes.issue(user, { challenge });
    expect(await registry.applications.loginCodes.redeem(code, { verifier })).toBeNull();
  });

  test('is not taken for logged in by an authorization that waits in a browser', async () => {
    const email = 'waiting@example.org';
    const user = await nodes[0].stranger.newUser(email, PASSWORD);
    const { url } = await beginFlow(user);
    const browser = new Browser();
    const login = await browser.go(url.href);
    // The password was right; the browser does not go on yet.
    const stopped = await browser.submit(
      login,
      '/login',
      [
        ['email', email],
        ['password', PASSWORD],
      ],
      () => true,
    );
    expect(stopped.url).toContain('/oauth/authorize/');
    expect((await user.call('POST', '/users/me/logout')).status).toBe(204);
    const later = await browser.go(stopped.url, (to) => to.href.startsWith(REDIRECT));
    expect(later.status).toBe(400);
    expect(later.text).not.toContain('/consent');
    // Nor has it left a session behind.
    expect((await browser.go(url.href)).text).toContain('id="password"');
  });
});
