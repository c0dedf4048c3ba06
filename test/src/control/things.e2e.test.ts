import { Protocol } from '@millrace/core';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';
import { eventually } from './waiting.ts';

let plane: ControlPlane;
let node: Node;
let other: Node;
let admin: Asker;
let elsewhere: Asker;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node({ MILLRACE_PRESENCE_WRITE_MS: 200 });
  other = await plane.node({ MILLRACE_PRESENCE_WRITE_MS: 200 });
  admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
  elsewhere = await other.stranger.asUser(ADMIN.email, ADMIN.password);
}, 60_000);
afterAll(() => plane?.dispose());

const make = async (body: object = {}) => (await admin.call('POST', '/things', body)).body;
const known = async (at: Node, key: string) => (await at.gate.identify({ kind: 'key', key })).kind === 'known';

describe('lists', () => {
  beforeAll(async () => {
    const items = Array.from({ length: 25 }, (_, index) => ({
      name: `list ${String(index % 5)}`,
      tags: index % 2 === 0 ? ['even', 'l'] : ['odd', 'l'],
      metadata: { n: index, deep: { a: index % 3 } },
      enabled: index % 5 !== 0,
      type: index % 10 === 0 ? 'gateway' : 'device',
    }));
    await admin.call('POST', '/things/bulk', items);
  });

  test.each([
    ['created', 'asc'],
    ['created', 'desc'],
    ['updated', 'asc'],
    ['updated', 'desc'],
    ['name', 'asc'],
    ['name', 'desc'],
    ['id', 'asc'],
    ['id', 'desc'],
  ])('turn pages by cursor in order of %s %s, as by offset', async (order, dir) => {
    const query = `tag=l&order=${order}&dir=${dir}`;
    const whole = await admin.call('GET', `/things?${query}&limit=1000`);
    expect(whole.body.total).toBe(25);
    expect(whole.body).not.toHaveProperty('cursor');
    const seen: string[] = [];
    for (let cursor: string | undefined = '', pages = 0; cursor !== undefined; pages++) {
      expect(pages).toBeLessThan(10);
      const { body } = await admin.call('GET', `/things?${query}&limit=7${cursor && `&cursor=${cursor}`}`);
      expect(body.total).toBe(25);
      seen.push(...body.things.map(({ id }: { id: string }) => id));
      cursor = body.cursor;
    }
    expect(seen).toEqual(whole.body.things.map(({ id }: { id: string }) => id));
  });

  test('a cursor stays where it is when things before it come and go', async () => {
    await admin.call(
      'POST',
      '/things/bulk',
      Array.from({ length: 6 }, (_, index) => ({ name: `c${index}`, tags: ['c'] })),
    );
    const first = (await admin.call('GET', '/things?tag=c&order=name&dir=asc&limit=3')).body;
    await admin.call('DELETE', `/things/${first.things[0].id}`);
    await make({ name: 'c0b', tags: ['c'] });
    const second = (await admin.call('GET', `/things?tag=c&limit=3&cursor=${first.cursor}`)).body;
    expect(second.things.map(({ name }: { name: string }) => name)).toEqual(['c3', 'c4', 'c5']);
  });

  test('refuse a cursor that is none, or of another order', async () => {
    const { cursor } = (await admin.call('GET', '/things?tag=l&limit=1&order=name')).body;
    expect((await admin.call('GET', `/things?cursor=${cursor}&order=id`)).status).toBe(400);
    const forged = (parts: unknown) => Buffer.from(JSON.stringify(parts)).toString('base64url');
    const id = '00000000-0000-4000-8000-000000000000';
    for (const wrong of [
      'x',
      '%00',
      forged(['created', 'desc', '2020-01-01', id]),
      forged(['created', 'desc', '1', "' OR 1=1"]),
      forged(['size', 'desc', '1', id]),
      forged(['constructor', 'desc', '1', id]),
      forged(['name', 'desc', 'a\0', id]),
      forged({}),
    ])
      expect([wrong, (await admin.call('GET', `/things?cursor=${wrong}`)).status]).toEqual([wrong, 400]);
  });

  test('refuse to look for what can not be kept', async () => {
    const deep = `{"a":${'['.repeat(3_000)}${']'.repeat(3_000)}}`;
    for (const metadata of ['{"a":"\\u0000"}', '{"a":"\\ud800"}', '{"\\u0000":1}', deep, '[]', '{']) {
      const answer = await admin.call('GET', `/things?metadata=${encodeURIComponent(metadata)}`);
      expect([metadata, answer.status]).toEqual([metadata, 400]);
    }
    expect((await admin.call('GET', `/things?metadata=${encodeURIComponent('{"a":"\\\\u0000"}')}`)).status).toBe(200);
    expect((await admin.call('GET', '/things?name=%00')).status).toBe(400);
    expect((await admin.call('GET', '/channels/%00')).status).toBe(404);
  });

  test('narrow by status, type, all of several tags and what metadata contains', async () => {
    const total = async (query: string) => (await admin.call('GET', `/things?tag=l&${query}`)).body.total;
    expect(await total('status=disabled')).toBe(5);
    expect(await total('status=enabled')).toBe(20);
    expect(await total('status=all')).toBe(25);
    expect(await total('type=gateway')).toBe(3);
    expect(await total('tags=even,l')).toBe(13);
    expect(await total('tags=even,odd')).toBe(0);
    expect(await total(`metadata=${encodeURIComponent('{"deep":{"a":1}}')}`)).toBe(8);
  });
});

