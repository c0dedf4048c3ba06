import { describe, expect, test } from 'vitest';
import { createClient } from './client.ts';

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | null;
}

/** A client whose server answers as it is told, in turn; the last answer again and again. */
function against(answers: readonly (() => Response)[], more: Record<string, unknown> = {}) {
  const asked: Asked[] = [];
  const client = createClient({
    url: 'http://server/',
    retries: { pauseMsMin: 1 },
    fetch: async (input, init) => {
      const url = new URL(String(input));
      const headers = new Headers(init?.headers);
      asked.push({
        method: init?.method ?? 'GET',
        path: url.pathname + url.search,
        authorization: headers.get('authorization'),
      });
      return (answers[asked.length - 1] ?? (answers.at(-1) as () => Response))();
    },
    ...more,
  });
  return { client, asked };
}
const page = () => Response.json({ total: 0, offset: 0, limit: 10, things: [] });
const problem =
  (status: number, headers: Record<string, string> = {}) =>
  (): Response =>
    new Response(JSON.stringify({ type: 'about:blank', title: 'No', status, detail: 'not now' }), { status, headers });
const broken = (): Response => {
  throw new TypeError('fetch failed');
};

describe('requests', () => {
  test('a read is tried again after 503, and after no answer at all', async () => {
    const { client, asked } = against([problem(503, { 'retry-after': '0' }), broken, page]);
    await client.things.list();
    expect(asked).toHaveLength(3);
  });

  test('a write is not: it may have been carried out', async () => {
    for (const answer of [problem(503, { 'retry-after': '0' }), broken]) {
      const { client, asked } = against([answer, page]);
      await expect(client.things.create({ name: 'a' })).rejects.toMatchObject({ retryable: true });
      expect(asked).toHaveLength(1);
    }
  });

  test('a write is tried again after 429, which it was not', async () => {
    const { client, asked } = against([
      problem(429, { 'retry-after': '0' }),
      () => Response.json({ id: 'a' }, { status: 201 }),
    ]);
    await client.things.create({ name: 'a' });
    expect(asked).toHaveLength(2);
  });

  test('a publish is tried again only with an Idempotency-Key', async () => {
    const accepted = () => Response.json({ response: 'message sent', id: 'm' }, { status: 202 });
    const plain = against([problem(503), accepted]);
    await expect(plain.client.publish('c', [])).rejects.toMatchObject({ status: 503 });
    const keyed = against([problem(503), broken, accepted]);
    expect(await keyed.client.publish('c', [], { idempotencyKey: true })).toBe('m');
    expect(keyed.asked).toHaveLength(3);
  });

  test('tries are bounded', async () => {
    const { client, asked } = against([problem(503)]);
    await expect(client.things.list()).rejects.toMatchObject({ status: 503, problem: { detail: 'not now' } });
    expect(asked).toHaveLength(4);
  });

  test('what does not answer in time is an error that says so', async () => {
    const client = createClient({
      url: 'http://server',
      timeoutMs: 10,
      retries: { tries: 1 },
      fetch: (_, init) =>
        new Promise((_, reject) => init?.signal?.addEventListener('abort', () => reject(init.signal?.reason))),
    });
    await expect(client.things.list()).rejects.toMatchObject({ code: 'TIMEOUT' });
  });

  test('what is no JSON and no problem document is told as what it is', async () => {
    const proxy = against(
      [() => new Response('<html>Bad gateway</html>', { status: 502, statusText: 'Bad Gateway' })],
      {
        retries: { tries: 1 },
      },
    );
    await expect(proxy.client.things.list()).rejects.toMatchObject({ status: 502, message: '502 Bad Gateway' });
    const page = against([() => new Response('<html></html>')]);
    await expect(page.client.things.list()).rejects.toMatchObject({ code: 'UNINTELLIGIBLE' });
  });

  test('names in paths and queries are written as they must be', async () => {
    const { client, asked } = against([page], { org: 'o' });
    await client.things.list({ name: 'a&b', metadata: { room: 'kitchen' }, limit: 5 });
    await client.things.get('a/../b');
    const [first, second] = asked.map(({ path }) => new URL(path, 'http://server'));
    expect(Object.fromEntries(first?.searchParams ?? [])).toEqual({
      ...{ name: 'a&b', metadata: '{"room":"kitchen"}', limit: '5', org: 'o' },
    });
    expect(second?.pathname).toBe('/things/a%2F..%2Fb');
  });

  test('two ways to say who asks are one too many', () => {
    expect(() => createClient({ url: 'http://server', key: 'a', token: 'b' })).toThrow(TypeError);
  });
});
