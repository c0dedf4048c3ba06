import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WAIT_MS } from './mailbox.ts';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

let plane: ControlPlane;
let here: Node;
let there: Node;
let admin: Asker;
let owner: Asker;
let stranger: Asker;

beforeAll(async () => {
  plane = await startControlPlane();
  [here, there] = [await plane.node({ MILLRACE_ORGS_PER_USER_MAX: 8 }), await plane.node()];
  admin = await here.stranger.asUser(ADMIN.email, ADMIN.password);
  owner = await here.stranger.newUser('owner@example.org');
  stranger = await here.stranger.newUser('stranger@example.org');
});
afterAll(() => plane?.dispose());

const make = async (body: Record<string, unknown>, by = owner) => (await by.call('POST', '/orgs', body)).body;

describe('an organisation', () => {
  test('is made, found by id or alias, changed by version, and deleted', async () => {
    const id = '11111111-2222-4333-8444-555555555555';
    const made = await owner.call('POST', '/orgs', {
      id,
      name: 'Mill',
      alias: 'mill',
      metadata: { river: 'Neckar' },
      tags: ['a'],
    });
    expect(made.status).toBe(201);
    expect([made.headers.get('location'), made.headers.get('etag')]).toEqual([`/orgs/${id}`, '"1"']);
    expect(made.body).toMatchObject({ id, alias: 'mill', frozen: false, version: 1, metadata: { river: 'Neckar' } });
    expect((await owner.call('GET', '/orgs/mill')).body).toEqual(made.body);
    const path = `/orgs/${id}`;
    const changed = await owner.call('PATCH', path, { name: 'Race', alias: null }, { 'if-match': '"1"' });
    expect(changed.body).toMatchObject({ name: 'Race', alias: null, version: 2, tags: ['a'] });
    expect((await owner.call('PATCH', path, { name: 'late' }, { 'if-match': '"1"' })).status).toBe(412);
    expect((await owner.call('PATCH', path, { frozen: true })).body.detail).toContain('frozen: unknown field');
    const things = (await owner.call('POST', `/things?org=${id}`, { name: 'x' })).status;
    expect(things).toBe(201);
    const refused = await owner.call('DELETE', path);
    expect([refused.status, refused.body.detail]).toMatchObject([409, expect.stringContaining('things 1')]);
    const gone = await owner.call('DELETE', `${path}?cascade=true`, undefined, { prefer: 'return=representation' });
    expect([gone.status, gone.body]).toMatchObject([200, { deleted: { things: 1, members: 1 } }]);
    expect((await owner.call('GET', path)).status).toBe(404);
  });

  test('has an id and an alias that no other has', async () => {
    const { id } = await make({ name: 'first', alias: 'taken' });
    const conflicts = await Promise.all([
      stranger.call('POST', '/orgs', { name: 'second', alias: 'taken' }),
      stranger.call('POST', '/orgs', { name: 'second', id }),
      owner.call('PATCH', `/orgs/${(await make({ name: 'third' })).id}`, { alias: 'taken' }),
    ]);
    expect(conflicts.map(({ status }) => status)).toEqual([409, 409, 409]);
    expect(conflicts[0]?.body.detail).toBe('Another organisation has this alias.');
    expect((await owner.call('POST', '/orgs', { name: 'x', alias: id })).status).toBe(422);
  });

  test('is listed to its members; administrators see all', async () => {
    const { id } = await make({ name: 'Listed one', tags: ['listed'], metadata: { a: { b: 1 } } });
    for (const query of ['name=listed', 'tag=listed', 'metadata={"a":{"b":1}}']) {
      const ids = async (asker: Asker) =>
        (await asker.call('GET', `/orgs?${encodeURI(query)}`)).body.orgs.map((org: { id: string }) => org.id);
      expect([query, await ids(owner), await ids(stranger), await ids(admin)]).toEqual([query, [id], [], [id]]);
    }
  });

  test('of somebody else does not exist, whatever is asked of it', async () => {
    const { id } = await make({ name: 'hidden', alias: 'hidden' });
    for (const [method, path, body] of [
      ['GET', `/orgs/${id}`, undefined],
      ['GET', '/orgs/hidden', undefined],
      ['PATCH', `/orgs/${id}`, { name: 'mine' }],
      ['DELETE', `/orgs/${id}?cascade=true`, undefined],
      ['POST', `/orgs/${id}/freeze`, undefined],
      ['POST', `/orgs/${id}/unfreeze`, undefined],
      ['GET', `/orgs/${id}/members`, undefined],
      ['GET', `/orgs/${id}/invitations`, undefined],
      ['POST', `/orgs/${id}/invitations`, { email: 'me@example.org', role: 'owner' }],
      ['GET', `/roles?org=${id}`, undefined],
      ['POST', `/roles?org=${id}`, { name: 'r', actions: ['*'] }],
    ] as const) {
      const absent = path.replace(id, '00000000-0000-4000-8000-000000000000').replace('hidden', 'no-such');
      const [seen, nothing] = [await stranger.call(method, path, body), await stranger.call(method, absent, body)];
      expect([path, seen.status, seen.body.detail]).toEqual([path, 404, nothing.body.detail]);
    }
  });

  test('can be owned only so many times by one user, who is told', async () => {
    const user = await here.stranger.newUser('collector@example.org');
    const statuses = await Promise.all(
      Array.from({ length: 12 }, async (_, index) => (await user.call('POST', '/orgs', { name: `n${index}` })).status),
    );
    // The one that they got at their registration counts too.
    expect(statuses.filter((status) => status === 201)).toHaveLength(7);
    expect((await user.call('POST', '/orgs', { name: 'more' })).body.detail).toContain('MILLRACE_ORGS_PER_USER_MAX');
  });

  test('is needed by who asks for things: without one there is advice, no fault', async () => {
    const user = await here.stranger.newUser('alone@example.org');
    const [{ id }] = (await user.call('GET', '/orgs')).body.orgs;
    expect((await user.call('DELETE', `/orgs/${id}`)).status).toBe(204);
    const answer = await user.call('GET', '/things');
    expect([answer.status, answer.body.detail]).toMatchObject([404, expect.stringContaining('organisation')]);
    expect((await user.call('GET', '/users/me')).body.orgs).toEqual([]);
  });
});

