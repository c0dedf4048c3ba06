import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

let plane: ControlPlane;
let node: Node;
let ada: Asker;
let eve: Asker;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
  ada = await node.stranger.newUser('ada@example.org');
  eve = await node.stranger.newUser('eve@example.org');
}, 120_000);
afterAll(() => plane?.dispose(), 60_000);

const web = { name: 'Dashboards', kind: 'web', redirect_uris: ['https://dash.example.org/cb'], scopes: ['openid'] };

test('makes a web application and tells its secret once', async () => {
  const made = await ada.call('POST', '/apps', web);
  expect(made.status).toBe(201);
  expect(made.headers.get('location')).toBe(`/apps/${made.body.id}`);
  expect(made.headers.get('etag')).toBe('"1"');
  expect(made.body.client_id).toBe(made.body.id);
  expect(made.body.client_secret).toMatch(/^[\w-]{43}$/);
  const got = await ada.call('GET', `/apps/${made.body.id}`);
  expect(got.status).toBe(200);
  expect(got.body).not.toHaveProperty('client_secret');
  expect(got.body).toMatchObject({ name: 'Dashboards', kind: 'web', enabled: true, scopes: ['openid'] });
});

test('gives a machine a thing of the same id, which goes with it', async () => {
  const made = await ada.call('POST', '/apps', { name: 'Billing', kind: 'machine' });
  expect(made.status).toBe(201);
  const thing = await ada.call('GET', `/things/${made.body.id}`);
  expect(thing.body).toMatchObject({ id: made.body.id, type: 'app', name: 'Billing', enabled: true });
  expect((await ada.call('POST', `/apps/${made.body.id}/disable`)).body.enabled).toBe(false);
  expect((await ada.call('GET', `/things/${made.body.id}`)).body.enabled).toBe(false);
  expect((await ada.call('DELETE', `/apps/${made.body.id}`)).status).toBe(204);
  expect((await ada.call('GET', `/things/${made.body.id}`)).status).toBe(404);
  expect((await ada.call('GET', `/apps/${made.body.id}`)).status).toBe(404);
});

test('an application whose thing is deleted is gone too', async () => {
  const { body } = await ada.call('POST', '/apps', { name: 'Gone', kind: 'machine' });
  expect((await ada.call('DELETE', `/things/${body.id}?cascade=true`)).status).toBe(204);
  expect((await ada.call('GET', `/apps/${body.id}`)).status).toBe(404);
});

test('takes a given id, and refuses one that is taken', async () => {
  const id = '7d1d0a53-7f2c-4f43-8a2e-6d5f3b9c0001';
  expect((await ada.call('POST', '/apps', { ...web, id })).body.id).toBe(id);
  expect((await ada.call('POST', '/apps', { ...web, id })).status).toBe(409);
});

test('makes many at once, or none', async () => {
  const id = '7d1d0a53-7f2c-4f43-8a2e-6d5f3b9c0002';
  const many = [
    { ...web, id },
    { name: 'Machine', kind: 'machine' },
  ];
  const made = await ada.call('POST', '/apps/bulk', many);
  expect(made.status).toBe(201);
  expect(made.body.apps).toMatchObject([{ id, kind: 'web' }, { kind: 'machine' }]);
  expect(new Set(made.body.apps.map((app: { client_secret: string }) => app.client_secret)).size).toBe(2);
  const before = (await ada.call('GET', '/apps')).body.total;
  expect((await ada.call('POST', '/apps/bulk', [{ ...web }, { ...web, id }])).status).toBe(409);
  expect((await ada.call('GET', '/apps')).body.total).toBe(before);
});

test('changes fields only at the version that was read', async () => {
  const { body } = await ada.call('POST', '/apps', web);
  const path = `/apps/${body.id}`;
  const first = await ada.call('PATCH', path, { name: 'Renamed' }, { 'if-match': '"1"' });
  expect(first.status).toBe(200);
  expect(first.headers.get('etag')).toBe('"2"');
  expect((await ada.call('PATCH', path, { name: 'Late' }, { 'if-match': '"1"' })).status).toBe(412);
  expect((await ada.call('GET', path)).body.name).toBe('Renamed');
});

