import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { idOf, made } from './access-world.ts';
import { type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

let plane: ControlPlane;
let node: Node;
let alice: Asker;
let mallory: Asker;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
  alice = await node.stranger.newUser('alice@example.org');
  mallory = await node.stranger.newUser('mallory@example.org');
}, 60_000);
afterAll(() => plane?.dispose());

describe('who has an id', () => {
  test('makes no thing under the id of a user, whom its tokens would then stand for', async () => {
    const id = await idOf(alice);
    const { status, body } = await mallory.call('POST', '/things', { id });
    expect({ status, error: body.error }).toMatchObject({ status: 409 });
    const app = await mallory.call('POST', '/apps', { id, name: 'mask', kind: 'machine' });
    expect(app.status).toBe(409);
    expect((await alice.call('GET', '/users/me')).body.id).toBe(id);
  });

  test('is no user under the id of a thing', async () => {
    const { id } = await made(alice, '/things');
    const registering = { email: 'mask@example.org', password: 'a good password', id };
    expect((await node.stranger.call('POST', '/users', registering)).status).toBe(409);
    expect((await alice.call('GET', `/things/${id}`)).status).toBe(200);
  });

  test('is not let in by a token of who had the id before', async () => {
    const id = randomUUID();
    const before = await made(mallory, '/things', { id });
    const { token } = await made(node.stranger.as(`Thing ${before.key}`), '/things/token');
    expect((await node.gate.identify({ kind: 'bearer', token })).kind).toBe('known');
    expect((await mallory.call('DELETE', `/things/${id}`)).status).toBe(204);
    await made(alice, '/things', { id });
    expect((await node.gate.identify({ kind: 'bearer', token })).kind).toBe('refused');
  });
});
