import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { addMember, addMemberWith, decided, idOf, made, rows } from './access-world.ts';
import { leaves, secretsInAudit } from './audited.ts';
import { type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

let plane: ControlPlane;
let node: Node;
let count = 0;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
}, 60_000);
afterAll(() => plane?.dispose());

/** A new organisation, and who owns it. */
async function newOrg(): Promise<{ org: string; owner: Asker; path: string }> {
  const owner = await node.stranger.newUser(`owner${++count}@example.org`);
  const { id } = await made(owner, '/orgs', { name: `Mill ${count}` });
  return { org: id, owner, path: `/orgs/${id}/manifest` };
}
const plan = (asker: Asker, path: string, manifest: unknown, more: object = {}) =>
  asker.call('POST', `${path}/plan`, { manifest, ...more });
async function apply(asker: Asker, path: string, manifest: unknown, more: object = {}) {
  const answered = await asker.call('POST', `${path}/apply`, { manifest, ...more });
  if (answered.status !== 200) throw new Error(`apply: ${answered.status} ${JSON.stringify(answered.body)}`);
  return answered.body;
}
const told = ({ changes }: { changes: { action: string; kind: string; name: string }[] }): string[] =>
  changes.map(({ action, kind, name }) => `${action} ${kind} ${name}`);
const versionsOf = (org: string) =>
  rows(
    plane,
    `SELECT (SELECT coalesce(max(version), 0) FROM registry.changes) AS changes,
       (SELECT count(*) FROM registry.audit WHERE outcome = 'done' AND org = $1) AS audit`,
    [org],
  );

/** No two things of the installation have the same key. */
let keys = 0;
const plantWith = (key: string) => ({
  version: 1,
  groups: [{ name: 'plant', description: 'All of it', groups: [{ name: 'hall-1' }, { name: 'hall-2' }] }],
  roles: [{ name: 'operator', actions: ['things.read', 'things.list', 'subscribe'] }],
  channels: [
    { name: 'Temperatures', alias: 'temperatures', group: 'plant', profile: { retention_days: 30 }, tags: ['warm'] },
    { name: 'Commands', limits: { messages_per_second: 5 } },
  ],
  things: [
    { name: 'gateway', type: 'gateway', group: 'plant/hall-1' },
    {
      name: 'thermometer',
      key,
      group: 'plant/hall-1',
      gateway: 'gateway',
      metadata: { floor: 1, place: { x: 1 } },
      channels: [{ channel: 'temperatures', types: ['publish'] }],
    },
  ],
  connections: [{ things: ['gateway', 'thermometer'], channels: ['Commands'], types: ['subscribe'] }],
  policies: [
    {
      name: 'readings',
      statements: [
        { effect: 'deny', actions: ['publish'], resources: ['channels/*'], condition: { protocol: ['http'] } },
      ],
      attach: [{ thing: 'thermometer' }, { group: 'plant/hall-2' }, { role: 'operator' }],
    },
  ],
});

