import { randomUUID } from 'node:crypto';
import type { Principal } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { addMemberWith, decided, idOf, made, orgOf, rows } from './access-world.ts';
import { type Asker, type ControlPlane, NO_STORE, type Node, startControlPlane } from './plane.ts';

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

interface Described {
  readonly content?: Readonly<
    Record<
      string,
      { readonly example?: unknown; readonly examples?: Readonly<Record<string, { readonly value?: unknown }>> }
    >
  >;
}
/** A body that a route's own documentation shows. */
function exampleOf(described: Described | undefined): unknown {
  const content = described?.content?.['application/json'];
  const [shown] = Object.values(content?.examples ?? {});
  return content === undefined ? undefined : (content.example ?? shown?.value ?? {});
}

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

describe('an id of another organisation', () => {
  /** What of an organisation there is, by the collection that it is found in. */
  async function all(asker: Asker, name: string): Promise<Record<string, string>> {
    const id = async (path: string, body: object) => (await made(asker, path, body)).id as string;
    const org = await orgOf(asker);
    const user = await idOf(asker);
    const grants = [{ actions: ['*'], resources: ['*'] }];
    const statements = [{ effect: 'allow', actions: ['publish'], resources: ['*'] }];
    const thing = await id('/things', { type: 'gateway' });
    return {
      orgs: org,
      members: user,
      users: user,
      things: thing,
      channels: await id('/channels', { name }),
      groups: await id('/groups', { name }),
      roles: await id('/roles', { name, actions: ['things.read'] }),
      policies: await id('/policies', { name, statements }),
      keys: await id('/keys', { name, grants }),
      apps: await id('/apps', { name, kind: 'machine' }),
      invitations: await id(`/orgs/${org}/invitations`, { email: `${name}@example.org`, role: 'viewer' }),
      networkservers: await id('/networkservers', { name, kind: 'tts-v3' }),
      codecs: await id('/codecs', { name, kind: 'cayenne-lpp' }),
      certs: (await made(asker, '/certs', { thing_id: thing })).serial,
    };
  }
  /** An answer, but for the id that was asked for. */
  const told = ({ status, body }: { status: number; body: unknown }, id: string) =>
    `${status} ${JSON.stringify(body)}`.replaceAll(id, '<id>').replaceAll(id.slice(0, 32), '<id>');
  let theirs: Record<string, string>;
  let mine: Record<string, string>;
  let askers: readonly Asker[];

  beforeAll(async () => {
    theirs = await all(alice, 'theirs');
    mine = await all(mallory, 'mine');
    const viewer = await node.stranger.newUser('watching@example.org');
    const user = await idOf(viewer);
    await rows(plane, `UPDATE registry.memberships SET org = $1, role = 'viewer' WHERE user_id = $2`, [
      mine.orgs,
      user,
    ]);
    const { key } = await made(mallory, '/things');
    const relogged = await node.stranger.asUser('watching@example.org', 'a good password');
    askers = [mallory, relogged, node.stranger.as(`Thing ${key}`)];
  }, 30_000);

  test('in a path is answered as one that nobody has, whatever is asked', async () => {
    const { paths } = (await node.stranger.call('GET', '/openapi.json')).body;
    const differing: string[] = [];
    let asked = 0;
    for (const [path, operations] of Object.entries<object>(paths)) {
      const segments = path.split('/');
      const names = segments.filter((segment) => /^\{\w+\}$/.test(segment));
      const collection = (name: string): string => segments[segments.indexOf(name) - 1] ?? '';
      for (const [method, { requestBody }] of Object.entries<{ requestBody?: Described }>(operations as never)) {
        const body = exampleOf(requestBody);
        for (const name of names) {
          for (const foreign of new Set(
            theirs[collection(name)] === undefined ? Object.values(theirs) : [theirs[collection(name)] ?? ''],
          )) {
            const unknown = foreign.includes('-') ? randomUUID() : randomUUID().replaceAll('-', '');
            const to = (id: string): string =>
              segments
                .map((each) =>
                  each === name ? id : names.includes(each) ? (mine[collection(each)] ?? mine.things) : each,
                )
                .join('/');
            for (const asker of askers) {
              const answers = [unknown, foreign].map(async (id) =>
                told(await asker.call(method.toUpperCase(), to(id), body), id),
              );
              const [expected, given] = await Promise.all(answers);
              asked++;
              if (given !== expected) differing.push(`${method} ${path} ${name}: ${given} instead of ${expected}`);
            }
          }
        }
      }
    }
    expect(differing).toEqual([]);
    expect(asked).toBeGreaterThan(300);
  }, 120_000);

  test('in a body is answered as one that nobody has', async () => {
    const things = { thing_ids: [mine.things], channel_ids: [mine.channels] };
    const bodies: readonly [string, string, string, (id: string) => unknown][] = [
      ['things', 'POST', '/things', (gateway) => ({ gateway })],
      ['things', 'POST', '/things/bulk', (gateway) => [{ gateway }]],
      ['things', 'PATCH', `/things/${mine.things}`, (gateway) => ({ gateway })],
      ['groups', 'POST', '/things', (group_id) => ({ group_id })],
      ['groups', 'POST', '/channels', (group_id) => ({ group_id })],
      ['groups', 'PATCH', `/things/${mine.things}`, (group_id) => ({ group_id })],
      ['groups', 'PATCH', `/channels/${mine.channels}`, (group_id) => ({ group_id })],
      ['groups', 'POST', '/groups', (parent_id) => ({ name: 'below', parent_id })],
      ['groups', 'POST', `/groups/${mine.groups}/move`, (parent_id) => ({ parent_id })],
      ['things', 'POST', `/groups/${mine.groups}/members`, (id) => ({ thing_ids: [id] })],
      ['channels', 'POST', `/groups/${mine.groups}/members`, (id) => ({ channel_ids: [id] })],
      ['things', 'POST', '/connect', (id) => ({ ...things, thing_ids: [id] })],
      ['things', 'POST', '/disconnect', (id) => ({ ...things, thing_ids: [id, mine.things] })],
      ['channels', 'POST', '/connect', (id) => ({ ...things, channel_ids: [id] })],
      ['roles', 'POST', `/orgs/${mine.orgs}/invitations`, (role_id) => ({ email: 'a@example.org', role_id })],
      ['roles', 'PUT', `/orgs/${mine.orgs}/members/${mine.users}`, (role_id) => ({ role_id })],
      ['roles', 'PUT', `/groups/${mine.groups}/roles/${mine.users}`, (role_id) => ({ role_id })],
      ['things', 'POST', '/certs', (thing_id) => ({ thing_id })],
      ['groups', 'POST', '/networkservers', (group_id) => ({ name: 'n', kind: 'tts-v3', provisioning: { group_id } })],
      ['groups', 'PATCH', `/networkservers/${mine.networkservers}`, (group_id) => ({ provisioning: { group_id } })],
      ['codecs', 'POST', '/codecs/test', (codec) => ({ codec, direction: 'up', bytes: '00' })],
      ...(['user', 'thing', 'app', 'api_key'] as const).map(
        (kind): [string, string, string, (id: string) => unknown] => [
          kind === 'api_key' ? 'keys' : `${kind}s`,
          'POST',
          '/policies/simulate',
          (id) => ({ subject: { [kind]: id }, action: 'things.read', resource: 'things' }),
        ],
      ),
      [
        'channels',
        'POST',
        '/policies/simulate',
        (id) => ({ subject: { thing: mine.things }, action: 'publish', resource: `channels/${id}/messages` }),
      ],
    ];
    const differing: string[] = [];
    for (const [collection, method, path, body] of bodies) {
      for (const asker of askers) {
        const [unknown, foreign] = [randomUUID(), theirs[collection] ?? ''];
        const expected = told(await asker.call(method, path, body(unknown)), unknown);
        const given = told(await asker.call(method, path, body(foreign)), foreign);
        if (given !== expected) differing.push(`${method} ${path} ${collection}: ${given} instead of ${expected}`);
      }
    }
    expect(differing).toEqual([]);
  });

  test('opens nothing of its owner to a key for another organisation', async () => {
    const org = await orgOf(mallory);
    await addMemberWith(plane, theirs.orgs ?? '', await idOf(mallory), ['things.read']);
    const grants = [{ actions: ['things.read'], resources: ['*'] }];
    const { secret } = await made(mallory, `/keys?org=${org}`, { name: 'narrow', grants });
    const [key, user] = [node.stranger.as(`Bearer ${secret}`), await idOf(mallory)];
    expect((await mallory.call('GET', `/users/${user}/access?org=${theirs.orgs}`)).status).toBe(200);
    expect((await key.call('GET', `/users/${user}/access?org=${theirs.orgs}`)).status).toBe(404);
    expect((await key.call('GET', `/users/${user}/access?org=${org}`)).status).toBe(403);
  });
});

