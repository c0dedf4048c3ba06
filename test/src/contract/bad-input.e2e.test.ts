import { randomUUID } from 'node:crypto';
import { type Route, type RouteExample, routes } from '@millrace/registry';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ADMIN, type Asker, type ControlPlane, startControlPlane } from '../control/plane.ts';
import { type ExampleOrganisation, makeExampleOrganisation } from './example-organisation.ts';

type Specification = Route['specification'];
interface Case {
  readonly specification: Specification;
  readonly name: string;
  readonly example: RouteExample;
}

// Each asks every route, some of them often.
vi.setConfig({ testTimeout: 240_000 });

const BODY_BYTES_MAX = 4 * 1_048_576;
const DEEP = 50_000;
const JSON_TYPE = { 'content-type': 'application/json' };
/** One of each: how a path, query or text can be wrong without being another's. */
const WEIRD = ['x', '%00', '%ff', "'%20OR%201=1%20--", '..%2f..', '%F0%9F%98%80', '-1', '%ED%A0%80', 'a'.repeat(3_000)];

const cases: readonly Case[] = routes
  .filter(({ specification }) => specification.hidden !== true)
  .map(({ specification }) => ({
    specification,
    name: `${specification.method.toUpperCase()} ${specification.path}`,
    example: specification.examples?.[0] ?? { name: '', status: 200 },
  }));
const withBody = cases.filter(({ specification }) => specification.body !== undefined);
const closed = cases.filter(({ specification }) => specification.open !== true);

let plane: ControlPlane;
let world: ExampleOrganisation;
let stranger: Asker;

beforeAll(async () => {
  plane = await startControlPlane();
  const node = await plane.node();
  stranger = node.stranger;
  world = await makeExampleOrganisation(stranger, await stranger.asUser(ADMIN.email, ADMIN.password), plane.directory);
}, 180_000);
afterAll(() => plane?.dispose(), 60_000);

interface Sent {
  readonly asker?: Asker;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly query?: string;
  readonly body?: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}
interface Got {
  readonly status: number;
  readonly headers: Headers;
  readonly detail: string;
}

/** Sends the example of a route, a part of it replaced. */
async function ask({ specification, example }: Case, sent: Sent): Promise<Got> {
  const { method, path, ownBody } = specification;
  const parameters = sent.parameters ?? world.real(example.parameters ?? {});
  const query = sent.query ?? String(new URLSearchParams(world.real(example.query ?? {})));
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => parameters[name] ?? 'x');
  const own =
    example.body === undefined || ownBody !== undefined ? undefined : JSON.stringify(world.real(example.body));
  const body = sent.body ?? own;
  const response = await (sent.asker ?? world.as[example.as ?? 'owner']).raw(
    method.toUpperCase(),
    `${filled}${query === '' ? '' : `?${query}`}`,
    body,
    { ...(body === undefined ? {} : JSON_TYPE), ...sent.headers },
  );
  const text = await response.text();
  const isProblem = response.headers.get('content-type') === 'application/problem+json';
  return { status: response.status, headers: response.headers, detail: isProblem ? JSON.parse(text).detail : text };
}

/** Asks all, and gives what was not answered as it should be. */
async function wrongOf(
  all: readonly Case[],
  sentOf: (each: Case) => Sent | readonly Sent[] | null,
  isRight: (got: Got, each: Case) => boolean,
): Promise<string[]> {
  const wrong: string[] = [];
  for (const each of all) {
    for (const sent of [sentOf(each) ?? []].flat()) {
      const got = await ask(each, sent);
      if (!isRight(got, each)) wrong.push(`${each.name}: ${got.status} ${got.detail.slice(0, 120)}`);
    }
  }
  return wrong;
}
const is =
  (...statuses: readonly number[]) =>
  ({ status }: Got): boolean =>
    statuses.includes(status);
const isNoFault = ({ status }: Got): boolean => status < 500 || status === 501;