describe('a manifest', { timeout: 60_000 }, () => {
  test('makes all that it names, and says so before', async () => {
    const key = `a-key-of-thermometer-${++keys}`;
    const plant = plantWith(key);
    const { owner, path, org } = await newOrg();
    const planned = await plan(owner, path, plant);
    expect(planned.status).toBe(200);
    expect(planned.body.summary).toEqual({ create: 15, update: 0, delete: 0, unchanged: 0 });
    expect((await owner.call('GET', `/things?org=${org}`)).body.total).toBe(0);
    const applied = await apply(owner, path, plant, { if_version: planned.body.version });
    expect(told(applied)).toEqual(told(planned.body));
    expect(told(applied)).toEqual([
      'create group plant',
      'create group plant/hall-1',
      'create group plant/hall-2',
      'create role operator',
      'create channel Temperatures',
      'create channel Commands',
      'create thing gateway',
      'create thing thermometer',
      'create policy readings',
      'create connection thermometer → Temperatures',
      'create connection gateway → Commands',
      'create connection thermometer → Commands',
      'create attachment readings → thing thermometer',
      'create attachment readings → group plant/hall-2',
      'create attachment readings → role operator',
    ]);
    const { id: channel } = (await owner.call('GET', `/channels/temperatures?org=${org}`)).body;
    expect(await decided(node, key, 'publish', channel)).toBe('allow');
    expect(await decided(node, key, 'subscribe', channel)).not.toBe('allow');
  });

  test('applied again plans nothing and writes nothing', async () => {
    const key = `a-key-of-thermometer-${++keys}`;
    const plant = plantWith(key);
    const { owner, path, org } = await newOrg();
    const first = await apply(owner, path, plant);
    const before = await versionsOf(org);
    const again = await apply(owner, path, plant, { prune: true });
    expect(again).toMatchObject({ changes: [], summary: { create: 0, unchanged: 15 }, version: first.version });
    expect(await versionsOf(org)).toEqual(before);
  });

  test('leaves one line a change in the audit and one of the whole, without secrets', async () => {
    const key = `a-key-of-thermometer-${++keys}`;
    const plant = plantWith(key);
    const { owner, path, org } = await newOrg();
    const left = await leaves(plane, node, () => apply(owner, path, plant));
    expect(left.map(({ action }) => action).sort()).toEqual(
      [
        ...Array(3).fill('groups.create'),
        'roles.create',
        ...Array(2).fill('channels.create'),
        ...Array(2).fill('things.create'),
        // A thing a line, and kind of access.
        ...Array(3).fill('connections.create'),
        'policies.create',
        ...Array(3).fill('policies.attach'),
        'orgs.apply',
      ].sort(),
    );
    expect(left.find(({ action }) => action === 'orgs.apply')).toMatchObject({
      entity_id: org,
      actor_kind: 'user',
      detail: { create: 15, update: 0, delete: 0 },
    });
    expect(await secretsInAudit(plane, [key])).toEqual([]);
  });

  test('changes what differs, tells where, and leaves alone what it does not mention', async () => {
    const key = `a-key-of-thermometer-${++keys}`;
    const plant = plantWith(key);
    const { owner, path, org } = await newOrg();
    await apply(owner, path, plant);
    const { things } = (await owner.call('GET', `/things?org=${org}&name=thermometer`)).body;
    await owner.call('PATCH', `/things/${things[0].id}`, { tags: ['kept'] });
    const body = await apply(owner, path, {
      version: 1,
      groups: [{ path: 'plant/hall-3' }, { path: 'plant', description: 'Nearly all of it' }],
      things: [
        {
          name: 'thermometer',
          key: 'another-key-of-it',
          group: 'plant/hall-3',
          metadata: { floor: 2, place: { x: 1 } },
          channels: [{ channel: 'Temperatures', types: ['subscribe'] }],
        },
      ],
    });
    expect(body.changes).toMatchObject([
      { action: 'create', kind: 'group', name: 'plant/hall-3' },
      { action: 'update', kind: 'group', name: 'plant', fields: ['description'] },
      {
        action: 'update',
        kind: 'thing',
        before: { group: 'plant/hall-1', metadata: { floor: 1 } },
        after: { group: 'plant/hall-3', metadata: { floor: 2 } },
        fields: expect.arrayContaining(['group', 'metadata.floor', 'key']),
      },
      { action: 'update', kind: 'connection', before: { types: ['publish'] }, after: { types: ['subscribe'] } },
    ]);
    expect(JSON.stringify(body)).not.toContain('another-key-of-it');
    const after = (await owner.call('GET', `/things/${things[0].id}`)).body;
    expect(after).toMatchObject({ key: 'another-key-of-it', tags: ['kept'], metadata: { floor: 2, place: { x: 1 } } });
    expect(await decided(node, key, 'publish', after.id)).toBe('unknown');
  });

  test('deletes only when it shall, and nothing of what it has no list of', async () => {
    const key = `a-key-of-thermometer-${++keys}`;
    const plant = plantWith(key);
    const { owner, path, org } = await newOrg();
    await apply(owner, path, plant);
    const less = {
      version: 1,
      things: [{ name: 'thermometer', gateway: null, channels: [] }],
      policies: [{ ...plant.policies[0], attach: [{ role: 'operator' }] }],
    };
    expect(told(await apply(owner, path, less))).toEqual(['update thing thermometer']);
    const planned = await plan(owner, path, less, { prune: true });
    expect(told(planned.body).sort()).toEqual([
      'delete attachment readings → group plant/hall-2',
      'delete attachment readings → thing thermometer',
      'delete connection thermometer → Commands',
      'delete connection thermometer → Temperatures',
      'delete thing gateway',
    ]);
    await apply(owner, path, less, { prune: true });
    const lists = await Promise.all(
      ['things', 'channels', 'groups', 'roles', 'policies', 'connections'].map(async (kind) => {
        const { body } = await owner.call('GET', `/${kind}?org=${org}`);
        return body.total as number;
      }),
    );
    expect(lists).toEqual([1, 2, 3, 1, 1, 0]);
    expect((await apply(owner, path, less, { prune: true })).changes).toEqual([]);
    await apply(
      owner,
      path,
      { version: 1, things: [], channels: [], groups: [], policies: [], roles: [] },
      { prune: true },
    );
    const { body } = await owner.call('GET', path);
    expect(body).toMatchObject({ things: [], channels: [], groups: [], policies: [], roles: [] });
  });

  test('finds what policies call by name, and writes it by name', async () => {
    const { owner, path, org } = await newOrg();
    const manifest = {
      version: 1,
      groups: [{ name: 'plant', groups: [{ name: 'hall-1' }] }],
      channels: [{ name: 'Temperatures', alias: 'temperatures', group: 'plant/hall-1' }],
      things: [{ name: 'lamp', key: `key-of-lamp-${++keys}` }],
      policies: [
        {
          name: 'p',
          statements: [
            { effect: 'allow', actions: ['publish'], resources: ['channels/{temperatures}/messages/lamps/*'] },
            {
              effect: 'deny',
              actions: ['things.read'],
              resources: ['group:{plant/hall-1}/things/{lamp}', 'things/{lamp}'],
            },
            { effect: 'deny', actions: ['publish'], resources: ['channels/*/messages/{literally}'] },
          ],
          attach: [{ thing: 'lamp' }],
        },
      ],
    };
    await apply(owner, path, manifest);
    const { id: channel } = (await owner.call('GET', `/channels/temperatures?org=${org}`)).body;
    expect(await decided(node, manifest.things[0]?.key ?? '', 'publish', channel, 'lamps/1')).toBe('allow');
    expect(await decided(node, manifest.things[0]?.key ?? '', 'publish', channel, 'others')).not.toBe('allow');
    expect((await plan(owner, path, manifest, { prune: true })).body.changes).toEqual([]);
    const { body } = await owner.call('GET', path);
    expect(body.policies).toEqual(manifest.policies);
    const wrong = await plan(owner, path, {
      version: 1,
      policies: [
        {
          name: 'q',
          statements: [{ effect: 'deny', actions: ['publish'], resources: ['channels/{nowhere}', 'chanels/*'] }],
        },
        { name: 'r', statements: [{ effect: 'deny', actions: ['publish'], resources: ['chanels/*'] }] },
      ],
    });
    expect(wrong.status).toBe(422);
    expect(wrong.body.detail).toContain('policies[0].statements[0].resources[0]: there is no channel nowhere');
    expect(wrong.body.detail).toContain('policies[1].statements[0].resources[0]: must start with one of');
  });

  test('keeps a group that still holds something', async () => {
    const key = `a-key-of-thermometer-${++keys}`;
    const plant = plantWith(key);
    const { owner, path } = await newOrg();
    await apply(owner, path, plant);
    const refused = await plan(owner, path, { version: 1, groups: [] }, { prune: true });
    expect(refused.status).toBe(422);
    expect(refused.body.detail).toContain('groups: plant/hall-1 would be deleted, but thing gateway is in it');
  });

  test('renames and moves what it knows by id', async () => {
    const key = `a-key-of-thermometer-${++keys}`;
    const plant = plantWith(key);
    const { owner, path, org } = await newOrg();
    await apply(owner, path, plant);
    const { body } = await owner.call('GET', `${path}?ids=true`);
    const [{ id: top, groups }] = body.groups;
    const hall = groups.find(({ name }: { name: string }) => name === 'hall-1');
    const moved = await apply(owner, path, {
      version: 1,
      groups: [{ id: hall.id, name: 'annex', groups: [{ id: top }] }],
      things: [{ id: body.things[1].id, name: 'thermometer-1', group: 'annex/plant' }],
    });
    expect(told(moved)).toEqual(['update group annex', 'update group annex/plant', 'update thing thermometer-1']);
    const { body: after } = await owner.call('GET', `/groups/tree?org=${org}`);
    expect(after.groups).toMatchObject([{ id: hall.id, name: 'annex', children: [{ id: top }] }]);
  });
});

