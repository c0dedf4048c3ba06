import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, createClient, MillraceApiError, MillraceConnectionError } from '@millrace/sdk';
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from 'vitest';
import { Millrace } from '../millrace.ts';

const NOBODY = '00000000-0000-4000-8000-000000000000';

describe('the client', { timeout: 120_000 }, () => {
  const millrace = new Millrace();
  let admin: Client;
  const credentials = () => ({
    email: 'admin@millrace.local',
    password: readFileSync(join(millrace.directory, 'admin-password'), 'utf8').trim(),
  });

  beforeAll(async () => {
    await millrace.start();
    admin = createClient({ url: millrace.url, credentials: credentials() });
  }, 120_000);
  afterAll(() => millrace.dispose(), 120_000);

  test('makes, reads, changes and deletes', async () => {
    const made = await admin.things.create({ name: 'meter', tags: ['a'] });
    expectTypeOf(made.name).toEqualTypeOf<string>();
    expect(await admin.things.get(made.id)).toMatchObject({ name: 'meter', key: made.key });
    const changed = await admin.things.update(made.id, { name: 'counter' }, { ifVersion: made.version });
    expect(changed.version).toBe(made.version + 1);
    await expect(admin.things.update(made.id, { name: 'x' }, { ifVersion: made.version })).rejects.toMatchObject({
      name: 'MillraceApiError',
      status: 412,
      retryable: false,
    });
    expect((await admin.things.disable(made.id)).enabled).toBe(false);
    expect((await admin.things.enable(made.id)).enabled).toBe(true);
    const rotated = await admin.things.rotateKey(made.id, { overlapSeconds: 60 });
    expect(rotated.key).not.toBe(made.key);
    for (const key of [made.key, rotated.key])
      expect(
        await createClient({ url: millrace.url, key: key as string })
          .things.get(made.id)
          .catch((e) => e.status),
      ).not.toBe(401);
    await admin.things.delete(made.id);
    await expect(admin.things.get(made.id)).rejects.toMatchObject({ status: 404 });
  });

  test('says what went with what was deleted', async () => {
    const [thing, channel] = [await admin.things.create({}), await admin.channels.create({})];
    await admin.connections.connect({ things: [thing.id], channels: [channel.id] });
    expect(await admin.things.delete(thing.id)).toEqual({ connections: 1 });
  });

  test('makes many, and goes through all of a list, page after page', async () => {
    const told: number[] = [];
    const bodies = Array.from({ length: 1_100 }, (_, index) => ({ name: `many-${index}` }));
    const made = await admin.things.createMany(bodies, { onProgress: (done) => told.push(done) });
    expect(told).toEqual([1_000, 1_100]);
    const seen = new Set<string>();
    for await (const { id } of admin.things.all({ name: 'many-', limit: 300 })) seen.add(id);
    expect(seen).toEqual(new Set(made.map(({ id }) => id)));
    const some: string[] = [];
    for await (const { id } of admin.things.all({ name: 'many-', limit: 10 })) if (some.push(id) === 25) break;
    expect(some).toHaveLength(25);
    expect((await admin.things.list({ metadata: { none: 'such' } })).total).toBe(0);
  });

  test('calls any path of the API, with its types', async () => {
    const { id } = await admin.post('/channels', { body: { name: 'typed' } });
    const channel = await admin.get('/channels/{id}', { params: { path: { id } } });
    expectTypeOf(channel.alias).toEqualTypeOf<string | null>();
    expect(channel.name).toBe('typed');
    await expect(admin.get('/channels/{id}', { params: { path: { id: NOBODY } } })).rejects.toMatchObject({
      status: 404,
      problem: { title: 'Not Found', status: 404 },
    });
    const { error, response } = await admin.api.GET('/things/{id}', { params: { path: { id: NOBODY } } });
    expect(response.status).toBe(404);
    expect(error).toMatchObject({ status: 404 });
  });

  test('speaks for one organisation of several', async () => {
    const org = await admin.orgs.create({ name: 'Another' });
    const there = createClient({ url: millrace.url, credentials: credentials(), org: org.id });
    const thing = await there.things.create({ name: 'there' });
    expect(thing.org).toBe(org.id);
    expect((await admin.things.list({ name: 'there' })).total).toBe(0);
    expect((await there.things.list({ name: 'there' })).total).toBe(1);
  });

  test('takes API keys, with what they may', async () => {
    const { secret } = await admin.keys.create({ name: 'k', grants: [{ actions: ['things.list'], resources: ['*'] }] });
    const limited = createClient({ url: millrace.url, apiKey: secret });
    await limited.things.list();
    await expect(limited.things.create({ name: 'no' })).rejects.toMatchObject({ status: 403 });
  });

  test('one login serves many requests at once, and the next token comes by itself', async () => {
    const asked: string[] = [];
    const counting: typeof fetch = (input, init) => {
      asked.push(new URL(String(input)).pathname);
      return fetch(input, init);
    };
    const client = createClient({ url: millrace.url, credentials: credentials(), fetch: counting });
    await Promise.all([1, 2, 3, 4, 5].map(() => client.things.list()));
    expect(asked.filter((path) => path === '/tokens')).toHaveLength(1);
    await client.users.logOutEverywhere();
    // The token is void now, the refresh token too: it logs in again, once.
    await Promise.all([1, 2, 3].map(() => client.users.me()));
    expect(asked.filter((path) => path === '/tokens')).toHaveLength(2);
  });

  test('a refresh token is used once, however many wait for it', async () => {
    const { token, refreshToken } = await createClient({ url: millrace.url }).logIn(
      credentials().email,
      credentials().password,
    );
    const expired = `x.${btoa('{"exp":1}')}.y`;
    const asked: string[] = [];
    const client = createClient({
      url: millrace.url,
      token: expired,
      refreshToken: refreshToken as string,
      fetch: (input, init) => {
        asked.push(new URL(String(input)).pathname);
        return fetch(input, init);
      },
    });
    await Promise.all([1, 2, 3, 4].map(() => client.users.me()));
    expect(asked.filter((path) => path === '/tokens/refresh')).toHaveLength(1);
    expect(client.tokens?.refreshToken).not.toBe(refreshToken);
    expect(client.tokens?.token).not.toBe(token);
  });

  test('wrong credentials are an error, and nothing is tried for ever', async () => {
    const wrong = createClient({ url: millrace.url, credentials: { email: 'nobody@example.org', password: 'wrong' } });
    await expect(wrong.things.list()).rejects.toMatchObject({ status: 401 });
    await expect(createClient({ url: millrace.url, apiKey: 'mrk_none' }).things.list()).rejects.toBeInstanceOf(
      MillraceApiError,
    );
    const nowhere = createClient({ url: 'http://127.0.0.1:1', retries: { tries: 2, pauseMsMin: 1 } });
    await expect(nowhere.things.list()).rejects.toBeInstanceOf(MillraceConnectionError);
  });

  test('a signal ends what waits', async () => {
    const ended = new AbortController();
    ended.abort(new Error('enough'));
    await expect(admin.things.list({}, { signal: ended.signal })).rejects.toThrow('enough');
  });
});
