import type { Started } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Registry } from '../registry.ts';
import { ADMIN, Client, startRegistry, temporaryPostgres } from '../testing/fixture.ts';

describe('the classic dialect', () => {
  let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
  let registry: Started<Registry>;
  let anybody: Client;
  let admin: Client;
  let editor: Client;

  beforeAll(async () => {
    postgres = await temporaryPostgres();
    registry = await startRegistry(postgres.url);
    anybody = Client.over(registry.value);
    admin = await anybody.asUser(ADMIN.email, ADMIN.password);
    await anybody.call('POST', '/users', { email: 'Edith@example.org', password: 'her password' });
    editor = await anybody.asUser('edith@example.org', 'her password');
  });
  afterAll(async () => {
    await registry?.stop();
    await postgres?.dispose();
  });

  test('registers a user, who gets tokens and an organisation of their own', async () => {
    const made = await anybody.call('POST', '/users', { email: 'bob@example.org', password: '12345678' });
    expect(made.status).toBe(201);
    expect(made.headers.get('location')).toBe(`/users/${made.body.id}`);
    expect(made.body).not.toHaveProperty('password');
    expect((await anybody.call('POST', '/users', { email: 'BOB@example.org', password: '12345678' })).status).toBe(409);
    const tokens = await anybody.call('POST', '/tokens', { email: 'bob@example.org', password: '12345678' });
    expect(tokens.status).toBe(201);
    expect(Object.keys(tokens.body)).toEqual(['token', 'refresh_token']);
    const me = await anybody.as(`Bearer ${tokens.body.token}`).call('GET', '/users/me');
    expect(me.body).toMatchObject({ email: 'bob@example.org', admin: false, orgs: [{ role: 'owner' }] });
  });

  test('a refresh token is good for one use, and using it twice ends the session', async () => {
    const { body: first } = await anybody.call('POST', '/tokens', {
      email: 'edith@example.org',
      password: 'her password',
    });
    const second = await anybody.call('POST', '/tokens/refresh', { refresh_token: first.refresh_token });
    expect(second.status).toBe(201);
    expect((await anybody.call('POST', '/tokens/refresh', { refresh_token: first.refresh_token })).status).toBe(401);
    expect((await anybody.call('POST', '/tokens/refresh', { refresh_token: second.body.refresh_token })).status).toBe(
      401,
    );
  });

  test('makes a thing, shows its key, changes it and deletes it', async () => {
    const made = await editor.call('POST', '/things', { type: 'device', name: 'weio', metadata: { room: 7 } });
    expect(made.status).toBe(201);
    expect(made.headers.get('location')).toBe(`/things/${made.body.id}`);
    expect(made.body.key).toMatch(/^[\w-]{43}$/);
    const path = `/things/${made.body.id}`;
    expect((await editor.call('GET', path)).body).toEqual(made.body);
    expect((await editor.call('PATCH', path, { tags: ['hall'] })).body).toMatchObject({
      name: 'weio',
      tags: ['hall'],
      metadata: { room: 7 },
      version: 2,
    });
    expect((await editor.call('PUT', path, { name: 'other' })).body).toMatchObject({
      name: 'other',
      metadata: {},
      tags: ['hall'],
    });
    const rotated = await editor.call('PATCH', `${path}/key`, {});
    expect(rotated.body.key).not.toBe(made.body.key);
    expect((await editor.call('POST', `${path}/disable`)).body.enabled).toBe(false);
    expect((await anybody.as(`Thing ${rotated.body.key}`).call('GET', '/channels/x/messages')).status).toBe(401);
    expect((await editor.call('POST', `${path}/enable`)).body.enabled).toBe(true);
    expect((await editor.call('DELETE', path)).status).toBe(204);
    expect((await editor.call('GET', path)).status).toBe(404);
    expect((await editor.call('DELETE', path)).status).toBe(404);
  });

  test('takes given ids and keys, and refuses those that are taken', async () => {
    const id = '5384fb1c-d0ae-4cbe-be52-c54223150fe0';
    expect((await editor.call('POST', '/things', { id, key: 'a-key-of-my-own' })).body).toMatchObject({
      id,
      key: 'a-key-of-my-own',
    });
    const again = await editor.call('POST', '/things', { id });
    expect(again.status).toBe(409);
    expect(again.headers.get('content-type')).toBe('application/problem+json');
    expect(again.body).toMatchObject({ status: 409, title: 'Conflict', error: 'Another entity has this id.' });
    expect((await admin.call('POST', '/things', { key: 'a-key-of-my-own' })).status).toBe(409);
    expect((await editor.call('POST', '/channels', { id })).status).toBe(201);
    expect((await editor.call('POST', '/channels', { alias: 'kitchen' })).status).toBe(201);
    expect((await editor.call('POST', '/channels', { alias: 'kitchen' })).status).toBe(409);
    expect((await admin.call('POST', '/channels', { alias: 'kitchen' })).status).toBe(201);
  });

  test('makes many at once, in order, all or none', async () => {
    const made = await editor.call('POST', '/things/bulk', [
      { name: 'b1' },
      { name: 'b2' },
      { name: 'b3', tags: ['x'] },
    ]);
    expect(made.status).toBe(201);
    expect(made.body.things.map((thing: { name: string }) => thing.name)).toEqual(['b1', 'b2', 'b3']);
    const taken = await editor.call('POST', '/things/bulk', [{ name: 'never' }, { id: made.body.things[0].id }]);
    expect(taken.status).toBe(409);
    expect((await editor.call('GET', '/things?name=never')).body.total).toBe(0);
    expect((await editor.call('POST', '/things/bulk', [])).status).toBe(422);
    const channels = await editor.call('POST', '/channels/bulk', [{ name: 'c1' }, { name: 'c2' }]);
    expect(channels.body.channels.map((channel: { name: string }) => channel.name)).toEqual(['c1', 'c2']);
  });

  test('lists in pages, by part of a name, tag and metadata', async () => {
    await editor.call(
      'POST',
      '/things/bulk',
      Array.from({ length: 12 }, (_, index) => ({ name: `Page_${index}`, tags: ['p'], metadata: { n: index } })),
    );
    const first = await editor.call('GET', '/things?name=page_&order=name&dir=asc&limit=5');
    expect(first.body).toMatchObject({ total: 12, offset: 0, limit: 5 });
    expect(first.body.things).toHaveLength(5);
    expect((await editor.call('GET', '/things?name=page_&offset=10')).body.things).toHaveLength(2);
    expect((await editor.call('GET', '/things?name=page%25')).body.total).toBe(0);
    expect((await editor.call('GET', '/things?tag=p')).body).toMatchObject({ total: 12, limit: 10 });
    expect((await editor.call('GET', `/things?metadata=${encodeURIComponent('{"n":3}')}`)).body.total).toBe(1);
    for (const wrong of [
      'limit=0',
      'limit=1001',
      'limit=ten',
      'offset=-1',
      'order=size',
      'metadata=[',
      'limit=1&limit=2',
    ]) {
      const answer = await editor.call('GET', `/things?${wrong}`);
      expect(answer.status).toBe(400);
      expect(answer.body.detail).toContain(`"${wrong.split('=')[0]}"`);
    }
  });

  test('connects, by id or alias; a publish right after may succeed', async () => {
    const thing = (await editor.call('POST', '/things', {})).body;
    const channel = (await editor.call('POST', '/channels', { alias: 'hall' })).body;
    const device = anybody.as(`Thing ${thing.key}`);
    expect((await device.call('GET', `/channels/${channel.id}/messages`)).status).toBe(403);
    expect((await editor.call('POST', '/connect', { channel_ids: ['hall'], thing_ids: [thing.id] })).status).toBe(200);
    expect((await device.call('GET', `/channels/${channel.id}/messages`)).status).toBe(200);
    expect((await device.call('GET', '/channels/hall/messages')).status).toBe(200);
    expect((await editor.call('GET', `/things/${thing.id}/channels`)).body).toMatchObject({
      total: 1,
      channels: [{ id: channel.id, types: ['publish', 'subscribe'] }],
    });
    expect((await editor.call('GET', '/channels/hall/things')).body).toMatchObject({
      total: 1,
      things: [{ id: thing.id }],
    });
    await editor.call('POST', '/disconnect', {
      channel_ids: [channel.id],
      thing_ids: [thing.id],
      types: ['subscribe'],
    });
    expect((await device.call('GET', `/channels/${channel.id}/messages`)).status).toBe(403);
    expect((await editor.call('GET', `/things/${thing.id}/channels`)).body.channels[0].types).toEqual(['publish']);
    expect((await editor.call('PUT', `/channels/${channel.id}/things/${thing.id}`)).status).toBe(200);
    expect((await editor.call('DELETE', `/channels/${channel.id}/things/${thing.id}`)).status).toBe(204);
    expect((await editor.call('GET', '/channels/hall/things')).body.total).toBe(0);
    const unknown = '00000000-0000-4000-8000-000000000000';
    expect((await editor.call('POST', '/connect', { channel_ids: [unknown], thing_ids: [thing.id] })).status).toBe(404);
    expect((await editor.call('POST', '/connect', { channel_ids: [channel.id], thing_ids: [unknown] })).status).toBe(
      404,
    );
  });

  test('answers devices and channels as the first dialect has it', async () => {
    const device = await editor.call('POST', '/devices', { type: 'device', name: 'old' });
    expect(device).toMatchObject({ status: 201, body: { response: 'created', id: expect.any(String) } });
    const channel = await editor.call('POST', '/channels', { name: 'old' });
    expect(channel).toMatchObject({ status: 201, body: { response: 'created', id: expect.any(String), name: 'old' } });
    expect(channel.headers.get('location')).toBe(`/channels/${channel.body.id}`);
  });

  test("hides other organisations' things and channels: 404, never 403", async () => {
    const thing = (await admin.call('POST', '/things', { name: 'of the admin' })).body;
    const channel = (await admin.call('POST', '/channels', { name: 'of the admin' })).body;
    for (const [method, path, body] of [
      ['GET', `/things/${thing.id}`, undefined],
      ['PATCH', `/things/${thing.id}`, { name: 'mine' }],
      ['DELETE', `/things/${thing.id}`, undefined],
      ['PATCH', `/things/${thing.id}/key`, {}],
      ['GET', `/things/${thing.id}/channels`, undefined],
      ['GET', `/channels/${channel.id}`, undefined],
      ['GET', `/channels/${channel.id}/things`, undefined],
      ['GET', `/channels/${channel.id}/messages`, undefined],
      ['GET', `/channels/${channel.id}/payloads`, undefined],
      ['PUT', `/channels/${channel.id}/things/${thing.id}`, undefined],
      ['POST', '/connect', { channel_ids: [channel.id], thing_ids: [thing.id] }],
      ['GET', `/things?org=${thing.org}`, undefined],
      ['GET', `/dead-letters?org=${thing.org}`, undefined],
    ] as const) {
      expect([path, (await editor.call(method, path, body)).status]).toEqual([path, 404]);
    }
    const mine = (await editor.call('POST', '/channels', {})).body;
    expect((await editor.call('POST', '/connect', { channel_ids: [mine.id], thing_ids: [thing.id] })).status).toBe(404);
    expect((await editor.call('GET', '/things?name=of the admin')).body.total).toBe(0);
  });

  test('refuses what is malformed, wrong, of another type or by a stranger', async () => {
    const answer = async (client: Client, body: string, type = 'application/json'): Promise<[number, string]> => {
      const response = await client.raw('POST', '/things', body, { 'content-type': type });
      return [response.status, ((await response.json()) as { error: string }).error];
    };
    expect(await answer(editor, '{"name":')).toEqual([400, 'The body is no well-formed JSON.']);
    expect(await answer(editor, '')).toEqual([400, 'A JSON body is missing.']);
    expect((await answer(editor, '{}', 'text/plain'))[0]).toBe(415);
    expect(await answer(editor, '{"nmae":"x"}')).toEqual([422, 'The body is wrong: nmae: unknown field.']);
    expect((await answer(editor, '{"metadata":7}'))[1]).toContain('metadata:');
    expect((await answer(editor, '{"name":"a\\u0000b"}'))[0]).toBe(422);
    expect((await answer(editor, '{"metadata":{"a":"\\u0000"}}'))[0]).toBe(422);
    expect((await answer(editor, '{"metadata":{"a":"\\ud800"}}'))[0]).toBe(422);
    expect((await answer(editor, '[]'))[0]).toBe(422);
    expect((await answer(editor, 'x'.repeat(5_000_000)))[0]).toBe(413);
    const stranger = await anybody.call('POST', '/things', {});
    expect(stranger.status).toBe(401);
    expect(stranger.headers.get('www-authenticate')).toContain('Bearer');
    expect((await anybody.as('Bearer a.b.c').call('GET', '/things')).status).toBe(401);
    const thing = (await editor.call('POST', '/things', {})).body;
    expect((await anybody.as(`Thing ${thing.key}`).call('POST', '/things', {})).status).toBe(403);
    expect((await editor.call('GET', '/nowhere')).status).toBe(404);
    const method = await editor.call('PUT', '/tokens');
    expect([method.status, method.headers.get('allow')]).toEqual([405, 'POST']);
  });

  test('a stranger registers only while it is open', async () => {
    const closed = Client.over(registry.value, { selfRegister: false });
    const body = { email: 'carol@example.org', password: '12345678' };
    expect((await closed.call('POST', '/users', body)).status).toBe(403);
    expect((await (await closed.asUser('edith@example.org', 'her password')).call('POST', '/users', body)).status).toBe(
      403,
    );
    expect((await (await closed.asUser(ADMIN.email, ADMIN.password)).call('POST', '/users', body)).status).toBe(201);
  });

  test('guessing passwords is slowed, per account and address', async () => {
    const client = Client.over(registry.value);
    const guess = () => client.call('POST', '/tokens', { email: 'bob@example.org', password: 'wrong' });
    const seen: number[] = [];
    for (let index = 0; index < 7; index++) seen.push((await guess()).status);
    expect(seen).toEqual([401, 401, 401, 401, 401, 429, 429]);
    expect(Number((await guess()).headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await client.call('POST', '/tokens', { email: ADMIN.email, password: ADMIN.password })).status).toBe(201);
  });
});