describe('what is wrong with a manifest', { timeout: 60_000 }, () => {
  test('is told with its place, all at once, and nothing is done', async () => {
    const { owner, path, org } = await newOrg();
    for (let twin = 0; twin < 2; twin++) await made(owner, `/things?org=${org}`, { name: 'twin' });
    const { status, body } = await plan(owner, path, {
      version: 1,
      org: 'Another mill',
      things: [],
    });
    expect(status).toBe(422);
    expect(body.detail).toMatch(/org: this is Mill \d+, not Another mill/);
    const wrong = await owner.call('POST', `${path}/apply`, {
      manifest: {
        version: 1,
        channels: [{ name: 'c' }],
        things: [
          { name: 'one', group: 'plant/hall-9' },
          { name: 'two', gateway: 'nowhere', channels: [{ channel: 'c' }, { channel: 'd' }] },
        ],
        connections: [{ things: ['twin'], channels: ['c'] }],
        policies: [
          {
            name: 'p',
            statements: [{ effect: 'allow', actions: ['publish'], resources: ['*'] }],
            attach: [{ user: 'nobody@example.org' }, { app: 'one' }],
          },
        ],
      },
    });
    expect(wrong.status).toBe(422);
    for (const problem of [
      'things[0].group: there is no group plant/hall-9',
      'things[1].gateway: there is no thing nowhere',
      'things[1].channels[1].channel: there is no channel d',
      'connections[0].things[0]: there are several things twin: give the id',
      'policies[0].attach[0].user: there is no member nobody@example.org',
      'policies[0].attach[1].app: one is no thing of type app',
    ])
      expect(wrong.body.detail).toContain(problem);
    expect((await owner.call('GET', `/channels?org=${org}`)).body.total).toBe(0);
    const twins = await plan(owner, path, {
      version: 1,
      things: [{ name: 'twin' }, { name: 'a' }, { name: 'a' }, { type: 'app' }],
      groups: [{ name: 'g' }, { path: 'g' }, { path: 'x/y' }],
    });
    for (const problem of [
      'things[0].name: the organisation has 2 of the name twin: give the id',
      'things[2].name: things[1] is called a too: give ids',
      'things[3]: a thing needs a name or an id',
      'groups[1]: another one is g too: give ids',
      'groups[2].path: there is no group x',
    ])
      expect(twins.body.detail).toContain(problem);
  });

  test('is no fault of ours, whatever it is', async () => {
    const { owner, path } = await newOrg();
    let chain: object = { name: 'g' };
    for (let level = 0; level < 40; level++) chain = { name: `g${level}`, groups: [chain] };
    const manifests: [unknown, number][] = [
      [null, 422],
      [[], 422],
      [{ version: 2 }, 422],
      [{ version: 1, thing: [] }, 422],
      [{ version: 1, groups: [chain] }, 422],
      [{ version: 1, things: [{ name: '__proto__' }, { name: 'constructor', group: '__proto__' }] }, 422],
      [{ version: 1, things: Array.from({ length: 10_001 }, (_, at) => ({ name: `t${at}` })) }, 422],
      [{ version: 1, groups: [{ path: '/' }, { path: 'a//b' }] }, 422],
      [{ version: 1, things: [{ name: 'a\u0000' }] }, 422],
      [{ version: 1, things: [{ name: 'a', gateway: 'a' }] }, 200],
    ];
    for (const [manifest, status] of manifests)
      expect((await plan(owner, path, manifest)).status, JSON.stringify(manifest)?.slice(0, 80)).toBe(status);
    const deep = `{"manifest":{"version":1,"groups":[${'{"groups":['.repeat(50_000)}${']}'.repeat(50_000)}]}}`;
    const answered = await owner.raw('POST', `${path}/plan`, deep, { 'content-type': 'application/json' });
    expect(answered.status).toBe(422);
    const looped = await owner.call('POST', `${path}/apply`, {
      manifest: { version: 1, things: [{ name: 'a', type: 'gateway', gateway: 'a' }] },
    });
    expect(looped.status).toBe(422);
    const things = Array.from({ length: 400 }, (_, at) => ({ name: `t${at}` }));
    const channels = Array.from({ length: 400 }, (_, at) => ({ name: `c${at}` }));
    const many = await plan(owner, path, {
      version: 1,
      things,
      channels,
      connections: [{ things: things.map(({ name }) => name), channels: channels.map(({ name }) => name) }],
    });
    expect(many.body.detail).toContain('connections[0]: there are more than 100000 connections');
  });

  test('undoes all of it when one change is refused', async () => {
    const { owner, path, org } = await newOrg();
    const elsewhere = await newOrg();
    const theirs = await made(elsewhere.owner, `/things?org=${elsewhere.org}`, { name: 'theirs' });
    const refused = await owner.call('POST', `${path}/apply`, {
      manifest: { version: 1, channels: [{ name: 'c' }], things: [{ id: theirs.id, name: 'mine' }] },
    });
    expect(refused.status).toBe(409);
    expect((await owner.call('GET', `/channels?org=${org}`)).body.total).toBe(0);
  });
});

