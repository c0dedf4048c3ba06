import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addMember, addMemberWith, idOf, made, orgOf } from './access-world.ts';
import { ADMIN, type Answered, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

let plane: ControlPlane;
let node: Node;
let owner: Asker;
let org: string;
let people = 0;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
  owner = await node.stranger.newUser('owner@example.org');
  org = await orgOf(owner);
});
afterAll(async () => plane?.dispose());

const allow = (resource: string, ...actions: string[]) => ({ effect: 'allow', actions, resources: [resource] });
const deny = (resource: string, ...actions: string[]) => ({ effect: 'deny', actions, resources: [resource] });
const policy = (asker: Asker, name: string, ...statements: object[]) =>
  made(asker, `/policies?org=${org}`, { name, statements });
const attach = (asker: Asker, id: string, kind: string, target: string): Promise<Answered> =>
  asker.call('PUT', `/policies/${id}/attachments/${kind}/${target}`);

/** Somebody who is in the organisation, by a built-in role or by actions. */
async function member(role: string | readonly string[]): Promise<Asker> {
  const asker = await node.stranger.newUser(`member${++people}@example.org`);
  const user = await idOf(asker);
  if (typeof role === 'string') await addMember(plane, org, user, role);
  else await addMemberWith(plane, org, user, role);
  return asker;
}

describe('a simulation', () => {
  const simulate = async (body: object, asker = owner): Promise<Answered> =>
    asker.call('POST', `/policies/simulate?org=${org}`, body);

  test('names the statement of a policy, the connection or the role that decides', async () => {
    const thing = await made(owner, '/things');
    const channel = await made(owner, '/channels');
    const ask = async (subtopic: string, context?: object) =>
      (
        await simulate({
          subject: { thing: thing.id },
          action: 'publish',
          resource: `channels/${channel.id}/messages${subtopic}`,
          context,
        })
      ).body;
    expect(await ask('')).toEqual({ allowed: false, reason: 'not_allowed', statement: null });
    await owner.call('POST', '/connect', { channel_ids: [channel.id], thing_ids: [thing.id], types: ['publish'] });
    expect(await ask('')).toMatchObject({
      allowed: true,
      reason: 'allowed',
      statement: { source: { kind: 'connection', id: channel.id }, actions: ['publish'] },
    });
    const night = { ...deny('channels/*/messages/hall*', 'publish'), sid: 'night' };
    const { id } = await policy(owner, 'quiet', allow('things', 'things.list'), {
      ...night,
      condition: { hours: { from: '22:00', to: '06:00' }, mutual_tls: false },
    });
    await attach(owner, id, 'thing', thing.id);
    expect(await ask('/hall/door', { time: '2026-01-05T23:00:00Z', tls: true, protocol: 'mqtt' })).toEqual({
      allowed: false,
      reason: 'denied_by_policy',
      statement: {
        effect: 'deny',
        actions: ['publish'],
        resources: ['channels/*/messages/hall*'],
        condition: { hours: { from: '22:00', to: '06:00' }, mutual_tls: false },
        source: { kind: 'policy', id, name: 'quiet', version: 1, sid: 'night' },
      },
    });
    expect((await ask('/hall/door', { time: '2026-01-05T12:00:00Z' })).allowed).toBe(true);
    expect((await ask('/hall/door', { time: '2026-01-05T23:00:00Z', mutual_tls: true })).allowed).toBe(true);
    const user = await idOf(await member('viewer'));
    const read = { subject: { user }, action: 'things.read', resource: `things/${thing.id}` };
    expect((await simulate(read)).body).toMatchObject({
      allowed: true,
      statement: { source: { kind: 'role', name: 'viewer' } },
    });
  });

  test('says what the real gate says: absent, disabled, foreign', async () => {
    const thing = await made(owner, '/things');
    const channel = await made(owner, '/channels');
    const stranger = await node.stranger.newUser('elsewhere@example.org');
    const foreign = await made(stranger, '/channels');
    await owner.call('POST', '/connect', { channel_ids: [channel.id], thing_ids: [thing.id] });
    const ask = async (resource: string): Promise<string> =>
      (await simulate({ subject: { thing: thing.id }, action: 'publish', resource })).body.reason;
    expect(await ask(`channels/${foreign.id}/messages`)).toBe('no_such_resource');
    expect(await ask('channels/00000000-0000-4000-8000-000000000000/messages')).toBe('no_such_resource');
    await owner.call('POST', `/channels/${channel.id}/disable`);
    expect(await ask(`channels/${channel.id}/messages`)).toBe('resource_disabled');
    await owner.call('POST', `/channels/${channel.id}/enable`);
    await owner.call('POST', `/things/${thing.id}/disable`);
    expect(await ask(`channels/${channel.id}/messages`)).toBe('subject_disabled');
    const theirs = await made(stranger, '/things');
    const of = { action: 'publish', resource: `channels/${channel.id}/messages` };
    expect((await simulate({ subject: { thing: theirs.id }, ...of })).status).toBe(404);
    expect((await simulate({ subject: { user: await idOf(stranger) }, ...of })).status).toBe(404);
    expect((await simulate({ subject: { thing: thing.id }, ...of }, stranger)).status).toBe(404);
  });

  test('tries policies that are not saved', async () => {
    const thing = await made(owner, '/things');
    const body = { subject: { thing: thing.id }, action: 'things.list', resource: 'things' };
    const policies = [{ name: 'draft', statements: [allow('things', 'things.list')] }];
    expect((await simulate({ ...body, policies })).body).toMatchObject({
      allowed: true,
      statement: { source: { kind: 'draft', name: 'draft', sid: '0' }, resources: ['things'] },
    });
    expect((await simulate(body)).body.allowed).toBe(false);
  });

  test('of an API key keeps within its scope', async () => {
    const key = await made(owner, '/keys', {
      name: 'lister',
      grants: [{ actions: ['things.list'], resources: ['things'] }],
    });
    const ask = async (action: string): Promise<string> =>
      (await simulate({ subject: { api_key: key.id }, action, resource: 'things' })).body.reason;
    expect(await ask('things.list')).toBe('allowed');
    expect(await ask('things.create')).toBe('outside_scope');
    await owner.call('POST', `/keys/${key.id}/disable`);
    expect(await ask('things.list')).toBe('subject_disabled');
  });

  test('is for who may read policies, and about oneself for all', async () => {
    const reader = await member(['things.read']);
    const thing = await made(owner, '/things');
    const body = { action: 'things.read', resource: `things/${thing.id}` };
    expect((await simulate({ subject: { user: await idOf(owner) }, ...body }, reader)).status).toBe(403);
    expect((await simulate({ subject: { user: await idOf(reader) }, ...body }, reader)).body.allowed).toBe(true);
    for (const wrong of [
      { subject: { thing: 'x' } },
      { subject: {} },
      { subject: { user: thing.id, thing: thing.id } },
      { subject: { thing: thing.id }, action: 'things.*' },
      { subject: { thing: thing.id }, resource: 'things/*' },
      { subject: { thing: thing.id }, context: { address: '10.0.0.0/8' } },
    ])
      expect((await simulate({ ...body, ...wrong })).status).toBe(422);
  });
});

