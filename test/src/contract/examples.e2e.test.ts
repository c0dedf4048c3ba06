import { deepStrictEqual } from 'node:assert/strict';
import { openApiDocument, type Route, type RouteExample, routes } from '@millrace/registry';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rows } from '../control/access-world.ts';
import { leaves, traceProblem } from '../control/audited.ts';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from '../control/plane.ts';
import { type ExampleOrganisation, makeExampleOrganisation } from './example-organisation.ts';

type Specification = Route['specification'];

const told = routes.map(({ specification }) => specification).filter(({ hidden }) => hidden !== true);
const document = openApiDocument('1.2.3');
const cases = told.flatMap((specification) =>
  (specification.examples ?? []).map((example) => ({
    title: `${specification.method.toUpperCase()} ${specification.path}: ${example.name}`,
    specification,
    example,
  })),
);
const isAsking = ({ specification }: { readonly specification: Specification }): boolean =>
  specification.method === 'get';

/** What changes nothing that the audit tells of; or what finds all as it should be, as its example shows. */
const TRACELESS = new Set([
  'POST /identify/channels/{id}/access-by-key',
  'POST /identify/channels/{id}/access-by-id',
  'POST /orgs/{id}/manifest/plan',
  'POST /certs/ocsp',
  'POST /certs/authorities/code',
  'POST /oauth/introspect',
  // Of a token that nobody has.
  'POST /oauth/revoke',
  // Of an address that nobody has.
  'POST /password/reset-request',
  // A session goes on, as it was begun.
  'POST /tokens/refresh',
  'POST /oauth/token',
  // Enabled, unfrozen and without an old key already; done.
  'POST /users/{id}/enable',
  'POST /orgs/{id}/unfreeze',
  'DELETE /things/{id}/key/previous',
  'POST /jobs/{id}/cancel',
  // Of dead letters that there are none of.
  'POST /dead-letters/{id}/replay',
  'POST /dead-letters/replay',
  'POST /dead-letters/discard',
]);

let plane: ControlPlane;
let world: ExampleOrganisation;
let made = 0;

beforeAll(async () => {
  plane = await startControlPlane();
  const node = await plane.node();
  const administrator = await node.stranger.asUser(ADMIN.email, ADMIN.password);
  world = await makeExampleOrganisation(node.stranger, administrator, plane.directory);
  // It is copied from now on: nobody else may be in it.
  await node.stop();
}, 180_000);
afterAll(() => plane?.dispose(), 60_000);

/** The example organisation, as it was made. */
async function fresh(): Promise<{ node: Node; plane: ControlPlane; drop(): Promise<void> }> {
  const url = new URL(plane.url);
  const original = url.pathname.slice(1);
  const name = `example_${++made}`;
  const elsewhere = new URL(url);
  elsewhere.pathname = '/postgres';
  const keeper = { ...plane, url: elsewhere.href };
  await rows(keeper, `CREATE DATABASE ${name} TEMPLATE "${original}" STRATEGY FILE_COPY`);
  url.pathname = `/${name}`;
  const copied = { ...plane, url: url.href };
  const node = await plane.node({}, url.href);
  return {
    node,
    plane: copied,
    async drop() {
      await node.stop();
      await rows(keeper, `DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}

test('every operation has an example', () => {
  const without = told.filter(({ examples = [] }) => examples.length === 0);
  expect(without.map(({ method, path }) => `${method} ${path}`)).toEqual([]);
});

describe('what only asks', () => {
  let copy: Awaited<ReturnType<typeof fresh>>;
  beforeAll(async () => {
    copy = await fresh();
  }, 60_000);
  afterAll(() => copy?.drop(), 60_000);

  test.each(cases.filter(isAsking))('$title', async ({ specification, example }) => {
    await run(copy.node, specification, example);
  });
});

describe('what changes something', () => {
  test.each(cases.filter((each) => !isAsking(each)))(
    '$title',
    async ({ specification, example }) => {
      const copy = await fresh();
      try {
        let status = 0;
        const left = await leaves(copy.plane, copy.node, async () => {
          status = await run(copy.node, specification, example);
        });
        const name = `${specification.method.toUpperCase()} ${specification.path}`;
        if (!TRACELESS.has(name)) expect(traceProblem(name, { status } as never, left)).toBeNull();
      } finally {
        await copy.drop();
      }
    },
    60_000,
  );
});

/** Runs an example, and holds its answer against the documentation.  @returns the status */
async function run(node: Node, specification: Specification, example: RouteExample): Promise<number> {
  const { method, path, ownBody } = specification;
  const parameters = world.real(example.parameters ?? {});
  const query = new URLSearchParams(world.real(example.query ?? {}));
  const address =
    path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(parameters[name] ?? '')) +
    (query.size === 0 ? '' : `?${query}`);
  const asker = at(node, world.as[example.as ?? 'owner']);
  const body = world.real(example.body);
  const isOwn = ownBody !== undefined && body !== undefined;
  const [sent, type] = isOwn ? own(ownBody.type, body) : [json(body), 'application/json'];
  const response = await asker.raw(
    method.toUpperCase(),
    address,
    sent,
    sent === undefined ? {} : { 'content-type': type },
  );
  const text = await response.text();
  expect([response.status, response.status === example.status ? '' : text]).toEqual([example.status, '']);
  holdAgainst(specification, response, text);
  return response.status;
}

const at = (node: Node, asker: Asker): Asker => node.stranger.with(asker.headers);
const json = (body: unknown): string | undefined => (body === undefined ? undefined : JSON.stringify(body));

function own(type: string, body: unknown): [string | Uint8Array, string] {
  if (type.endsWith('urlencoded')) return [String(new URLSearchParams(body as Record<string, string>)), type];
  return [Buffer.from(String(body), 'base64'), type];
}

interface Documented {
  readonly headers?: Readonly<Record<string, { readonly required?: boolean }>>;
  readonly content?: Readonly<Record<string, unknown>>;
}

function holdAgainst({ method, path, answers }: Specification, response: Response, text: string): void {
  const operation = document.paths?.[path]?.[method] as { responses: Record<string, Documented> };
  const documented = operation.responses[response.status];
  expect(documented, 'status is documented').toBeDefined();
  for (const [name, { required }] of Object.entries(documented?.headers ?? {}))
    if (required === true) expect(response.headers.get(name), name).not.toBeNull();
  const [type = ''] = response.headers.get('content-type')?.split(';') ?? [];
  const types = Object.keys(documented?.content ?? {});
  // Browsers follow a redirect without a look at its body.
  if (types.length === 0) expect(response.status < 300 || response.status > 399 ? text : '').toBe('');
  else expect(types).toContain(type);
  if (!type.includes('json') || type.includes('ndjson')) return;
  const body: unknown = JSON.parse(text);
  const schema = answers[response.status]?.schema;
  // What is not documented would be left out here.
  if (schema !== undefined) deepStrictEqual(body, schema.parse(body));
}