describe('a change', () => {
  test('is for the version that it was made for, if it says so', async () => {
    const made = await admin.call('POST', '/things', { name: 'versioned' });
    expect(made.headers.get('etag')).toBe('"1"');
    const path = `/things/${made.body.id}`;
    const patched = await admin.call('PATCH', path, { name: 'two' }, { 'if-match': '"1"' });
    expect(patched.headers.get('etag')).toBe('"2"');
    expect((await admin.call('PATCH', path, { name: 'late' }, { 'if-match': '"1"' })).status).toBe(412);
    expect((await admin.call('POST', `${path}/disable`, undefined, { 'if-match': '"1"' })).status).toBe(412);
    expect((await admin.call('POST', `${path}/key`, {}, { 'if-match': '"1"' })).status).toBe(412);
    expect((await admin.call('DELETE', path, undefined, { 'if-match': '"1"' })).status).toBe(412);
    expect((await admin.call('PATCH', path, {}, { 'if-match': 'two' })).status).toBe(400);
    const got = await admin.call('GET', path);
    expect([got.headers.get('etag'), got.body.name]).toEqual(['"2"', 'two']);
    expect((await admin.call('DELETE', path, undefined, { 'if-match': '"2"' })).status).toBe(204);
  });

  test('of two at once for one version, one is made', async () => {
    const { id } = await make();
    const both = await Promise.all(
      [admin, elsewhere].map((asker, index) =>
        asker.call('PATCH', `/things/${id}`, { name: `n${index}` }, { 'if-match': '"1"' }),
      ),
    );
    expect(both.map(({ status }) => status).toSorted()).toEqual([200, 412]);
  });

  test('names what it refuses, and is never a fault', async () => {
    const { id } = await make();
    const deep = `{"metadata":{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}}`;
    const nested = await admin.raw('PATCH', `/things/${id}`, deep, { 'content-type': 'application/json' });
    expect(nested.status).toBe(422);
    expect((await admin.call('PATCH', `/things/${id}`, { nope: 1 })).body.detail).toContain('nope: unknown field');
    expect((await admin.call('PATCH', `/things/${id}`, { group_id: 'x' })).status).toBe(422);
    const group_id = '00000000-0000-4000-8000-000000000000';
    expect((await admin.call('PATCH', `/things/${id}`, { group_id })).status).toBe(404);
  });

  test('is written down, without its secrets', async () => {
    const made = await make({ name: 'audited', external_id: 'ext', external_key: 'an-external-key' });
    await admin.call('PATCH', `/things/${made.id}`, { name: 'renamed' });
    await admin.call('POST', `/things/${made.id}/disable`);
    const rotated = (await admin.call('POST', `/things/${made.id}/key`, { overlap_seconds: 60 })).body;
    await admin.call('DELETE', `/things/${made.id}/key/previous`);
    await admin.call('DELETE', `/things/${made.id}`);
    const client = new pg.Client(plane.url);
    await client.connect();
    try {
      const { rows } = await client.query(
        'SELECT action, detail, actor_kind FROM registry.audit WHERE entity_id = $1 ORDER BY at, id',
        [made.id],
      );
      expect(rows.map(({ action }) => action)).toEqual([
        'things.create',
        'things.update',
        'things.disable',
        'things.rotate_key',
        'things.end_key_overlap',
        'things.delete',
      ]);
      expect(rows[1].detail.changed.name).toEqual({ from: 'audited', to: 'renamed' });
      expect(rows.every(({ actor_kind }) => actor_kind === 'user')).toBe(true);
      const text = JSON.stringify(rows);
      for (const secret of [made.key, rotated.key, 'an-external-key']) expect(text).not.toContain(secret);
    } finally {
      await client.end();
    }
  });
});