describe('nobody gives what they do not have', () => {
  test('an admin can not make owners of anybody by a policy, nor touch an owner', async () => {
    const admin = await member('admin');
    const viewer = await idOf(await member('viewer'));
    const everything = await policy(admin, 'everything', allow('*', '*'));
    const refused = await attach(admin, everything.id, 'user', viewer);
    expect([refused.status, refused.body.detail]).toEqual([403, expect.stringContaining('* on *')]);
    const keepsOut = await policy(admin, 'keeps out', deny('*', '*'));
    expect((await attach(admin, keepsOut.id, 'user', await idOf(owner))).status).toBe(403);
    expect((await attach(admin, keepsOut.id, 'role', 'owner')).status).toBe(403);
    expect((await attach(admin, keepsOut.id, 'user', viewer)).status).toBe(201);
    expect((await attach(owner, everything.id, 'user', await idOf(await member('viewer')))).status).toBe(201);
    // It is in force now: what it says is no more the admin's to change.
    const wider = { statements: [allow('*', '*'), allow('things', 'things.list')] };
    expect((await admin.call('PATCH', `/policies/${everything.id}`, wider)).status).toBe(403);
    expect((await admin.call('PATCH', `/policies/${everything.id}`, { description: 'all' })).status).toBe(200);
  });

  test('who may attach policies gives away no more than their own, now and later', async () => {
    const keeper = await member(['policies.*', 'things.read', 'things.list']);
    const user = await idOf(keeper);
    const within = await policy(keeper, 'within', allow('things/*', 'things.read'));
    expect((await attach(keeper, within.id, 'user', user)).status).toBe(201);
    const widened = { statements: [allow('things/*', 'things.delete')] };
    expect((await keeper.call('PATCH', `/policies/${within.id}`, widened)).status).toBe(403);
    const beyond = await policy(keeper, 'beyond', allow('things/*', 'things.delete'));
    expect((await attach(keeper, beyond.id, 'user', user)).status).toBe(403);
    // Disabled it may be written, but not enabled by them.
    expect((await keeper.call('POST', `/policies/${within.id}/disable`)).status).toBe(200);
    expect((await keeper.call('PATCH', `/policies/${within.id}`, widened)).status).toBe(200);
    expect((await keeper.call('POST', `/policies/${within.id}/enable`)).status).toBe(403);
    expect((await keeper.call('POST', `/policies/${within.id}/rollback`, { version: 1 })).status).toBe(200);
    expect((await keeper.call('POST', `/policies/${within.id}/enable`)).status).toBe(200);
    const conditional = await policy(owner, 'conditional', {
      ...allow('things/*', 'things.update'),
      condition: { protocol: ['http'] },
    });
    await attach(owner, conditional.id, 'user', user);
    const unconditional = await policy(keeper, 'unconditional', allow('things/*', 'things.update'));
    expect((await attach(keeper, unconditional.id, 'user', user)).status).toBe(403);
  });

  test('a role is given with what is attached to it: also that must be the giver’s', async () => {
    const giver = await member(['members.*', 'groups.*', 'things.read']);
    const [other, third] = [await idOf(await member('viewer')), await idOf(await member('viewer'))];
    const role = await made(owner, `/roles?org=${org}`, { name: 'keepers', actions: ['things.read'] });
    const group = await made(owner, `/groups?org=${org}`, { name: 'hall' });
    const put = async (path: string): Promise<number> => (await giver.call('PUT', path, { role_id: role.id })).status;
    expect(await put(`/orgs/${org}/members/${other}`)).toBe(200);
    expect(await put(`/groups/${group.id}/roles/${other}`)).toBe(200);
    const deletes = await policy(owner, 'keepers delete', allow('things/*', 'things.delete'));
    expect((await attach(owner, deletes.id, 'role', role.id)).status).toBe(201);
    expect(await put(`/orgs/${org}/members/${third}`)).toBe(403);
    expect(await put(`/groups/${group.id}/roles/${third}`)).toBe(403);
  });

  test('nobody lifts a deny that they are under', async () => {
    const keeper = await member(['policies.*', 'things.*']);
    const user = await idOf(keeper);
    const keepsOut = await policy(owner, 'no deletion', deny('things/*', 'things.delete'));
    await attach(owner, keepsOut.id, 'user', user);
    expect((await keeper.call('DELETE', `/policies/${keepsOut.id}/attachments/user/${user}`)).status).toBe(403);
    expect((await keeper.call('DELETE', `/policies/${keepsOut.id}?cascade=true`)).status).toBe(403);
    expect((await keeper.call('POST', `/policies/${keepsOut.id}/disable`)).status).toBe(403);
    const other = { statements: [deny('channels/*', 'channels.delete')] };
    expect((await keeper.call('PATCH', `/policies/${keepsOut.id}`, other)).status).toBe(403);
    expect((await owner.call('DELETE', `/policies/${keepsOut.id}?cascade=true`)).status).toBe(204);
  });

  test('who has only some of it is told 403, of another organisation 404', async () => {
    const viewer = await member('viewer');
    const { id } = await policy(owner, 'seen', allow('things', 'things.list'));
    expect((await viewer.call('GET', `/policies/${id}`)).status).toBe(200);
    expect((await viewer.call('PATCH', `/policies/${id}`, { name: 'x' })).status).toBe(403);
    expect((await viewer.call('PUT', `/policies/${id}/attachments/role/viewer`)).status).toBe(403);
    const stranger = await node.stranger.newUser('nobody@example.org');
    expect((await stranger.call('GET', `/policies/${id}`)).status).toBe(404);
  });
});