describe('who may read but one subtopic less than a channel', () => {
  test('reads each of the others, and not all at once', async () => {
    const channel = await made(alice, '/channels');
    const thing = await made(alice, '/things');
    const both = { thing_ids: [thing.id], channel_ids: [channel.id] };
    expect((await alice.call('POST', '/connect', both)).status).toBe(200);
    const reader = node.stranger.as(`Thing ${thing.key}`);
    const read = async (what: string): Promise<number> =>
      (await reader.call('GET', `/channels/${channel.id}/${what}`)).status;
    expect([await read('messages'), await read('payloads')]).toEqual([200, 200]);
    const statements = [
      { effect: 'deny', actions: ['subscribe'], resources: [`channels/${channel.id}/messages/secret*`] },
    ];
    const policy = await made(alice, '/policies', { name: 'no secrets', statements });
    expect((await alice.call('PUT', `/policies/${policy.id}/attachments/thing/${thing.id}`)).status).toBe(201);
    expect([await read('messages'), await read('payloads')]).toEqual([403, 403]);
    expect([await read('messages?subtopic=secret/a'), await read('messages?subtopic=open')]).toEqual([403, 200]);
    expect(await read('messages?subtopic=')).toBe(200);
  });

  test('is told nothing of a message there, though they may read the channel', async () => {
    const [org, channel] = [await orgOf(alice), await made(alice, '/channels')];
    const reader = await node.stranger.newUser('reader@example.org');
    const user = await idOf(reader);
    await rows(plane, `INSERT INTO registry.memberships (user_id, org, role) VALUES ($1, $2, 'viewer')`, [user, org]);
    const statements = [
      { effect: 'deny', actions: ['subscribe'], resources: [`channels/${channel.id}/messages/secret*`] },
    ];
    const policy = await made(alice, '/policies', { name: 'none for readers', statements });
    expect((await alice.call('PUT', `/policies/${policy.id}/attachments/user/${user}`)).status).toBe(201);
    const fate = {
      id: randomUUID(),
      org,
      channel: channel.id,
      publisher: randomUUID(),
      protocol: 'mqtt',
      contentType: 'text/plain',
      receivedUs: '1792000000123456',
      size: 1,
      partition: 0,
      offset: 0,
      decision: 'admitted',
      readings: 0,
      deadLetters: 0,
      stored: 'payload',
      reason: '',
    } as const;
    const asked = vi.spyOn(NO_STORE, 'fate');
    const told = async (subtopic: string): Promise<number> => {
      asked.mockResolvedValue({ ...fate, subtopic });
      return (await reader.call('GET', `/messages/${fate.id}`)).status;
    };
    try {
      expect([await told('open'), await told('secret/a')]).toEqual([200, 404]);
    } finally {
      asked.mockRestore();
    }
  });
});

