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
let org: string;
let database: pg.Client;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
  other = await plane.node();
  admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
  elsewhere = await other.stranger.asUser(ADMIN.email, ADMIN.password);
  database = new pg.Client(plane.url);
  await database.connect();
  org = (await group()).org;
}, 60_000);
afterAll(async () => {
  await database?.end();
  await plane?.dispose();
});

const group = async (parent_id: string | null = null, more: object = {}) => {
  const { status, body } = await admin.call('POST', '/groups', { name: 'g', parent_id, ...more });
  if (status !== 201) throw new Error(JSON.stringify(body));
  return body;
};
const make = async (what: 'things' | 'channels', group_id: string | null = null) =>
  (await admin.call('POST', `/${what}`, { group_id })).body;
let people = 0;
/** Somebody with a role that the organisation made, as which they may nothing. */
async function member(): Promise<{ asker: Asker; id: string }> {
  const asker = await node.stranger.newUser(`member${++people}@example.org`);
  const { id } = (await asker.call('GET', '/users/me')).body;
  await database.query(
    `INSERT INTO registry.roles (id, org, name, actions) VALUES (gen_random_uuid(), $1, 'nothing', '{}') ON CONFLICT DO NOTHING`,
    [org],
  );
  await database.query(
    `INSERT INTO registry.memberships (user_id, org, custom_role) SELECT $1, $2, id FROM registry.roles WHERE org = $2 AND name = 'nothing'`,
    [id, org],
  );
  return { asker, id };
}
async function may(at: Node, key: string, channel: string): Promise<string> {
  const identified = await at.gate.identify({ kind: 'key', key });
  if (identified.kind === 'refused') return identified.reason;
  const { principal } = identified;
  const admission = await at.gate.may(principal, 'publish', channel, '', {
    protocol: Protocol.http,
    remoteAddress: '192.0.2.1',
    tls: false,
    mutualTls: false,
    nowMs: Date.now(),
  });
  // A change came in between: as every caller does, ask anew who it is.
  if (principal.revoked) return may(at, key, channel);
  return admission.kind === 'allow' ? 'allow' : admission.reason;
}

