import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from '../control/plane.ts';

describe('who may have webhooks', () => {
  let plane: ControlPlane;
  let node: Node;
  let owner: Asker;
  let administrator: Asker;
  let org = '';
  let channel = '';

  beforeAll(async () => {
    plane = await startControlPlane();
    node = await plane.node({ MILLRACE_WEBHOOKS_PER_ORG_MAX: 3 });
    administrator = await node.stranger.asUser(ADMIN.email, ADMIN.password);
    owner = await node.stranger.newUser('owner@example.org');
    org = (await owner.call('GET', '/users/me')).body.orgs[0].id;
    channel = (await owner.call('POST', '/channels', { name: 'hall' })).body.id;
  }, 120_000);
  afterAll(() => plane?.dispose(), 60_000);

  let names = 0;
  const made = (who: Asker, more: object = {}) =>
    who.call('POST', '/webhooks', { channel, name: `hook ${names++}`, url: 'https://example.org/a', ...more });
  const member = async (role: string): Promise<Asker> => {
    const as = await node.stranger.newUser(`${role}@example.org`);
    const { id } = (await as.call('GET', '/users/me')).body;
    expect((await administrator.call('PUT', `/orgs/${org}/members/${id}`, { role })).status).toBeLessThan(300);
    return as;
  };

  test('members by their role, strangers not even that there are any, and nobody sees a secret', async () => {
    const hook = await made(owner, { headers: { 'x-token': 'very secret' } });
    expect(hook.status).toBe(201);
    const path = `/webhooks/${hook.body.id}`;
    const viewer = await member('viewer');
    const editor = await member('editor');
    const other = await node.stranger.newUser('other@example.org');
    const shown = await viewer.call('GET', path);
    expect(shown.status).toBe(200);
    expect(shown.body.headers).toEqual(['x-token']);
    expect((await made(viewer)).status).toBe(403);
    for (const [method, tail] of [
      ['PATCH', ''],
      ['POST', '/secret'],
      ['POST', '/test'],
      ['POST', '/replay'],
      ['DELETE', ''],
    ] as const) {
      const body = method === 'DELETE' || tail === '/test' ? undefined : {};
      expect((await viewer.call(method, path + tail, body)).status, method + tail).toBe(403);
      expect((await other.call(method, path + tail, body)).status, method + tail).toBe(404);
    }
    expect((await other.call('GET', path)).status).toBe(404);
    expect((await made(other)).status).toBe(404);
    expect((await node.stranger.call('GET', path)).status).toBe(401);

    // Whoever changes it reads in their own name from then on, and a head does not travel to another host.
    const moved = await editor.call('PATCH', path, { url: 'https://elsewhere.example.org/' });
    expect(moved.status).toBe(422);
    const kept = await editor.call('PATCH', path, { url: 'https://elsewhere.example.org/', headers: {} });
    expect(kept.body.made_by.name).toBe('editor@example.org');

    for (const verb of ['create', 'update']) {
      const { body } = await owner.call(
        'GET',
        `/audit?action=webhooks.${verb}&entity=webhooks&id=${hook.body.id}&outcome=done`,
      );
      expect(body.total, verb).toBe(1);
      expect(JSON.stringify(body)).not.toContain('very secret');
    }
    const [row] = await tablesText();
    expect(row).not.toContain('very secret');
  }, 90_000);

  test('only who may read what is sent', async () => {
    await owner.call('POST', '/policies', {
      name: 'no cellar',
      statements: [{ effect: 'deny', actions: ['subscribe'], resources: [`channels/${channel}/messages/cellar/*`] }],
    });
    const { body } = await owner.call('GET', '/policies');
    const { id } = (await owner.call('GET', '/users/me')).body;
    await owner.call('PUT', `/policies/${body.policies[0].id}/attachments/user/${id}`);
    expect((await made(owner, { subtopic: 'cellar/t' })).status).toBe(403);
  }, 60_000);

  test('what is wrong is said, and there is an end to how many there may be', async () => {
    for (const wrong of [
      { url: 'ftp://example.org' },
      { url: 'https://user:password@example.org' },
      { url: 'https://example.org/#a' },
      { url: 'nothing' },
      { subtopic: 'a/#/b' },
      { headers: { host: 'a' } },
      { headers: { 'webhook-id': 'a' } },
      { headers: { 'x-a': 'a\r\nx-b: b' } },
      { batch_messages: 0 },
    ])
      expect((await made(owner, wrong)).status, JSON.stringify(wrong)).toBe(422);
    const statuses = [];
    for (let count = 0; count < 4; count++) statuses.push((await made(owner)).status);
    expect(statuses).toContain(409);
  }, 60_000);

  const tablesText = async (): Promise<string[]> => {
    const { Client } = (await import('pg')).default;
    const client = new Client({ connectionString: plane.url });
    await client.connect();
    try {
      return (await client.query('SELECT string_agg(w::text, chr(10)) AS all FROM registry.webhooks w')).rows.map(
        ({ all }) => all as string,
      );
    } finally {
      await client.end();
    }
  };
});