describe('who may apply a manifest', { timeout: 60_000 }, () => {
  test('a stranger is not told that there is such an organisation', async () => {
    const { path } = await newOrg();
    const { owner: stranger } = await newOrg();
    for (const [method, end] of [
      ['GET', ''],
      ['POST', '/plan'],
      ['POST', '/apply'],
    ] as const) {
      const body = method === 'GET' ? undefined : { manifest: { version: 1 } };
      expect((await stranger.call(method, `${path}${end}`, body)).status).toBe(404);
    }
  });

  test('a viewer plans, and an editor applies what is no right of anybody', async () => {
    const key = `a-key-of-thermometer-${++keys}`;
    const plant = plantWith(key);
    const { owner, path, org } = await newOrg();
    await apply(owner, path, plant);
    const member = async (role: string): Promise<Asker> => {
      const asker = await node.stranger.newUser(`${role}${++count}@example.org`);
      await addMember(plane, org, await idOf(asker), role);
      return asker;
    };
    const [viewer, editor] = [await member('viewer'), await member('editor')];
    const thing = { version: 1, things: [{ name: 'lamp' }] };
    expect((await plan(viewer, path, thing)).status).toBe(200);
    expect((await viewer.call('POST', `${path}/apply`, { manifest: thing })).status).toBe(403);
    expect((await viewer.call('GET', `${path}?keys=true`)).status).toBe(403);
    // Not even whether a key is the right one.
    for (const guess of [key, 'some-other-key-of-it']) {
      const guessed = { version: 1, things: [{ name: 'thermometer', key: guess }] };
      expect((await plan(viewer, path, guessed)).status).toBe(403);
    }
    expect(told(await apply(editor, path, thing))).toEqual(['create thing lamp']);
    const role = { version: 1, roles: [{ name: 'mighty', actions: ['*'] }] };
    expect((await editor.call('POST', `${path}/apply`, { manifest: role })).status).toBe(403);
    const policy = { version: 1, policies: [{ ...plant.policies[0], name: 'other' }] };
    expect((await editor.call('POST', `${path}/apply`, { manifest: policy })).status).toBe(403);
  });

  test('nobody gives away by it what they have not', async () => {
    const { path, org } = await newOrg();
    const asker = await node.stranger.newUser(`some${++count}@example.org`);
    await addMemberWith(plane, org, await idOf(asker), [
      ...['orgs.read', 'roles.*', 'policies.*', 'things.*', 'channels.list', 'groups.list', 'connections.list'],
    ]);
    const policy = (actions: string[], attach: object[]) => ({
      version: 1,
      things: [{ name: 'lamp' }],
      policies: [{ name: 'p', statements: [{ effect: 'allow', actions, resources: ['*'] }], attach }],
    });
    const mine = await asker.call('POST', `${path}/apply`, {
      manifest: policy(['things.read'], [{ thing: 'lamp' }]),
    });
    expect(mine.status).toBe(200);
    for (const manifest of [
      policy(['publish'], [{ thing: 'lamp' }]),
      policy(['things.read'], [{ role: 'owner' }]),
      { version: 1, roles: [{ name: 'r', actions: ['channels.delete'] }] },
      { version: 1, channels: [{ name: 'c' }] },
    ]) {
      const refused = await asker.call('POST', `${path}/apply`, { manifest });
      expect(refused.status, JSON.stringify(manifest)).toBe(403);
    }
    // What is attached to nothing gives nobody anything.
    expect(
      (
        await asker.call('POST', `${path}/apply`, {
          manifest: {
            ...policy(['publish'], []),
            things: [],
            policies: [{ ...policy(['publish'], []).policies[0], name: 'q' }],
          },
        })
      ).status,
    ).toBe(200);
  });

  test('a role in a group reaches as far as the group', async () => {
    const key = `a-key-of-thermometer-${++keys}`;
    const plant = plantWith(key);
    const { owner, path, org } = await newOrg();
    await apply(owner, path, plant);
    const asker = await node.stranger.newUser(`hall${++count}@example.org`);
    const user = await idOf(asker);
    await addMember(plane, org, user, 'viewer');
    const { body } = await owner.call('GET', `${path}?kinds=groups&ids=true`);
    const [, hall] = body.groups[0].groups as { id: string }[];
    expect((await owner.call('PUT', `/groups/${hall?.id}/roles/${user}`, { role: 'editor' })).status).toBeLessThan(300);
    const thing = (name: string, group: string) => ({ version: 1, things: [{ name, group }] });
    expect((await asker.call('POST', `${path}/apply`, { manifest: thing('lamp', 'plant/hall-2') })).status).toBe(200);
    for (const manifest of [thing('lamp', 'plant/hall-1'), thing('thermometer', 'plant/hall-2'), thing('new', 'plant')])
      expect((await asker.call('POST', `${path}/apply`, { manifest })).status).toBe(403);
  });

  test('a frozen organisation is read, not changed', async () => {
    const key = `a-key-of-thermometer-${++keys}`;
    const plant = plantWith(key);
    const { owner, path, org } = await newOrg();
    await apply(owner, path, plant);
    await owner.call('POST', `/orgs/${org}/freeze`);
    expect((await owner.call('GET', path)).status).toBe(200);
    const changed = await owner.call('POST', `${path}/apply`, { manifest: { version: 1, things: [{ name: 'lamp' }] } });
    expect(changed.status).toBe(409);
  });
});

