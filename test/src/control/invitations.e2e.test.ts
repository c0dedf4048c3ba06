import { createLogger, createMetrics } from '@millrace/core';
import { createControlPlane } from '@millrace/registry';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Mailbox, WAIT_MS } from './mailbox.ts';
import { ADMIN, Asker, type ControlPlane, NO_STORE, type Node, startControlPlane } from './plane.ts';

let plane: ControlPlane;
let node: Node;
let owner: Asker;
let org: string;
let mailbox: Mailbox;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
  mailbox = new Mailbox(plane.directory);
  owner = await node.stranger.newUser('inviter@example.org');
  org = (await owner.call('POST', '/orgs', { name: 'The Mill' })).body.id;
});
afterAll(() => plane?.dispose());

async function query(sql: string): Promise<unknown[]> {
  const client = new pg.Client(plane.url);
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

const PASSWORD = 'a good password';
const invite = (email: string, role: Record<string, unknown> = { role: 'editor' }) =>
  owner.call('POST', `/orgs/${org}/invitations`, { email, ...role });
const memberships = async (user: Asker) => (await user.call('GET', '/users/me')).body.orgs;

describe('an invitation', () => {
  test('lets register who has no account, also where strangers may not, as a member at once', async () => {
    const closed = new Asker(
      createControlPlane({
        registry: node.registry,
        gate: node.gate,
        store: NO_STORE,
        selfRegister: false,
        version: '1.2.3',
        metrics: createMetrics(),
        logger: createLogger({ level: 'silent' }),
      }),
    );
    const made = await invite('New@example.org');
    expect(made).toMatchObject({
      status: 201,
      body: { email: 'new@example.org', role: 'editor', state: 'pending', org_name: 'The Mill' },
    });
    expect(JSON.stringify(made.body)).not.toContain('token');
    const invitation = await mailbox.token('new@example.org', 'invitation');
    const register = (email: string, token?: string) =>
      closed.call('POST', '/users', {
        email,
        password: PASSWORD,
        ...(token === undefined ? {} : { invitation: token }),
      });
    expect((await register('new@example.org')).status).toBe(403);
    expect((await register('new@example.org', 'guessed')).status).toBe(422);
    expect((await register('somebody-else@example.org', invitation)).status).toBe(422);
    const registered = await register('new@example.org', invitation);
    expect([registered.status, registered.body.verified]).toEqual([201, true]);
    expect((await register('new@example.org', invitation)).status).toBe(422);
    const user = await closed.asUser('new@example.org', PASSWORD);
    expect(await memberships(user)).toEqual([{ id: org, name: 'The Mill', role: 'editor', role_id: null }]);
    expect((await user.call('POST', '/things', { name: 'mine' })).body.org).toBe(org);
    expect((await owner.call('GET', `/orgs/${org}/invitations?status=accepted`)).body.invitations).toMatchObject([
      { email: 'new@example.org', state: 'accepted', inviter: 'inviter@example.org' },
    ]);
  });

  test('is accepted with its token by who has the address, and confirms it', async () => {
    const user = await node.stranger.newUser('has-account@example.org');
    const other = await node.stranger.newUser('other@example.org');
    const { body } = await invite('has-account@example.org', { role: 'viewer' });
    const token = await mailbox.token('has-account@example.org', 'invitation');
    expect((await other.call('POST', '/invitations/accept', { token })).status).toBe(404);
    expect((await user.call('GET', '/invitations')).body.total).toBe(0);
    expect((await user.call('POST', `/invitations/${body.id}/accept`)).status).toBe(404);
    expect((await node.stranger.call('POST', '/invitations/accept', { token })).status).toBe(401);
    expect((await user.call('POST', '/invitations/accept', { token })).body).toMatchObject({
      state: 'accepted',
      role: 'viewer',
    });
    expect((await user.call('POST', '/invitations/accept', { token })).status).toBe(422);
    expect((await memberships(user)).map(({ id }: { id: string }) => id)).toContain(org);
    expect((await user.call('GET', '/users/me')).body.verified).toBe(true);
    expect((await user.call('POST', `/things?org=${org}`, {})).status).toBe(403);
    expect((await invite('has-account@example.org')).status).toBe(409);
  });

  test('is seen and accepted without token by who has confirmed the address, and by nobody else', async () => {
    const user = await node.stranger.newUser('confirmed@example.org');
    const token = await mailbox.token('confirmed@example.org', 'verify');
    await node.stranger.call('POST', '/users/verify', { token });
    const { body } = await invite('confirmed@example.org');
    expect((await user.call('GET', '/invitations')).body).toMatchObject({ total: 1, invitations: [{ id: body.id }] });
    for (const verb of ['accept', 'decline'])
      expect((await owner.call('POST', `/invitations/${body.id}/${verb}`)).status).toBe(404);
    expect((await user.call('POST', `/invitations/${body.id}/accept`)).status).toBe(200);
    expect((await user.call('GET', '/invitations')).body.total).toBe(0);
    expect((await user.call('GET', `/orgs/${org}/members`)).status).toBe(200);
  });

  test('can be declined by its token without an account, and is void then', async () => {
    await invite('no-thanks@example.org');
    const token = await mailbox.token('no-thanks@example.org', 'invitation');
    expect((await node.stranger.call('POST', '/invitations/decline', { token })).body.state).toBe('declined');
    expect((await node.stranger.call('POST', '/invitations/decline', { token })).status).toBe(422);
    const register = { email: 'no-thanks@example.org', password: PASSWORD, invitation: token };
    expect((await node.stranger.call('POST', '/users', register)).status).toBe(422);
  });

  test('that is taken back, sent again or expired is void', async () => {
    const email = 'waiting@example.org';
    const user = await node.stranger.newUser(email);
    const accept = (token: string) => user.call('POST', '/invitations/accept', { token });
    const first = await invite(email);
    const firstToken = await mailbox.token(email, 'invitation');
    const second = await invite(email);
    const secondToken = await mailbox.token(email, 'invitation', 2);
    expect((await accept(firstToken)).status).toBe(422);
    const states = async () =>
      (
        await owner.call('GET', `/orgs/${org}/invitations?status=all&email=waiting&order=created&dir=asc`)
      ).body.invitations.map(({ state }: { state: string }) => state);
    expect(await states()).toEqual(['revoked', 'pending']);
    expect((await owner.call('DELETE', `/orgs/${org}/invitations/${second.body.id}`)).status).toBe(204);
    expect((await owner.call('DELETE', `/orgs/${org}/invitations/${first.body.id}`)).status).toBe(409);
    expect((await accept(secondToken)).status).toBe(422);
    const third = await invite(email);
    const thirdToken = await mailbox.token(email, 'invitation', 3);
    await query(`UPDATE registry.invitations SET expires_at = now() - interval '1 s' WHERE id = '${third.body.id}'`);
    expect((await accept(thirdToken)).status).toBe(422);
    expect(await states()).toEqual(['revoked', 'revoked', 'expired']);
    expect((await memberships(user)).map(({ id }: { id: string }) => id)).not.toContain(org);
  });

  test('of another organisation can be neither read nor taken back', async () => {
    const { body } = await invite('guarded@example.org');
    const stranger = await node.stranger.newUser('snoop@example.org');
    const own = (await memberships(stranger))[0].id;
    for (const path of [`/orgs/${org}/invitations/${body.id}`, `/orgs/${own}/invitations/${body.id}`])
      for (const method of ['GET', 'DELETE'])
        expect([path, method, (await stranger.call(method, path)).status]).toEqual([path, method, 404]);
  });

  test('two who accept at once with one token become one member', async () => {
    const user = await node.stranger.newUser('eager@example.org');
    await invite('eager@example.org');
    const token = await mailbox.token('eager@example.org', 'invitation');
    const both = await Promise.all([1, 2].map(() => user.call('POST', '/invitations/accept', { token })));
    expect(both.map(({ status }) => status).sort()).toEqual([200, 422]);
  });
});

test('no token of any mail stands in the audit or in the database as it is', async () => {
  await invite('searched@example.org');
  const tokens = [
    await mailbox.token('searched@example.org', 'invitation'),
    await mailbox.token('inviter@example.org', 'verify'),
  ];
  const admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
  await expect
    .poll(async () => JSON.stringify((await admin.call('GET', '/audit?limit=1000')).body), { timeout: WAIT_MS })
    .toContain('searched@example.org');
  const { body } = await admin.call('GET', '/audit?limit=1000');
  for (const table of ['invitations', 'mailed_tokens', 'mails', 'audit']) {
    const rows = JSON.stringify(await query(`SELECT * FROM registry.${table}`));
    for (const token of tokens) expect([table, rows.includes(token)]).toEqual([table, false]);
  }
  for (const token of tokens) expect(JSON.stringify(body)).not.toContain(token);
});

test('invitations fill no mailbox: one address gets so many in an hour, however many organisations invite it', async () => {
  const sent: number[] = [];
  for (let count = 0; count < 4; count++) {
    const { body } = await owner.call('POST', '/orgs', { name: `Mill ${count}` });
    for (let again = 0; again < 3; again++) {
      const asked = { email: 'victim@example.org', role: 'viewer' };
      sent.push((await owner.call('POST', `/orgs/${body.id}/invitations`, asked)).status);
    }
  }
  expect(sent).toEqual([...Array(10).fill(201), 429, 429]);
  expect((await invite('somebody@example.org')).status).toBe(201);
});