describe('the tree', () => {
  test('is made, read and changed as other entities are', async () => {
    const made = await admin.call('POST', '/groups', {
      name: 'Site',
      description: 'd',
      tags: ['t'],
      metadata: { a: 1 },
    });
    expect(made.status).toBe(201);
    expect(made.headers.get('location')).toBe(`/groups/${made.body.id}`);
    expect(made.body).toMatchObject({ parent_id: null, ancestors: [], active: true, version: 1 });
    const child = await group(made.body.id, { name: 'Hall' });
    expect(child).toMatchObject({ parent_id: made.body.id, ancestors: [made.body.id] });
    const path = `/groups/${made.body.id}`;
    expect((await admin.call('GET', path)).headers.get('etag')).toBe('"1"');
    expect((await admin.call('PATCH', path, { name: 'S' }, { 'if-match': '"7"' })).status).toBe(412);
    expect((await admin.call('PATCH', path, { name: 'S' }, { 'if-match': '"1"' })).body.version).toBe(2);
    expect((await admin.call('PUT', path, { name: 'T' })).body).toMatchObject({ name: 'T', metadata: {}, tags: ['t'] });
    expect((await admin.call('GET', `${path}/children`)).body.groups).toMatchObject([{ id: child.id }]);
    expect((await admin.call('GET', '/groups?tag=t&parent=none')).body.total).toBe(1);
    expect((await admin.call('GET', `/groups?below=${made.body.id}`)).body.total).toBe(1);
    expect((await admin.call('POST', '/groups', { id: child.id })).status).toBe(409);
  });

  test('is made at once, all or none, also groups below each other', async () => {
    const [one, two] = ['b0000000-0000-4000-8000-000000000001', 'b0000000-0000-4000-8000-000000000002'];
    const made = await admin.call('POST', '/groups/bulk', [
      { id: one },
      { id: two, parent_id: one },
      { parent_id: two },
    ]);
    expect(made.status).toBe(201);
    expect(made.body.groups[2].ancestors).toEqual([one, two]);
    const again = await admin.call('POST', '/groups/bulk', [{ name: 'never' }, { id: one }]);
    expect(again.status).toBe(409);
    expect((await admin.call('GET', '/groups?name=never')).body.total).toBe(0);
    const stranger = await node.stranger.newUser('bulk-stranger@example.org');
    expect((await stranger.call('POST', '/groups/bulk', [{ parent_id: one }])).status).toBe(404);
  });

  test('moves with all that is below, and never into itself', async () => {
    const [a, b] = [await group(), await group()];
    const a1 = await group(a.id);
    const a2 = await group(a1.id);
    const moved = await admin.call('POST', `/groups/${a1.id}/move`, { parent_id: b.id });
    expect(moved.body).toMatchObject({ parent_id: b.id, ancestors: [b.id] });
    expect((await admin.call('GET', `/groups/${a2.id}`)).body.ancestors).toEqual([b.id, a1.id]);
    expect((await admin.call('POST', `/groups/${b.id}/move`, { parent_id: a2.id })).status).toBe(422);
    expect((await admin.call('POST', `/groups/${b.id}/move`, { parent_id: b.id })).status).toBe(422);
    expect((await admin.call('POST', `/groups/${a1.id}/move`, { parent_id: null })).body.ancestors).toEqual([]);
    expect((await admin.call('GET', `/groups/${a2.id}`)).body.ancestors).toEqual([a1.id]);
  });

  test('is no deeper than 32 levels, whichever way', async () => {
    let deepest = await group();
    const top = deepest;
    for (let level = 2; level <= 32; level++) deepest = await group(deepest.id);
    expect(deepest.ancestors).toHaveLength(31);
    expect((await admin.call('POST', '/groups', { parent_id: deepest.id })).status).toBe(422);
    const one = await group();
    expect((await admin.call('POST', `/groups/${top.id}/move`, { parent_id: one.id })).status).toBe(422);
    expect((await admin.call('GET', `/groups/${deepest.id}`)).body.ancestors).toHaveLength(31);
  });

  test('stays a tree when many move at once on two nodes', { timeout: 60_000 }, async () => {
    const groups: { id: string }[] = [];
    for (let index = 0; index < 8; index++) groups.push(await group(groups.at(-1)?.id ?? null));
    const statuses = await Promise.all(
      Array.from({ length: 40 }, (_, index) => {
        const [what, to] = [groups[(index * 5) % 8]?.id, groups[(index * 3 + 1) % 8]?.id];
        const asker = index % 2 === 0 ? admin : elsewhere;
        return asker.call('POST', `/groups/${what}/move`, { parent_id: to }).then(({ status }) => status);
      }),
    );
    expect(statuses.every((status) => status === 200 || status === 422)).toBe(true);
    expect(statuses).toContain(200);
    const { rows } = await database.query('SELECT id, parent, ancestors FROM registry.groups WHERE org = $1', [org]);
    const byId = new Map(rows.map((row) => [row.id, row]));
    for (const row of rows) {
      const path: string[] = [];
      for (let at = row.parent; at !== null; at = byId.get(at).parent) {
        expect(path).not.toContain(at);
        path.unshift(at);
      }
      expect(row.ancestors).toEqual(path);
    }
  });

  test('of 10,000 groups, ten deep, is told by one statement about as fast as its rows can be read', async () => {
    // The first ten are one below the other, all others below one of nine of them.
    const own = await node.stranger.newUser('forester@example.org');
    const mine = (await own.call('GET', '/users/me')).body.orgs[0].id;
    await database.query(
      `WITH RECURSIVE numbered AS (SELECT index, gen_random_uuid() AS id FROM generate_series(0, 9999) AS index),
       tree AS (
         SELECT index, id, NULL::uuid AS parent, '{}'::uuid[] AS ancestors FROM numbered WHERE index = 0
         UNION ALL
         SELECT numbered.index, numbered.id, tree.id, tree.ancestors || tree.id FROM tree JOIN numbered
           ON numbered.index > 0 AND tree.index = CASE WHEN numbered.index <= 9 THEN numbered.index - 1 ELSE numbered.index % 9 END)
       INSERT INTO registry.groups (id, org, parent, ancestors, name)
       SELECT id, $1, parent, ancestors, 'group ' || index FROM tree`,
      [mine],
    );
    await database.query('ANALYZE registry.groups');
    const median = async (work: () => Promise<unknown>): Promise<number> => {
      const times: number[] = [];
      for (let round = 0; round < 9; round++) {
        const start = performance.now();
        await work();
        times.push(performance.now() - start);
      }
      return times.toSorted((a, b) => a - b)[4] ?? 0;
    };
    const floor = await median(() =>
      database.query('SELECT id, parent, name, enabled FROM registry.groups WHERE org = $1', [mine]),
    );
    const told = await median(() => node.registry.groupTree({ org: mine }));
    console.log(`tree of 10,000 groups: ${told.toFixed(1)} ms; its rows alone: ${floor.toFixed(1)} ms`);
    // Ordering and nesting cost something; walking the tree level by level would cost a hundred times as much.
    expect(told).toBeLessThan(10 * floor + 200);
    const { body } = await own.call('GET', '/groups/tree');
    expect(body.total).toBe(10_000);
    let [depth, count] = [0, 0];
    const walk = (nodes: { children: [] }[], level: number): void => {
      for (const each of nodes) {
        count++;
        depth = Math.max(depth, level);
        walk(each.children, level + 1);
      }
    };
    walk(body.groups, 1);
    expect([count, depth]).toEqual([10_000, 10]);
    const [root] = body.groups;
    expect((await own.call('GET', '/groups/tree?depth=1')).body.total).toBe(1 + root.children.length);
    const branch = root.children.find(({ children }: { children: [] }) => children.length > 0);
    const below = (await own.call('GET', `/groups/${branch.id}/tree?depth=1`)).body;
    expect(below.groups).toMatchObject([{ id: branch.id }]);
    expect(below.total).toBe(1 + branch.children.length);
  });

  test('is given up with what is in it only when asked', async () => {
    const top = await group();
    const below = await group(top.id);
    const [thing, channel] = [await make('things', below.id), await make('channels', top.id)];
    const refused = await admin.call('DELETE', `/groups/${top.id}`);
    expect([refused.status, refused.body.detail]).toEqual([409, expect.stringContaining('things 1')]);
    const gone = await admin.call('DELETE', `/groups/${top.id}?cascade=true`, undefined, {
      prefer: 'return=representation',
    });
    expect(gone.body.deleted).toEqual({ groups: 1, things_without_group: 1, channels_without_group: 1 });
    expect((await admin.call('GET', `/groups/${below.id}`)).status).toBe(404);
    expect((await admin.call('GET', `/things/${thing.id}`)).body.group_id).toBeNull();
    expect((await admin.call('GET', `/channels/${channel.id}`)).body.group_id).toBeNull();
    expect((await admin.call('DELETE', `/groups/${(await group()).id}`)).status).toBe(204);
  });
});