describe('an organisation as a manifest', { timeout: 60_000 }, () => {
  test('says all that was said, and changes nothing where it comes from', async () => {
    const key = `a-key-of-thermometer-${++keys}`;
    const plant = plantWith(key);
    const { owner, path, org } = await newOrg();
    await apply(owner, path, plant);
    for (const name of ['twin', 'twin', '']) await made(owner, `/things?org=${org}`, { name });
    const { body } = await owner.call('GET', path);
    expect(body).toMatchObject({
      version: 1,
      groups: [{ name: 'plant', description: 'All of it', groups: [{ name: 'hall-1' }, { name: 'hall-2' }] }],
      roles: plant.roles,
      channels: plant.channels,
      connections: [],
    });
    expect(body.things.find(({ name }: { name: string }) => name === 'thermometer')).toEqual({
      name: 'thermometer',
      group: 'plant/hall-1',
      gateway: 'gateway',
      metadata: { floor: 1, place: { x: 1 } },
      channels: expect.arrayContaining([
        { channel: 'temperatures', types: ['publish'] },
        { channel: 'Commands', types: ['subscribe'] },
      ]),
    });
    expect(body.things.filter(({ id }: { id?: string }) => id !== undefined)).toHaveLength(3);
    for (const query of ['', '?ids=true', '?full=true', '?keys=true', '?kinds=connections,policies', '?kinds=groups']) {
      const { body: manifest } = await owner.call('GET', `${path}${query}`);
      const again = await plan(owner, path, manifest, { prune: true });
      expect(again.body, query).toMatchObject({ changes: [] });
    }
    const { body: withKeys } = await owner.call('GET', `${path}?keys=true`);
    expect(JSON.stringify(withKeys)).toContain(key);
    expect(JSON.stringify(body)).not.toContain(key);
  });

  test('has no part in applications: they are neither told nor deleted', async () => {
    const { owner, path, org } = await newOrg();
    await apply(owner, path, { version: 1, channels: [{ name: 'c' }] });
    const app = await made(owner, `/apps?org=${org}`, { name: 'panel', kind: 'machine' });
    await apply(owner, path, { version: 1, connections: [{ things: ['panel'], channels: ['c'] }] });
    const { body } = await owner.call('GET', path);
    expect(body).toMatchObject({ things: [], connections: [{ things: ['panel'], channels: ['c'] }] });
    expect((await plan(owner, path, body, { prune: true })).body.changes).toEqual([]);
    expect((await apply(owner, path, { version: 1, things: [] }, { prune: true })).changes).toEqual([]);
    expect((await owner.call('GET', `/apps/${app.id}`)).status).toBe(200);
  });

  test('makes another one just like it', async () => {
    const key = `a-key-of-thermometer-${++keys}`;
    const plant = plantWith(key);
    const [one, other] = [await newOrg(), await newOrg()];
    await apply(one.owner, one.path, plant);
    const { org: _, ...manifest } = (await one.owner.call('GET', one.path)).body;
    await apply(other.owner, other.path, manifest);
    const { org: __, ...copy } = (await other.owner.call('GET', other.path)).body;
    expect(copy).toEqual(manifest);
  });
});