test('an organisation that has everything is deleted with all of it', async () => {
  const { id: org } = await make({ name: 'full' });
  const ask = async (method: string, path: string, body?: unknown) => {
    const answer = await owner.call(method, path, body);
    expect([method, path, answer.status < 300, answer.body?.detail]).toEqual([method, path, true, undefined]);
    return answer.body;
  };
  const of = `?org=${org}`;
  const me = await ask('GET', '/users/me');
  const top = await ask('POST', `/groups${of}`, { name: 'top' });
  const below = await ask('POST', `/groups${of}`, { name: 'below', parent_id: top.id });
  const gateway = await ask('POST', `/things${of}`, { type: 'gateway', group_id: below.id });
  const thing = await ask('POST', `/things${of}`, { gateway: gateway.id, group_id: top.id });
  const channel = await ask('POST', `/channels${of}`, { group_id: below.id });
  await ask('POST', '/connect', { thing_ids: [thing.id], channel_ids: [channel.id] });
  const role = await ask('POST', `/roles${of}`, { name: 'reader', actions: ['things.read'] });
  await ask('PUT', `/groups/${below.id}/roles/${me.id}`, { role_id: role.id });
  await ask('POST', `/orgs/${org}/invitations`, { email: 'invited@example.org', role_id: role.id });
  const statements = [{ effect: 'allow', actions: ['things.read'], resources: ['things/*'] }];
  const policy = await ask('POST', `/policies${of}`, { name: 'p', statements });
  await ask('PUT', `/policies/${policy.id}/attachments/thing/${thing.id}`);
  await ask('POST', `/keys${of}`, { name: 'k', grants: [{ actions: ['things.read'], resources: ['*'] }] });
  const gone = await owner.call('DELETE', `/orgs/${org}?cascade=true`);
  expect([gone.status, gone.headers.get('deleted')]).toEqual([
    204,
    'things=2, channels=1, groups=2, policies=1, roles=1, api_keys=1, members=1',
  ]);
  for (const path of [`/groups/${top.id}`, `/things/${thing.id}`, `/roles/${role.id}`, `/policies/${policy.id}`])
    expect([path, (await admin.call('GET', path)).status]).toEqual([path, 404]);
});