describe('keys', () => {
  test('an old key is void at once on every node, and what it was exchanged for', async () => {
    const { id, key } = await make();
    expect(await known(node, key)).toBe(true);
    expect(await known(other, key)).toBe(true);
    const thing = await node.registry.directory.subject(id);
    const token = await node.registry.credentials.issueAccessToken(id, thing?.epoch ?? -1);
    expect((await node.gate.identify({ kind: 'bearer', token })).kind).toBe('known');
    const rotated = (await admin.call('POST', `/things/${id}/key`, {})).body;
    expect(rotated).not.toHaveProperty('previous_key_until');
    expect(await known(node, key)).toBe(false);
    expect(await known(node, rotated.key)).toBe(true);
    expect((await node.gate.identify({ kind: 'bearer', token })).kind).toBe('refused');
    await eventually(async () => !(await known(other, key)));
  });

  test('with an overlap both hold, until it ends or is ended', async () => {
    const { id, key } = await make();
    const rotated = (await admin.call('POST', `/things/${id}/key`, { overlap_seconds: 600 })).body;
    expect(Date.parse(rotated.previous_key_until)).toBeGreaterThan(Date.now() + 500_000);
    expect([await known(node, key), await known(node, rotated.key)]).toEqual([true, true]);
    const ended = await admin.call('DELETE', `/things/${id}/key/previous`);
    expect([ended.status, ended.headers.get('deleted')]).toEqual([204, 'keys=1']);
    expect([await known(node, key), await known(node, rotated.key)]).toEqual([false, true]);
    await eventually(async () => !(await known(other, key)));
    expect((await admin.call('GET', `/things/${id}`)).body).not.toHaveProperty('previous_key_until');
    const short = await make();
    await admin.call('POST', `/things/${short.id}/key`, { overlap_seconds: 6 });
    expect(await known(node, short.key)).toBe(true);
    await eventually(async () => !(await known(node, short.key)));
  });

  test("are no other thing's, now or while it still holds", async () => {
    const one = await make({ key: 'the-first-key' });
    const two = await make();
    expect((await admin.call('POST', `/things/${two.id}/key`, { key: 'the-first-key' })).status).toBe(409);
    expect((await admin.call('POST', `/things/${one.id}/key`, { key: 'the-first-key' })).status).toBe(409);
    await admin.call('POST', `/things/${one.id}/key`, { key: 'the-second-key', overlap_seconds: 600 });
    expect((await admin.call('POST', `/things/${two.id}/key`, { key: 'the-first-key' })).status).toBe(409);
    expect((await admin.call('POST', `/things/${one.id}/key`, { key: 'the-first-key' })).status).toBe(409);
    expect((await admin.call('POST', '/things', { key: 'the-first-key' })).status).toBe(409);
    await admin.call('DELETE', `/things/${one.id}/key/previous`);
    expect((await admin.call('POST', `/things/${two.id}/key`, { key: 'the-first-key' })).status).toBe(200);
    expect((await node.gate.identify({ kind: 'key', key: 'the-first-key' })).kind).toBe('known');
  });

  test('are for who may change the thing', async () => {
    const viewer = await node.stranger.newUser('viewer-of-keys@example.org');
    const { id, org } = await make({ external_id: 'e1' });
    const user = (await viewer.call('GET', '/users/me')).body.id;
    const client = new pg.Client(plane.url);
    await client.connect();
    await client.query(`INSERT INTO registry.memberships (user_id, org, role) VALUES ($1, $2, 'viewer')`, [user, org]);
    await client.end();
    const mine = (await admin.call('GET', `/things/${id}`)).body;
    expect(mine).toMatchObject({ key: expect.any(String), external_key: expect.any(String) });
    const theirs = (await viewer.call('GET', `/things/${id}?org=${org}`)).body;
    expect(theirs).toMatchObject({ id, external_id: 'e1' });
    expect(theirs).not.toHaveProperty('key');
    expect(theirs).not.toHaveProperty('external_key');
    expect((await viewer.call('POST', `/things/${id}/key`, {})).status).toBe(403);
    const listed = (await viewer.call('GET', `/things?org=${org}&limit=1000`)).body.things;
    expect(listed.some((thing: object) => 'key' in thing)).toBe(false);
  });

  test('an external key stands beside an external id', async () => {
    const { id, external_key } = await make({ external_id: 'mac-1' });
    expect(external_key).toMatch(/^[\w-]{43}$/);
    expect((await admin.call('PATCH', `/things/${id}`, { name: 'x' })).body.external_key).toBe(external_key);
    const given = await admin.call('PATCH', `/things/${id}`, { external_key: 'my-own-external' });
    expect(given.body.external_key).toBe('my-own-external');
    expect((await admin.call('PATCH', `/things/${id}`, { external_id: null })).body).not.toHaveProperty('external_key');
    expect((await admin.call('POST', '/things', { external_key: 'without-an-id' })).status).toBe(422);
    expect((await admin.call('PATCH', `/things/${id}`, { external_id: 'mac-1' })).body.external_id).toBe('mac-1');
    expect((await admin.call('POST', '/things', { external_id: 'mac-1' })).status).toBe(409);
  });
});