describe('who is taken out of an organisation', () => {
  test('comes back neither as somebody whom they invited, nor by what they let an application do', async () => {
    const org = await orgOf(alice);
    const leaver = await node.stranger.newUser('leaver@example.org');
    const user = await idOf(leaver);
    await rows(plane, `INSERT INTO registry.memberships (user_id, org, role) VALUES ($1, $2, 'admin')`, [user, org]);
    const other = await node.stranger.newUser('other@example.org');
    await rows(plane, 'UPDATE registry.users SET email_verified_at = now() WHERE id = $1', [await idOf(other)]);
    const invite = { email: 'other@example.org', role: 'admin' };
    const invitation = await made(leaver, `/orgs/${org}/invitations`, invite);
    const app = await made(alice, '/apps', { name: 'tool', kind: 'web', redirect_uris: ['https://tool.example.org/'] });
    const grant = randomUUID();
    await rows(
      plane,
      `INSERT INTO registry.oauth_grants (id, app, user_id, org, payload, expires_at) VALUES ($1, $2, $3, $4, '{}', now() + interval '1 hour')`,
      [grant, app.id, user, org],
    );
    expect((await alice.call('DELETE', `/orgs/${org}/members/${user}`)).status).toBe(204);
    expect((await other.call('POST', `/invitations/${invitation.id}/accept`)).status).toBe(404);
    expect(await rows(plane, 'SELECT 1 FROM registry.oauth_grants WHERE id = $1', [grant])).toEqual([]);
  });
});

