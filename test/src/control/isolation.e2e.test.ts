import { randomUUID } from 'node:crypto';
import type { Principal } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addMemberWith, idOf, made, orgOf, rows } from './access-world.ts';
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

describe('an application of an organisation that is deleted', () => {
  test('can use no more what people elsewhere had granted it, at once', async () => {
    const doomed = await node.stranger.newUser('doomed@example.org');
    const app = await made(doomed, '/apps', {
      name: 'panel',
      kind: 'web',
      redirect_uris: ['https://app.example.org/'],
    });
    const [grant, token] = [randomUUID(), `opaque-${randomUUID()}`];
    const values = [grant, app.id, await idOf(alice), await orgOf(alice)];
    await rows(
      plane,
      `INSERT INTO registry.oauth_grants (id, app, user_id, org, payload, expires_at) VALUES ($1, $2, $3, $4, '{}', now() + interval '1 hour')`,
      values,
    );
    await rows(
      plane,
      `INSERT INTO registry.oauth_items (kind, digest, id, grant_id, app, user_id, scopes, sealed, expires_at)
       VALUES ('AccessToken', $5, gen_random_uuid(), $1, $2, $3, '{openid,things:read}', '', now() + interval '1 hour' + 0 * length($4::text) * interval '1 s')`,
      [...values, node.registry.credentials.digest(token)],
    );
    const { principal } = (await node.gate.identify({ kind: 'bearer', token })) as { principal: Principal };
    expect(principal.subject.id).toBe(values[2]);
    expect((await doomed.call('DELETE', `/orgs/${await orgOf(doomed)}?cascade=true`)).status).toBe(204);
    expect(principal.revoked).toBe(true);
    expect(await node.gate.identify({ kind: 'bearer', token })).toEqual({ kind: 'refused', reason: 'unknown' });
  });
});

describe('a group that is deleted with what is in it', () => {
  test('lets nothing out of a disabled group above it, unless who deletes it may take things out', async () => {
    const org = await orgOf(alice);
    const above = await made(alice, '/groups', { name: 'above' });
    const below = await made(alice, '/groups', { name: 'below', parent_id: above.id });
    const thing = await made(alice, '/things', { group_id: below.id });
    const editor = await node.stranger.newUser('editor-below@example.org');
    const user = await idOf(editor);
    await addMemberWith(plane, org, user, ['groups.read']);
    expect((await alice.call('PUT', `/groups/${below.id}/roles/${user}`, { role: 'editor' })).status).toBe(200);
    expect((await alice.call('POST', `/groups/${above.id}/disable`)).status).toBe(200);
    expect((await editor.call('DELETE', `/groups/${below.id}?cascade=true`)).status).toBe(403);
    expect(await node.gate.identify({ kind: 'key', key: thing.key })).toEqual({ kind: 'refused', reason: 'disabled' });
    expect((await alice.call('DELETE', `/groups/${below.id}?cascade=true`)).status).toBe(204);
  });

  test('goes by who has it alone where nothing is in it', async () => {
    const org = await orgOf(alice);
    const above = await made(alice, '/groups', { name: 'above' });
    await made(alice, '/groups', { name: 'below', parent_id: above.id });
    const editor = await node.stranger.newUser('editor-above@example.org');
    const user = await idOf(editor);
    await addMemberWith(plane, org, user, ['groups.read']);
    expect((await alice.call('PUT', `/groups/${above.id}/roles/${user}`, { role: 'editor' })).status).toBe(200);
    expect((await editor.call('DELETE', `/groups/${above.id}?cascade=true`)).status).toBe(204);
  });
});

describe('who may connect nothing', () => {
  test('learns of no thing of another organisation by trying', async () => {
    const viewer = await node.stranger.newUser('viewer@example.org');
    const [org, user] = [await orgOf(mallory), await idOf(viewer)];
    await rows(plane, 'UPDATE registry.memberships SET org = $1 WHERE user_id = $2', [org, user]);
    await rows(plane, `UPDATE registry.memberships SET role = 'viewer' WHERE user_id = $1`, [user]);
    const asked = await node.stranger.asUser('viewer@example.org', 'a good password');
    const foreign = await made(alice, '/things');
    const connect = (thing: string) =>
      asked.call('POST', '/connect', { thing_ids: [thing], channel_ids: [randomUUID()] });
    const [known, unknown] = [await connect(foreign.id), await connect(randomUUID())];
    expect(known).toMatchObject({ status: unknown.status, body: unknown.body });
  });
});