describe('a body', () => {
  test.each([
    ['that breaks off', '{"name":'],
    ['that is empty', ''],
    ['of words', 'name=thing'],
    ['with bytes that are no UTF-8', Uint8Array.of(0x22, 0xff, 0xfe, 0x22)],
  ])('%s is malformed: 400', async (_, body) => {
    expect(await wrongOf(withBody, () => ({ body }), is(400))).toEqual([]);
  });

  test('of another type is refused: 415', async () => {
    const headers = { 'content-type': 'text/plain' };
    expect(await wrongOf(withBody, () => ({ body: '{}', headers }), is(415))).toEqual([]);
  });

  test('that is too large is refused: 413', async () => {
    const body = `"${'a'.repeat(BODY_BYTES_MAX)}"`;
    const bounded = withBody.filter(
      ({ specification: { itemsBytesMax, bodyBytesMax } }) => (itemsBytesMax ?? bodyBytesMax) === undefined,
    );
    expect(await wrongOf(bounded, () => ({ body }), is(413))).toEqual([]);
  });

  test('with an unknown member is refused by its path: 422', async () => {
    const surprised = ({ example: { body } }: Case): Sent => {
      const real = world.real(body);
      const [first, ...others] = Array.isArray(real) ? real : [real];
      const surprise = { ...first, surprise: 1 };
      return { body: JSON.stringify(Array.isArray(real) ? [surprise, ...others] : surprise) };
    };
    const isRight = ({ status, detail }: Got, { example: { body } }: Case): boolean =>
      status === 422 && detail.includes(Array.isArray(body) ? '0.surprise' : 'surprise');
    expect(await wrongOf(withBody, surprised, isRight)).toEqual([]);
  });

  test('that is nested beyond all measure is refused', async () => {
    const lists = '['.repeat(DEEP) + ']'.repeat(DEEP);
    const objects = `${'{"a":'.repeat(DEEP)}1${'}'.repeat(DEEP)}`;
    const bodies = [lists, objects, `{"metadata":${objects}}`, `[{"metadata":${objects}}]`];
    expect(await wrongOf(withBody, () => bodies.map((body) => ({ body })), is(400, 422))).toEqual([]);
  });

  test.each([
    ['U+0000', '\\u0000'],
    ['half a surrogate pair', '\\ud800'],
  ])('with %s in any text is no fault, and never kept', async (_, wrong) => {
    const texts = ({ example: { body } }: Case): Sent[] =>
      placesOf(JSON.stringify(world.real(body)), /"(?:[^"\\]|\\.)*"(?!:)/g).map((replaced) => ({
        body: replaced((text) => `${text.slice(0, -1)}${wrong}"`),
      }));
    // An address that nobody has gets no mail, and a search finds nothing.
    const unasking = withBody.filter(({ name }) => !/reset-request|revoke|search|invitations\/decline/.test(name));
    expect(await wrongOf(unasking, texts, ({ status }) => status >= 400 && status < 500)).toEqual([]);
    expect(await wrongOf(withBody, texts, isNoFault)).toEqual([]);
  });

  test('with any value in any place is no fault', async () => {
    const values = ['1e400', '-1', '0.5', '9007199254740993', '1e308', 'null', '""', '[]', '{}', 'true', '[[null]]'];
    const replaced = ({ example: { body } }: Case): Sent[] =>
      placesOf(JSON.stringify(world.real(body)), /(?:"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null)(?!:)/g).flatMap(
        (place) => values.map((value) => ({ body: place(() => value) })),
      );
    const lasting = withBody.filter(({ name }) => !/\/users\/me\/|\/password|\/tokens/.test(name));
    expect(await wrongOf(lasting, replaced, isNoFault)).toEqual([]);
  });
});

/** Each place of a text where a pattern fits, as what replaces it. */
const placesOf = (text: string, pattern: RegExp) =>
  [...text.matchAll(pattern)].map(
    ({ 0: found, index }) =>
      (by: (found: string) => string) =>
        text.slice(0, index) + by(found) + text.slice(index + found.length),
  );

describe('who asks', () => {
  test.each([
    ['nothing', {}],
    ['an unknown token', { authorization: 'Bearer eyJhbGciOiJub25lIn0.e30.' }],
    ['an unknown key', { authorization: 'Thing unknown-unknown-unknown' }],
    ['an unknown scheme', { authorization: 'Digest username="ada"' }],
    ['half a Basic', { authorization: 'Basic Og==' }],
  ])('with %s is told how to say who they are: 401', async (_, headers: Record<string, string>) => {
    const isRight = ({ status, headers: given }: Got): boolean => status === 401 && given.has('www-authenticate');
    expect(await wrongOf(closed, () => ({ asker: stranger.with(headers) }), isRight)).toEqual([]);
  });

  test('about what is of another organisation is answered as about what is nowhere', async () => {
    const eve = await stranger.newUser('eve@example.org');
    const asked = closed.filter(({ example: { parameters = {} } }) => Object.keys(parameters).length > 0);
    const wrong: string[] = [];
    for (const each of asked) {
      const foreign = await ask(each, { asker: eve });
      const parameters = Object.fromEntries(
        Object.entries(each.example.parameters ?? {}).map(([name, value]) => [
          name,
          /^[0-9a-f-]{36}$/.test(value) ? randomUUID() : value,
        ]),
      );
      const nowhere = await ask(each, { asker: eve, parameters });
      const isHidden = [403, 404].includes(foreign.status) && withoutIds(foreign.detail) === withoutIds(nowhere.detail);
      if (!isHidden || foreign.status !== nowhere.status)
        wrong.push(`${each.name}: ${foreign.status} ${foreign.detail} | ${nowhere.status} ${nowhere.detail}`);
    }
    expect(wrong).toEqual([]);
  });
});

describe('an address', () => {
  test('with something that is no id is nowhere, and no fault', async () => {
    const asked = closed.filter(({ specification }) => specification.path.includes('{'));
    const strange = ({ example: { parameters = {} } }: Case): Sent[] =>
      Object.keys(parameters).flatMap((name) =>
        WEIRD.map((word) => ({ parameters: { ...world.real(parameters), [name]: word } })),
      );
    expect(await wrongOf(asked, strange, is(400, 403, 404, 405, 409, 422))).toEqual([]);
  });

  test('with a parameter twice is refused: 400', async () => {
    const twice = ({ specification: { query } }: Case): Sent[] =>
      Object.keys(query?.shape ?? {}).map((name) => ({ query: `${name}=1&${name}=2` }));
    expect(await wrongOf(cases, twice, is(400))).toEqual([]);
  });

  test('with any value of any parameter is no fault', async () => {
    const strange = ({ specification: { query } }: Case): Sent[] =>
      Object.keys(query?.shape ?? {}).flatMap((name) => WEIRD.map((word) => ({ query: `${name}=${word}` })));
    const asking = cases.filter(({ specification }) => specification.method === 'get');
    expect(await wrongOf(asking, strange, isNoFault)).toEqual([]);
  });
});

/** An answer may repeat what was asked for. */
const withoutIds = (detail: string | undefined): string | undefined => detail?.replaceAll(/[0-9a-f-]{36}/g, '…');
