import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Mailbox, WAIT_MS } from './mailbox.ts';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

let plane: ControlPlane;
let here: Node;
let there: Node;
let admin: Asker;
let mailbox: Mailbox;

beforeAll(async () => {
  plane = await startControlPlane();
  [here, there] = [await plane.node(), await plane.node()];
  admin = await here.stranger.asUser(ADMIN.email, ADMIN.password);
  mailbox = new Mailbox(plane.directory);
});
afterAll(() => plane?.dispose());

const me = async (asker: Asker) => (await asker.call('GET', '/users/me')).body;
const login = (email: string, password: string, node = here) =>
  node.stranger.call('POST', '/tokens', { email, password });

describe('sessions', () => {
  test('who logs out everywhere is out at once, on every node, and no refresh token opens it again', async () => {
    const { body } = await registered('everywhere@example.org');
    const user = here.stranger.as(`Bearer ${body.token}`);
    const elsewhere = there.stranger.as(`Bearer ${body.token}`);
    expect((await elsewhere.call('GET', '/users/me')).status).toBe(200);
    expect((await user.call('POST', '/users/me/logout')).status).toBe(204);
    expect((await user.call('GET', '/users/me')).status).toBe(401);
    await out(elsewhere);
    const refresh = { refresh_token: body.refresh_token };
    expect((await here.stranger.call('POST', '/tokens/refresh', refresh)).status).toBe(401);
    expect((await login('everywhere@example.org', PASSWORD)).status).toBe(201);
  });

  test('a refresh token that is revoked ends its own session alone', async () => {
    const { body: one } = await registered('revoking@example.org');
    const { body: other } = await login('revoking@example.org', PASSWORD);
    const revoke = (token: string) => here.stranger.call('POST', '/tokens/revoke', { refresh_token: token });
    expect((await revoke(one.refresh_token)).status).toBe(204);
    expect((await revoke('never heard of')).status).toBe(204);
    const refresh = (token: string) => here.stranger.call('POST', '/tokens/refresh', { refresh_token: token });
    expect((await refresh(one.refresh_token)).status).toBe(401);
    expect((await refresh(other.refresh_token)).status).toBe(201);
  });

  test('a refresh token that comes twice ends the session, and is written down', async () => {
    const { body } = await registered('reusing@example.org');
    const refresh = (token: string) => here.stranger.call('POST', '/tokens/refresh', { refresh_token: token });
    const next = await refresh(body.refresh_token);
    expect(next.status).toBe(201);
    expect((await refresh(body.refresh_token)).status).toBe(401);
    expect((await refresh(next.body.refresh_token)).status).toBe(401);
    const { id } = await me(here.stranger.as(`Bearer ${body.token}`));
    await expect.poll(() => noted(id, 'users.refresh'), { timeout: WAIT_MS }).toEqual(['denied']);
  });

  test('logins are written down, wrong ones too, but not the names of strangers', async () => {
    const { body } = await registered('noted@example.org');
    expect((await login('noted@example.org', 'a wrong one')).status).toBe(401);
    expect((await login('nobody-at-all@example.org', 'a wrong one')).status).toBe(401);
    const { id } = await me(here.stranger.as(`Bearer ${body.token}`));
    await expect.poll(() => noted(id, 'users.login'), { timeout: WAIT_MS }).toEqual(['denied', 'done']);
    const { body: all } = await admin.call('GET', '/audit?action=users.login&limit=1000');
    expect(JSON.stringify(all)).not.toContain('nobody-at-all');
  });

  test('who is disabled is out on all nodes, cannot log in, and comes back when enabled', async () => {
    const { body } = await registered('disabled@example.org');
    const elsewhere = there.stranger.as(`Bearer ${body.token}`);
    const { id } = await me(elsewhere);
    expect((await admin.call('POST', `/users/${id}/disable`)).body).toMatchObject({ id, enabled: false });
    expect((await here.stranger.as(`Bearer ${body.token}`).call('GET', '/users/me')).status).toBe(401);
    await out(elsewhere);
    expect((await login('disabled@example.org', PASSWORD)).status).toBe(401);
    expect((await admin.call('POST', `/users/${id}/enable`)).body.enabled).toBe(true);
    expect((await login('disabled@example.org', PASSWORD)).status).toBe(201);
    // What was issued before stays void.
    expect((await here.stranger.as(`Bearer ${body.token}`).call('GET', '/users/me')).status).toBe(401);
  });

  test('guesses at one account are slowed from wherever they come, those of one network whatever the account', async () => {
    const node = await plane.node();
    const wrong = (email: string, from: string) =>
      node.stranger.from(from).call('POST', '/tokens', { email, password: 'guess' });
    const seen = new Set<number>();
    for (let index = 0; index < 60; index++) seen.add((await wrong('target@example.org', `10.1.0.${index}`)).status);
    expect([...seen]).toEqual([401, 429]);
    const late = await wrong('target@example.org', '10.2.0.1');
    expect(late.status).toBe(429);
    expect(Number(late.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await wrong('another@example.org', '10.2.0.1')).status).toBe(401);
    const network = new Set<number>();
    for (let index = 0; index < 120; index++)
      network.add((await wrong(`v${index}@example.org`, `2001:db8::${index}`)).status);
    expect([...network]).toEqual([401, 429]);
    expect((await wrong('v@example.org', '2001:db8:0:1::1')).status).toBe(401);
    await node.stop();
    // Each try costs a hash of a password.
  }, 180_000);
});

