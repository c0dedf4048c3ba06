import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addMember, decided, idOf, made, orgOf, rows } from './access-world.ts';
import { leaves, secretsInAudit, traceProblem } from './audited.ts';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

let plane: ControlPlane;
let node: Node;
let owner: Asker;
let org: string;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
  owner = await node.stranger.from('192.0.2.9').newUser('owner@example.org');
  org = await orgOf(owner);
});
afterAll(async () => plane?.dispose());

const statements = [{ effect: 'allow', actions: ['things.list'], resources: ['things'] }];

describe('the audit', () => {
  test('tells who changed what, from what to what, and from where', async () => {
    const policy = await made(owner, '/policies', { name: 'before', statements });
    const left = await leaves(plane, node, () => owner.call('PATCH', `/policies/${policy.id}`, { name: 'after' }));
    expect(left).toMatchObject([
      {
        action: 'policies.update',
        entity: 'policies',
        entity_id: policy.id,
        org,
        outcome: 'done',
        actor_kind: 'user',
        actor: await idOf(owner),
        actor_name: 'owner@example.org',
        address: '192.0.2.9',
        protocol: 'http',
        via: null,
        detail: { name: { from: 'before', to: 'after' } },
      },
    ]);
    const { body } = await owner.call('GET', `/audit?entity=policies&id=${policy.id}`);
    expect(body).toMatchObject({
      total: 2,
      entries: [
        { action: 'policies.update', actor: { kind: 'user', name: 'owner@example.org' }, count: 1 },
        { action: 'policies.create' },
      ],
    });
  });

  test('says by which key somebody came', async () => {
    const key = await made(owner, '/keys', {
      name: 'k',
      grants: [{ actions: ['policies.*'], resources: ['policies*'] }],
    });
    const holder = node.stranger.as(`Bearer ${key.secret}`);
    const left = await leaves(plane, node, () => made(holder, '/policies', { name: 'by key', statements }));
    expect(left).toMatchObject([{ action: 'policies.create', actor: await idOf(owner), via: key.id }]);
  });

  test('has each kind of change of policies, keys and tokens', async () => {
    const thing = await made(owner, '/things');
    const policy = await made(owner, '/policies', { name: 'traced', statements });
    const key = await made(owner, '/keys', { name: 'k', grants: [{ actions: ['*'], resources: ['*'] }] });
    const device = node.stranger.as(`Thing ${thing.key}`);
    const at = `/policies/${policy.id}`;
    for (const [asker, method, path, body] of [
      [owner, 'POST', '/policies', { name: 'a', statements }],
      [owner, 'POST', '/policies/bulk', [{ name: 'b', statements }]],
      [owner, 'PATCH', at, { statements: [...statements, ...statements] }],
      [owner, 'PUT', at, { description: 'd' }],
      [owner, 'POST', `${at}/disable`],
      [owner, 'POST', `${at}/enable`],
      [owner, 'POST', `${at}/rollback`, { version: 1 }],
      [owner, 'PUT', `${at}/attachments/thing/${thing.id}`],
      [owner, 'DELETE', `${at}/attachments/thing/${thing.id}`],
      [owner, 'DELETE', at],
      [owner, 'POST', '/keys', { name: 'x', grants: [{ actions: ['*'], resources: ['*'] }] }],
      [owner, 'PATCH', `/keys/${key.id}`, { name: 'y' }],
      [owner, 'POST', `/keys/${key.id}/disable`],
      [owner, 'POST', `/keys/${key.id}/enable`],
      [owner, 'DELETE', `/keys/${key.id}`],
      [device, 'POST', '/things/token', {}],
    ] as const) {
      let answered = await owner.call('GET', '/users/me');
      const left = await leaves(plane, node, async () => {
        answered = await asker.call(method, path, body);
      });
      expect([method, path, answered.status < 300]).toEqual([method, path, true]);
      expect(traceProblem(`${method} ${path}`, answered, left)).toBeNull();
      expect(left).toHaveLength(1);
    }
  });

  test('joins denials of one kind, and keeps others apart', async () => {
    const viewer = await node.stranger.newUser('viewer@example.org');
    await addMember(plane, org, await idOf(viewer), 'viewer');
    const thing = await made(owner, '/things');
    const left = await leaves(plane, node, async () => {
      for (let round = 0; round < 20; round++) await viewer.call('DELETE', `/things/${thing.id}`);
      await viewer.call('PATCH', `/things/${thing.id}`, { name: 'x' });
    });
    // What was gathered may have been written in between: then it is more than one line.
    const deletions = left.filter(({ action }) => action === 'things.delete');
    expect(deletions.reduce((sum, { count }) => sum + count, 0)).toBe(20);
    expect(deletions.length).toBeLessThan(20);
    expect(deletions[0]).toMatchObject({
      entity: 'things',
      entity_id: thing.id,
      outcome: 'denied',
      org,
      actor: await idOf(viewer),
      detail: { reason: 'not_allowed', object: `things/${thing.id}` },
    });
    expect(left.filter(({ action }) => action === 'things.update')).toHaveLength(1);
    const { body } = await owner.call('GET', '/audit?outcome=denied&action=things&limit=1000');
    expect(body.entries.length).toBe(left.length);
  });

  test('bounds what strangers can make it keep', async () => {
    const thing = await made(owner, '/things');
    const identified = await node.gate.identify({ kind: 'key', key: thing.key });
    if (identified.kind !== 'known') throw new Error('the thing is unknown');
    const { principal } = identified;
    const context = {
      protocol: 3,
      remoteAddress: '192.0.2.1',
      tls: false,
      mutualTls: false,
      nowMs: Date.now(),
    } as const;
    const left = await leaves(plane, node, async () => {
      for (let index = 0; index < 12_000; index++) {
        node.registry.audit.denied({
          principal,
          org,
          object: `channels/x/messages/${index}\0\ud800${'x'.repeat(2_000)}`,
          action: 'publish',
          reason: 'not_allowed',
          context,
        });
      }
    });
    expect(left.length).toBeGreaterThan(0);
    expect(left.length).toBeLessThanOrEqual(10_000);
    expect(left[0]?.actor).toBe(thing.id);
    await rows(plane, 'DELETE FROM registry.audit WHERE actor = $1', [thing.id]);
  });

  test('holds no secret that was made', async () => {
    const thing = await made(owner, '/things', { key: 'a-key-that-is-secret' });
    const rotated = (await owner.call('PATCH', `/things/${thing.id}/key`, {})).body;
    const key = await made(owner, '/keys', { name: 'k', grants: [{ actions: ['*'], resources: ['*'] }] });
    const token = (await made(node.stranger.as(`Thing ${rotated.key}`), '/things/token')).token as string;
    await node.stranger.newUser('secretive@example.org', 'a very secret password');
    const digests = await rows(
      plane,
      'SELECT digest FROM registry.api_keys UNION SELECT key_digest FROM registry.things',
    );
    await node.registry.audit.flush();
    const secrets = [
      thing.key,
      rotated.key,
      key.secret,
      token,
      'a very secret password',
      ADMIN.password,
      ...digests.map(({ digest }) => digest as string),
    ];
    expect(secrets.every((secret) => typeof secret === 'string' && secret.length > 10)).toBe(true);
    expect(await secretsInAudit(plane, secrets)).toEqual([]);
  });

  test('is turned by pages that new lines do not disturb, and filtered', async () => {
    const asker = await node.stranger.newUser('pages@example.org');
    for (let index = 0; index < 7; index++) await made(asker, '/policies', { name: `p${index}`, statements });
    const seen: string[] = [];
    let cursor = '';
    do {
      const { body } = await asker.call('GET', `/audit?action=policies.&limit=3${cursor}`);
      seen.push(...body.entries.map(({ detail }: { detail: { name: string } }) => detail.name));
      cursor = body.cursor === undefined ? '' : `&cursor=${body.cursor}`;
      await made(asker, '/policies', { name: `new ${seen.length}`, statements });
    } while (cursor !== '');
    expect(seen).toEqual(['p6', 'p5', 'p4', 'p3', 'p2', 'p1', 'p0']);
    const me = await idOf(asker);
    expect((await asker.call('GET', `/audit?actor=${me}&action=policies.create`)).body.total).toBe(10);
    expect((await asker.call('GET', '/audit?to=2020-01-01T00:00:00Z')).body.total).toBe(0);
    expect(
      (await asker.call('GET', '/audit?from=2020-01-01T00:00:00Z&action=policies&limit=1')).body.entries,
    ).toHaveLength(1);
    for (const wrong of ['cursor=x', 'outcome=maybe', 'from=yesterday', 'limit=0', 'actor=me'])
      expect((await asker.call('GET', `/audit?${wrong}`)).status).toBe(400);
  });

  test('is for who may read it, of their own organisation', async () => {
    const editor = await node.stranger.newUser('editor@example.org');
    await addMember(plane, org, await idOf(editor), 'editor');
    const stranger = await node.stranger.newUser('stranger@example.org');
    const admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
    for (const path of ['/audit', '/audit/export']) {
      expect((await editor.call('GET', `${path}?org=${org}`)).status).toBe(403);
      expect((await stranger.call('GET', `${path}?org=${org}`)).status).toBe(404);
      expect((await node.stranger.call('GET', path)).status).toBe(401);
    }
    const all = (await admin.call('GET', '/audit?limit=1000')).body.entries as { org: string | null }[];
    expect(new Set(all.map((entry) => entry.org)).size).toBeGreaterThan(1);
    const own = (await owner.call('GET', '/audit?limit=1000')).body.entries as { org: string | null }[];
    expect(new Set(own.map((entry) => entry.org))).toEqual(new Set([org]));
  });

  test('is exported whole, by lines and as a table without formulas', async () => {
    const asker = await node.stranger.newUser('exports@example.org');
    const theirs = await orgOf(asker);
    await made(asker, '/policies', { name: '=cmd()', statements });
    // More than one page of the export.
    await rows(
      plane,
      `INSERT INTO registry.audit (id, at, org, action, entity, entity_id, outcome, actor_kind, actor_name)
       SELECT gen_random_uuid(), now() - n * interval '1 s', $1, 'things.create', 'things', n::text, 'done', 'user', '=1+1'
       FROM generate_series(1, 2500) AS n`,
      [theirs],
    );
    const text = await (await asker.raw('GET', '/audit/export?action=things.')).text();
    const entries = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(entries.map((entry) => entry.entity_id)).toEqual(Array.from({ length: 2_500 }, (_, n) => String(n + 1)));
    const table = await asker.raw('GET', '/audit/export?format=csv');
    expect(table.headers.get('content-type')).toContain('text/csv');
    const csv = await table.text();
    expect(csv.startsWith('id,at,org,action,')).toBe(true);
    expect(csv.split('\r\n').length).toBeGreaterThan(2_501);
    expect(csv).toContain(`"'=1+1"`);
    expect(csv).not.toMatch(/(^|,)=/m);
  });

  test('lets nothing be changed, and forgets what is older than it is kept', async () => {
    await expect(rows(plane, `UPDATE registry.audit SET action = 'nothing.happened'`)).rejects.toThrow(
      /only be added to/,
    );
    await rows(
      plane,
      `INSERT INTO registry.audit (id, at, org, action, entity, entity_id, outcome, actor_kind)
       SELECT gen_random_uuid(), now() - interval '40 days', $1, 'old.line', 'old', n::text, 'done', 'system'
       FROM generate_series(1, 2500) AS n`,
      [org],
    );
    const forgetful = await plane.node({ MILLRACE_AUDIT_RETENTION_DAYS: 30 });
    await forgetful.registry.audit.trim();
    const [old] = await rows(plane, `SELECT count(*)::integer AS all FROM registry.audit WHERE action = 'old.line'`);
    expect(old.all).toBe(0);
    expect((await owner.call('GET', '/audit?limit=1')).body.total).toBeGreaterThan(0);
  });

  test('has what devices were refused', async () => {
    const thing = await made(owner, '/things');
    const channel = await made(owner, '/channels');
    expect(await decided(node, thing.key, 'publish', channel.id)).toBe('not_allowed');
    const device = node.stranger.as(`Thing ${thing.key}`);
    const left = await leaves(plane, node, () => device.call('POST', '/things', {}));
    expect(left).toMatchObject([{ outcome: 'denied', action: 'things.create', actor_kind: 'thing', actor: thing.id }]);
  });
});
