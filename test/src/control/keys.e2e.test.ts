import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CertificateMaker, type KeyPair, missingOpenssl } from '../bridge/clients/certificates.ts';
import { addMember, comesToBe, decided, idOf, made, orgOf, rows } from './access-world.ts';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

let plane: ControlPlane;
let node: Node;
let other: Node;
let owner: Asker;
let org: string;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
  other = await plane.node();
  owner = await node.stranger.newUser('owner@example.org');
  org = await orgOf(owner);
});
afterAll(async () => plane?.dispose());

const grant = (resource: string, ...actions: string[]) => ({ actions, resources: [resource] });
const key = (body: object, asker = owner) => made(asker, '/keys', { name: 'key', ...body });
const by = (secret: string, at = node): Asker => at.stranger.as(`Bearer ${secret}`);

describe('an API key', () => {
  test('is shown once, and reaches what it was made for and no more', async () => {
    const { secret, ...rest } = await key({ grants: [grant('things*', 'things.list', 'things.read')] });
    expect(secret).toMatch(/^mrk_[\w-]{43}$/);
    expect(rest).toMatchObject({ name: 'key', org, user: await idOf(owner), enabled: true, expires_at: null });
    const shown = (await owner.call('GET', `/keys/${rest.id}`)).body;
    expect(rest).toMatchObject(shown);
    expect(JSON.stringify(shown)).not.toContain(secret);
    const thing = await made(owner, '/things', { name: 'lamp' });
    const holder = by(secret);
    expect((await holder.call('GET', '/things?name=lamp')).body.total).toBe(1);
    // Whoever may not update it does not see its key either.
    expect((await holder.call('GET', `/things/${thing.id}`)).body).not.toHaveProperty('key');
    expect((await holder.call('PATCH', `/things/${thing.id}`, { name: 'x' })).status).toBe(403);
    expect((await holder.call('GET', '/channels')).status).toBe(403);
    expect((await holder.call('GET', '/policies')).status).toBe(403);
  });

  test('publishes where its scope and its owner both may', async () => {
    const [one, two] = [await made(owner, '/channels'), await made(owner, '/channels')];
    const { secret } = await key({ grants: [grant(`channels/${one.id}/messages/hall*`, 'publish')] });
    expect(await decided(node, secret, 'publish', one.id, 'hall/door')).toBe('allow');
    expect(await decided(node, secret, 'publish', one.id, 'yard')).toBe('not_allowed');
    expect(await decided(node, secret, 'subscribe', one.id, 'hall/door')).toBe('not_allowed');
    expect(await decided(node, secret, 'publish', two.id, 'hall/door')).toBe('not_allowed');
    const viewer = await node.stranger.newUser('viewer@example.org');
    await addMember(plane, org, await idOf(viewer), 'viewer');
    const wide = await made(viewer, `/keys?org=${org}`, { name: 'wide', grants: [grant('*', '*')] });
    expect(await decided(node, wide.secret, 'subscribe', one.id)).toBe('allow');
    expect(await decided(node, wide.secret, 'publish', one.id)).toBe('not_allowed');
  });

  test('makes no key that reaches further than itself', async () => {
    const maker = await key({ grants: [grant('keys*', 'keys.*'), grant('things/*', 'things.read')] });
    const holder = by(maker.secret);
    const body = (grants: object[]) => ({ name: 'child', grants });
    expect((await holder.call('POST', '/keys', body([grant('things/*', 'things.read')]))).status).toBe(201);
    for (const wider of [
      grant('things/*', 'things.update'),
      grant('things/*', 'things.*'),
      grant('*', 'things.read'),
      grant('*', '*'),
    ])
      expect((await holder.call('POST', '/keys', body([wider]))).status).toBe(403);
    const powerless = await key({ grants: [grant('things/*', 'things.read')] });
    expect((await by(powerless.secret).call('POST', '/keys', body([grant('things/*', 'things.read')]))).status).toBe(
      403,
    );
    expect((await by(powerless.secret).call('GET', '/keys')).status).toBe(403);
    expect((await by(powerless.secret).call('DELETE', `/keys/${maker.id}`)).status).toBe(403);
    // It can give itself up.
    expect((await by(powerless.secret).call('DELETE', `/keys/${powerless.id}`)).status).toBe(204);
    expect((await by(powerless.secret).call('GET', '/things')).status).toBe(401);
  });

  test('does nothing to the account of its owner', async () => {
    const holder = by((await key({ grants: [grant('*', '*')] })).secret);
    for (const [method, path, body] of [
      ['PUT', '/users/me/password', { old_password: 'a good password', password: 'another password' }],
      ['POST', '/users/me/logout', undefined],
      ['PATCH', '/users/me', { name: 'x' }],
    ] as const)
      expect([path, (await holder.call(method, path, body)).status]).toEqual([path, 403]);
    expect((await node.stranger.asUser('owner@example.org', 'a good password')).as).toBeTypeOf('function');
  });

  test('is good for its own organisation only', async () => {
    const second = await node.stranger.newUser('second@example.org');
    const theirs = await orgOf(second);
    await addMember(plane, theirs, await idOf(owner), 'owner');
    const { secret } = await key({ grants: [grant('*', '*')] });
    const thing = await made(second, '/things');
    expect((await owner.call('GET', `/things/${thing.id}`)).status).toBe(200);
    expect((await by(secret).call('GET', `/things/${thing.id}`)).status).toBe(404);
    expect((await by(secret).call('GET', `/things?org=${theirs}`)).status).toBe(404);
    expect(
      (await by(secret).call('POST', `/keys?org=${theirs}`, { name: 'x', grants: [grant('*', '*')] })).status,
    ).toBe(404);
  });

  test('that is revoked, disabled or over is dead on both nodes', async () => {
    const channel = await made(owner, '/channels');
    const grants = [grant('*', '*')];
    const look = (secret: string, at: Node) => decided(at, secret, 'publish', channel.id);
    const revoked = await key({ grants });
    const disabled = await key({ grants });
    for (const { secret } of [revoked, disabled]) {
      expect(await look(secret, node)).toBe('allow');
      await comesToBe(() => look(secret, other), 'allow');
    }
    expect((await owner.call('DELETE', `/keys/${revoked.id}`)).status).toBe(204);
    expect((await owner.call('POST', `/keys/${disabled.id}/disable`)).status).toBe(200);
    for (const { secret } of [revoked, disabled]) {
      expect(await look(secret, node)).toBe('unknown');
      await comesToBe(() => look(secret, other), 'unknown');
    }
    await owner.call('POST', `/keys/${disabled.id}/enable`);
    expect(await look(disabled.secret, node)).toBe('allow');
    expect((await owner.call('GET', `/keys/${revoked.id}`)).status).toBe(404);
    const short = await key({ grants, expires_in: 1 });
    await comesToBe(() => look(short.secret, node), 'unknown');
  });

  test('rests while its owner is disabled', async () => {
    const resting = await node.stranger.newUser('resting@example.org');
    const { secret } = await made(resting, '/keys', { name: 'k', grants: [grant('*', '*')] });
    expect((await by(secret, other).call('GET', '/things')).status).toBe(200);
    const admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
    const user = await idOf(resting);
    expect((await admin.call('POST', `/users/${user}/disable`)).status).toBe(200);
    expect((await by(secret).call('GET', '/things')).status).toBe(401);
    await comesToBe(async () => (await by(secret, other).call('GET', '/things')).status, 401);
    expect((await admin.call('POST', `/users/${user}/enable`)).status).toBe(200);
    expect((await by(secret).call('GET', '/things')).status).toBe(200);
  });

  test('ends with the membership of its owner', async () => {
    const leaver = await node.stranger.newUser('leaver@example.org');
    const user = await idOf(leaver);
    await addMember(plane, org, user, 'editor');
    const { secret, id } = await made(leaver, `/keys?org=${org}`, { name: 'k', grants: [grant('*', '*')] });
    await rows(plane, 'DELETE FROM registry.memberships WHERE user_id = $1 AND org = $2', [user, org]);
    expect((await by(secret, other).call('GET', '/things')).status).toBe(401);
    await addMember(plane, org, user, 'editor');
    expect((await owner.call('GET', `/keys/${id}`)).status).toBe(404);
  });

  test('of another is seen by who may, and by nobody elsewhere', async () => {
    const editor = await node.stranger.newUser('editor@example.org');
    await addMember(plane, org, await idOf(editor), 'editor');
    const { id } = await made(editor, `/keys?org=${org}`, { name: 'theirs', grants: [grant('*', '*')] });
    const mine = await key({ grants: [grant('*', '*')] });
    expect((await owner.call('GET', `/keys/${id}`)).status).toBe(200);
    expect((await owner.call('GET', '/keys?user=all&name=theirs')).body.keys).toMatchObject([{ id }]);
    expect((await owner.call('GET', '/keys?name=theirs')).body.total).toBe(0);
    expect((await editor.call('GET', `/keys/${mine.id}`)).status).toBe(403);
    expect((await editor.call('GET', `/keys?org=${org}&user=all`)).status).toBe(403);
    expect((await editor.call('DELETE', `/keys/${mine.id}`)).status).toBe(403);
    const stranger = await node.stranger.newUser('stranger@example.org');
    for (const method of ['GET', 'DELETE', 'PATCH'])
      expect((await stranger.call(method, `/keys/${mine.id}`, method === 'PATCH' ? {} : undefined)).status).toBe(404);
    expect((await stranger.call('GET', `/keys?org=${org}`)).status).toBe(404);
    expect((await owner.call('DELETE', `/keys/${id}`)).status).toBe(204);
  });

  test('tells when it was last used, and keeps its version', async () => {
    const third = await plane.node();
    const { secret, id } = await key({ grants: [grant('things*', 'things.list')] });
    expect((await by(secret, third).call('GET', '/things')).status).toBe(200);
    // Written at the latest when the node stops.
    await third.stop();
    const { body } = await owner.call('GET', `/keys/${id}`);
    expect(Date.parse(body.last_used_at)).toBeGreaterThan(Date.parse(body.created_at) - 1_000);
    expect(body.version).toBe(1);
    expect((await owner.call('PATCH', `/keys/${id}`, { name: 'n' }, { 'if-match': '"1"' })).body.version).toBe(2);
    expect((await owner.call('PATCH', `/keys/${id}`, { name: 'm' }, { 'if-match': '"1"' })).status).toBe(412);
    expect((await owner.call('PATCH', `/keys/${id}`, { grants: [] })).status).toBe(422);
  });

  test('is one of a hundred at most, also when they are made at once', async () => {
    const greedy = await node.stranger.newUser('greedy@example.org');
    const body = { name: 'k', grants: [grant('things', 'things.list')] };
    const answers = await Promise.all(Array.from({ length: 104 }, () => greedy.call('POST', '/keys', body)));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(100);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(4);
    const wrong = { ...body, expires_in: 5, expires_at: '2999-01-01T00:00:00Z' };
    for (const each of [wrong, { ...body, expires_at: '2020-01-01T00:00:00Z' }, { ...body, grants: [] }])
      expect((await greedy.call('POST', '/keys', each)).status).toBe(422);
    const thing = await made(owner, '/things');
    expect((await node.stranger.as(`Thing ${thing.key}`).call('POST', '/keys', body)).status).toBe(403);
  });
});