describe('passwords', () => {
  test('changing it needs the old one, ends all sessions and opens a new one', async () => {
    const { body } = await registered('changing@example.org');
    const user = here.stranger.as(`Bearer ${body.token}`);
    const change = { old_password: 'not this', password: 'a better password' };
    expect((await user.call('PUT', '/users/me/password', change)).status).toBe(403);
    const changed = await user.call('PUT', '/users/me/password', { ...change, old_password: PASSWORD });
    expect([changed.status, Object.keys(changed.body)]).toEqual([200, ['token', 'refresh_token']]);
    expect((await user.call('GET', '/users/me')).status).toBe(401);
    expect((await here.stranger.as(`Bearer ${changed.body.token}`).call('GET', '/users/me')).status).toBe(200);
    expect((await here.stranger.call('POST', '/tokens/refresh', { refresh_token: body.refresh_token })).status).toBe(
      401,
    );
    expect((await login('changing@example.org', PASSWORD)).status).toBe(401);
    expect((await login('changing@example.org', 'a better password')).status).toBe(201);
  });

  test('a forgotten one is replaced by mail: the token is good once, and asking tells nothing', async () => {
    const { body } = await registered('forgetful@example.org');
    const ask = async (email: string) => {
      const { status, body } = await here.stranger.call('POST', '/password/reset-request', { email });
      return { status, body };
    };
    const known = await ask('Forgetful@example.org');
    expect(String(known.status)).toMatch(/^20[12]$/);
    expect(await ask('no-such-user@example.org')).toEqual(known);
    const token = await mailbox.token('forgetful@example.org', 'reset');
    expect(mailbox.of('no-such-user@example.org')).toEqual([]);
    const reset = (with_: string) =>
      there.stranger.call('POST', '/password/reset', { token: with_, password: 'brand new one' });
    expect((await reset('guessed')).status).toBe(422);
    expect((await reset(token)).status).toBe(204);
    expect((await reset(token)).status).toBe(422);
    expect((await login('forgetful@example.org', PASSWORD)).status).toBe(401);
    const user = await here.stranger.asUser('forgetful@example.org', 'brand new one');
    // Who can choose a password by mail reads the mails of this address.
    expect((await me(user)).verified).toBe(true);
    await out(here.stranger.as(`Bearer ${body.token}`));
  });

  test('of two who use one token at once, one sets the password', async () => {
    await registered('twice@example.org');
    await here.stranger.call('POST', '/password/reset-request', { email: 'twice@example.org' });
    const token = await mailbox.token('twice@example.org', 'reset');
    const both = await Promise.all(
      [here, there].map((node, index) =>
        node.stranger.call('POST', '/password/reset', { token, password: `password ${index}` }),
      ),
    );
    expect(both.map(({ status }) => status).sort()).toEqual([204, 422]);
  });
});