describe('a key that ends', () => {
  test('makes none that outlives it', async () => {
    const grants = [{ actions: ['keys.*', 'things.read'], resources: ['*'] }];
    const maker = await made(alice, '/keys', { name: 'for an hour', grants, expires_in: 3_600 });
    const asked = node.stranger.as(`Bearer ${maker.secret}`);
    const narrow = { name: 'made by a key', grants: [{ actions: ['things.read'], resources: ['things/*'] }] };
    expect((await made(asked, '/keys', narrow)).expires_at).toBe(maker.expires_at);
    expect((await asked.call('POST', '/keys', { ...narrow, expires_in: 7_200 })).status).toBe(403);
    expect((await asked.call('POST', '/keys', { ...narrow, expires_in: 60 })).status).toBe(201);
  });
});

describe('a new organisation', () => {
  test('is told as what its owner may, and makes no node look through all that it remembers', async () => {
    const told: string[] = [];
    const stop = node.registry.directory.onChange(({ entity, voids }) => told.push(`${entity} ${voids.length}`));
    const asker = await node.stranger.newUser('founder@example.org');
    await made(asker, '/orgs', { name: 'another' });
    stop();
    expect(told).toEqual(['user 1', 'member 1', 'member 1']);
    expect((await asker.call('GET', '/users/me')).body.orgs).toHaveLength(2);
  });
});

describe('policies of one organisation', () => {
  const thousand = (index: number) => ({
    name: `a thousand ${index}`,
    statements: [
      {
        effect: 'allow',
        actions: [
          'publish',
          'subscribe',
          'things.read',
          'things.list',
          'channels.read',
          'channels.list',
          'groups.read',
          'groups.list',
          'jobs.read',
          'jobs.list',
        ],
        resources: Array.from({ length: 100 }, (_, each) => `channels/*/messages/${index}-${each}*`),
      },
    ],
  });

  test('can not be so many on one target that judging by them holds up the others', async () => {
    const thing = await made(alice, '/things');
    const statuses: number[] = [];
    for (let index = 0; index < 3; index++) {
      const { id } = await made(alice, '/policies', thousand(index));
      statuses.push((await alice.call('PUT', `/policies/${id}/attachments/thing/${thing.id}`)).status);
    }
    expect(statuses).toEqual([201, 201, 409]);
  });

  test('let nobody in where groups within groups pile up more of them', async () => {
    const channel = await made(alice, '/channels');
    const ids = [(await made(alice, '/policies', thousand(10))).id, (await made(alice, '/policies', thousand(11))).id];
    let parent_id: string | null = null;
    const groups: string[] = [];
    for (let level = 0; level < 6; level++) {
      parent_id = (await made(alice, '/groups', { name: `level ${level}`, parent_id })).id as string;
      groups.push(parent_id);
    }
    const thing = await made(alice, '/things', { group_id: parent_id });
    const both = { thing_ids: [thing.id], channel_ids: [channel.id] };
    expect((await alice.call('POST', '/connect', both)).status).toBe(200);
    const attach = async (group: string | undefined): Promise<void> => {
      for (const id of ids)
        expect((await alice.call('PUT', `/policies/${id}/attachments/group/${group}`)).status).toBe(201);
    };
    for (const group of groups.slice(0, 5)) await attach(group);
    expect(await decided(node, thing.key, 'publish', channel.id)).toBe('allow');
    await attach(groups[5]);
    expect(await decided(node, thing.key, 'publish', channel.id)).toBe('not_allowed');
  });
});