describe('the token of a thing', () => {
  const exchange = (asker: Asker, body: object = {}) => asker.call('POST', '/things/token', body);

  test('stands for it until its key is replaced or it is disabled', async () => {
    const thing = await made(owner, '/things');
    const channel = await made(owner, '/channels');
    await owner.call('POST', '/connect', { channel_ids: [channel.id], thing_ids: [thing.id] });
    const device = node.stranger.as(`Thing ${thing.key}`);
    const { status, body, headers } = await exchange(device, { seconds: 600 });
    expect([status, body.expires_in, headers.get('cache-control')]).toEqual([201, 600, 'no-store']);
    expect(await decided(node, body.token, 'publish', channel.id)).toBe('allow');
    await comesToBe(() => decided(other, body.token, 'publish', channel.id), 'allow');
    // A token that leaked can't be made to last.
    expect((await exchange(node.stranger.as(`Bearer ${body.token}`))).status).toBe(403);
    expect((await exchange(owner)).status).toBe(403);
    expect((await exchange(node.stranger)).status).toBe(401);
    for (const seconds of [0, 3_601, 1.5]) expect((await exchange(device, { seconds })).status).toBe(422);
    await owner.call('POST', `/things/${thing.id}/disable`);
    expect(await decided(node, body.token, 'publish', channel.id)).toBe('disabled');
    await owner.call('POST', `/things/${thing.id}/enable`);
    expect(await decided(node, body.token, 'publish', channel.id)).toBe('allow');
    await owner.call('PATCH', `/things/${thing.id}/key`, {});
    expect(await decided(node, body.token, 'publish', channel.id)).toBe('unknown');
    await comesToBe(() => decided(other, body.token, 'publish', channel.id), 'unknown');
  });

  const withOpenssl = missingOpenssl === null ? test : test.skip;
  withOpenssl('is given for an assertion that its certificate signed, once', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-assertion-'));
    try {
      const maker = new CertificateMaker(directory);
      const thing = await made(owner, '/things');
      const pair = await maker.authority('device');
      const stranger = await maker.authority('stranger');
      const trusted = { fingerprints: [pair.fingerprint], authorities: [] };
      expect((await owner.call('PUT', `/things/${thing.id}/certificates`, trusted)).status).toBe(200);
      const now = Math.floor(Date.now() / 1_000);
      const claims = (more: object = {}) => ({ aud: 'http://localhost', exp: now + 60, jti: randomUUID(), ...more });
      const show = async (assertion: string): Promise<number> =>
        (await exchange(node.stranger, { client_assertion: assertion })).status;
      const right = assertionOf(pair, claims({ sub: thing.id }));
      const { status, body } = await exchange(node.stranger, { client_assertion: right, seconds: 60 });
      expect(status).toBe(201);
      expect((await node.stranger.as(`Bearer ${body.token}`).call('POST', '/tickets')).status).toBe(201);
      expect([
        await show(right),
        (await other.stranger.call('POST', '/things/token', { client_assertion: right })).status,
      ]).toEqual([401, 401]);
      for (const wrong of [
        assertionOf(pair, claims({ aud: 'http://elsewhere' })),
        assertionOf(pair, claims({ exp: now - 3_600 })),
        assertionOf(pair, claims({ exp: now + 3_600 })),
        assertionOf(pair, claims({ jti: undefined })),
        assertionOf(pair, claims({ sub: randomUUID() })),
        assertionOf(stranger, claims()),
        assertionOf({ ...stranger, cert: pair.cert }, claims()),
        assertionOf(pair, claims(), { alg: 'none' }),
        assertionOf(pair, claims(), { alg: 'RS256' }),
        assertionOf(pair, claims(), { x5c: ['AAAA'] }),
        assertionOf(pair, claims(), { x5c: undefined }),
        'a.b.c',
        '',
      ])
        expect(await show(wrong)).toBe(401);
      await owner.call('POST', `/things/${thing.id}/disable`);
      expect(await show(assertionOf(pair, claims()))).toBe(401);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

/** A JWT with the certificate in its head, signed by ES256. */
function assertionOf({ cert, key: secret }: KeyPair, claims: object, head: object = {}): string {
  const x5c = [new X509Certificate(cert).raw.toString('base64')];
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'ES256', x5c, ...head })}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(signed), { key: createPrivateKey(secret), dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}