describe('several at once', { timeout: 120_000 }, () => {
  test('a plan that is out of date is refused', async () => {
    const key = `a-key-of-thermometer-${++keys}`;
    const plant = plantWith(key);
    const { owner, path, org } = await newOrg();
    const { body } = await plan(owner, path, plant);
    await made(owner, `/things?org=${org}`, { name: 'meanwhile' });
    const late = await owner.call('POST', `${path}/apply`, { manifest: plant, if_version: body.version });
    expect(late.status).toBe(412);
  });

  test('take turns, and what one has made another finds', async () => {
    const key = `a-key-of-thermometer-${++keys}`;
    const plant = plantWith(key);
    const { owner, path, org } = await newOrg();
    const other = await plane.node();
    const there = await other.stranger.asUser(`owner${count}@example.org`, 'a good password');
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, at) => apply(at % 2 === 0 ? owner : there, path, plant)),
    );
    expect(answers.map(({ summary }) => summary.create).sort((a, b) => a - b)).toEqual([0, 0, 0, 0, 0, 15]);
    expect((await owner.call('GET', `/things?org=${org}`)).body.total).toBe(2);
  });

  test('a thousand things, a thousand channels and 5,000 connections, once', async () => {
    const { owner, path, org } = await newOrg();
    const names = (what: string): string[] => Array.from({ length: 1_000 }, (_, at) => `${what}-${at}`);
    const manifest = {
      version: 1,
      groups: [{ name: 'plant' }],
      channels: names('channel').map((name) => ({ name, alias: name })),
      things: names('thing').map((name, at) => ({
        name,
        group: 'plant',
        metadata: { at },
        channels: [0, 1, 2, 3, 4].map((step) => ({ channel: `channel-${(at + step) % 1_000}`, types: ['publish'] })),
      })),
    };
    const begun = performance.now();
    const { summary } = await apply(owner, path, manifest);
    const tookMs = performance.now() - begun;
    console.log(`applied 7,001 changes in ${tookMs.toFixed(0)} ms`);
    expect(summary).toMatchObject({ create: 7_001 });
    const before = await versionsOf(org);
    const again = await apply(owner, path, manifest, { prune: true });
    expect(again.summary).toEqual({ create: 0, update: 0, delete: 0, unchanged: 7_001 });
    expect(await versionsOf(org)).toEqual(before);
    expect(tookMs).toBeLessThan(60_000);
  });
});

