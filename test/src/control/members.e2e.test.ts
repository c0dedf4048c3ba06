import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WAIT_MS } from './mailbox.ts';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

interface Somebody extends Pick<Asker, 'call'> {
  readonly id: string;
  readonly asker: Asker;
}

let plane: ControlPlane;
let here: Node;
let there: Node;
let root: Asker;
let org: string;
let owner: Somebody;
let count = 0;

beforeAll(async () => {
  plane = await startControlPlane();
  [here, there] = [await plane.node(), await plane.node()];
  root = await here.stranger.asUser(ADMIN.email, ADMIN.password);
  owner = await somebody();
  org = (await owner.call('POST', '/orgs', { name: 'of the members' })).body.id;
});
afterAll(() => plane?.dispose());

async function somebody(role?: Record<string, unknown>): Promise<Somebody> {
  const email = `somebody${++count}@example.org`;
  const asker = await here.stranger.newUser(email);
  const { id } = (await asker.call('GET', '/users/me')).body;
  if (role !== undefined) {
    const put = await root.call('PUT', `/orgs/${org}/members/${id}`, role);
    if (put.status !== 200) throw new Error(JSON.stringify(put.body));
  }
  return { id, asker, call: (...parameters) => asker.call(...parameters) };
}
const give = (by: Pick<Asker, 'call'>, to: { id: string }, role: Record<string, unknown>) =>
  by.call('PUT', `/orgs/${org}/members/${to.id}`, role);
const role = async (actions: string[], by: Pick<Asker, 'call'> = owner) =>
  by.call('POST', `/roles?org=${org}`, { name: `role${++count}`, actions });
const becomes = (asker: Pick<Asker, 'call'>, method: string, path: string, status: number, body?: unknown) =>
  expect
    .poll(async () => (await asker.call(method, path, body)).status, { timeout: WAIT_MS, interval: 20, message: path })
    .toBe(status);

describe('members', () => {
  test('are listed with their roles, to members alone', async () => {
    const viewer = await somebody({ role: 'viewer' });
    const { body } = await viewer.call('GET', `/orgs/${org}/members?role=viewer&order=name`);
    expect(body.members).toContainEqual(expect.objectContaining({ id: viewer.id, role: 'viewer', role_id: null }));
    expect((await viewer.call('GET', `/orgs/${org}/members/${owner.id}`)).body).toMatchObject({ role: 'owner' });
    expect((await (await somebody()).call('GET', `/orgs/${org}/members/${owner.id}`)).status).toBe(404);
    const outside = await somebody();
    expect((await viewer.call('GET', `/orgs/${org}/members/${outside.id}`)).status).toBe(404);
  });

  test('who is taken out has nothing there any more, on any node, with their keys and roles in groups', async () => {
    const editor = await somebody({ role: 'editor' });
    const elsewhere = there.stranger.as(`Bearer ${await tokenOf(editor)}`);
    const thing = (await editor.call('POST', `/things?org=${org}`, {})).body;
    await becomes(elsewhere, 'GET', `/things/${thing.id}`, 200);
    const grants = [{ actions: ['things.read'], resources: ['*'] }];
    const key = await editor.call('POST', `/keys?org=${org}`, { name: 'k', grants });
    expect(key.status).toBe(201);
    const gone = await owner.call('DELETE', `/orgs/${org}/members/${editor.id}`);
    expect([gone.status, gone.headers.get('deleted')]).toEqual([204, 'api_keys=1']);
    expect((await editor.call('GET', `/things/${thing.id}`)).status).toBe(404);
    await becomes(elsewhere, 'GET', `/things/${thing.id}`, 404);
    expect((await owner.call('DELETE', `/orgs/${org}/members/${editor.id}`)).status).toBe(404);
  });

  test('may leave, but not the last owner, also when two leave at once', async () => {
    const viewer = await somebody({ role: 'viewer' });
    expect((await viewer.call('DELETE', `/orgs/${org}/members/${viewer.id}`)).status).toBe(204);
    expect((await viewer.call('GET', `/orgs/${org}`)).status).toBe(404);
    const [one, two] = [await somebody(), await somebody()];
    const { id } = (await one.call('POST', '/orgs', { name: 'of two' })).body;
    expect((await one.call('DELETE', `/orgs/${id}/members/${one.id}`)).status).toBe(409);
    expect((await one.call('PUT', `/orgs/${id}/members/${one.id}`, { role: 'viewer' })).status).toBe(409);
    await root.call('PUT', `/orgs/${id}/members/${two.id}`, { role: 'owner' });
    const left = await Promise.all([one, two].map((each) => each.call('DELETE', `/orgs/${id}/members/${each.id}`)));
    expect(left.map(({ status }) => status).sort()).toEqual([204, 409]);
  });

  test('are made by invitation, not by their id, unless the installation’s administrator does it', async () => {
    const outside = await somebody();
    expect((await give(owner, outside, { role: 'viewer' })).status).toBe(404);
    expect((await give(root, outside, { role: 'viewer' })).status).toBe(200);
    expect((await give(root, { id: '00000000-0000-4000-8000-000000000000' }, { role: 'viewer' })).status).toBe(404);
    expect((await give(owner, outside, { role: 'viewer', role_id: outside.id })).status).toBe(422);
    expect((await give(owner, outside, { role_id: outside.id })).status).toBe(422);
  });
});

