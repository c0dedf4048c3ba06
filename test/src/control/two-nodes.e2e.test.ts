import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, type Rest } from '../millrace.ts';
import { ADMIN, logIn, TwoNodes } from './two-nodes.ts';

const SOON_MS = 30_000;
const ROUNDS = 20;
const WRITERS = 12;

describe('two nodes that are started at once on an empty database', { timeout: 120_000 }, () => {
  let nodes: TwoNodes;
  let atA: Rest;
  let atB: Rest;

  beforeAll(async () => {
    nodes = await new TwoNodes({ MILLRACE_ROLES: 'ingest,registry' }).start();
    atA = await logIn(nodes.a, ADMIN);
    atB = await logIn(nodes.b, ADMIN);
  }, 180_000);
  afterAll(() => nodes?.dispose(), 120_000);

  test('make the first of everything once', async () => {
    expect(await nodes.counted('registry.users WHERE admin')).toBe(1);
    expect(await nodes.counted('registry.orgs')).toBe(1);
    expect(await nodes.counted('registry.signing_keys')).toBe(1);
    expect(await nodes.counted('registry.things')).toBe(1);
    for (const node of [nodes.a, nodes.b]) expect(node.stderr).not.toMatch(/"level":(?:50|60)/);
  });

  test('have one authority and one set of keys, whoever is asked first', async () => {
    const asked = async (path: string): Promise<Set<string>> => {
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, index) => (index % 2 === 0 ? atA : atB).as('').raw('GET', path)),
      );
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
      return new Set(await Promise.all(answers.map((answer) => answer.text())));
    };
    for (const path of ['/certs/ca', '/.well-known/jwks.json', '/oauth/jwks'])
      expect((await asked(path)).size, path).toBe(1);
  });

  test('take each other’s tokens', async () => {
    const other = nodes.b.url;
    const response = await fetch(`${other}/users/me`, { headers: { authorization: atA.authorization } });
    expect(response.status).toBe(200);
  });

  test('what one has answered is in force there at once, and at the other too for who comes new', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const thing = await atA.json<{ id: string; key: string }>('POST', '/things', { name: 'new' });
      const channel = await atA.json<{ id: string }>('POST', '/channels', { name: 'new' });
      const path = `/channels/${channel.id}/messages`;
      const publish = async (rest: Rest): Promise<number> =>
        (await rest.as(`Thing ${thing.key}`).raw('POST', path, '{}', { 'content-type': 'application/json' })).status;
      // What is memoised here must not outlive the change.
      expect([403, 404]).toContain(await publish(atA));
      await atA.json('POST', '/connect', { channel_ids: [channel.id], thing_ids: [thing.id] });
      expect(await Promise.all([publish(atA), publish(atB)])).toEqual([202, 202]);
      await atA.json('POST', `/things/${thing.id}/disable`);
      expect(await publish(atA)).toBe(403);
    }
  });

  test('what one allows is allowed at the other, which had refused it before', async () => {
    const thing = await atA.json<{ id: string; key: string }>('POST', '/things', { name: 'refused' });
    const channel = await atA.json<{ id: string }>('POST', '/channels', { name: 'refused' });
    const publish = async (): Promise<number> =>
      (
        await atB
          .as(`Thing ${thing.key}`)
          .raw('POST', `/channels/${channel.id}/messages`, '{}', { 'content-type': 'application/json' })
      ).status;
    expect(await publish()).toBe(403);
    await atA.json('POST', '/connect', { channel_ids: [channel.id], thing_ids: [thing.id] });
    await eventually('it is let in', SOON_MS, async () => (await publish()) === 202);
  });

  test('of many changes that rest on the same version, one is made', async () => {
    const { id } = await atA.json<{ id: string }>('POST', '/things', { name: 'contended' });
    for (let round = 0; round < ROUNDS; round++) {
      const before = await atB.raw('GET', `/things/${id}`);
      await before.arrayBuffer();
      const headers = { 'content-type': 'application/json', 'if-match': before.headers.get('etag') ?? '' };
      const names = Array.from({ length: WRITERS }, () => randomUUID());
      const answers = await Promise.all(
        names.map(async (name, index) => {
          const rest = index % 2 === 0 ? atA : atB;
          const answer = await rest.raw('PATCH', `/things/${id}`, JSON.stringify({ name }), headers);
          await answer.arrayBuffer();
          return answer.status;
        }),
      );
      expect(answers.toSorted()).toEqual([200, ...Array.from({ length: WRITERS - 1 }, () => 412)]);
      const winner = names[answers.indexOf(200)];
      for (const rest of [atA, atB])
        expect((await rest.json<{ name: string }>('GET', `/things/${id}`)).name).toBe(winner);
    }
  });

  test('of many who want the same id at once, one gets it', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const body = JSON.stringify({ id: randomUUID(), name: 'same' });
      const answers = await Promise.all(
        Array.from({ length: WRITERS }, async (_, index) => {
          const rest = index % 2 === 0 ? atA : atB;
          const answer = await rest.raw('POST', '/things', body, { 'content-type': 'application/json' });
          await answer.arrayBuffer();
          return answer.status;
        }),
      );
      expect(answers.toSorted()).toEqual([201, ...Array.from({ length: WRITERS - 1 }, () => 409)]);
    }
  });

  test('a refresh token that is used at both is used once; the second use ends the login', async () => {
    const who = { email: `${randomUUID()}@example.org`, password: 'a good password' };
    await atA.as('').json('POST', '/users', who);
    const login = await atA.as('').json<{ refresh_token: string }>('POST', '/tokens', who);
    const body = JSON.stringify({ refresh_token: login.refresh_token });
    const refresh = async (rest: Rest): Promise<Response> =>
      rest.as('').raw('POST', '/tokens/refresh', body, { 'content-type': 'application/json' });
    const answers = await Promise.all([refresh(atA), refresh(atB)]);
    const statuses = answers.map(({ status }) => status).toSorted();
    expect(statuses[0]).toBeLessThan(300);
    expect(statuses[1]).toBe(401);
    const won = answers.find(({ ok }) => ok);
    const next = (await won?.json()) as { refresh_token: string };
    const after = await atA
      .as('')
      .raw('POST', '/tokens/refresh', JSON.stringify({ refresh_token: next.refresh_token }), {
        'content-type': 'application/json',
      });
    expect(after.status).toBe(401);
  });
});
