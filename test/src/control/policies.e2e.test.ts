import { type Condition, Protocol, type RequestContext } from '@millrace/core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { addMember, addMemberWith, comesToBe, decided, idOf, made, orgOf, rows } from './access-world.ts';
import { type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

let plane: ControlPlane;
let node: Node;
let owner: Asker;
let org: string;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
  owner = await node.stranger.newUser('owner@example.org');
  org = await orgOf(owner);
});
afterAll(async () => plane?.dispose());

const allow = (resource: string, ...actions: string[]) => ({ effect: 'allow', actions, resources: [resource] });
const deny = (resource: string, ...actions: string[]) => ({ effect: 'deny', actions, resources: [resource] });
let count = 0;
const policy = (...statements: object[]) => made(owner, '/policies', { name: `policy ${++count}`, statements });
const attach = async (id: string, kind: string, target: string): Promise<number> =>
  (await owner.call('PUT', `/policies/${id}/attachments/${kind}/${target}`)).status;

describe('a policy', () => {
  test('lets a thing in that nothing connects, at once, and a deny overrides each allow', async () => {
    const thing = await made(owner, '/things');
    const channel = await made(owner, '/channels');
    expect(await decided(node, thing.key, 'publish', channel.id, 'a')).toBe('not_allowed');
    const letsIn = await policy(allow(`channels/${channel.id}/messages*`, 'publish', 'subscribe'));
    expect(await attach(letsIn.id, 'thing', thing.id)).toBe(201);
    expect(await attach(letsIn.id, 'thing', thing.id)).toBe(200);
    expect(await decided(node, thing.key, 'publish', channel.id, 'a')).toBe('allow');
    const keepsOut = await policy(deny(`channels/${channel.id}/messages/secret*`, 'publish'));
    expect(await attach(keepsOut.id, 'thing', thing.id)).toBe(201);
    expect(await decided(node, thing.key, 'publish', channel.id, 'secret/door')).toBe('denied_by_policy');
    expect(await decided(node, thing.key, 'subscribe', channel.id, 'secret/door')).toBe('allow');
    await owner.call('POST', `/policies/${keepsOut.id}/disable`);
    expect(await decided(node, thing.key, 'publish', channel.id, 'secret/door')).toBe('allow');
    await owner.call('POST', `/policies/${keepsOut.id}/enable`);
    expect(await decided(node, thing.key, 'publish', channel.id, 'secret/door')).toBe('denied_by_policy');
    expect((await owner.call('DELETE', `/policies/${letsIn.id}/attachments/thing/${thing.id}`)).status).toBe(204);
    expect((await owner.call('DELETE', `/policies/${letsIn.id}/attachments/thing/${thing.id}`)).status).toBe(404);
    expect(await decided(node, thing.key, 'publish', channel.id, 'a')).toBe('not_allowed');
    expect((await owner.call('GET', `/things/${thing.id}/policies`)).body.policies).toMatchObject([
      { id: keepsOut.id },
    ]);
  });

  test('holds under its condition only, of each kind', async () => {
    const thing = await made(owner, '/things', { metadata: { site: 'north', floor: 2 } });
    const channel = await made(owner, '/channels');
    const { id } = await policy(allow(`channels/${channel.id}/messages*`, 'publish'));
    await attach(id, 'thing', thing.id);
    const cases: [object, { in: Partial<RequestContext>; out: Partial<RequestContext> }][] = [
      [{ protocol: ['mqtt', 'ws'] }, { in: {}, out: { protocol: Protocol.coap } }],
      [
        { address: ['192.0.2.0/24', '2001:db8::1'] },
        { in: { remoteAddress: '2001:db8::1' }, out: { remoteAddress: '198.51.100.1' } },
      ],
      [{ tls: true }, { in: {}, out: { tls: false } }],
      [{ mutual_tls: true }, { in: { mutualTls: true }, out: {} }],
      [
        { time: { from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z' } },
        { in: {}, out: { nowMs: Date.UTC(2026, 1, 1) } },
      ],
      [{ hours: { from: '22:00', to: '06:00', days: [1] } }, { in: { nowMs: Date.UTC(2026, 0, 6, 5) }, out: {} }],
      [{ not: { protocol: ['coap'], tls: false } }, { in: {}, out: { protocol: Protocol.coap, tls: false } }],
    ];
    for (const [condition, { in: within, out }] of cases) {
      const statements = [{ ...allow(`channels/${channel.id}/messages*`, 'publish'), condition }];
      const patched = await owner.call('PATCH', `/policies/${id}`, { statements });
      expect(patched.body.statements).toEqual(statements);
      const told = JSON.stringify(condition);
      expect([told, await decided(node, thing.key, 'publish', channel.id, '', within)]).toEqual([told, 'allow']);
      expect([told, await decided(node, thing.key, 'publish', channel.id, '', out)]).toEqual([told, 'not_allowed']);
    }
    const under = (condition: Partial<Condition>) =>
      owner.call('PATCH', `/policies/${id}`, {
        statements: [{ ...allow(`channels/${channel.id}/messages*`, 'publish'), condition }],
      });
    await under({ subtopic: ['hall/+', 'yard/#'] });
    expect(await decided(node, thing.key, 'publish', channel.id, 'hall/door')).toBe('allow');
    expect(await decided(node, thing.key, 'publish', channel.id, 'yard/a/b')).toBe('allow');
    expect(await decided(node, thing.key, 'publish', channel.id, 'hall/door/x')).toBe('not_allowed');
    await under({ metadata: { site: 'north', floor: 2 } });
    expect(await decided(node, thing.key, 'publish', channel.id)).toBe('allow');
    await owner.call('PATCH', `/things/${thing.id}`, { metadata: { site: 'south', floor: 2 } });
    expect(await decided(node, thing.key, 'publish', channel.id)).toBe('not_allowed');
  });

  test('fills in who asks, and lets nobody in whose value could widen it', async () => {
    const own = await policy(
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of a policy
      allow('channels/*/messages/${thing.id}/*', 'publish'),
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of a policy
      allow('channels/*/messages/site/${thing.metadata.site}', 'publish'),
    );
    const channel = await made(owner, '/channels');
    const [north, wild, none] = await Promise.all(
      [{ site: 'north' }, { site: 'a/*' }, {}].map((metadata) => made(owner, '/things', { metadata })),
    );
    for (const { id } of [north, wild, none]) await attach(own.id, 'thing', id);
    expect(await decided(node, north.key, 'publish', channel.id, `${north.id}/t`)).toBe('allow');
    expect(await decided(node, north.key, 'publish', channel.id, `${wild.id}/t`)).toBe('not_allowed');
    expect(await decided(node, north.key, 'publish', channel.id, 'site/north')).toBe('allow');
    expect(await decided(node, wild.key, 'publish', channel.id, 'site/a/b')).toBe('not_allowed');
    expect(await decided(node, none.key, 'publish', channel.id, 'site/')).toBe('not_allowed');
  });

  test('of a group holds for the things in it and below, of a role for who has it', async () => {
    const [above] = await rows(
      plane,
      `INSERT INTO registry.groups (id, org, name) VALUES (gen_random_uuid(), $1, 'above') RETURNING id`,
      [org],
    );
    const [below] = await rows(
      plane,
      `INSERT INTO registry.groups (id, org, name, parent, ancestors) VALUES (gen_random_uuid(), $1, 'below', $2, ARRAY[$2::uuid]) RETURNING id`,
      [org, above.id],
    );
    const channel = await made(owner, '/channels');
    const [inside, outside] = [await made(owner, '/things'), await made(owner, '/things')];
    await rows(plane, 'UPDATE registry.things SET group_id = $2 WHERE id = $1', [inside.id, below.id]);
    const open = await policy(allow(`channels/${channel.id}/messages*`, 'publish'));
    expect(await attach(open.id, 'group', above.id)).toBe(201);
    expect(await decided(node, inside.key, 'publish', channel.id)).toBe('allow');
    expect(await decided(node, outside.key, 'publish', channel.id)).toBe('not_allowed');

    const viewer = await node.stranger.newUser('viewer@example.org');
    const helper = await node.stranger.newUser('helper@example.org');
    await addMember(plane, org, await idOf(viewer), 'viewer');
    await addMember(plane, org, await idOf(helper), 'viewer');
    const role = await addMemberWith(plane, org, await idOf(await node.stranger.newUser('x@example.org')), [
      'jobs.read',
    ]);
    await rows(
      plane,
      'INSERT INTO registry.group_roles (group_id, user_id, org, custom_role) VALUES ($1, $2, $3, $4)',
      [above.id, await idOf(helper), org, role],
    );
    const deletes = await policy(allow('things*', 'things.delete'));
    expect(await attach(deletes.id, 'role', role)).toBe(201);
    // Who has the role in a group only has the policy there only.
    const may = async (asker: Asker, thing: string): Promise<boolean> => {
      const subject = { user: await idOf(asker) };
      const body = { subject, action: 'things.delete', resource: `things/${thing}` };
      return (await owner.call('POST', `/policies/simulate?org=${org}`, body)).body.allowed;
    };
    expect(await may(helper, inside.id)).toBe(true);
    expect(await may(helper, outside.id)).toBe(false);
    expect(await may(viewer, inside.id)).toBe(false);
    expect(await attach(deletes.id, 'role', 'viewer')).toBe(201);
    expect(await may(viewer, outside.id)).toBe(true);
  });

  test('does not pass to a thing that is made under the id of a role', async () => {
    const role = await addMemberWith(plane, org, await idOf(await node.stranger.newUser('y@example.org')), [
      'jobs.read',
    ]);
    const channel = await made(owner, '/channels');
    const open = await policy(allow(`channels/${channel.id}/messages*`, 'publish'));
    await attach(open.id, 'role', role);
    const thing = await made(owner, '/things', { id: role });
    expect(await decided(node, thing.key, 'publish', channel.id)).toBe('not_allowed');
  });

  test('does not outlive what it was attached to', async () => {
    const channel = await made(owner, '/channels');
    const open = await policy(allow(`channels/${channel.id}/messages*`, 'publish'));
    const { id } = await made(owner, '/things');
    await attach(open.id, 'thing', id);
    await owner.call('DELETE', `/things/${id}?cascade=true`);
    const again = await made(owner, '/things', { id });
    expect(await decided(node, again.key, 'publish', channel.id)).toBe('not_allowed');
    expect((await owner.call('GET', `/policies/${open.id}/attachments`)).body.total).toBe(0);
  });
});

describe('versions', () => {
  let other: Node;
  beforeEach(async () => {
    other ??= await plane.node();
  });

  test('go forward and back, with effect on both of two nodes', async () => {
    const thing = await made(owner, '/things');
    const channel = await made(owner, '/channels');
    const both = async (wanted: string): Promise<void> => {
      expect(await decided(node, thing.key, 'publish', channel.id)).toBe(wanted);
      await comesToBe(() => decided(other, thing.key, 'publish', channel.id), wanted);
    };
    await both('not_allowed');
    const { id } = await policy(allow(`channels/${channel.id}/messages*`, 'publish'));
    await attach(id, 'thing', thing.id);
    await both('allow');
    const second = await owner.call('PATCH', `/policies/${id}`, { statements: [deny('*', 'publish')] });
    expect(second.body).toMatchObject({ statements_version: 2, version: 2 });
    expect(second.headers.get('etag')).toBe('"2"');
    await both('denied_by_policy');
    expect((await owner.call('PATCH', `/policies/${id}`, { name: 'renamed' })).body).toMatchObject({
      statements_version: 2,
      version: 3,
    });
    const back = await owner.call('POST', `/policies/${id}/rollback`, { version: 1 });
    expect(back.body).toMatchObject({ statements_version: 3, name: 'renamed' });
    await both('allow');
    const { body } = await owner.call('GET', `/policies/${id}/versions`);
    expect(body).toMatchObject({ total: 3, versions: [{ version: 3 }, { version: 2 }, { version: 1 }] });
    expect(body.versions[1].author).toBe(await idOf(owner));
    expect((await owner.call('GET', `/policies/${id}/versions/2`)).body.statements).toEqual([deny('*', 'publish')]);
    for (const version of ['4', '0', 'x', '1e3'])
      expect((await owner.call('GET', `/policies/${id}/versions/${version}`)).status).toBe(404);
    expect((await owner.call('POST', `/policies/${id}/rollback`, { version: 9 })).status).toBe(404);
  });

  test('are not written over: who changed an older one is told', async () => {
    const { id } = await policy(allow('things', 'things.list'));
    const patch = (match: string) =>
      owner.call('PATCH', `/policies/${id}`, { description: match }, { 'if-match': match });
    expect((await patch('"1"')).status).toBe(200);
    expect((await patch('"1"')).status).toBe(412);
    expect((await patch('1')).status).toBe(400);
    expect((await owner.call('DELETE', `/policies/${id}`, undefined, { 'if-match': '"1"' })).status).toBe(412);
    expect((await owner.call('DELETE', `/policies/${id}`, undefined, { 'if-match': '"2"' })).status).toBe(204);
  });
});

describe('the documents', () => {
  test('are refused by the path of what is wrong', async () => {
    const told = async (statement: object): Promise<string> => {
      const answered = await owner.call('POST', '/policies', { name: 'wrong', statements: [statement] });
      expect(answered.status).toBe(422);
      return answered.body.detail as string;
    };
    const right = allow('things', 'things.list');
    for (const [statement, path] of [
      [{ ...right, actions: ['things.lsit'] }, 'statements.0.actions.0'],
      [{ ...right, actions: ['nothings.list'] }, 'statements.0.actions.0'],
      [{ ...right, actions: [] }, 'statements.0.actions'],
      [{ ...right, effect: 'maybe' }, 'statements.0.effect'],
      [{ ...right, resources: ['nowhere/*'] }, 'statements.0.resources.0'],
      [{ ...right, resources: ['things/a*b'] }, 'statements.0.resources.0'],
      [{ ...right, resources: ['channels/kitchen/messages'] }, 'statements.0.resources.0'],
      [{ ...right, resources: ['group:x/things/*'] }, 'statements.0.resources.0'],
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of a policy
      [{ ...right, resources: ['things/${thing.key}'] }, 'statements.0.resources.0'],
      [{ ...right, resources: ['things//x'] }, 'statements.0.resources.0'],
      [{ ...right, condition: { protocl: ['mqtt'] } }, 'statements.0.condition.protocl'],
      [{ ...right, condition: { address: ['10.0.0.0/33'] } }, 'statements.0.condition.address.0'],
      [{ ...right, condition: { hours: { from: '24:00', to: '06:00' } } }, 'statements.0.condition.hours.from'],
      [{ ...right, condition: { time: {} } }, 'statements.0.condition.time'],
      [{ ...right, condition: { not: { tls: 'yes' } } }, 'statements.0.condition.not.tls'],
      [{ ...right, condition: { subtopic: ['a#'] } }, 'statements.0.condition.subtopic.0'],
    ] as const)
      expect(await told(statement)).toContain(`${path}:`);
    const many = {
      ...right,
      resources: Array.from({ length: 100 }, (_, index) => `things/${'x'.repeat(30)}${index}*`),
    };
    expect((await owner.call('POST', '/policies', { name: 'big', statements: Array(11).fill(many) })).status).toBe(422);
  });

  test('are found, paged and named once', async () => {
    const asker = await node.stranger.newUser('lister@example.org');
    const statements = [allow('things', 'things.list')];
    const bulk = await asker.call('POST', '/policies/bulk', [
      { name: 'b', statements, tags: ['t'], metadata: { n: 1 } },
      { name: 'a', statements },
      { name: 'c', statements, enabled: false },
    ]);
    expect(bulk.body.policies.map(({ name }: { name: string }) => name)).toEqual(['b', 'a', 'c']);
    expect((await asker.call('POST', '/policies', { name: 'a', statements })).status).toBe(409);
    const first = (await asker.call('GET', '/policies?order=name&dir=asc&limit=2')).body;
    expect(first.policies.map(({ name }: { name: string }) => name)).toEqual(['a', 'b']);
    const next = (await asker.call('GET', `/policies?limit=2&cursor=${first.cursor}`)).body;
    expect(next.policies.map(({ name }: { name: string }) => name)).toEqual(['c']);
    expect((await asker.call('GET', '/policies?tag=t')).body.total).toBe(1);
    expect((await asker.call('GET', '/policies?status=disabled')).body.total).toBe(1);
    expect((await asker.call('GET', `/policies?metadata=${encodeURIComponent('{"n":1}')}`)).body.total).toBe(1);
  });

  test('are deleted with what they are attached to only when that is said', async () => {
    const thing = await made(owner, '/things');
    const { id } = await policy(allow('things', 'things.list'));
    await attach(id, 'thing', thing.id);
    expect((await owner.call('DELETE', `/policies/${id}`)).status).toBe(409);
    const gone = await owner.call('DELETE', `/policies/${id}?cascade=true`, undefined, {
      prefer: 'return=representation',
    });
    expect([gone.status, gone.body]).toEqual([200, { deleted: { attachments: 1 } }]);
    expect((await owner.call('GET', `/policies/${id}`)).status).toBe(404);
  });

  test('are at most fifty on one target', async () => {
    const thing = await made(owner, '/things');
    const statements = [allow('things', 'things.list')];
    const all = Array.from({ length: 51 }, (_, index) => ({ name: `of fifty ${index}`, statements }));
    const { policies } = (await owner.call('POST', '/policies/bulk', all)).body;
    const answers: number[] = [];
    for (const { id } of policies) answers.push(await attach(id, 'thing', thing.id));
    expect(answers.filter((status) => status === 201)).toHaveLength(50);
    expect(answers.at(-1)).toBe(409);
  });

  test('of others are not there: 404 for each way to ask', async () => {
    const stranger = await node.stranger.newUser('stranger@example.org');
    const mine = await made(stranger, '/policies', { name: 'mine', statements: [allow('things', 'things.list')] });
    const { id } = await policy(allow('things', 'things.list'));
    const thing = await made(owner, '/things');
    for (const [method, path, body] of [
      ['GET', `/policies/${id}`],
      ['PATCH', `/policies/${id}`, { name: 'x' }],
      ['DELETE', `/policies/${id}`],
      ['POST', `/policies/${id}/disable`],
      ['GET', `/policies/${id}/versions`],
      ['POST', `/policies/${id}/rollback`, { version: 1 }],
      ['GET', `/policies/${id}/attachments`],
      ['PUT', `/policies/${id}/attachments/thing/${thing.id}`],
      ['PUT', `/policies/${mine.id}/attachments/thing/${thing.id}`],
      ['PUT', `/policies/${mine.id}/attachments/user/${await idOf(owner)}`],
      ['PUT', `/policies/${mine.id}/attachments/kitchen/${thing.id}`],
      ['PUT', `/policies/${mine.id}/attachments/thing/no-id`],
      ['GET', `/things/${thing.id}/policies`],
      ['GET', `/policies?org=${org}`],
      ['POST', `/policies?org=${org}`, { name: 'x', statements: [allow('things', 'things.list')] }],
    ] as const)
      expect([method, path, (await stranger.call(method, path, body)).status]).toEqual([method, path, 404]);
  });
});