describe('gateways', () => {
  test('are things of that type, of the organisation, and never in a circle', async () => {
    const gateway = await make({ type: 'gateway', name: 'gw' });
    const behind = await make({ gateway: gateway.id });
    expect(behind.gateway).toBe(gateway.id);
    expect((await admin.call('GET', `/things?gateway=${gateway.id}`)).body.total).toBe(1);
    expect((await admin.call('POST', '/things', { gateway: behind.id })).status).toBe(422);
    const stranger = await node.stranger.newUser('gateways@example.org');
    expect((await stranger.call('POST', '/things', { gateway: gateway.id })).status).toBe(422);
    const second = await make({ type: 'gateway', gateway: gateway.id });
    expect((await admin.call('PATCH', `/things/${gateway.id}`, { gateway: second.id })).status).toBe(422);
    expect((await admin.call('PATCH', `/things/${gateway.id}`, { gateway: gateway.id })).status).toBe(422);
    expect((await admin.call('PATCH', `/things/${gateway.id}`, { type: 'device' })).status).toBe(409);
    const gone = await admin.call('DELETE', `/things/${gateway.id}`, undefined, { prefer: 'return=representation' });
    expect([gone.status, gone.body]).toEqual([200, { deleted: { things_without_gateway: 2 } }]);
    expect((await admin.call('GET', `/things/${behind.id}`)).body.gateway).toBeNull();
  });

  test("two that shall be each other's at once are not", async () => {
    const [one, two] = [await make({ type: 'gateway' }), await make({ type: 'gateway' })];
    const answers = await Promise.all([
      admin.call('PATCH', `/things/${one.id}`, { gateway: two.id }),
      elsewhere.call('PATCH', `/things/${two.id}`, { gateway: one.id }),
    ]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 422]);
  });
});