describe('addresses', () => {
  test('a new user confirms theirs with the token of a mail, once', async () => {
    const { body } = await registered('confirming@example.org');
    const user = here.stranger.as(`Bearer ${body.token}`);
    expect((await me(user)).verified).toBe(false);
    const token = await mailbox.token('confirming@example.org', 'verify');
    expect((await there.stranger.call('POST', '/users/verify', { token })).body).toMatchObject({ verified: true });
    expect((await there.stranger.call('POST', '/users/verify', { token })).status).toBe(422);
    expect((await me(user)).verified).toBe(true);
    // It stays valid: to confirm an address is no reason to log in again.
    expect((await user.call('POST', '/users/me/verify-request')).status).toBe(202);
  });

  test('changing it takes the password and effect once the new one is confirmed', async () => {
    const { body } = await registered('before@example.org');
    const user = here.stranger.as(`Bearer ${body.token}`);
    const ask = (password: string) => user.call('POST', '/users/me/email', { email: 'After@example.org', password });
    expect((await ask('wrong password')).status).toBe(403);
    expect((await ask(PASSWORD)).status).toBe(202);
    expect((await me(user)).email).toBe('before@example.org');
    const token = await mailbox.token('after@example.org', 'verify');
    await expect
      .poll(() => mailbox.of('before@example.org').some((mail) => mail.includes('after@example.org')), {
        timeout: WAIT_MS,
      })
      .toBe(true);
    expect((await here.stranger.call('POST', '/users/verify', { token })).body).toMatchObject({
      email: 'after@example.org',
      verified: true,
    });
    expect((await login('before@example.org', PASSWORD)).status).toBe(401);
    expect((await login('after@example.org', PASSWORD)).status).toBe(201);
  });

  test('an address that somebody else has taken meanwhile is not taken from them', async () => {
    const { body } = await registered('wanting@example.org');
    const ask = { email: 'wanted@example.org', password: PASSWORD };
    await here.stranger.as(`Bearer ${body.token}`).call('POST', '/users/me/email', ask);
    const token = await mailbox.token('wanted@example.org', 'verify');
    await registered('wanted@example.org');
    expect((await here.stranger.call('POST', '/users/verify', { token })).status).toBe(409);
    expect((await login('wanted@example.org', PASSWORD)).status).toBe(201);
  });
});

describe('an API key', () => {
  test('reads who its owner is, but does nothing to the account', async () => {
    const user = await here.stranger.newUser('keyed@example.org');
    const grants = [{ actions: ['*'], resources: ['*'] }];
    const { body } = await user.call('POST', '/keys', { name: 'all', grants });
    const key = here.stranger.as(`Bearer ${body.secret}`);
    expect((await key.call('GET', '/users/me')).body).toMatchObject({ email: 'keyed@example.org' });
    for (const [method, path, given] of [
      ['PATCH', '/users/me', { name: 'x' }],
      ['DELETE', '/users/me', undefined],
      ['PUT', '/users/me/password', { old_password: PASSWORD, password: 'another one' }],
      ['POST', '/users/me/email', { email: 'x@example.org', password: PASSWORD }],
      ['POST', '/users/me/logout', undefined],
      ['POST', '/orgs', { name: 'x' }],
      ['POST', '/invitations/accept', { token: 'x' }],
    ] as const)
      expect([path, (await key.call(method, path, given)).status]).toEqual([path, 403]);
  });
});