test.each([
  ['a fragment', 'web', 'https://a.example.org/cb#x'],
  ['plain http beyond the loopback', 'web', 'http://a.example.org/cb'],
  ['a script', 'native', 'javascript:alert(1)'],
  ['a scheme of one word', 'native', 'myapp:/cb'],
  ['a scheme of its own in a web application', 'web', 'com.example.app:/cb'],
  ['a wildcard', 'browser', 'https://*.example.org/cb'],
  ['a user name', 'browser', 'https://a@example.org/cb'],
  ['no URL', 'browser', 'callback'],
])('refuses a redirect with %s', async (_, kind, uri) => {
  const refused = await ada.call('POST', '/apps', { name: 'Bad', kind, redirect_uris: [uri] });
  expect(refused.status).toBe(422);
  expect(refused.body.detail).toContain('redirect_uris');
});

test('refuses fields and scopes that are unknown, naming them', async () => {
  const unknown = await ada.call('POST', '/apps', { ...web, colour: 'red' });
  expect(unknown.status).toBe(422);
  expect(unknown.body.detail).toContain('colour');
  const scope = await ada.call('POST', '/apps', { ...web, scopes: ['everything'] });
  expect(scope.status).toBe(422);
  expect(scope.body.detail).toContain('scopes');
  expect((await ada.call('POST', '/apps', { name: 'No redirect', kind: 'web' })).status).toBe(422);
});

test('lists applications by name, tag, kind and status, page by page', async () => {
  const ids: string[] = [];
  for (const index of [1, 2, 3]) {
    const body = { ...web, name: `Paged ${index}`, tags: ['paged'], metadata: { index } };
    ids.push((await ada.call('POST', '/apps', body)).body.id);
  }
  await ada.call('POST', `/apps/${ids[0]}/disable`);
  const list = async (query: string) => (await ada.call('GET', `/apps?tag=paged&order=name&dir=asc&${query}`)).body;
  expect(await list('limit=2')).toMatchObject({
    total: 3,
    offset: 0,
    limit: 2,
    apps: [{ id: ids[0] }, { id: ids[1] }],
  });
  expect((await list('offset=2')).apps).toMatchObject([{ id: ids[2] }]);
  expect((await list('status=disabled')).apps).toMatchObject([{ id: ids[0] }]);
  expect((await list('name=aged%202')).apps).toMatchObject([{ id: ids[1] }]);
  expect((await list('metadata=%7B%22index%22:3%7D')).apps).toMatchObject([{ id: ids[2] }]);
  expect((await list('kind=machine')).total).toBe(0);
});

test('never tells strangers that an application exists', async () => {
  const { body } = await ada.call('POST', '/apps', web);
  for (const [method, path, sent] of [
    ['GET', `/apps/${body.id}`, undefined],
    ['PATCH', `/apps/${body.id}`, { name: 'Mine' }],
    ['POST', `/apps/${body.id}/secret`, {}],
    ['POST', `/apps/${body.id}/disable`, undefined],
    ['DELETE', `/apps/${body.id}`, undefined],
  ] as const)
    expect((await eve.call(method, path, sent)).status).toBe(404);
  expect((await node.stranger.call('GET', `/apps/${body.id}`)).status).toBe(401);
});

test('an application that keeps no secret gets none', async () => {
  const { body } = await ada.call('POST', '/apps', {
    name: 'CLI',
    kind: 'native',
    redirect_uris: ['http://127.0.0.1/cb'],
  });
  expect(body).not.toHaveProperty('client_secret');
  expect((await ada.call('POST', `/apps/${body.id}/secret`, {})).status).toBe(409);
});

test('writes down who did what, without secrets', async () => {
  const { body } = await ada.call('POST', '/apps', { ...web, name: 'Audited' });
  const rotated = await ada.call('POST', `/apps/${body.id}/secret`, { overlap_seconds: 60 });
  expect(rotated.status).toBe(200);
  expect(rotated.body.client_secret).not.toBe(body.client_secret);
  expect(rotated.body.previous_secret_until).not.toBeNull();
  await ada.call('DELETE', `/apps/${body.id}`);
  const database = new pg.Client({ connectionString: plane.url });
  await database.connect();
  try {
    const { rows } = await database.query(
      `SELECT action, actor_name, detail FROM registry.audit WHERE entity = 'apps' AND entity_id = $1 ORDER BY at`,
      [body.id],
    );
    expect(rows.map(({ action }) => action)).toEqual(['apps.create', 'apps.rotate', 'apps.delete']);
    expect(rows.map(({ actor_name }) => actor_name)).toEqual(Array(3).fill('ada@example.org'));
    const dump = JSON.stringify([rows, (await database.query('SELECT * FROM registry.apps')).rows]);
    expect(dump).not.toContain(body.client_secret);
    expect(dump).not.toContain(rotated.body.client_secret);
  } finally {
    await database.end();
  }
});