/** Manifests whose references all lead somewhere, by names that few have. */
const some = <T>(one: fc.Arbitrary<T>, lengthMax: number) => fc.array(one, { maxLength: lengthMax });
const named = (names: readonly string[]) => fc.uniqueArray(fc.constantFrom(...names), { maxLength: names.length });
const metadata = fc.dictionary(fc.constantFrom('a', 'b', '__proto__', 'x.y'), fc.jsonValue({ maxDepth: 1 }), {
  maxKeys: 3,
});
const maybe = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined });
const anyManifest = fc
  .record({
    halls: named(['h1', 'h2', 'h3']),
    yards: named(['y1', 'y2']),
    channels: named(['c1', 'c2', 'c3', 'c4']),
    things: named(['t1', 't2', 't3', 't4', 't5']),
    roles: named(['r1', 'r2']),
    policies: named(['p1', 'p2', 'p3']),
    seeds: fc.array(fc.nat(1_000), { minLength: 40, maxLength: 40 }),
    values: fc.array(
      fc.record({
        metadata: maybe(metadata),
        enabled: maybe(fc.boolean()),
        tags: maybe(some(fc.constantFrom('x', 'y'), 2)),
      }),
      {
        minLength: 12,
        maxLength: 12,
      },
    ),
  })
  .map(({ halls, yards, channels, things, roles, policies, seeds, values }) => {
    let at = 0;
    const next = (): number => seeds[at++ % seeds.length] ?? 0;
    const pick = <T>(list: readonly T[]): T | undefined => (list.length === 0 ? undefined : list[next() % list.length]);
    const value = () => values[next() % values.length];
    const groups = [
      { name: 'plant', ...value(), groups: halls.map((name) => ({ name, ...value() })) },
      ...yards.map((name) => ({ name })),
    ];
    const places = ['plant', ...halls.map((name) => `plant/${name}`), ...yards, null];
    const both = [['publish'], ['subscribe'], ['publish', 'subscribe']];
    const statements = () => [
      {
        effect: pick(['allow', 'deny']),
        actions: [pick(['publish', 'things.read', '*'])],
        resources: [
          pick(['*', 'channels/*', ...channels.map((name) => `channels/{${name}}`), 'group:{plant}/things/*']),
        ],
      },
    ];
    return {
      version: 1,
      groups,
      roles: roles.map((name) => ({
        name,
        actions: [pick(['things.*', 'subscribe', '*.read'])],
        description: pick(['', 'd']),
      })),
      channels: channels.map((name) => ({ name, ...value(), group: pick(places), alias: pick([null, `a-${name}`]) })),
      things: things.map((name, index) => ({
        name,
        ...value(),
        group: pick(places),
        type: index === 0 ? 'gateway' : 'device',
        gateway: index === 0 ? null : pick([null, things[0] ?? null]),
        channels: channels.filter(() => next() % 2 === 0).map((channel) => ({ channel, types: pick(both) })),
      })),
      policies: policies.map((name) => ({
        name,
        statements: statements(),
        attach: [
          ...things.filter(() => next() % 3 === 0).map((thing) => ({ thing })),
          ...halls.filter(() => next() % 3 === 0).map((hall) => ({ group: `plant/${hall}` })),
          ...roles.filter(() => next() % 3 === 0).map((role) => ({ role })),
        ],
      })),
    };
  });