test('a group that goes while things come into it leaves none behind, and no request fails', {
  timeout: 60_000,
}, async () => {
  for (let round = 0; round < 5; round++) {
    const top = await group();
    const things = await Promise.all(Array.from({ length: 6 }, () => make('things')));
    const ids = things.map(({ id }) => id);
    const answers = await Promise.all([
      ...ids.map((id) => admin.call('PATCH', `/things/${id}`, { group_id: top.id })),
      elsewhere.call('POST', `/groups/${top.id}/members`, { thing_ids: ids.toReversed() }),
      elsewhere.call('DELETE', `/groups/${top.id}?cascade=true`),
    ]);
    for (const { status } of answers) expect([200, 204, 404]).toContain(status);
    const { rows } = await database.query('SELECT group_id FROM registry.things WHERE id = ANY ($1)', [ids]);
    expect(rows.every(({ group_id }) => group_id === null)).toBe(true);
  }
});

describe('members', () => {
  test('come and go, one by one and many at once', async () => {
    const top = await group();
    const below = await group(top.id);
    const [one, two, channel] = [await make('things'), await make('things'), await make('channels')];
    expect((await admin.call('PUT', `/groups/${below.id}/things/${one.id}`)).status).toBe(204);
    const put = await admin.call('POST', `/groups/${top.id}/members`, {
      thing_ids: [two.id],
      channel_ids: [channel.id],
    });
    expect(put.body).toEqual({ things: 1, channels: 1 });
    expect((await admin.call('GET', `/groups/${top.id}/things`)).body.total).toBe(1);
    expect((await admin.call('GET', `/groups/${top.id}/things?below=true`)).body.total).toBe(2);
    expect((await admin.call('GET', `/things?group=${top.id}&below=true`)).body.total).toBe(2);
    expect((await admin.call('GET', `/groups/${top.id}/channels`)).body.channels).toMatchObject([{ id: channel.id }]);
    expect((await admin.call('DELETE', `/groups/${top.id}/things/${two.id}`)).status).toBe(204);
    // Of another group it is taken out of none.
    expect((await admin.call('DELETE', `/groups/${top.id}/things/${one.id}`)).status).toBe(204);
    expect((await admin.call('GET', `/things/${one.id}`)).body.group_id).toBe(below.id);
    expect((await admin.call('DELETE', `/groups/${top.id}/channels/${channel.id}`)).status).toBe(204);
    expect((await admin.call('GET', `/groups/${top.id}/things?below=true`)).body.total).toBe(1);
  });

  test('are of the same organisation', async () => {
    const top = await group();
    const stranger = await node.stranger.newUser('group-stranger@example.org');
    const theirs = (await stranger.call('POST', '/things', {})).body;
    const put = { thing_ids: [theirs.id] };
    expect((await admin.call('POST', `/groups/${top.id}/members`, put)).status).toBe(404);
    expect((await admin.call('PUT', `/groups/${top.id}/things/${theirs.id}`)).status).toBe(404);
    expect((await stranger.call('POST', `/groups/${top.id}/members`, put)).status).toBe(404);
    expect((await stranger.call('PATCH', `/things/${theirs.id}`, { group_id: top.id })).status).toBe(404);
    expect((await stranger.call('POST', '/things', { group_id: top.id })).status).toBe(404);
    expect((await stranger.call('POST', '/groups', { parent_id: top.id })).status).toBe(404);
    expect((await stranger.call('GET', `/groups/${top.id}/tree`)).status).toBe(404);
  });
});