describe('presence', () => {
  const presence = async (asker: Asker, id: string) => (await asker.call('GET', `/things/${id}/presence`)).body;

  test('tells who is connected, on every node, until both of two nodes have seen it go', async () => {
    const { id, org } = await make({ tags: ['present'] });
    expect(await presence(admin, id)).toEqual({
      online: false,
      online_since: null,
      last_seen: null,
      protocol: null,
      address: null,
    });
    const close = node.registry.presence.connected(id, org, Protocol.mqtt, '192.0.2.1');
    expect(await presence(admin, id)).toMatchObject({ online: true, protocol: 'mqtt', address: '192.0.2.1' });
    await eventually(async () => (await presence(elsewhere, id)).online);
    expect((await admin.call('GET', '/things?tag=present&online=true')).body.total).toBe(1);
    expect((await admin.call('GET', '/things?tag=present&online=false')).body.total).toBe(0);
    const closeThere = other.registry.presence.connected(id, org, Protocol.ws, '192.0.2.2');
    await eventually(async () => (await presence(admin, id)).protocol === 'ws');
    close();
    close();
    await eventually(async () => (await presence(admin, id)).online);
    closeThere();
    await eventually(async () => !(await presence(admin, id)).online);
    expect(await presence(admin, id)).toMatchObject({ online_since: null, last_seen: expect.any(String) });
    expect((await admin.call('GET', '/things?tag=present&online=false')).body.total).toBe(1);
    expect((await admin.call('GET', `/things/${id}`)).body.presence.online).toBe(false);
  });

  test('of a thing that only sends now and then tells when it was last heard of', async () => {
    const { id, org } = await make();
    const now = Date.now();
    node.registry.presence.seen(id, org, Protocol.http, '192.0.2.3', now);
    expect(await presence(admin, id)).toEqual({
      online: false,
      online_since: null,
      last_seen: new Date(now).toISOString(),
      protocol: 'http',
      address: '192.0.2.3',
    });
    await eventually(async () => (await presence(elsewhere, id)).last_seen !== null);
  });

  test('of things of a node that stops says that they are gone', async () => {
    const third = await plane.node({ MILLRACE_PRESENCE_WRITE_MS: 200 });
    const { id, org } = await make();
    third.registry.presence.connected(id, org, Protocol.mqtt, '192.0.2.4');
    await eventually(async () => (await presence(admin, id)).online);
    await third.stop();
    expect((await presence(admin, id)).online).toBe(false);
  });

  test('of things of a node that died is void, whatever it said last', async () => {
    const { id } = await make({ tags: ['orphan'] });
    const dead = '00000000-0000-4000-8000-00000000dead';
    const client = new pg.Client(plane.url);
    await client.connect();
    try {
      await client.query(`INSERT INTO registry.presence_nodes (id, seen_at) VALUES ($1, now() + interval '1 hour')`, [
        dead,
      ]);
      await client.query(
        `INSERT INTO registry.presence (thing, node, online_since, last_seen, protocol, address)
         VALUES ($1, $2, now(), now(), 'mqtt', '192.0.2.9')`,
        [id, dead],
      );
      expect((await presence(admin, id)).online).toBe(true);
      await client.query(`UPDATE registry.presence_nodes SET seen_at = now() - interval '1 minute' WHERE id = $1`, [
        dead,
      ]);
      expect(await presence(admin, id)).toMatchObject({ online: false, online_since: null, address: '192.0.2.9' });
      expect((await admin.call('GET', '/things?tag=orphan&online=true')).body.total).toBe(0);
      expect((await admin.call('GET', '/things?tag=orphan&online=false')).body.total).toBe(1);
      await client.query(`UPDATE registry.presence_nodes SET seen_at = now() - interval '1 hour' WHERE id = $1`, [
        dead,
      ]);
      await eventually(async () => {
        const { rows } = await client.query('SELECT online_since FROM registry.presence WHERE thing = $1', [id]);
        return rows[0].online_since === null;
      });
    } finally {
      await client.end();
    }
  });

  test('goes with the thing, and one that is gone already disturbs nobody', async () => {
    const { id, org } = await make();
    const close = node.registry.presence.connected(id, org, Protocol.mqtt, '192.0.2.5');
    await node.registry.presence.flush();
    await admin.call('DELETE', `/things/${id}`);
    close();
    node.registry.presence.seen('00000000-0000-4000-8000-000000000000', org, Protocol.http, '::1', Date.now());
    await node.registry.presence.flush();
    expect((await node.registry.presence.of([id])).get(id)?.online ?? false).toBe(false);
  });
});
