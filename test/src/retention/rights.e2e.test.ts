import { afterAll, beforeAll, expect, test } from 'vitest';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from '../control/plane.ts';

let plane: ControlPlane;
let node: Node;
let owner: Asker;
let org = '';
const people = new Map<string, Asker>();

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
  const administrator = await node.stranger.asUser(ADMIN.email, ADMIN.password);
  owner = await node.stranger.newUser('owner@example.org');
  org = (await owner.call('GET', '/orgs')).body.orgs[0].id;
  for (const role of ['admin', 'editor', 'viewer']) {
    const person = await node.stranger.newUser(`the-${role}@example.org`);
    const { id } = (await person.call('GET', '/users/me')).body;
    expect((await administrator.call('PUT', `/orgs/${org}/members/${id}`, { role })).status).toBeLessThan(300);
    people.set(role, person);
  }
  people.set('stranger', await node.stranger.newUser('stranger@example.org'));
}, 120_000);
afterAll(() => plane?.dispose(), 60_000);

const as = (role: string): Asker => people.get(role) as Asker;
const order = { all: true, what: 'all', reason: 'a test' };

test('owners and admins delete and hold; editors and viewers only look; strangers see nothing', async () => {
  const hold = { name: 'Case 1', publishers: ['5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0010'], reason: 'a test' };
  const held = await as('admin').call('POST', `/holds?org=${org}`, hold);
  expect(held.status).toBe(201);
  const conflict = await owner.call('POST', `/deletions?org=${org}`, order);
  expect(conflict).toMatchObject({ status: 409, body: { detail: expect.stringContaining('Case 1') } });
  for (const role of ['editor', 'viewer']) {
    expect((await as(role).call('POST', `/deletions?org=${org}`, order)).status).toBe(403);
    expect((await as(role).call('POST', `/holds?org=${org}`, hold)).status).toBe(403);
    expect((await as(role).call('DELETE', `/holds/${held.body.id}`)).status).toBe(403);
    expect((await as(role).call('GET', `/holds/${held.body.id}`)).status).toBe(200);
  }
  expect((await as('stranger').call('GET', `/holds/${held.body.id}`)).status).toBe(404);
  expect((await as('stranger').call('POST', `/deletions?org=${org}`, order)).status).toBe(404);
  expect((await as('stranger').call('GET', `/deletions?org=${org}`)).status).toBe(404);
  const released = await owner.call('DELETE', `/holds/${held.body.id}`);
  expect(released.body).toMatchObject({ released_at: expect.any(String), released_by: { name: 'owner@example.org' } });
  const made = await owner.call('POST', `/deletions?org=${org}`, order);
  expect(made).toMatchObject({ status: 202, body: { status: 'waiting', asked_by: { name: 'owner@example.org' } } });
  expect((await as('viewer').call('GET', `/deletions/${made.body.id}`)).status).toBe(200);
  expect((await as('stranger').call('GET', `/deletions/${made.body.id}`)).status).toBe(404);
  expect((await owner.call('GET', `/jobs/${made.body.id}`)).body).toMatchObject({ kind: 'deletions.create' });
});

test('a channel is deleted with its data only by who may delete data', async () => {
  const channel = async (): Promise<string> =>
    (await owner.call('POST', `/channels?org=${org}`, { name: 'to go' })).body.id;
  const [one, two] = [await channel(), await channel()];
  expect((await as('editor').call('DELETE', `/channels/${one}?data=delete`)).status).toBe(403);
  expect((await as('editor').call('DELETE', `/channels/${one}`)).status).toBe(204);
  expect((await owner.call('DELETE', `/channels/${two}?data=delete`)).status).toBe(204);
  const { body } = await owner.call('GET', `/deletions?org=${org}&limit=100`);
  const reached = body.deletions.flatMap((each: { request: { channels?: string[] } }) => each.request.channels ?? []);
  expect(reached).toContain(two);
  expect(reached).not.toContain(one);
});

test.each([
  ['neither channels nor all', { what: 'all', reason: 'x' }, 422],
  ['both', { ...order, channels: ['5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0020'] }, 422],
  ['names of what has none', { ...order, names: ['t'] }, 422],
  ['no reason', { ...order, reason: '' }, 422],
  ['a time that is none', { ...order, what: 'readings', from: 'yesterday' }, 422],
  [
    'lists that are too long',
    { ...order, what: 'readings', names: Array.from({ length: 100 }, () => 'n'.repeat(500)) },
    422,
  ],
  ['a channel that is no id', { channels: ["x') OR 1=1"], what: 'all', reason: 'x' }, 422],
])('refuses a deletion of %s', async (_, body, status) => {
  expect((await owner.call('POST', `/deletions?org=${org}`, body)).status).toBe(status);
});