describe('roles in a group', () => {
  test('hold for what is in it and below it, and nowhere else', async () => {
    const top = await group();
    const below = await group(top.id);
    const [inside, deep, outside] = [
      await make('things', top.id),
      await make('things', below.id),
      await make('things'),
    ];
    const { asker, id } = await member();
    expect((await asker.call('GET', `/things?org=${org}`)).status).toBe(403);
    const given = await admin.call('PUT', `/groups/${top.id}/roles/${id}`, { role: 'editor' });
    expect(given.body).toMatchObject({ user_id: id, role: 'editor', role_id: null });
    for (const { id: thing } of [inside, deep]) {
      expect((await asker.call('GET', `/things/${thing}`)).body.key).toEqual(expect.any(String));
      expect((await asker.call('PATCH', `/things/${thing}`, { name: 'mine' })).status).toBe(200);
    }
    expect((await asker.call('GET', `/things/${outside.id}`)).status).toBe(403);
    const listed = (await asker.call('GET', `/things?org=${org}`)).body;
    expect(listed.things.map((thing: { id: string }) => thing.id).toSorted()).toEqual([inside.id, deep.id].toSorted());
    const groups = (await asker.call('GET', `/groups?org=${org}`)).body;
    expect(groups.groups.map((each: { id: string }) => each.id).toSorted()).toEqual([top.id, below.id].toSorted());
    expect((await asker.call('GET', `/groups/tree?org=${org}`)).body).toMatchObject({
      total: 2,
      groups: [{ id: top.id, children: [{ id: below.id }] }],
    });
    // What they make lies in their groups, and they move nothing out of them nor in from elsewhere.
    expect((await asker.call('POST', `/things?org=${org}`, { group_id: below.id })).status).toBe(201);
    expect((await asker.call('POST', `/things?org=${org}`, {})).status).toBe(403);
    expect((await asker.call('PATCH', `/things/${inside.id}`, { group_id: null })).status).toBe(403);
    expect((await asker.call('DELETE', `/groups/${top.id}/things/${inside.id}`)).status).toBe(403);
    expect((await asker.call('POST', `/groups/${top.id}/members`, { thing_ids: [outside.id] })).status).toBe(403);
    expect((await asker.call('POST', `/groups/${top.id}/members`, { thing_ids: [deep.id] })).status).toBe(200);
    expect((await asker.call('POST', `/groups/${top.id}/move`, { parent_id: null })).status).toBe(200);
    expect((await asker.call('POST', `/groups/${below.id}/move`, { parent_id: null })).status).toBe(403);
    // On both nodes it ends at once.
    const there = await other.stranger.asUser(`member${people}@example.org`, 'a good password');
    expect((await there.call('GET', `/things/${inside.id}`)).status).toBe(200);
    expect((await admin.call('DELETE', `/groups/${top.id}/roles/${id}`)).status).toBe(204);
    expect((await asker.call('GET', `/things/${inside.id}`)).status).toBe(403);
    await eventually(async () => (await there.call('GET', `/things/${inside.id}`)).status === 403);
  });

  test('are given by who has them, to members only', async () => {
    const top = await group();
    const [boss, friend] = [await member(), await member()];
    await admin.call('PUT', `/groups/${top.id}/roles/${boss.id}`, { role: 'editor' });
    const give = (role: object, to = friend.id) => boss.asker.call('PUT', `/groups/${top.id}/roles/${to}`, role);
    expect((await give({ role: 'owner' })).status).toBe(403);
    expect((await give({ role: 'admin' })).status).toBe(403);
    expect((await give({ role: 'viewer' })).status).toBe(200);
    expect((await give({})).status).toBe(422);
    expect((await give({ role_id: '00000000-0000-4000-8000-000000000000' })).status).toBe(404);
    const stranger = await node.stranger.newUser('no-member@example.org');
    const nobody = (await stranger.call('GET', '/users/me')).body.id;
    expect((await give({ role: 'viewer' }, nobody)).status).toBe(422);
    expect((await give({ role: 'viewer' }, '00000000-0000-4000-8000-000000000000')).status).toBe(422);
    // Who is more than they are is not theirs to depose.
    await admin.call('PUT', `/groups/${top.id}/roles/${friend.id}`, { role: 'owner' });
    expect((await give({ role: 'viewer' })).status).toBe(403);
    expect((await boss.asker.call('DELETE', `/groups/${top.id}/roles/${friend.id}`)).status).toBe(403);
    const listed = (await boss.asker.call('GET', `/groups/${top.id}/roles`)).body;
    expect(listed.roles.map(({ role }: { role: string }) => role).toSorted()).toEqual(['editor', 'owner']);
    // Who leaves the organisation keeps nothing.
    await database.query('DELETE FROM registry.memberships WHERE user_id = $1 AND org = $2', [friend.id, org]);
    expect((await boss.asker.call('GET', `/groups/${top.id}/roles`)).body.total).toBe(1);
  });
});