test('whatever stands in a manifest is so afterwards, from whatever there was', { timeout: 240_000 }, async () => {
  const { owner, path, org } = await newOrg();
  await fc.assert(
    fc.asyncProperty(anyManifest, async (manifest) => {
      const planned = await plan(owner, path, manifest, { prune: true });
      expect(planned.body).toMatchObject({ summary: expect.anything() });
      const applied = await apply(owner, path, manifest, { prune: true, if_version: planned.body.version });
      expect(told(applied)).toEqual(told(planned.body));
      expect((await plan(owner, path, manifest, { prune: true })).body.changes).toEqual([]);
      const { body: written } = await owner.call('GET', path);
      expect((await plan(owner, path, written, { prune: true })).body.changes).toEqual([]);
      const [{ things, channels, pairs }] = await rows(
        plane,
        `SELECT (SELECT count(*)::integer FROM registry.things WHERE org = $1) AS things,
           (SELECT count(*)::integer FROM registry.channels WHERE org = $1) AS channels,
           (SELECT count(*)::integer FROM registry.connections WHERE org = $1) AS pairs`,
        [org],
      );
      expect([things, channels, pairs]).toEqual([
        manifest.things.length,
        manifest.channels.length,
        manifest.things.reduce((sum, thing) => sum + thing.channels.length, 0),
      ]);
    }),
    { numRuns: 40 },
  );
});

test('the example of the documentation is applied as it stands there', { timeout: 60_000 }, async () => {
  const page = readFileSync(new URL('../../../docs/apply.md', import.meta.url), 'utf8');
  const [, example = ''] = /```yaml\n(version: 1\n[\s\S]*?)```/.exec(page) ?? [];
  const { owner, path } = await newOrg();
  const manifest = parse(example.replace(/^org: .*\n/m, ''));
  expect((await apply(owner, path, manifest)).summary.create).toBeGreaterThan(10);
  expect((await apply(owner, path, manifest, { prune: true })).changes).toEqual([]);
});