describe('a frozen organisation', () => {
  test('lets nothing in or out on any node, keeps all of it, and goes on when it is unfrozen', async () => {
    const { id: org } = await make({ name: 'to freeze' });
    const thing = (await owner.call('POST', `/things?org=${org}`, { name: 'sensor' })).body;
    const channel = (await owner.call('POST', `/channels?org=${org}`, { name: 'air' })).body;
    await owner.call('POST', '/connect', { channel_ids: [channel.id], thing_ids: [thing.id] });
    const messages = `/channels/${channel.id}/messages`;
    const devices = [here, there].map((node) => node.stranger.as(`Thing ${thing.key}`));
    const people = [owner, await there.stranger.asUser('owner@example.org', 'a good password')];
    for (const asker of [...devices, ...people]) await becomes(asker, messages, 200);

    const frozen = await owner.call('POST', `/orgs/${org}/freeze`);
    expect([frozen.status, frozen.body.frozen]).toEqual([200, true]);
    expect((await owner.call('POST', `/orgs/${org}/freeze`)).body.version).toBe(frozen.body.version);
    for (const asker of devices) await becomes(asker, messages, 401);
    for (const asker of people) {
      await becomes(asker, messages, 403);
      expect((await asker.call('GET', messages)).body.detail).toContain('frozen');
      await becomes(asker, `/dead-letters?org=${org}`, 403);
      expect((await asker.call('GET', `/things/${thing.id}`)).body).toMatchObject({ id: thing.id, enabled: true });
      expect((await asker.call('GET', `/orgs/${org}/members`)).status).toBe(200);
      for (const [method, path, body] of [
        ['POST', `/things?org=${org}`, { name: 'new' }],
        ['PATCH', `/things/${thing.id}`, { name: 'new' }],
        ['DELETE', `/channels/${channel.id}`, undefined],
        ['POST', '/disconnect', { channel_ids: [channel.id], thing_ids: [thing.id] }],
      ] as const) {
        const answer = await asker.call(method, path, body);
        expect([path, answer.status, answer.body.detail]).toEqual([path, 409, expect.stringContaining('frozen')]);
      }
    }
    const [principal] = await Promise.all([there.gate.identify({ kind: 'key', key: thing.key })]);
    expect(principal).toEqual({ kind: 'refused', reason: 'disabled' });

    expect((await owner.call('POST', `/orgs/${org}/unfreeze`)).body.frozen).toBe(false);
    for (const asker of [...devices, ...people]) await becomes(asker, messages, 200);
    expect((await owner.call('GET', `/things/${thing.id}/channels`)).body.total).toBe(1);
  });

  test('is a matter of its owners: no administrator, editor or stranger freezes or deletes it', async () => {
    const { id: org } = await make({ name: 'guarded' });
    for (const role of ['admin', 'editor', 'viewer']) {
      const email = `guarded-${role}@example.org`;
      const user = await here.stranger.newUser(email);
      const { id } = (await user.call('GET', '/users/me')).body;
      expect((await admin.call('PUT', `/orgs/${org}/members/${id}`, { role })).status).toBe(200);
      for (const [method, path] of [
        ['POST', `/orgs/${org}/freeze`],
        ['POST', `/orgs/${org}/unfreeze`],
        ['DELETE', `/orgs/${org}?cascade=true`],
      ] as const)
        expect([role, path, (await user.call(method, path)).status]).toEqual([role, path, 403]);
    }
    expect((await admin.call('POST', `/orgs/${org}/freeze`)).body.frozen).toBe(true);
    expect((await owner.call('DELETE', `/orgs/${org}?cascade=true`)).status).toBe(204);
  });

  test('what was deleted is out everywhere: its things are known by no node', async () => {
    const { id: org } = await make({ name: 'doomed' });
    const thing = (await owner.call('POST', `/things?org=${org}`, {})).body;
    const device = there.stranger.as(`Thing ${thing.key}`);
    const path = '/channels/00000000-0000-4000-8000-000000000000/messages';
    await becomes(device, path, 404);
    await owner.call('DELETE', `/orgs/${org}?cascade=true`);
    await becomes(device, path, 401);
    await becomes(await there.stranger.asUser('owner@example.org', 'a good password'), `/things/${thing.id}`, 404);
  });
});

const becomes = (asker: Asker, path: string, status: number) =>
  expect
    .poll(async () => (await asker.call('GET', path)).status, { timeout: WAIT_MS, interval: 20, message: path })
    .toBe(status);