async function tokenOf({ id, client_secret }: { id: string; client_secret: string }): Promise<Asker> {
  const login = Buffer.from(`${id}:${client_secret}`).toString('base64');
  const response = await node.stranger.raw('POST', '/oauth/token', 'grant_type=client_credentials&scope=things:read', {
    authorization: `Basic ${login}`,
    'content-type': 'application/x-www-form-urlencoded',
  });
  return node.stranger.as(`Bearer ${((await response.json()) as { access_token: string }).access_token}`);
}

/** Lets a thing do something with all things of its organisation. */
async function allow(thing: string, action: string): Promise<void> {
  const statements = [{ effect: 'allow', actions: [action], resources: ['*'] }];
  const { body: policy } = await ada.call('POST', '/policies', { name: `${action} ${thing}`, statements });
  const attached = await ada.call('PUT', `/policies/${policy.id}/attachments/thing/${thing}`);
  expect(attached.status, JSON.stringify(attached.body)).toBeLessThan(300);
}

test('who may change things can not let themselves in as a machine, nor can its own tokens of few scopes', async () => {
  const { body: org } = await ada.call('POST', '/orgs', { name: 'Mill' });
  const editor = await node.stranger.newUser('editor@example.org');
  const { id } = (await editor.call('GET', '/users/me')).body;
  const admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
  expect((await admin.call('PUT', `/orgs/${org.id}/members/${id}`, { role: 'editor' })).status).toBeLessThan(300);
  const { body: app } = await ada.call('POST', `/apps?org=${org.id}`, { name: 'Billing', kind: 'machine' });
  const seen = await editor.call('GET', `/things/${app.id}`);
  expect([seen.status, seen.body.key]).toEqual([200, undefined]);
  const { things } = (await editor.call('GET', `/things?org=${org.id}`)).body;
  expect(things.map(({ key }: { key?: string }) => key)).toEqual([undefined]);
  for (const [method, path, body] of [
    ['POST', `/things/${app.id}/key`, {}],
    ['PATCH', `/things/${app.id}`, { external_id: 'billing', external_key: 'of-my-own-choice' }],
    ['PUT', `/things/${app.id}/certificates`, { fingerprints: ['ab'.repeat(32)], authorities: [] }],
    ['POST', '/certs', { thing_id: app.id }],
    ['DELETE', `/things/${app.id}`, undefined],
  ] as const)
    expect((await editor.call(method, path, body)).status, `${method} ${path}`).toBe(403);
  const { body: serial } = await ada.call('POST', '/certs', { thing_id: app.id });
  expect((await editor.call('POST', `/certs/${serial.serial}/renew`, {})).status).toBe(403);
  expect((await editor.call('GET', `/orgs/${org.id}/manifest?keys=true`)).status).toBe(403);
  // Who may change the application may do all of that.
  expect((await ada.call('GET', `/things/${app.id}`)).body.key).toMatch(/^[\w-]{43}$/);
  expect((await editor.call('POST', `/things?org=${org.id}`, { type: 'app' })).body.key).toMatch(/^[\w-]{43}$/);
});

test('a scope that is taken from a machine is taken from its tokens at once', async () => {
  const { body: app } = await ada.call('POST', '/apps', {
    name: 'Reports',
    kind: 'machine',
    scopes: ['things:read', 'channels:read'],
  });
  await allow(app.id, 'things.list');
  const machine = await tokenOf(app);
  expect((await machine.call('GET', '/things')).status).toBe(200);
  expect((await ada.call('PATCH', `/apps/${app.id}`, { scopes: ['channels:read'] })).status).toBe(200);
  expect((await machine.call('GET', '/things')).status).toBe(403);
});