describe('what somebody may do is listed', () => {
  test('of a thing: by connections, policies and groups, and channel by channel', async () => {
    const lone = await node.stranger.newUser('lone@example.org');
    const thing = await made(lone, '/things');
    const channels = [];
    for (const name of ['a', 'b', 'c']) channels.push(await made(lone, '/channels', { name }));
    await lone.call('POST', '/connect', { channel_ids: [channels[0].id], thing_ids: [thing.id] });
    const { id } = await made(lone, '/policies', {
      name: 'reads',
      statements: [
        { ...allow(`channels/${channels[1].id}/messages*`, 'subscribe'), condition: { not: { tls: true } } },
      ],
    });
    await attach(lone, id, 'thing', thing.id);
    const { body } = await lone.call('GET', `/things/${thing.id}/access?limit=2`);
    expect(body).toMatchObject({
      enabled: true,
      administrator: false,
      total: 3,
      limit: 2,
      rules: [
        { effect: 'allow', actions: ['publish', 'subscribe'], source: { kind: 'connection', id: channels[0].id } },
        { actions: ['subscribe'], condition: { not: { tls: true } }, source: { kind: 'policy', id, name: 'reads' } },
      ],
      channels: [
        { name: 'a', publish: true, subscribe: true },
        { name: 'b', publish: false, subscribe: true },
      ],
    });
    const stranger = await node.stranger.newUser('curious@example.org');
    expect((await stranger.call('GET', `/things/${thing.id}/access`)).status).toBe(404);
    expect((await lone.call('GET', '/things/no-id/access')).status).toBe(404);
  });

  test('of a member', async () => {
    const viewer = await member('viewer');
    const user = await idOf(viewer);
    for (const asker of [owner, viewer]) {
      const { body } = await asker.call('GET', `/users/${user}/access?org=${org}`);
      expect(body.rules[0]).toMatchObject({
        effect: 'allow',
        resources: ['*'],
        source: { kind: 'role', name: 'viewer' },
      });
    }
    const other = await member(['things.read']);
    expect((await other.call('GET', `/users/${user}/access?org=${org}`)).status).toBe(403);
    const admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
    expect((await owner.call('GET', `/users/${await idOf(admin)}/access?org=${org}`)).status).toBe(404);
  });
});