describe('profiles', () => {
  test('are changed by their owner, unless somebody else was first', async () => {
    const user = await here.stranger.newUser('profile@example.org');
    const first = await user.call('GET', '/users/me');
    const tag = first.headers.get('etag') ?? '';
    const patch = {
      name: 'Pro File',
      picture: 'data:image/png;base64,iVBORw0KGgo=',
      metadata: { floor: 3 },
      tags: ['a'],
    };
    const changed = await user.call('PATCH', '/users/me', patch, { 'if-match': tag });
    expect([changed.status, changed.body]).toMatchObject([200, patch]);
    expect(changed.headers.get('etag')).not.toBe(tag);
    expect((await user.call('PATCH', '/users/me', { name: 'x' }, { 'if-match': tag })).status).toBe(412);
    expect((await user.call('PATCH', '/users/me', { picture: null })).body).toMatchObject({
      picture: null,
      name: 'Pro File',
    });
    for (const picture of [
      'http://example.org/a.png',
      'javascript:alert(1)',
      'data:image/svg+xml;base64,AA==',
      'data:text/html,x',
      'https://u:p@example.org/',
    ])
      expect([picture, (await user.call('PATCH', '/users/me', { picture })).status]).toEqual([picture, 422]);
    expect((await user.call('PATCH', '/users/me', { admin: true })).body.detail).toContain('admin: unknown field');
  });

  test('strangers see nothing of each other, fellow members little, administrators all', async () => {
    const [one, other] = [
      await here.stranger.newUser('one@example.org'),
      await here.stranger.newUser('other@example.org'),
    ];
    const [{ id: oneId, orgs }, { id: otherId }] = [await me(one), await me(other)];
    expect((await one.call('GET', `/users/${otherId}`)).status).toBe(404);
    expect((await one.call('GET', '/users/00000000-0000-4000-8000-000000000000')).status).toBe(404);
    expect((await one.call('GET', '/users')).body.users).toMatchObject([{ id: oneId }]);
    await admin.call('PUT', `/orgs/${orgs[0].id}/members/${otherId}`, { role: 'viewer' });
    expect(Object.keys((await one.call('GET', `/users/${otherId}`)).body)).toEqual([
      'id',
      'email',
      'name',
      'picture',
      'enabled',
    ]);
    expect((await admin.call('GET', `/users/${otherId}`)).body).toMatchObject({ id: otherId, admin: false });
    const page = await admin.call('GET', '/users?limit=2&order=name&dir=asc');
    expect([page.body.users.length, typeof page.body.cursor]).toEqual([2, 'string']);
    const seen = new Set<string>();
    for (let cursor = ''; ; ) {
      const { body } = await admin.call('GET', `/users?limit=3&order=created&dir=asc${cursor}`);
      for (const { id } of body.users) seen.add(id);
      if (body.cursor === undefined) break;
      cursor = `&cursor=${body.cursor}`;
    }
    expect(seen.size).toBe((await admin.call('GET', '/users')).body.total);
    expect((await admin.call('GET', '/users?cursor=nonsense')).status).toBe(400);
  });

  test('only administrators change others, and the last of them stays one', async () => {
    const user = await here.stranger.newUser('climber@example.org');
    const { id } = await me(user);
    const { id: adminId } = await me(admin);
    for (const [method, path, body] of [
      ['PATCH', `/users/${id}`, { admin: true }],
      ['POST', `/users/${adminId}/disable`, undefined],
      ['POST', `/users/${id}/enable`, undefined],
      ['DELETE', `/users/${adminId}`, undefined],
    ] as const)
      expect([path, (await user.call(method, path, body)).status]).toEqual([path, 403]);
    for (const [method, path, body] of [
      ['PATCH', `/users/${adminId}`, { admin: false }],
      ['POST', `/users/${adminId}/disable`, undefined],
      ['DELETE', `/users/${adminId}`, undefined],
      ['DELETE', '/users/me?cascade=true', undefined],
    ] as const)
      expect([path, (await admin.call(method, path, body)).status]).toEqual([path, 409]);
    expect((await admin.call('PATCH', `/users/${id}`, { admin: true })).body.admin).toBe(true);
    expect((await user.call('GET', `/users/${adminId}`)).status).toBe(200);
    expect((await admin.call('PATCH', `/users/${id}`, { admin: false })).body.admin).toBe(false);
    expect((await user.call('GET', `/users/${adminId}`)).status).toBe(404);
  });
});

describe('leaving', () => {
  test('an account goes with the organisations that are empty, but not with what others need', async () => {
    const owner = await here.stranger.newUser('leaving@example.org');
    const { id, orgs } = await me(owner);
    await owner.call('POST', '/things', { name: 'needed' });
    const refused = await owner.call('DELETE', '/users/me');
    expect([refused.status, refused.body.detail]).toMatchObject([409, expect.stringContaining('things 1')]);
    const gone = await owner.call('DELETE', '/users/me?cascade=true');
    expect([gone.status, gone.headers.get('deleted')]).toEqual([204, 'orgs=1, things=1']);
    expect((await owner.call('GET', '/users/me')).status).toBe(401);
    expect((await admin.call('GET', `/users/${id}`)).status).toBe(404);
    expect((await admin.call('GET', `/orgs/${orgs[0].id}`)).status).toBe(404);
    expect((await (await here.stranger.newUser('empty@example.org')).call('DELETE', '/users/me')).status).toBe(204);
  });
});

const PASSWORD = 'a good password';

async function registered(email: string) {
  const made = await here.stranger.call('POST', '/users', { email, password: PASSWORD });
  if (made.status !== 201) throw new Error(`registering ${email}: ${JSON.stringify(made.body)}`);
  return login(email, PASSWORD);
}

const out = (asker: Asker) =>
  expect.poll(async () => (await asker.call('GET', '/users/me')).status, { timeout: WAIT_MS, interval: 20 }).toBe(401);

/** Outcomes of what was noted of a user, each once. */
async function noted(id: string, action: string): Promise<string[]> {
  const { body } = await admin.call('GET', `/audit?entity=users&id=${id}&action=${action}&limit=100`);
  return [...new Set<string>(body.entries?.map((entry: { outcome: string }) => entry.outcome))].sort();
}