describe('nobody gives more than they have', () => {
  test('an admin makes no owners and touches none; an editor and a viewer give nothing at all', async () => {
    const [admin, editor, viewer] = [
      await somebody({ role: 'admin' }),
      await somebody({ role: 'editor' }),
      await somebody({ role: 'viewer' }),
    ];
    for (const [by, to, given] of [
      [admin, admin, 'owner'],
      [admin, viewer, 'owner'],
      [admin, owner, 'viewer'],
      [editor, editor, 'admin'],
      [editor, viewer, 'viewer'],
      [viewer, viewer, 'owner'],
    ] as const)
      expect((await give(by, to, { role: given })).status).toBe(403);
    expect((await admin.call('DELETE', `/orgs/${org}/members/${owner.id}`)).status).toBe(403);
    expect(
      (await admin.call('POST', `/orgs/${org}/invitations`, { email: 'x@example.org', role: 'owner' })).status,
    ).toBe(403);
    expect((await give(admin, viewer, { role: 'editor' })).body.role).toBe('editor');
    expect((await give(admin, viewer, { role: 'admin' })).body.role).toBe('admin');
    expect((await give(owner, viewer, { role: 'owner' })).body.role).toBe('owner');
    expect((await give(viewer, viewer, { role: 'viewer' })).body.role).toBe('viewer');
  });

  test('who may manage roles and members by a role of the organisation’s own can not climb by it', async () => {
    const { body: made } = await role(['roles.*', 'members.*', 'things.read', 'orgs.read']);
    const manager = await somebody({ role_id: made.id });
    expect((await manager.call('GET', `/orgs/${org}/members/${manager.id}`)).body).toMatchObject({
      role: made.name,
      role_id: made.id,
    });
    const tries = [
      role(['*'], manager),
      role(['things.*'], manager),
      role(['*.read'], manager),
      role(['publish'], manager),
      manager.call('PATCH', `/roles/${made.id}`, { actions: ['roles.*', 'members.*', 'things.*'] }),
      give(manager, manager, { role: 'viewer' }),
      give(manager, manager, { role: 'admin' }),
      give(manager, manager, { role: 'owner' }),
    ];
    expect((await Promise.all(tries)).map(({ status }) => status)).toEqual(tries.map(() => 403));
    const reader = await role(['things.read'], manager);
    expect(reader.status).toBe(201);
    expect((await give(manager, manager, { role_id: reader.body.id })).status).toBe(200);
    // That was a way down, and there is none back.
    expect((await give(manager, manager, { role_id: made.id })).status).toBe(403);
  });

  test('roles of other organisations can be neither seen nor given', async () => {
    const other = await somebody();
    const own = (await other.call('POST', '/orgs', { name: 'other' })).body.id;
    const foreign = (await other.call('POST', `/roles?org=${own}`, { name: 'foreign', actions: ['*'] })).body;
    expect(foreign.id).toBeDefined();
    for (const [method, path, body] of [
      ['GET', `/roles/${foreign.id}`, undefined],
      ['PATCH', `/roles/${foreign.id}`, { name: 'x' }],
      ['DELETE', `/roles/${foreign.id}?cascade=true`, undefined],
    ] as const)
      expect([method, (await owner.call(method, path, body)).status]).toEqual([method, 404]);
    expect((await give(owner, owner, { role_id: foreign.id })).status).toBe(422);
  });
});

describe('roles of an organisation’s own', () => {
  test('hold known actions, under a name of their own', async () => {
    for (const actions of [
      [],
      ['things'],
      ['thing.read'],
      ['things.read*'],
      ['things.'],
      ['*things.read'],
      ['publish.x'],
    ])
      expect([actions, (await role(actions)).status]).toEqual([actions, 422]);
    expect((await role(['publish', 'subscribe', 'things.*', '*.read', '*.*', '*'])).status).toBe(201);
    const post = (name: string) => owner.call('POST', `/roles?org=${org}`, { name, actions: ['publish'] });
    expect((await post('Owner')).status).toBe(422);
    expect((await post('operator')).status).toBe(201);
    expect((await post('operator')).status).toBe(409);
  });

  test('changing one takes effect at once for who has it, on every node', async () => {
    const { body: made } = await role(['things.read', 'things.list']);
    const user = await somebody({ role_id: made.id });
    const elsewhere = there.stranger.as(`Bearer ${await tokenOf(user)}`);
    const things = `/things?org=${org}`;
    expect((await user.call('GET', things)).status).toBe(200);
    await becomes(elsewhere, 'GET', things, 200);
    expect((await user.call('POST', things, {})).status).toBe(403);
    const path = `/roles/${made.id}`;
    const changed = await owner.call('PATCH', path, { actions: ['things.create'] }, { 'if-match': '"1"' });
    expect(changed.body).toMatchObject({ version: 2, actions: ['things.create'] });
    expect((await user.call('POST', things, {})).status).toBe(201);
    await becomes(elsewhere, 'POST', things, 201, {});
    expect((await owner.call('PATCH', path, { actions: ['*'] }, { 'if-match': '"1"' })).status).toBe(412);
  });

  test('one that somebody has is deleted only with cascade, and takes the membership along', async () => {
    const { body: made } = await role(['things.read']);
    const user = await somebody({ role_id: made.id });
    await owner.call('POST', `/orgs/${org}/invitations`, { email: 'later@example.org', role_id: made.id });
    const refused = await owner.call('DELETE', `/roles/${made.id}`);
    expect([refused.status, refused.body.detail]).toMatchObject([409, expect.stringContaining('members 1')]);
    expect((await user.call('GET', `/orgs/${org}/members/${user.id}`)).status).toBe(403);
    const gone = await owner.call('DELETE', `/roles/${made.id}?cascade=true`);
    expect([gone.status, gone.headers.get('deleted')]).toEqual([204, 'invitations=1, members=1']);
    expect((await user.call('GET', `/orgs/${org}/members/${user.id}`)).status).toBe(404);
  });
});

const tokenOf = async (user: Somebody): Promise<string> => {
  const { email } = (await user.call('GET', '/users/me')).body;
  return (await here.stranger.call('POST', '/tokens', { email, password: 'a good password' })).body.token;
};
