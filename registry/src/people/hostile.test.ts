import type { Started } from '@millrace/core';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Registry } from '../registry.ts';
import { ADMIN, Client, startRegistry, temporaryPostgres } from '../testing/fixture.ts';
import { peopleRoutes } from './index.ts';

let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
let registry: Started<Registry>;
let admin: Client;
const ids: string[] = [];

beforeAll(async () => {
  postgres = await temporaryPostgres();
  registry = await startRegistry(postgres.url);
  admin = await Client.over(registry.value).asUser(ADMIN.email, ADMIN.password);
  const { body } = await admin.call('GET', '/users/me');
  const role = await admin.call('POST', '/roles', { name: 'r', actions: ['things.read'] });
  ids.push(body.id, body.orgs[0].id, role.body.id);
});
afterAll(async () => {
  await registry?.stop();
  await postgres?.dispose();
});

const word = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.uuid(),
  fc.nat(2).map((index) => ids[index] ?? ''),
  fc.constantFrom('', '..', '%', "' OR 1=1 --", '\0', '\u{1f600}', 'a/b', 'x@example.org', 'owner', 'things.*', '*'),
  fc.constantFrom('https://example.org/a.png', 'data:image/png;base64,AA==', 'true', 'all', 'a good password'),
);
const field = fc.constantFrom(
  'id',
  'email',
  'password',
  'old_password',
  'name',
  'invitation',
  'token',
  'refresh_token',
  'picture',
  'metadata',
  'tags',
  'alias',
  'actions',
  'description',
  'role',
  'role_id',
  'admin',
  '__proto__',
);
const value = fc.oneof(word, fc.array(word, { maxLength: 3 }), fc.boolean(), fc.jsonValue({ maxDepth: 3 }));
const body = fc.oneof(
  fc.dictionary(field, value, { maxKeys: 5, noNullPrototype: false }),
  fc.jsonValue({ maxDepth: 2 }),
);
const cursor = fc
  .tuple(
    fc.constantFrom('created', 'updated', 'name', 'id', 'other'),
    fc.constantFrom('asc', 'desc'),
    word,
    fc.oneof(word, fc.uuid()),
  )
  .map((parts) => Buffer.from(JSON.stringify(parts)).toString('base64url'));
const query = fc.dictionary(
  fc.constantFrom(
    'offset',
    'limit',
    'name',
    'tag',
    'metadata',
    'order',
    'dir',
    'org',
    'cursor',
    'status',
    'email',
    'role',
    'cascade',
  ),
  fc.oneof(
    word,
    cursor,
    fc.integer().map(String),
    fc.jsonValue({ maxDepth: 2 }).map((each) => JSON.stringify(each)),
  ),
  { maxKeys: 3, noNullPrototype: false },
);
const encode = (text: string): string => encodeURIComponent(text.replaceAll(/\p{Surrogate}/gu, '?'));

test('no request about people is a fault of ours, whatever its shape', async () => {
  const request = fc.record({
    specification: fc.constantFrom(...peopleRoutes.map((route) => route.specification)),
    words: fc.array(word, { minLength: 2, maxLength: 2 }),
    body,
    query,
  });
  await fc.assert(
    fc.asyncProperty(request, async ({ specification, words, body: given, query: asked }) => {
      const parameters = [...words];
      const path = specification.path.replaceAll(/\{\w+\}/g, () => encode(parameters.pop() ?? 'x'));
      const search = Object.entries(asked).map(([name, each]) => `${name}=${encode(each)}`);
      const text = specification.body === undefined ? undefined : (JSON.stringify(given) ?? '');
      const response = await admin.raw(specification.method.toUpperCase(), `${path}?${search.join('&')}`, text);
      const { path: route, method } = specification;
      expect([method, route, response.status, response.status < 500]).toEqual([method, route, response.status, true]);
      const answer = await response.text();
      if (response.status >= 400) expect(JSON.parse(answer)).toHaveProperty('error');
    }),
    { numRuns: 1_500 },
  );
}, 120_000);
