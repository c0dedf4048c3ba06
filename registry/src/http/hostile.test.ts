import type { Started } from '@millrace/core';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RegistryConfig } from '../config.ts';
import type { Registry } from '../registry.ts';
import { ADMIN, Client, startRegistry, temporaryPostgres } from '../testing/fixture.ts';
import { routes } from './open-api.ts';

let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
let registry: Started<Registry>;
let admin: Client;

beforeAll(async () => {
  postgres = await temporaryPostgres();
  registry = await startRegistry(postgres.url, {
    config: RegistryConfig.parse({ MILLRACE_PUBLIC_URL: 'http://localhost' }),
  });
  admin = await Client.over(registry.value).asUser(ADMIN.email, ADMIN.password);
});
afterAll(async () => {
  await registry?.stop();
  await postgres?.dispose();
});

const word = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.uuid(),
  fc.constantFrom('', '..', '%', "' OR 1=1 --", '\0', '\u{1f600}', 'a/b'),
);
const field = fc.constantFrom(
  'id',
  'key',
  'name',
  'alias',
  'metadata',
  'tags',
  'enabled',
  'type',
  'external_id',
  'content_type',
  'channel_ids',
  'thing_ids',
  'fingerprints',
  'authorities',
  '__proto__',
);
const body = fc.oneof(
  fc.dictionary(field, fc.jsonValue({ maxDepth: 3 }), { noNullPrototype: false }),
  fc.jsonValue({ maxDepth: 2 }),
);
const query = fc.dictionary(
  fc.constantFrom(
    'offset',
    'limit',
    'name',
    'tag',
    'metadata',
    'order',
    'from',
    'to',
    'v',
    'vs',
    'org',
    'cursor',
    'time',
    'channel',
  ),
  fc.oneof(word, fc.integer().map(String)),
  { maxKeys: 3, noNullPrototype: false },
);

test('no request of any shape is a fault of ours', async () => {
  // Logging in is slow on purpose; health waits for its checks.
  const specifications = routes.map((route) => route.specification).filter(({ tag }) => tag !== 'users');
  const request = fc.record({
    specification: fc.constantFrom(...specifications),
    words: fc.array(word, { minLength: 2, maxLength: 2 }),
    body,
    query,
  });
  await fc.assert(
    fc.asyncProperty(request, async ({ specification, words, body: given, query: asked }) => {
      const parameters = [...words];
      const path = specification.path.replaceAll(/\{\w+\}/g, () => encode(parameters.pop() ?? 'x'));
      const search = Object.entries(asked).map(([name, value]) => `${name}=${encode(value)}`);
      const text = specification.body === undefined ? undefined : (JSON.stringify(given) ?? '');
      const response = await admin.raw(specification.method.toUpperCase(), `${path}?${search.join('&')}`, text);
      const answer = await response.text();
      // Here is neither log nor store: whoever needs one is told where to ask.
      const isElsewhere = [501, 503].includes(response.status) && /^This node .+: ask /.test(JSON.parse(answer).detail);
      expect([specification.path, response.status, response.status < 500 || isElsewhere]).toEqual([
        specification.path,
        response.status,
        true,
      ]);
      // The provider answers browsers with pages, in its own words.
      if (response.status >= 400 && !OWN_WORDS.includes(specification.tag))
        expect(JSON.parse(answer)).toHaveProperty('error');
    }),
    { numRuns: 1_000 },
  );
});

test('raw bytes for a body are malformed, never a fault', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      const response = await admin.raw('POST', '/things', bytes);
      expect([400, 422]).toContain(response.status);
    }),
    { numRuns: 200 },
  );
});

const OWN_WORDS = ['oauth', 'applications'];
const encode = (text: string): string => encodeURIComponent(text.replaceAll(/\p{Surrogate}/gu, '?'));