test('a key that is for one group lists what lies there, whatever its owner may', async () => {
  const top = await group();
  const below = await group(top.id);
  const [inside] = [await make('things', below.id), await make('things')];
  const resources = [`group:${top.id}/*`];
  const made = await admin.call('POST', `/keys?org=${org}`, {
    name: 'for one group',
    grants: [{ actions: ['things.list', 'things.read'], resources }],
  });
  expect(made.status).toBe(201);
  const secret = made.body.key ?? made.body.secret ?? made.body.value;
  const scoped = node.stranger.as(`Bearer ${secret}`);
  const listed = await scoped.call('GET', '/things');
  expect(listed.body.things).toMatchObject([{ id: inside.id }]);
  expect(listed.body.things[0]).not.toHaveProperty('key');
  expect((await scoped.call('GET', '/channels')).status).toBe(403);
  expect((await scoped.call('PATCH', `/things/${inside.id}`, { name: 'x' })).status).toBe(403);
});

describe('a disabled group', () => {
  test('keeps out all that is in it and below it, on every node, until it is enabled or left', async () => {
    const top = await group();
    const below = await group(top.id);
    const [thing, channel, inGroup] = [
      await make('things', below.id),
      await make('channels'),
      await make('channels', top.id),
    ];
    const free = await make('things');
    await admin.call('POST', '/connect', { thing_ids: [thing.id, free.id], channel_ids: [channel.id, inGroup.id] });
    expect(await may(node, thing.key, channel.id)).toBe('allow');
    expect(await may(other, thing.key, channel.id)).toBe('allow');
    expect(await may(node, free.key, inGroup.id)).toBe('allow');
    expect((await admin.call('POST', `/groups/${top.id}/disable`)).body).toMatchObject({
      enabled: false,
      active: false,
    });
    expect((await admin.call('GET', `/groups/${below.id}`)).body).toMatchObject({ enabled: true, active: false });
    expect(await may(node, thing.key, channel.id)).toBe('disabled');
    expect(await may(node, free.key, inGroup.id)).toBe('channel_disabled');
    expect(await may(node, free.key, channel.id)).toBe('allow');
    await eventually(async () => (await may(other, thing.key, channel.id)) === 'disabled');
    // What is made below is not active either; what is moved away is.
    expect(await group(below.id)).toMatchObject({ enabled: true, active: false });
    await admin.call('POST', `/groups/${below.id}/move`, { parent_id: null });
    expect(await may(node, thing.key, channel.id)).toBe('allow');
    await admin.call('POST', `/groups/${below.id}/move`, { parent_id: top.id });
    expect(await may(node, thing.key, channel.id)).toBe('disabled');
    await admin.call('POST', `/groups/${top.id}/enable`);
    expect(await may(node, thing.key, channel.id)).toBe('allow');
    expect(await may(node, free.key, inGroup.id)).toBe('allow');
    await admin.call('PATCH', `/groups/${below.id}`, { enabled: false });
    expect(await may(node, thing.key, channel.id)).toBe('disabled');
    await admin.call('PATCH', `/things/${thing.id}`, { group_id: null });
    expect(await may(node, thing.key, channel.id)).toBe('allow');
  });
});
